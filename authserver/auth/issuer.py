"""One token request, from the credential to the response: TokenRequest → Authorization → Issued."""

import secrets
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from threading import BoundedSemaphore
from time import perf_counter
from typing import NamedTuple

import structlog

from authserver.audit.journal import Journal
from authserver.audit.token_event import TokenEvent
from authserver.auth.authenticator import identify
from authserver.auth.authorization import Authorization, ScopeRequest, authorize
from authserver.auth.credentials import Backends, Credential, Identity, Origin
from authserver.auth.state import AuthState, StateCache
from authserver.core import secret_tokens
from authserver.core.addresses import parse_address
from authserver.core.conditions import Circumstances
from authserver.core.errors import (
    AuthserverError,
    BadRequest,
    Busy,
    Challenged,
    MustWait,
    NotReady,
    TokenRequestError,
)
from authserver.core.secret_tokens import Prefix
from authserver.db import refresh_tokens
from authserver.db.snapshot import Snapshot
from authserver.db.store import Store
from authserver.keys.jose import Signer
from authserver.runtime.metrics.counters import Observations, TokenRequestObservation

# A login does not wait long for other writers.
LOGIN_WAITS = 2.0
LOGINS_WAITING = 4

MAX_SCOPE_BYTES = 12 * 1024
MAX_REMEMBERED = 2_000
MAX_REMEMBERED_CHARACTERS = 1 << 20
"""Characters of all remembered requests together; an authorization is a few times as long."""

log = structlog.get_logger()


class TokenRequest(NamedTuple):
    """What the client sent. ``offline`` asks for a refresh token as well.

    One that is to be answered ``at_once`` raises MustWait before anything is done for it.
    """

    credential: Credential | None
    wanted: ScopeRequest
    offline: bool
    origin: Origin
    request_id: str
    at_once: bool = False

    @property
    def starts_login(self) -> bool:
        """Whether a refresh token may have to be stored, which waits for other writers."""
        return self.offline and self.credential is not None and self.credential.starts_login

    def require_wait(self) -> None:
        """Check that this request may wait.

        Raises:
            MustWait: it is to be answered at once.
        """
        if self.at_once:
            raise MustWait

    def require_size(self) -> None:
        """Check that the client does not ask for too much at once.

        Raises:
            BadRequest: it is more than MAX_SCOPE_BYTES.
        """
        # No character has more than four bytes.
        scopes = self.wanted.scopes
        if 4 * sum(map(len, scopes)) <= MAX_SCOPE_BYTES:
            return
        if sum(len(text.encode()) for text in scopes) > MAX_SCOPE_BYTES:
            raise BadRequest(
                f"more than {MAX_SCOPE_BYTES} bytes of scopes; ask in several requests"
            )


@dataclass(frozen=True, slots=True)
class Issued:
    """A registry token, and what the response says. ``issued_at`` is in seconds since 1970."""

    authorization: Authorization
    token: str = field(repr=False)
    jwt_id: str
    issued_at: int
    refresh_token: str | None = field(repr=False)


@dataclass(slots=True)
class _Page:
    """Authorizations by one snapshot, and for how many characters more there is room."""

    basis: object
    authorizations: dict[Hashable, Authorization] = field(default_factory=dict)
    room: int = MAX_REMEMBERED_CHARACTERS


class Remembered:
    """Recent authorizations, so that an equal request is not decided again.

    They go by the identity, not by the credential, which is verified each time. They end with the
    snapshot that gave them. Refusals are never among them.
    """

    def __init__(self) -> None:
        self._page = _Page(None)

    def find(
        self, snapshot: Snapshot, identity: Identity | None, wanted: ScopeRequest
    ) -> Authorization | None:
        """Return what ``snapshot`` has granted to this identity for an equal request."""
        page = self._page
        if page.basis is not snapshot.basis:
            return None
        return page.authorizations.get((identity and identity.key, wanted))

    def keep(
        self,
        snapshot: Snapshot,
        identity: Identity | None,
        wanted: ScopeRequest,
        granted: Authorization,
    ) -> None:
        """Remember an authorization, unless it holds for one request only."""
        if granted.conditional:
            return
        page = self._page
        if (
            page.basis is not snapshot.basis
            or page.room < 0
            or len(page.authorizations) >= MAX_REMEMBERED
        ):
            # Other threads go on with the page that they hold; no thread waits.
            page = self._page = _Page(snapshot.basis)
        page.room -= wanted.characters
        page.authorizations[identity and identity.key, wanted] = granted


