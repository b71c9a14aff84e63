"""Passwords: bcrypt, the same work for every check that fails, and what was verified lately.

One bcrypt of cost c is 2^c rounds. A failing check always adds up to 2^c rounds of the cost that
the installation works at: its time does not show whether an account exists, is disabled, or came
from an htpasswd file with a cheap hash.
"""

import hmac
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock

import bcrypt
import structlog

from authserver.auth import common_passwords
from authserver.core import password_rules
from authserver.core.commands import shell_command
from authserver.core.names import nfc
from authserver.core.password_rules import (
    MAX_BYTES,
    cost_of,
    hashable,
    is_imported,
    normalised,
)
from authserver.runtime.settings import Settings

REMEMBERED_MAX = 20_000
_NOBODYS = "." * 53

log = structlog.get_logger()


@dataclass(frozen=True)
class NewPasswords:
    """How new passwords are checked and hashed. Whatever sets a password uses it."""

    minimum: int
    cost: int

    @classmethod
    def of(cls, settings: Settings) -> "NewPasswords":
        return cls(settings.password_min_length, settings.bcrypt_cost)

    def require(self, text: str, name: str) -> None:
        """Check a new password of ``name``. Raises as :func:`password_rules.require_new`."""
        password_rules.require_new(text, name, self.minimum, common_passwords.is_common)

    def hash(self, text: str, name: str) -> str:
        """Return the bcrypt hash of a new password of ``name``. Raises as :meth:`require`."""
        self.require(text, name)
        return hash_password(text, self.cost)


def hash_password(text: str, cost: int) -> str:
    """Return the bcrypt hash of a password, however short.

    Raises:
        Refused: it is empty, longer than the 72 bytes that bcrypt reads, contains NUL, or looks
            like one of our tokens.
    """
    return bcrypt.hashpw(hashable(text), bcrypt.gensalt(cost)).decode()


@dataclass
class Passwords:
    """Checks passwords, and remembers for ``remember`` seconds the ones that were right.

    What is remembered is in memory only, keyed by an HMAC under a key of this process, and bound
    to the stored hash: a changed password or a restarted process has to be verified anew.
    """

    cost: int
    remember: float
    clock: Callable[[], float]
    key: bytes = field(repr=False)
    _warned: set[int] = field(default_factory=set, repr=False)
    _until: OrderedDict[bytes, float] = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def remembers(self, account_id: int, stored: str, text: str) -> bool:
        """Whether this password was right for this account and hash a short while ago."""
        if not self.remember:
            return False
        until = self._until.get(self._tag(account_id, stored, text))
        return until is not None and self.clock() < until

    def learn(self, account_id: int, stored: str, text: str) -> None:
        """Remember a password that has just been verified."""
        if not self.remember:
            return
        with self._lock:
            self._until[self._tag(account_id, stored, text)] = self.clock() + self.remember
            while len(self._until) > REMEMBERED_MAX:
                self._until.popitem(last=False)

    def check(self, text: str, stored: str | None, highest: int, *, usable: bool = True) -> bool:
        """Whether ``text`` is the password, with the full work of ``highest`` if it is not.

        An imported hash may be of other bytes than one of ours: not in NFC, or the first 72 of
        more. A text that two hashes can be made of takes the work twice, whatever the account.

        Args:
            text: what the client sent.
            stored: the account's hash, None if there is no account or it has no password.
            highest: the highest cost among all stored hashes; the configured cost if that is more.
            usable: False for a disabled account, whose check must fail like any other.
        """
        target = max(self.cost, highest)
        imported = stored is not None and is_imported(stored)
        for password, ours in _readings(text):
            if stored is None:
                bcrypt.checkpw(password, _nobodys_hash(target))
                continue
            right = bcrypt.checkpw(password, stored.encode())
            # bcrypt reads p, NUL, p as it reads p alone.
            if right and usable and (ours or imported) and "\0" not in text:
                return True
            # 2^c + 2^c + 2^(c+1) + … + 2^(target-1) = 2^target
            for cost in range(cost_of(stored), target):
                bcrypt.checkpw(password, _nobodys_hash(cost))
        return False

    def warn_of_import(self, account_id: int, name: str, reason: str) -> None:
        """Say once in the log whose imported password should be set anew, and why."""
        if account_id not in self._warned:
            self._warned.add(account_id)
            passwd = shell_command("user", "passwd", operand=name)
            log.warning(
                f"an imported password should be set anew: {passwd}",
                account=name,
                reason=reason,
            )

    def check_id(self, *what: str | bool | None) -> bytes:
        """Return an HMAC of all that a check's result depends on: equal checks end alike."""
        return hmac.digest(self.key, json.dumps(what).encode(), sha256)

    def outdated(self, stored: str) -> bool:
        """Whether a hash should be made anew at the configured cost on the next login."""
        return cost_of(stored) < self.cost

    def _tag(self, account_id: int, stored: str, text: str) -> bytes:
        message = f"{account_id}\0{stored}\0{nfc(text)}"
        return hmac.digest(self.key, message.encode("utf-8", "surrogatepass"), sha256)


def _readings(text: str) -> list[tuple[bytes, bool]]:
    """Return what bcrypt may be given of a text, and whether a hash of ours can be of it."""
    normal = normalised(text)
    # Each character has a byte or more.
    sent = text[:MAX_BYTES].encode("utf-8", "surrogatepass")
    readings = {normal[:MAX_BYTES]: len(normal) <= MAX_BYTES}
    readings.setdefault(sent[:MAX_BYTES], False)
    return [(password.replace(b"\0", b"0"), ours) for password, ours in readings.items()]


def _nobodys_hash(cost: int) -> bytes:
    return f"$2b${cost:02}${_NOBODYS}".encode()
