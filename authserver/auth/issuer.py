"""One token request, from credentials to response."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as in_json
from threading import BoundedSemaphore
from time import perf_counter
from typing import NamedTuple

import structlog

from authserver.audit.journal import Journal
from authserver.audit.token_event import TokenEvent
from authserver.auth.authorization import Answer, Question, Remembered, answer
from authserver.auth.credentials import (
    AppToken,
    Authenticator,
    Basic,
    Identity,
    Malformed,
    Origin,
    Refresh,
    Shown,
    is_known,
    kind_of,
)
from authserver.auth.state import AuthState, StateCache
from authserver.core import secret_tokens
from authserver.core.addresses import parse_address
from authserver.core.conditions import Circumstances
from authserver.core.errors import AuthserverError, Busy, MustWait, NotReady, TokenRequestError
from authserver.core.secret_tokens import Prefix
from authserver.db import refresh_tokens
from authserver.db.store import Store
from authserver.keys.keyring import Signer
from authserver.runtime.metrics.counters import Observations, TokenRequestSeen

# Logging in does not wait long for others who write.
LOGIN_WAITS = 2.0
LOGINS_WAITING = 4

log = structlog.get_logger()


class TokenRequest(NamedTuple):
    """What the client sent. ``offline`` asks for a refresh token as well.

    ``at_once`` has it raise MustWait where it would have to wait.
    """

    shown: Shown
    question: Question
    offline: bool
    origin: Origin
    request_id: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Issued:
    """A registry token and what the response says of it; ``lifetime`` is in seconds.

    ``issued_at`` is in seconds since 1970.
    """

    token: str = field(repr=False)
    issued_at: int
    lifetime: int
    granted: str
    refresh_token: str | None = field(repr=False)

    def as_json(self, **more: str) -> str:
        """Return the response's body, with ``more`` in it (Distribution ``token.md``).

        What is written here by hand has nothing that JSON would escape.
        """
        # Some clients change their ways when they are given one that they did not ask for.
        if self.refresh_token is not None:
            more["refresh_token"] = self.refresh_token
        others = "".join(f'"{name}": {in_json(text)}, ' for name, text in sorted(more.items()))
        return (
            f'{{"access_token": "{self.token}", "expires_in": {self.lifetime}, '
            f'"issued_at": "{_in_words(self.issued_at)}", {others}"token": "{self.token}"}}'
        )


@lru_cache(maxsize=4)
def _in_words(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class Issuer:
    """Answers token requests from the current state."""

    state: StateCache
    store: Store
    authenticator: Authenticator
    journal: Journal
    token_ttl: int
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]
    observations: Observations = field(default_factory=Observations)
    # Logins that wait for a writer must not take all threads and connections.
    storing: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(LOGINS_WAITING))
    remembered: Remembered = field(default_factory=Remembered, init=False)

    def issue(self, request: TokenRequest) -> Issued:
        """Answer one request; what was denied is left out of the token's grant.

        Raises:
            MustWait: it was to be answered ``at_once`` and cannot be.
            BadRequest: too much was asked, or the service is missing, repeated or unknown.
            Unauthorized: credentials were shown and are not good.
            NotReady: there is nothing safe to answer from, or no valid signing key.
        """
        event, began = _begun(request), perf_counter()
        # Before anything is decided, so that it is decided by what is true after the wait.
        self.journal.give_way()
        try:
            issued = self._issue(request, event)
        except MustWait:
            raise
        except Exception as error:
            event.reason, tell = _refusal(error)
            if self._record(request, event, began, type(error)):
                tell("token refused", **event.told)
            raise
        if self._record(request, event, began, None) and event.reason:
            log.info("scope denied", **event.told)
        return issued

    def _record(
        self,
        request: TokenRequest,
        event: TokenEvent,
        began: float,
        refusal: type[Exception] | None,
    ) -> bool:
        """Record a request; return whether it gets a line in the log as well."""
        event.at = self.clock()
        told = self.journal.add(event)
        kind, seconds = kind_of(request.shown), perf_counter() - began
        seen = TokenRequestSeen(event.service, event.outcome, refusal, kind, seconds)
        self.observations.token_requests.append(seen)
        return told

    def _issue(self, request: TokenRequest, event: TokenEvent) -> Issued:
        request.question.require_size()
        if request.at_once and request.offline and isinstance(request.shown, Basic):
            raise MustWait
        state = self.state.current_with(
            lambda snapshot: is_known(request.shown, snapshot), at_once=request.at_once
        )
        identity = self._identity(request, state, event)
        now = self.clock()
        answered, signer = self._decide(request, state, identity, now)
        staying = self._refresh_token(request, state, identity, answered.service)
        if not request.at_once:
            # It may have waited, and others have changed what it is answered by.
            state, identity = self._anew(request, identity, event)
            now = self.clock()
            answered, signer = self._decide(request, state, identity, now)
        if identity is not None:
            self.authenticator.used(identity)
        issued_at, jwt_id = int(now.timestamp()), secrets.token_urlsafe(16)
        claims = answered.claims.encode(issued_at, jwt_id)
        token = signer.sign_encoded(claims, now)
        event.service, event.jwt_id = answered.service, jwt_id
        event.outcome, event.requested = answered.outcome, answered.requested
        event.granted = answered.granted
        event.reason, event.rules = answered.reason, answered.rules
        return Issued(token, issued_at, answered.claims.lifetime, answered.scope, staying)

    def _decide(
        self, request: TokenRequest, state: AuthState, identity: Identity | None, now: datetime
    ) -> tuple[Answer, Signer]:
        """Return what a request is answered by this state, and what signs that."""
        snapshot = state.snapshot
        found = self.remembered.find(snapshot, identity, request.question)
        if found is None:
            here = Circumstances(parse_address(request.origin.address), now)
            found = answer(snapshot, identity, request.question, here, self.token_ttl)
            self.remembered.keep(snapshot, identity, request.question, found)
        return found, state.signer_of(found.service)

    def _anew(
        self, request: TokenRequest, identity: Identity | None, event: TokenEvent
    ) -> tuple[AuthState, Identity | None]:
        """Return the state of now, and who shows the credential by that state.

        A password is checked again if the account has another hash by now: the same password
        may have been hashed anew, at a higher cost.
        """
        while True:
            state = self.state.current
            if identity is None:
                return state, None
            still = self.authenticator.still(
                identity, request.shown, state.snapshot, request.origin
            )
            if still is not None:
                return state, still
            identity = self._identity(request, state, event)

    def _identity(
        self, request: TokenRequest, state: AuthState, event: TokenEvent
    ) -> Identity | None:
        if request.shown is None:
            return None
        match request.shown:
            case Basic(name) | AppToken(name):
                known = name in state.snapshot.accounts
                event.account = name if known else self.journal.hashed(name)
            case Refresh():
                event.account = "(refresh token)"
            case Malformed():
                event.account = "(malformed)"
        identity = self.authenticator.authenticate(
            request.shown,
            state.snapshot,
            request.origin,
            stale=state.stale,
            at_once=request.at_once,
        )
        event.account, event.credential = identity.known.account.name, identity.credential
        return identity

    def _refresh_token(
        self,
        request: TokenRequest,
        state: AuthState,
        identity: Identity | None,
        service: str,
    ) -> str | None:
        """Return the refresh token that goes with the answer, if one was asked for and may."""
        if not request.offline or identity is None:
            return None
        if isinstance(request.shown, Refresh):
            return request.shown.secret
        if not identity.may_stay_logged_in or not state.snapshot.registries[service].refresh_tokens:
            return None
        secret = secret_tokens.make(Prefix.REFRESH, self.random)
        login = refresh_tokens.Login(
            identity.known.id,
            identity.known.password_hash,
            request.origin.address,
            request.origin.client,
        )
        idle = self.authenticator.uses.idle
        if state.stale or not self.storing.acquire(blocking=False):
            why = "the store cannot be reached" if state.stale else "too many logins wait to be"
            log.warning("no refresh token could be stored", error=why)
            return None
        try:
            actor = f"account:{identity.known.account.name}"
            with self.store.change(actor, wait=LOGIN_WAITS) as change:
                refresh_tokens.add(change, login, service, secret, idle)
        except AuthserverError as error:
            # The registry token is good; the client keeps the password instead.
            log.warning("no refresh token could be stored", error=str(error))
            return None
        finally:
            self.storing.release()
        return secret


def _begun(request: TokenRequest) -> TokenEvent:
    """Return a request's event, refused until it is answered."""
    return TokenEvent(
        request_id=request.request_id,
        address=request.origin.address,
        client=request.origin.client,
        service=" ".join(request.question.services),
        requested=request.question.requested,
    )


def _refusal(error: Exception) -> tuple[str, Callable[..., object]]:
    """Return why there is no token, and what tells the log."""
    match error:
        case TokenRequestError():
            return error.reason, log.warning
        case Busy():
            # What clients do is no fault of the installation.
            return str(error), log.warning
        case NotReady():
            return str(error), log.error
    return "unexpected error", log.error
