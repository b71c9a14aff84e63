"""Credentials: from what a client shows to an account and what it may be used for."""

import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import structlog

from authserver.auth import passwords
from authserver.auth.bcrypt_queue import Hashing
from authserver.auth.lockout import Guesses, Holding
from authserver.auth.passwords import Passwords
from authserver.auth.usage import Kind, Rehashes, Use, Uses
from authserver.core import secret_tokens
from authserver.core.addresses import parse_address
from authserver.core.errors import (
    Busy,
    LoginEnded,
    MustWait,
    NotReady,
    TooManyAttempts,
    Unauthorized,
)
from authserver.core.names import nfc
from authserver.core.rules import Limit
from authserver.core.secret_tokens import Prefix
from authserver.core.subjects import AccountKind
from authserver.db.snapshot import KnownAccount, KnownAppToken, Snapshot
from authserver.runtime.metrics.counters import Observations

EXPIRES_SOON = timedelta(days=14)

MAX_READ_BEFORE = 4096
"""Headers with an app token that are known again."""

SHORTEST_KEPT, LONGEST_KEPT = 94, 512
"""Characters of such headers; in a shorter one there is no app token."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Basic:
    """A name and a password, as the client sent them; the name in NFC."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AppToken:
    """A name and an app token, which was sent in the place of a password.

    Of the token only the digest is kept, and whether it is ``well_formed``.
    """

    name: str
    digest: str = field(repr=False)
    well_formed: bool


@dataclass(frozen=True, slots=True)
class Refresh:
    """A refresh token, as the client sent it, and its digest."""

    secret: str = field(repr=False)
    digest: str = field(repr=False)

    @classmethod
    def of(cls, secret: str) -> "Refresh":
        return cls(secret, secret_tokens.digest(secret))


@dataclass(frozen=True, slots=True)
class Malformed:
    """Something that was meant as credentials and cannot be read as such."""

    reason: str


Shown = Basic | AppToken | Refresh | Malformed | None
"""What a client shows; None means nothing, a request of anonymous."""


def kind_of(shown: Shown) -> str:
    """Return what kind of credential was shown, whether it is good or not, in a word."""
    match shown:
        case None:
            return "none"
        case Malformed():
            return "malformed"
        case Refresh():
            return "refresh_token"
        case AppToken():
            return "app_token"
    return "password"


def is_known(shown: Shown, snapshot: Snapshot) -> bool:
    """Whether a snapshot can tell if the credential is good; it may lack a token made just now."""
    match shown:
        case AppToken(_, digest, well_formed):
            return digest in snapshot.app_tokens or not well_formed
        case Refresh(secret, digest):
            return digest in snapshot.refresh_tokens or not secret_tokens.is_well_formed(secret)
    return True


# What is made for each request is a tuple: a frozen dataclass takes three times as long to make.
class Origin(NamedTuple):
    """Where a request comes from."""

    address: str
    client: str


class Identity(NamedTuple):
    """Whose credential it was, and what it may be used for at most (None: all of the account).

    ``bound_to`` is the one registry that it is good for, if it is bound. ``credential`` names it
    for the records; ``app_token`` is the app token, if it is one.
    """

    known: KnownAccount
    credential: str
    ceiling: tuple[Limit, ...] | None = None
    bound_to: str | None = None
    use: Use | None = None
    may_stay_logged_in: bool = False
    app_token: KnownAppToken | None = None

    @property
    def key(self) -> tuple[int, int | None, str | None]:
        """What two identities share if they may do the same: the ids are never given twice."""
        app_token = None if self.app_token is None else self.app_token.id
        return self.known.id, app_token, self.bound_to


def read_authorization(header: str) -> Basic | AppToken | Malformed:
    """Read the value of an ``Authorization`` header (RFC 7617, UTF-8).

    ``header`` is the value as WSGI hands it over, bytes as Latin-1.
    """
    if not SHORTEST_KEPT <= len(header) <= LONGEST_KEPT:
        return _read(header)
    # A machine shows the same app token each time, and to read it takes longer than to know it.
    key = sha256(header.encode("utf-8", "surrogatepass")).digest()
    if (known := _read_before.get(key)) is not None:
        return known
    shown = _read(header)
    if isinstance(shown, AppToken):
        if len(_read_before) >= MAX_READ_BEFORE:
            _read_before.clear()
        _read_before[key] = shown
    return shown


