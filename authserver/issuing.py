"""One token request, from credentials to response."""

import secrets
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from authserver.core import claims, scope
from authserver.core.claims import Claims
from authserver.core.errors import BadRequest, NotReady, TokenRequestError, Unauthorized
from authserver.core.names import printable
from authserver.core.policy import Decision, decide
from authserver.core.scope import MalformedScope
from authserver.credentials import Authenticator, Basic, read_authorization
from authserver.db.snapshot import KnownAccount, Snapshot
from authserver.journal import Journal, TokenEvent
from authserver.live import Live

MAX_SCOPES = 200
MAX_SCOPE_BYTES = 12 * 1024

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What the client sent. ``authorization`` None means that there was no such header."""

    authorization: str | None = field(repr=False)
    services: tuple[str, ...]
    accounts: tuple[str, ...]
    scopes: tuple[str, ...]
    address: str
    client: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A registry token and what the response says of it."""

    token: str = field(repr=False)
    issued_at: datetime
    lifetime: timedelta

    def as_json(self) -> dict[str, Any]:
        """Return the response's body (Distribution ``token.md``)."""
        return {
            "token": self.token,
            "access_token": self.token,
            "expires_in": int(self.lifetime.total_seconds()),
            "issued_at": self.issued_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


@dataclass(frozen=True)
class Issuer:
    """Answers token requests from the live state."""

    live: Live
    authenticator: Authenticator
    journal: Journal
    token_ttl: int
    clock: Callable[[], datetime]

    def issue(self, request: TokenRequest) -> Issued:
        """Answer one request; what was denied is left out of the token's grant.

        Raises:
            BadRequest: too much was asked, or the service is missing, repeated or unknown.
            Unauthorized: credentials were shown and are not good.
            NotReady: there is nothing safe to answer from, or no valid signing key.
        """
        with self._recorded(request) as event:
            _require_size(request.scopes)
            basic = _credentials(request.authorization)
            state = self.live.current
            known = self._account(basic, state.snapshot, event)
            service = _service(request.services, state.snapshot)
            _require_account(request.accounts, known)
            asked, malformed = _scopes(request.scopes)
            account = known.account if known else None
            decisions = [decide(state.snapshot.rules, account, service, s) for s in asked]
            made = Claims(
                issuer=state.snapshot.issuer,
                subject=account.name if account else "",
                audience=service,
                issued_at=self.clock().replace(microsecond=0),
                lifetime=timedelta(seconds=state.snapshot.registries[service] or self.token_ttl),
                jwt_id=secrets.token_urlsafe(16),
                access=claims.access(decisions),
            )
            token = state.signer.sign(made)
            event.decided(service, made.jwt_id, decisions, malformed)
        return Issued(token, made.issued_at, made.lifetime)

    def _account(
        self, basic: Basic | None, snapshot: Snapshot, event: "_Event"
    ) -> KnownAccount | None:
        if basic is None:
            return None
        known = basic.name in snapshot.accounts
        event.account = basic.name if known else self.journal.hashed(basic.name)
        return self.authenticator.authenticate(basic, snapshot)

    @contextmanager
    def _recorded(self, request: TokenRequest) -> Iterator["_Event"]:
        """Write one record and, for what was refused or denied, the log's line that says why."""
        event = _Event()
        try:
            yield event
        except TokenRequestError as error:
            event.reason = error.reason
            log.warning("token refused", **event.seen(request), reason=event.reason)
            raise
        except NotReady as error:
            event.reason = str(error)
            log.error("token refused", **event.seen(request), reason=event.reason)
            raise
        else:
            if event.reason:
                log.info("scope denied", **event.seen(request), reason=event.reason)
        finally:
            self.journal.add(event.finish(request, self.clock()))


@dataclass
class _Event:
    """What is learnt about a request on its way, for the record and the log."""

    account: str = ""
    service: str = ""
    outcome: str = "refused"
    granted: str = ""
    jwt_id: str | None = None
    reason: str = ""

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

    def seen(self, request: TokenRequest) -> dict[str, str]:
        return {
            "account": self.account or "anonymous",
            "address": request.address,
            "service": printable(self.service or " ".join(request.services)),
        }

    def finish(self, request: TokenRequest, at: datetime) -> TokenEvent:
        return TokenEvent(
            at=at,
            request_id=request.request_id,
            outcome=self.outcome,
            account=self.account,
            address=request.address,
            client=request.client,
            service=self.service or " ".join(request.services),
            requested=" ".join(request.scopes),
            granted=self.granted,
            jwt_id=self.jwt_id,
            reason=self.reason,
        )


def _shortfall(decision: Decision) -> str:
    why = ", ".join(str(r) for r in decision.reasons if r.cause != "allowed")
    return f"{printable(str(decision.scope))}: {why}"


def _require_size(scopes: tuple[str, ...]) -> None:
    if sum(len(text.encode()) for text in scopes) > MAX_SCOPE_BYTES:
        raise BadRequest(f"more than {MAX_SCOPE_BYTES} bytes of scopes; ask in several requests")


def _credentials(authorization: str | None) -> Basic | None:
    return None if authorization is None else read_authorization(authorization)


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


def _require_account(named: tuple[str, ...], known: KnownAccount | None) -> None:
    shown = {unicodedata.normalize("NFC", name) for name in named if name}
    if known is not None and shown - {known.account.name}:
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
