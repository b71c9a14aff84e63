"""The caller of the API, and what the caller may do."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum

import structlog
from flask import Request, g

from authserver.audit.journal import Journal
from authserver.audit.token_event import TokenEvent
from authserver.auth.authenticator import identify, of_name_and_secret
from authserver.auth.by_password import Password
from authserver.auth.credentials import Backends, Credential, Identity, Malformed, Origin
from authserver.auth.passwords import NewPasswords
from authserver.auth.state import StateCache
from authserver.core.bounds import UNBOUNDED, Bounds, beyond, placed
from authserver.core.commands import program
from authserver.core.errors import (
    Busy,
    Forbidden,
    NotReady,
    SecondFactorNeeded,
    TooManyAttempts,
    Unauthorized,
)
from authserver.core.names import printable
from authserver.core.subjects import AccountKind, Role
from authserver.db import accounts, second_checks
from authserver.db.snapshot import Snapshot
from authserver.db.snapshot_rows import KnownAppToken
from authserver.db.store import Change
from authserver.web.token import read_authorization

CHANGE_WAITS = 5.0
"""Seconds for which a change waits for other writers."""

NO_CREDENTIAL = Malformed("none")
"""What stands for the credential of a request without one."""

log = structlog.get_logger()


class Need(Enum):
    """What an operation needs.

    ``of_token`` is the role that an app token must open, ``of_account`` that of the caller. Where
    every account may, a token that opens the account's own suffices as well.
    """

    NOTHING = "no account", Role.NOBODY, Role.NOBODY
    ANY = "an account, by password or any app token", Role.NOBODY, Role.NOBODY
    SELF_READER = (
        "an account, by password or an app token with an admin, auditor or self ceiling",
        Role.AUDITOR,
        Role.NOBODY,
    )
    SELF = (
        "an account, by password or an app token with an admin or self ceiling",
        Role.ADMINISTRATOR,
        Role.NOBODY,
    )
    READER = (
        "an administrator or auditor, by password or an app token with an admin or auditor ceiling",
        Role.AUDITOR,
        Role.AUDITOR,
    )
    ADMINISTRATOR = (
        "an administrator, by password or an app token with an admin ceiling",
        Role.ADMINISTRATOR,
        Role.ADMINISTRATOR,
    )

    def __init__(self, text: str, of_token: Role, of_account: Role) -> None:
        self.text, self.of_token, self.of_account = text, of_token, of_account

    def met_by(self, token: KnownAppToken) -> bool:
        """Whether an app token opens enough, whatever its account may do."""
        return token.role >= self.of_token or (self._is_for_all and token.own)

    def ceiling(self, marked: Role) -> str:
        """Return the least ceiling that meets the need, for an account with this role."""
        if self._is_for_all and marked < self.of_token:
            return "self"
        return "admin" if self.of_token is Role.ADMINISTRATOR else "auditor"

    @property
    def _is_for_all(self) -> bool:
        return self.of_account is Role.NOBODY


@dataclass(frozen=True)
class Caller:
    """The identity behind a request. The credential is kept to verify it again in a change."""

    identity: Identity
    credential: Credential = field(repr=False)

    @property
    def name(self) -> str:
        return self.identity.known.account.name

    @property
    def role(self) -> Role:
        """Return what the caller may do in the administration, by this credential."""
        return self.role_now(self.identity.known.role)

    def role_now(self, marked: Role) -> Role:
        """Return the same of an account that has the role ``marked`` by now.

        A robot has no role by itself, only that of its app token.
        """
        token, marked = self.identity.app_token, self._of_account(marked)
        return marked if token is None else min(marked, token.role)

    def _of_account(self, marked: Role | None) -> Role:
        known, token = self.identity.known, self.identity.app_token
        if known.account.kind is AccountKind.ROBOT:
            return Role.NOBODY if token is None else token.role
        return known.role if marked is None else marked

    @property
    def bounds(self) -> Bounds:
        """Return what the credential may be used for at most."""
        token = self.identity.app_token
        if token is None:
            return UNBOUNDED
        limits = None if token.ceiling is None else placed(token.ceiling, self.name)
        return Bounds(limits, token.role, token.own, token.networks, token.expires_at)

    def require_within(self, made: Bounds) -> None:
        """Check that a new credential's bounds are within those of the caller's credential.

        Raises:
            Forbidden: they are not.
        """
        token = self.identity.app_token
        if token is not None and token.rotated:
            raise second_checks.rotated()
        for excess in beyond(made, self.bounds):
            raise Forbidden(
                f"an app token makes no credential that is wider than itself, and this one is not "
                f"good for {excess}: ask for less, or use the password"
            )

    def require(self, need: Need, marked: Role | None = None) -> None:
        """Check what an operation needs. The account has the role ``marked`` by now.

        Raises:
            Forbidden: the account or the credential lacks it.
        """
        marked = self._of_account(marked)
        if marked < need.of_account:
            only = {Role.AUDITOR: "an administrator or auditor"}.get(need.of_account)
            raise self.forbidden(only or "an administrator", marked)
        token = self.identity.app_token
        if token is not None and not need.met_by(token):
            enough = need.ceiling(marked)
            raise Forbidden(
                f"this app token has no {enough} ceiling: use one that was made with "
                f"`{program()} token create --{enough}`, or the password"
            )

    def forbidden(self, only: str, marked: Role) -> Forbidden:
        """Return the refusal of what ``only`` they may do, to an account with this role."""
        reads = self.role_now(marked) is Role.AUDITOR
        return Forbidden(f"only {only} may do this" + (f"; {self.name} may read" if reads else ""))


@dataclass(frozen=True)
class Callers:
    """Identifies callers, by the same check as the token endpoint's.

    ``where`` is the place to which they come, as records have it.
    """

    state: StateCache
    backends: Backends
    journal: Journal
    where: str = "admin API"

    def of(self, request: Request, address: str) -> Caller:
        """Return the caller of a request.

        Raises:
            Unauthorized: the request has no good credentials.
            NotReady: the store cannot be reached.
            TooManyAttempts, Busy: as :func:`identify`.
        """
        header = request.environ.get("HTTP_AUTHORIZATION")
        credential = NO_CREDENTIAL if header is None else read_authorization(header)
        return self.of_credential(
            credential, Origin(address, request.headers.get("User-Agent", ""))
        )

    def of_credential(self, credential: Credential, origin: Origin) -> Caller:
        """Return the caller that a credential proves. Raises as :meth:`of`."""
        with self._refusals_recorded(credential, origin):
            return Caller(self._identity(credential, origin), credential)

    @contextmanager
    def _refusals_recorded(self, credential: Credential, origin: Origin) -> Iterator[None]:
        """Record why the block refuses a credential that was sent."""
        try:
            yield
        except (Unauthorized, TooManyAttempts, Busy) as error:
            if credential != NO_CREDENTIAL:
                self._record(credential, origin, getattr(error, "reason", str(error)))
            raise

    def _identity(self, credential: Credential, origin: Origin) -> Identity:
        self.state.current_with(credential.is_known)
        still: Identity | None = None
        while still is None:
            # A password that was hashed anew while this one waited is verified again.
            identity = identify(credential, self.backends, self._snapshot, origin)
            still = credential.still(identity, self.backends, self._snapshot, origin)
        if still.use is not None:
            self.backends.uses.note(still.use)
        return still

    @property
    def _snapshot(self) -> Snapshot:
        state = self.state.current
        if state.stale:
            raise NotReady("the administration needs the store, which cannot be reached")
        return state.snapshot

    def still(self, caller: Caller, origin: Origin) -> Caller:
        """Return the caller by the present state: the request has waited since the first check.

        Raises:
            Unauthorized: the account or the credential is no longer good.
            NotReady: the store cannot be reached.
        """
        credential = caller.credential
        identity = credential.still(caller.identity, self.backends, self._snapshot, origin)
        if identity is None:
            raise Unauthorized("the account was removed, disabled or changed meanwhile")
        return Caller(identity, credential)

    def change_password(
        self,
        name: str,
        current: str,
        password: str,
        origin: Origin,
        new: NewPasswords,
        change: Callable[[], AbstractContextManager[Change]],
        *,
        first_of_two: bool = False,
    ) -> str:
        """Give the account that ``current`` proves another password; return the account's name.

        Its sessions end. ``change`` gives the change of the store. ``first_of_two``: whatever else
        is due has been proved.

        Raises:
            Refused: as :meth:`NewPasswords.require`, before anything depends on the account.
            Forbidden: ``current`` is not the password of ``name``.
            SecondFactorNeeded: it is, and alone not enough.
            Unauthorized: the account or its password was changed meanwhile.
            NotReady, TooManyAttempts, Busy: as :func:`identify`.
        """
        new.require(password, name)
        prover = self.prove(name, current, origin, first_of_two=first_of_two)
        hashed = self.backends.hashing.hash_new(origin.address, password, prover.name, new)
        with change() as begun:
            self.require_still(begun, prover, Need.ANY)
            accounts.set_password(begun, prover.name, hashed)
        return prover.name

    def prove(
        self, name: str, password: str, origin: Origin, *, first_of_two: bool = False
    ) -> Caller:
        """Return the user whose ``password`` it is, for the same work as a login.

        As ``first_of_two`` it is taken although something else is due, as the identity says: the
        caller may do nothing before that is proved.

        Raises:
            Forbidden: it is not that user's password.
            SecondFactorNeeded: it is, and alone not enough.
            NotReady, TooManyAttempts, Busy: as :func:`identify`.
        """
        # A person may come right after the change that let them: to set the password, say.
        if not self.state.current.stale:
            self.state.refresh()
        credential = of_name_and_secret(name, password)
        if isinstance(credential, Password):
            credential = replace(credential, first_of_two=first_of_two)
        try:
            with self._refusals_recorded(credential, origin):
                identity = self._identity(credential, origin)
                _require_password(identity)
        except SecondFactorNeeded:
            raise
        except Unauthorized:
            raise Forbidden("the current password is another") from None
        return Caller(identity, credential)

    def require_still(self, change: Change, caller: Caller, need: Need) -> None:
        """Check inside a change that the caller's credential is still good and still suffices.

        Raises:
            Unauthorized: the account or the credential is no longer good.
            Forbidden: the account has no longer the role.
        """
        row = second_checks.require_account(change.session, caller.identity.known.id, caller.name)
        caller.credential.require_still(caller.identity, self.backends, change, row)
        caller.require(need, row.role)

    def _record(self, credential: Credential, origin: Origin, reason: str) -> None:
        snapshot = self.state.current.snapshot
        account = credential.account_in_records(snapshot, self.journal.hashed)
        event = TokenEvent(
            request_id=g.request_id,
            address=origin.address,
            client=origin.client,
            account=account,
            reason=f"{self.where}: {reason}",
            at=self.state.store.clock(),
        )
        if self.journal.add(event):
            details = {"account": account, "address": origin.address, "reason": printable(reason)}
            log.warning("request refused", where=self.where, **details)
        self.journal.give_way()


def _require_password(identity: Identity) -> None:
    if identity.app_token is not None:
        raise Unauthorized("an app token in the place of the password")
