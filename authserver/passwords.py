"""Passwords: bcrypt, the same work for every check that fails, and what was verified lately.

One bcrypt of cost c is 2^c rounds. A failing check always adds up to 2^c rounds of the cost that
the installation works at, so nobody learns from time whether an account exists, is disabled, or
came from an htpasswd file with a cheap hash.
"""

import hmac
import json
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock

import bcrypt

from authserver.core.errors import Refused
from authserver.core.names import nfc
from authserver.core.secret_tokens import Prefix

MIN_LENGTH, MAX_BYTES = 8, 72
NEW_PASSWORD = f"at least {MIN_LENGTH} characters, at most {MAX_BYTES} bytes"
"""What a new password must be, for help and forms."""

MIN_COST, MAX_COST = 4, 31
REMEMBERED_MAX = 20_000

# Of the salt's last character bcrypt reads two bits, and takes no other spelling of them.
_hash = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_NOBODYS = "." * 53


def require_new(text: str) -> None:
    """Check a password that somebody chooses. What was chosen elsewhere need not be as long.

    Raises:
        Refused: it is shorter than 8 characters in NFC, or cannot be hashed.
    """
    if text and len(nfc(text)) < MIN_LENGTH:
        raise Refused(
            f"a password of {len(nfc(text))} characters is too short: choose one of {NEW_PASSWORD}"
        )
    _hashable(text)


def hash_new(text: str, cost: int) -> str:
    """Return the bcrypt hash of a password that somebody chose. Raises as :func:`require_new`."""
    require_new(text)
    return hash_password(text, cost)


def hash_password(text: str, cost: int) -> str:
    """Return the bcrypt hash of a password, however short.

    Raises:
        Refused: it is empty, longer than the 72 bytes that bcrypt reads, contains NUL, or looks
            like one of our tokens.
    """
    return bcrypt.hashpw(_hashable(text), bcrypt.gensalt(cost)).decode()


def _hashable(text: str) -> bytes:
    password = _normalised(text)
    if not password:
        raise Refused("a password is empty")
    if len(password) > MAX_BYTES:
        raise Refused(
            f"a password is {len(password)} bytes long: bcrypt reads {MAX_BYTES}, choose a shorter"
        )
    if text.startswith(tuple(Prefix)):
        raise Refused("a password begins as an app token does, and would be taken for one")
    if b"\0" in password:
        raise Refused("a password contains a NUL character, which clients cannot send")
    return password


def cost_of(stored: str) -> int:
    """Return the cost of a bcrypt hash.

    Raises:
        Refused: it is no bcrypt hash of the forms ``$2a$``, ``$2b$``, ``$2y$``.
    """
    matched = _hash.fullmatch(stored)
    if matched is None:
        raise Refused("not a bcrypt hash of the form $2y$, $2b$ or $2a$")
    return int(matched[1])


def is_hash(stored: str) -> bool:
    """Whether passwords can be checked against ``stored``."""
    return _hash.fullmatch(stored) is not None


def _normalised(text: str) -> bytes:
    # What is cut is far beyond the bytes that a password may have.
    return nfc(text).encode("utf-8", "surrogatepass")


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

        Args:
            text: what the client sent.
            stored: the account's hash, None if there is no account or it has no password.
            highest: the highest cost among all stored hashes; the configured cost if that is more.
            usable: False for a disabled account, whose check must fail like any other.
        """
        password = _normalised(text)
        # bcrypt reads p, NUL, p as it reads p alone.
        right = len(password) <= MAX_BYTES and b"\0" not in password
        password = password.replace(b"\0", b"0")[:MAX_BYTES]
        target = max(self.cost, highest)
        if stored is None:
            bcrypt.checkpw(password, _nobodys_hash(target))
            return False
        right &= bcrypt.checkpw(password, stored.encode())
        if right and usable:
            return True
        # 2^c + 2^c + 2^(c+1) + … + 2^(target-1) = 2^target
        for cost in range(cost_of(stored), target):
            bcrypt.checkpw(password, _nobodys_hash(cost))
        return False

    def check_id(self, *what: str | bool | None) -> bytes:
        """Return an HMAC of all that a check's result depends on: equal checks end alike."""
        return hmac.digest(self.key, json.dumps(what).encode(), sha256)

    def outdated(self, stored: str) -> bool:
        """Whether a hash should be made anew at the configured cost on the next login."""
        return cost_of(stored) < self.cost

    def _tag(self, account_id: int, stored: str, text: str) -> bytes:
        message = f"{account_id}\0{stored}\0{nfc(text)}"
        return hmac.digest(self.key, message.encode("utf-8", "surrogatepass"), sha256)


def _nobodys_hash(cost: int) -> bytes:
    return f"$2b${cost:02}${_NOBODYS}".encode()
