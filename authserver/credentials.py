"""Credentials: from an ``Authorization`` header to an account."""

import base64
import binascii
import unicodedata
from dataclasses import dataclass, field

import structlog

from authserver import passwords
from authserver.core.errors import AuthserverError, Unauthorized
from authserver.db import accounts
from authserver.db.snapshot import KnownAccount, Snapshot
from authserver.db.store import Store
from authserver.passwords import Passwords

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Basic:
    """A name and a password, as the client sent them; the name in NFC."""

    name: str
    password: str = field(repr=False)


def read_authorization(header: str) -> Basic:
    """Read the value of an ``Authorization`` header (RFC 7617, UTF-8).

    Args:
        header: the value as WSGI hands it over, bytes as Latin-1.

    Raises:
        Unauthorized: it is of another scheme, not strict base64 of UTF-8, or has no colon.
    """
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise Unauthorized("malformed credentials: not of the Basic scheme")
    try:
        text = base64.b64decode(encoded.strip(" ").encode("latin-1"), validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise Unauthorized("malformed credentials: not base64 of UTF-8 text") from None
    name, colon, password = text.partition(":")
    if not colon:
        raise Unauthorized("malformed credentials: no colon")
    return Basic(unicodedata.normalize("NFC", name), password)


@dataclass(frozen=True)
class Authenticator:
    """Tells whose credentials these are."""

    passwords: Passwords
    store: Store

    def authenticate(self, basic: Basic, snapshot: Snapshot) -> KnownAccount:
        """Return the account that ``basic`` proves.

        Raises:
            Unauthorized: unknown or disabled account, wrong or empty password. The work is the
                same for each but the empty one, which no account can have.
        """
        if not basic.password:
            raise Unauthorized("empty password")
        known = snapshot.accounts.get(basic.name)
        usable = known is not None and not known.disabled
        stored = known.password_hash if known is not None else None
        if (
            known
            and stored
            and usable
            and self.passwords.remembers(known.id, stored, basic.password)
        ):
            return known
        right = self.passwords.check(basic.password, stored, snapshot.highest_cost, usable=usable)
        if not (right and known and stored):
            raise Unauthorized(_why(known))
        self._verified(known.id, stored, basic.password)
        return known

    def _verified(self, account_id: int, stored: str, password: str) -> None:
        self.passwords.learn(account_id, stored, password)
        if not self.passwords.outdated(stored):
            return
        new = passwords.hash_password(password, self.passwords.cost)
        try:
            with self.store.change("system") as change:
                if accounts.rehash(change, account_id, stored, new):
                    self.passwords.learn(account_id, new, password)
        except AuthserverError as error:
            # The login is good; the next one will try again.
            log.warning("a password could not be rehashed", error=str(error))


def _why(known: KnownAccount | None) -> str:
    if known is None:
        return "unknown account"
    if known.disabled:
        return "disabled account"
    return "wrong password" if known.password_hash else "account without a password"
