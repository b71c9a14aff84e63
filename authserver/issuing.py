"""One token request, from credentials to response."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore
from typing import Any

import structlog

from authserver import tokens
from authserver.core import claims, scope
from authserver.core.claims import Claims
from authserver.core.conditions import Circumstances, address
from authserver.core.errors import (
    AuthserverError,
    BadRequest,
    LoginEnded,
    NotReady,
    TokenRequestError,
    Unauthorized,
)
from authserver.core.names import nfc, printable
from authserver.core.policy import Decision, decide
from authserver.core.scope import MalformedScope
from authserver.credentials import Authenticator, Basic, Identity, Malformed, Origin, Refresh, Shown
from authserver.db import refresh_tokens
from authserver.db.records import MAX_RULES
from authserver.db.snapshot import Snapshot
from authserver.db.store import Store
from authserver.journal import Journal, TokenEvent
from authserver.live import Live, State
from authserver.tokens import Prefix

MAX_SCOPES = 200
MAX_SCOPE_BYTES = 12 * 1024
MAX_REASON = 1000
# Logging in does not wait long for others who write.
LOGIN_WAITS = 2.0
LOGINS_WAITING = 4

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What the client sent. ``offline`` asks for a refresh token as well."""

    shown: Shown
    services: tuple[str, ...]
    accounts: tuple[str, ...]
    scopes: tuple[str, ...]
    offline: bool
    origin: Origin
    request_id: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A registry token and what the response says of it."""

    token: str = field(repr=False)
    issued_at: datetime
    lifetime: timedelta
    granted: str
    refresh_token: str | None = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return the response's body (Distribution ``token.md``)."""
        body = {
            "token": self.token,
            "access_token": self.token,
            "expires_in": int(self.lifetime.total_seconds()),
            "issued_at": self.issued_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        # Some clients change their ways when they are given one that they did not ask for.
        return body | ({"refresh_token": self.refresh_token} if self.refresh_token else {})


@dataclass(frozen=True)
class Issuer:
    """Answers token requests from the live state."""

    live: Live
    store: Store
    authenticator: Authenticator
    journal: Journal
    token_ttl: int
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]
    # Logins that wait for a writer must not take all threads and connections.
    storing: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(LOGINS_WAITING))

    def issue(self, request: TokenRequest) -> Issued:
        """Answer one request; what was denied is left out of the token's grant.

        Raises:
            BadRequest: too much was asked, or the service is missing, repeated or unknown.
            Unauthorized: credentials were shown and are not good.
            NotReady: there is nothing safe to answer from, or no valid signing key.
        """
        with self._recorded(request) as event:
            _require_size(request.scopes)
            state = self.live.knowing(request.shown)
            identity = self._identity(request, state, event)
            service = _service(request.services, state.snapshot)
            _require_bound(identity, service)
            _require_account(request.accounts, identity)
            asked, malformed = _scopes(request.scopes)
            if identity is not None:
                self.authenticator.used(identity)
            account = identity.known.account if identity else None
            ceiling = identity.ceiling if identity else None
            rules = state.snapshot.rules
            now = self.clock()
            here = Circumstances(address(request.origin.address), now)
            decisions = [decide(rules, account, service, s, ceiling, here) for s in asked]
            made = Claims(
                issuer=state.snapshot.issuer,
                subject=account.name if account else "",
                audience=service,
                issued_at=now.replace(microsecond=0),
                lifetime=self._lifetime(state.snapshot, service),
                jwt_id=secrets.token_urlsafe(16),
                access=claims.access(decisions),
            )
            token = state.signer_of(service).sign(made)
            event.decided(service, made.jwt_id, decisions, malformed)
            staying = self._refresh_token(request, state, identity, service)
        return Issued(token, made.issued_at, made.lifetime, event.granted, staying)

    def _identity(self, request: TokenRequest, state: State, event: "_Event") -> Identity | None:
        if request.shown is None:
            return None
        match request.shown:
            case Basic(name):
                known = name in state.snapshot.accounts
                event.account = name if known else self.journal.hashed(name)
            case Refresh():
                event.account = "(refresh token)"
            case Malformed():
                event.account = "(malformed)"
        identity = self.authenticator.authenticate(
            request.shown, state.snapshot, request.origin, stale=state.stale
        )
        event.account, event.credential = identity.known.account.name, identity.credential
        return identity

    def _lifetime(self, snapshot: Snapshot, service: str) -> timedelta:
        return timedelta(seconds=snapshot.registries[service].token_ttl or self.token_ttl)

    def _refresh_token(
        self,
        request: TokenRequest,
        state: State,
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
        secret = tokens.make(Prefix.REFRESH, self.random)
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

    @contextmanager
    def _recorded(self, request: TokenRequest) -> Iterator["_Event"]:
        """Write one record and, for what was refused or denied, the log's line that says why."""
        event = _Event()
        try:
            yield event
        except TokenRequestError as error:
            event.reason = error.reason
            log.warning("token refused", **event.seen(request))
            raise
        except NotReady as error:
            event.reason = str(error)
            log.error("token refused", **event.seen(request))
            raise
        except Exception:
            event.reason = "unexpected error"
            log.error("token refused", **event.seen(request))
            raise
        else:
            if event.reason:
                log.info("scope denied", **event.seen(request))
        finally:
            self.journal.add(event.finish(request, self.clock()))


@dataclass
class _Event:
    """What is learnt about a request on its way, for the record and the log."""

    account: str = ""
    credential: str = ""
    service: str = ""
    outcome: str = "refused"
    granted: str = ""
    jwt_id: str | None = None
    reason: str = ""
    rules: str = ""

    def decided(
        self, service: str, jwt_id: str, decisions: list[Decision], malformed: list[str]
    ) -> None:
        self.service, self.jwt_id = service, jwt_id
        given = [replace(d.scope, actions=d.granted) for d in decisions if d.granted]
        short = [d for d in decisions if not d.complete]
        self.granted = " ".join(map(str, given))
        self.outcome = "partial" if given else "denied"
        if not short and not malformed:
            self.outcome = "granted"
        self.reason = "; ".join([*malformed, *map(_shortfall, short)])
        used = {r.rule.id for d in decisions for r in d.reasons if r.rule is not None}
        self.rules = " ".join(map(str, sorted(used)[:MAX_RULES]))

    def seen(self, request: TokenRequest) -> dict[str, str]:
        return {
            "account": self.account or "anonymous",
            "address": request.origin.address,
            "service": printable(self.service or " ".join(request.services)),
            "reason": printable(self.reason, MAX_REASON),
        }

    def finish(self, request: TokenRequest, at: datetime) -> TokenEvent:
        return TokenEvent(
            at=at,
            request_id=request.request_id,
            outcome=self.outcome,
            account=self.account,
            credential=self.credential,
            address=request.origin.address,
            client=request.origin.client,
            service=self.service or " ".join(request.services),
            requested=" ".join(request.scopes),
            granted=self.granted,
            jwt_id=self.jwt_id,
            reason=self.reason,
            rules=self.rules,
        )


def _shortfall(decision: Decision) -> str:
    why = ", ".join(str(r) for r in decision.reasons if r.cause != "allowed")
    return f"{printable(str(decision.scope))}: {why}"


def _require_size(scopes: tuple[str, ...]) -> None:
    if sum(len(text.encode()) for text in scopes) > MAX_SCOPE_BYTES:
        raise BadRequest(f"more than {MAX_SCOPE_BYTES} bytes of scopes; ask in several requests")


def _service(named: tuple[str, ...], snapshot: Snapshot) -> str:
    if len(named) > 1:
        raise BadRequest("the parameter service is repeated; name one registry")
    service = named[0] if named else ""
    if service in snapshot.registries:
        return service
    if not service and len(snapshot.registries) == 1:
        return next(iter(snapshot.registries))
    if not service:
        raise BadRequest("the parameter service is missing; the registry's challenge names it")
    raise BadRequest(
        "unknown service; the registry's auth.token.service must be one of this server's "
        "registry entries, see `authserver registry list`"
    )


def _require_bound(identity: Identity | None, service: str) -> None:
    if identity is not None and identity.bound_to not in (None, service):
        raise LoginEnded("refresh token of another registry")


def _require_account(named: tuple[str, ...], identity: Identity | None) -> None:
    shown = {nfc(name) for name in named if name}
    if identity is not None and shown - {identity.known.account.name}:
        raise Unauthorized("the account parameter is not the authenticated account")


def _scopes(values: tuple[str, ...]) -> tuple[list[scope.Scope], list[str]]:
    """Return the scopes that can be read, merged, and why each other one cannot."""
    texts = scope.split(values)
    if len(texts) > MAX_SCOPES:
        raise BadRequest(f"more than {MAX_SCOPES} scopes; ask in several requests")
    read, malformed = [], []
    for text in texts:
        try:
            read.append(scope.parse(text))
        except MalformedScope as error:
            malformed.append(printable(str(error)))
    return scope.merge(read), malformed