_read_before: dict[bytes, AppToken] = {}


def _read(header: str) -> Basic | AppToken | Malformed:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return Malformed("not of the Basic scheme")
    try:
        raw = encoded.strip(" ").encode("latin-1")
        decoded = binascii.a2b_base64(raw, strict_mode=True)
        text = decoded.decode()
    except (binascii.Error, UnicodeError):
        return Malformed("not base64 of UTF-8 text")
    if binascii.b2a_base64(decoded, newline=False) != raw:
        return Malformed("not strict base64")
    name, colon, password = text.partition(":")
    if not colon:
        return Malformed("no colon")
    return basic(name, password)


def basic(name: str, password: str) -> Basic | AppToken:
    """Return a name and a password as they are compared."""
    if secret_tokens.claims_to_be(password, Prefix.APP):
        return AppToken(
            nfc(name), secret_tokens.digest(password), secret_tokens.is_well_formed(password)
        )
    return Basic(nfc(name), password)


@dataclass(frozen=True)
class Authenticator:
    """Tells whose credentials these are."""

    passwords: Passwords
    uses: Uses
    rehashes: Rehashes
    hashing: Hashing
    holding: Holding
    guesses: Guesses
    clock: Callable[[], datetime]
    observations: Observations = field(default_factory=Observations)

    def authenticate(
        self,
        shown: Basic | AppToken | Refresh | Malformed,
        snapshot: Snapshot,
        origin: Origin,
        *,
        stale: bool = False,
        at_once: bool = False,
    ) -> Identity:
        """Return whom ``shown`` proves.

        Raises:
            MustWait: it takes bcrypt to tell, and that is not to be waited for.
            Unauthorized: it proves nobody. Where it takes bcrypt to tell, the work is the same
                for a wrong password, an unknown and a disabled account.
            LoginEnded: a refresh token that is not good, or not any more.
            NotReady: the snapshot is ``stale``, and it takes bcrypt to tell.
            TooManyAttempts: it takes bcrypt to tell, and too many were wrong from there.
            Busy: it takes bcrypt to tell, and too many others wait for that.
        """
        match shown:
            case Malformed():
                raise Unauthorized(f"malformed credentials: {shown.reason}")
            case Refresh():
                return self._by_refresh_token(shown, snapshot, origin)
            case AppToken():
                return self._by_app_token(shown, snapshot, origin)
        if not shown.password:
            raise Unauthorized("empty password")
        if secret_tokens.claims_to_be(shown.password, Prefix.REFRESH):
            # containerd shows a refresh token like this after it was refused.
            raise Unauthorized("a refresh token in the place of a password")
        try:
            return self._by_password(shown, snapshot, origin.address, stale=stale, at_once=at_once)
        except (Busy, TooManyAttempts):
            self.holding.hold(origin.address)
            raise

    def still(
        self, proved: Identity, shown: Shown, snapshot: Snapshot, origin: Origin
    ) -> Identity | None:
        """Return who shows a credential by a later snapshot than the one that proved it.

        Nothing waits here. None means that a password has to be checked again: its account was
        removed, disabled, or has another hash for which it is not known to be right.

        Raises:
            Unauthorized: a token is not good any more; LoginEnded if it is a refresh token.
        """
        match shown:
            case AppToken():
                return self._by_app_token(shown, snapshot, origin)
            case Refresh():
                return self._by_refresh_token(shown, snapshot, origin)
            case Basic(name, password):
                known, now = proved.known, snapshot.accounts.get(name)
                if now is None or now.id != known.id or now.disabled:
                    return None
                same = now.password_hash == known.password_hash
                return _by_password(now) if same or self._remembers(now, password) else None
        return None

    def _by_password(
        self, shown: Basic, snapshot: Snapshot, client: str, *, stale: bool, at_once: bool
    ) -> Identity:
        known = snapshot.accounts.get(shown.name)
        if (
            known is not None
            and self._remembers(known, shown.password)
            and self.guesses.may_be_remembered(client, shown.name)
        ):
            self.observations.passwords.append("remembered")
            return _by_password(known)
        if stale:
            raise NotReady("the store cannot be reached, and this password was not checked lately")
        if at_once:
            raise MustWait
        self.guesses.require_few(client, shown.name, exists=known is not None)
        state = (known.password_hash, known.disabled) if known else ()
        right = self.hashing.once(
            client,
            self.passwords.check_id(shown.name, shown.password, *state),
            lambda: self._check(shown, known, snapshot.highest_cost, client),
            guest=self.guesses.is_guest(client, shown.name),
        )
        if not (right and known):
            raise Unauthorized(_why(known))
        self.guesses.welcome(client, shown.name)
        return _by_password(known)

    def _remembers(self, known: KnownAccount, password: str) -> bool:
        stored = known.password_hash
        if known.disabled or stored is None:
            return False
        return self.passwords.remembers(known.id, stored, password)

    def _check(
        self, shown: Basic, known: KnownAccount | None, highest_cost: int, client: str
    ) -> bool:
        """Check a password, now that it is its turn: while it waited, others were wrong."""
        self.guesses.require_few(client, shown.name, exists=known is not None)
        stored = known.password_hash if known else None
        usable = known is not None and not known.disabled
        right = self.passwords.check(shown.password, stored, highest_cost, usable=usable)
        self.observations.passwords.append("right" if right else "wrong")
        if right and known and stored:
            self._verified(known.id, stored, shown.password)
        else:
            self.guesses.count(client, shown.name, shown.password)
        return right

    def _by_app_token(self, shown: AppToken, snapshot: Snapshot, origin: Origin) -> Identity:
        token = snapshot.app_tokens.get(shown.digest)
        if token is None:
            why = "unknown or revoked app token" if shown.well_formed else "mistyped app token"
            raise Unauthorized(why)
        now = self.clock()
        known = snapshot.accounts[token.account]
        if token.account != shown.name:
            raise Unauthorized("app token of another account")
        if known.disabled:
            raise Unauthorized("disabled account")
        if token.expires_at is not None and token.expires_at <= now:
            raise Unauthorized(f"expired app token {token.name}")
        if token.networks and not _within(token, origin.address):
            raise Unauthorized(f"app token {token.name} from a network that it is not for")
        use = Use(Kind.APP, token.id, now, origin.address, origin.client, ends=token.expires_at)
        return Identity(known, f"app token {token.name}", token.ceiling, use=use, app_token=token)

    def _by_refresh_token(self, shown: Refresh, snapshot: Snapshot, origin: Origin) -> Identity:
        token = snapshot.refresh_tokens.get(shown.digest)
        if token is None:
            raise LoginEnded("unknown or revoked refresh token")
        now = self.clock()
        known = snapshot.accounts[token.account]
        if known.disabled:
            raise LoginEnded("disabled account")
        if token.expires_at <= now:
            raise LoginEnded("refresh token was idle for too long")
        use = Use(Kind.REFRESH, token.id, now, origin.address, origin.client, token.expires_at)
        return Identity(known, f"refresh token {token.id}", bound_to=token.service, use=use)

    def used(self, identity: Identity) -> None:
        """Note that a token was used, once its request has been found good."""
        if identity.use is not None and self.uses.note(identity.use):
            _warn_of_expiry(identity)

    def _verified(self, account_id: int, stored: str, password: str) -> None:
        self.passwords.learn(account_id, stored, password)
        if not self.passwords.outdated(stored):
            return
        new = passwords.hash_password(password, self.passwords.cost)
        self.passwords.learn(account_id, new, password)
        self.rehashes.add(account_id, stored, new)


def _by_password(known: KnownAccount) -> Identity:
    return Identity(known, "password", may_stay_logged_in=known.account.kind is AccountKind.USER)


def _within(token: KnownAppToken, text: str) -> bool:
    read = parse_address(text)
    return read is not None and any(read in network for network in token.networks)


def _warn_of_expiry(identity: Identity) -> None:
    use = identity.use
    if use is not None and use.ends is not None and use.ends - use.at < EXPIRES_SOON:
        log.warning(
            "an app token in use expires soon: authserver token rotate",
            account=identity.known.account.name,
            token=identity.credential.removeprefix("app token "),
            id=use.id,
            expires_at=use.ends.isoformat(timespec="minutes"),
        )


def _why(known: KnownAccount | None) -> str:
    if known is None:
        return "unknown account"
    if known.disabled:
        return "disabled account"
    return "wrong password" if known.password_hash else "account without a password"