@dataclass(frozen=True)
class Issuer:
    """Answers token requests from the current state."""

    state: StateCache
    store: Store
    backends: Backends
    journal: Journal
    token_ttl: int
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]
    observations: Observations = field(default_factory=Observations)
    # Logins that wait for a writer must not take all threads and connections.
    storing: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(LOGINS_WAITING))
    remembered: Remembered = field(default_factory=Remembered, init=False)

    def issue(self, request: TokenRequest) -> Issued:
        """Answer one request; the token's grant leaves out what was denied.

        Raises:
            MustWait: it was to be answered ``at_once`` and cannot be.
            BadRequest: it asks for too much, or the service is missing, repeated or unknown.
            Unauthorized: the credential is not good.
            NotReady: there is nothing safe to answer from, or no valid signing key.
        """
        began, credential, identity = perf_counter(), request.credential, None
        state: AuthState | None = None
        try:
            request.require_size()
            if request.starts_login:
                request.require_wait()
            # Before anything is decided: the answer must be true after this wait.
            self.journal.give_way()
            state = self.state.current
            if credential is not None:
                identity = credential.recall(self.backends, state.snapshot, request.origin)
                if identity is None:
                    request.require_wait()
                    # The record of a refusal names the account by the state that knows tokens.
                    state = None
                    state = self.state.current_with(credential.is_known)
                    identity = credential.verify(
                        self.backends, state.snapshot, request.origin, stale=state.stale
                    )
            now = self.clock()
            authorization, signer = self._decide(request, state, identity, now)
            refresh_token = None
            if request.offline and identity is not None:
                refresh_token = self._refresh_token(request, state, identity, authorization)
            if not request.at_once:
                # It may have waited, and what the answer depends on may have changed.
                state, identity = self._by_now(request, identity)
                now = self.clock()
                authorization, signer = self._decide(request, state, identity, now)
            if identity is not None and identity.use is not None:
                self.backends.uses.note(identity.use)
            issued_at, jwt_id = int(now.timestamp()), secrets.token_urlsafe(16)
            token = signer.sign(authorization.claims.encode(issued_at, jwt_id), now)
            issued = Issued(authorization, token, jwt_id, issued_at, refresh_token)
        except MustWait:
            raise
        except Exception as error:
            self._record_refusal(request, state, identity, error, began)
            raise
        self._record(request, identity, issued, began)
        return issued

    def _decide(
        self, request: TokenRequest, state: AuthState, identity: Identity | None, now: datetime
    ) -> tuple[Authorization, Signer]:
        """Return what this state authorizes, and what signs that."""
        snapshot = state.snapshot
        authorization = self.remembered.find(snapshot, identity, request.wanted)
        if authorization is None:
            here = Circumstances(parse_address(request.origin.address), now)
            authorization = authorize(snapshot, identity, request.wanted, here, self.token_ttl)
            self.remembered.keep(snapshot, identity, request.wanted, authorization)
        return authorization, state.signer_of(authorization.service)

    def _by_now(
        self, request: TokenRequest, identity: Identity | None
    ) -> tuple[AuthState, Identity | None]:
        """Return the state of now, and the identity by that state.

        A password is verified again if the account has another hash by now: the same password may
        have been hashed anew, at a higher cost.
        """
        credential, origin = request.credential, request.origin
        while True:
            state = self.state.current
            if credential is None or identity is None:
                return state, None
            snapshot = state.snapshot
            still = credential.still(identity, self.backends, snapshot, origin)
            if still is not None:
                return state, still
            identity = identify(credential, self.backends, snapshot, origin, stale=state.stale)

    def _refresh_token(
        self,
        request: TokenRequest,
        state: AuthState,
        identity: Identity,
        authorization: Authorization,
    ) -> str | None:
        """Return the refresh token that goes with the answer, None if there is to be none."""
        service = authorization.service
        if request.credential is not None and request.credential.refresh_token is not None:
            return request.credential.refresh_token
        if not identity.may_stay_logged_in or not state.snapshot.registries[service].refresh_tokens:
            return None
        if state.stale or not self.storing.acquire(blocking=False):
            why = "the store cannot be reached" if state.stale else "too many logins wait to be"
            log.warning("no refresh token could be stored", error=why)
            return None
        try:
            return self._store_login(request.origin, identity, service)
        except AuthserverError as error:
            # The registry token is good; the client keeps the password instead.
            log.warning("no refresh token could be stored", error=str(error))
            return None
        finally:
            self.storing.release()

    def _store_login(self, origin: Origin, identity: Identity, service: str) -> str:
        known, name = identity.known, identity.known.account.name
        login = refresh_tokens.Login(known.id, name, known.password_hash, *origin)
        secret = secret_tokens.make(Prefix.REFRESH, self.random)
        with self.store.change(f"account:{name}", wait=LOGIN_WAITS) as change:
            refresh_tokens.add(change, login, service, secret, self.backends.uses.idle)
        return secret

    def _record(
        self, request: TokenRequest, identity: Identity | None, issued: Issued, began: float
    ) -> None:
        authorization = issued.authorization
        event = TokenEvent(
            request_id=request.request_id,
            address=request.origin.address,
            client=request.origin.client,
            service=authorization.service,
            requested=authorization.requested,
            outcome=authorization.outcome,
            account="" if identity is None else identity.known.account.name,
            credential="" if identity is None else identity.credential,
            granted=authorization.granted,
            jwt_id=issued.jwt_id,
            reason=authorization.reason,
            rules=authorization.rules,
            at=self.clock(),
        )
        if self._add(event, request, None, began) and event.reason:
            log.info("scope denied", **event.log_fields)

    def _record_refusal(
        self,
        request: TokenRequest,
        state: AuthState | None,
        identity: Identity | None,
        error: Exception,
        began: float,
    ) -> None:
        credential, account = request.credential, ""
        if identity is not None:
            account = identity.known.account.name
        elif credential is not None and state is not None:
            account = credential.account_in_records(state.snapshot, self.journal.hashed)
        reason, write_line = _refusal(error)
        event = TokenEvent(
            request_id=request.request_id,
            address=request.origin.address,
            client=request.origin.client,
            service=" ".join(request.wanted.services),
            requested=request.wanted.requested,
            account=account,
            credential="" if identity is None else identity.credential,
            reason=reason,
            at=self.clock(),
        )
        if self._add(event, request, type(error), began):
            write_line("token refused", **event.log_fields)

    def _add(
        self,
        event: TokenEvent,
        request: TokenRequest,
        refusal: type[Exception] | None,
        began: float,
    ) -> bool:
        """Add a record and an observation; return whether the request gets a log line as well."""
        has_line = self.journal.add(event)
        kind = "none" if request.credential is None else request.credential.kind
        seconds = perf_counter() - began
        seen = TokenRequestObservation(event.service, event.outcome, refusal, kind, seconds)
        self.observations.token_requests.append(seen)
        return has_line


def _refusal(error: Exception) -> tuple[str, Callable[..., object]]:
    """Return why there is no token, and what writes the line in the log."""
    match error:
        case Challenged():
            return error.reason, log.info
        case TokenRequestError():
            return error.reason, log.warning
        case Busy():
            # What clients do is no fault of the installation.
            return str(error), log.warning
        case NotReady():
            return str(error), log.error
    return "unexpected error", log.error
