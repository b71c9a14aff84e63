"""One token request, from credentials to response."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import BoundedSemaphore
from typing import Any

import structlog

from authserver import tokens
from authserver.answers import Answer, Question, Remembered, answer
from authserver.core.conditions import Circumstances, address
from authserver.core.errors import AuthserverError, NotReady, TokenRequestError
from authserver.core.names import printable
from authserver.credentials import Authenticator, Basic, Identity, Malformed, Origin, Refresh, Shown
from authserver.db import refresh_tokens
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
    question: Question
    offline: bool
    origin: Origin
    request_id: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A registry token and what the response says of it; ``lifetime`` is in seconds."""

    token: str = field(repr=False)
    issued_at: datetime
    lifetime: int
    granted: str
    refresh_token: str | None = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return the response's body (Distribution ``token.md``)."""
        body = {
            "token": self.token,
            "access_token": self.token,
            "expires_in": self.lifetime,
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
    remembered: Remembered = field(default_factory=Remembered, init=False)

    def issue(self, request: TokenRequest) -> Issued:
        """Answer one request; what was denied is left out of the token's grant.

        Raises:
            BadRequest: too much was asked, or the service is missing, repeated or unknown.
            Unauthorized: credentials were shown and are not good.
            NotReady: there is nothing safe to answer from, or no valid signing key.
        """
        with self._recorded(request) as event:
            request.question.require_size()
            state = self.live.knowing(request.shown)
            identity = self._identity(request, state, event)
            now = self.clock()
            answered = self._answer(request, state.snapshot, identity, now)
            if identity is not None:
                self.authenticator.used(identity)
            issued_at, jwt_id = now.replace(microsecond=0), secrets.token_urlsafe(16)
            claims = answered.claims.encode(int(issued_at.timestamp()), jwt_id)
            token = state.signer.sign_encoded(claims, issued_at)
            event.answered(answered, jwt_id)
            staying = self._refresh_token(request, state.snapshot, identity, answered.service)
        return Issued(token, issued_at, answered.claims.lifetime, answered.granted, staying)

    def _answer(
        self, request: TokenRequest, snapshot: Snapshot, identity: Identity | None, now: datetime
    ) -> Answer:
        found = self.remembered.find(snapshot, identity, request.question)
        if found is None:
            here = Circumstances(address(request.origin.address), now)
            found = answer(snapshot, identity, request.question, here, self.token_ttl)
            self.remembered.keep(snapshot, identity, request.question, found)
        return found

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
        identity = self.authenticator.authenticate(request.shown, state.snapshot, request.origin)
        event.account, event.credential = identity.known.account.name, identity.credential
        return identity

    def _refresh_token(
        self,
        request: TokenRequest,
        snapshot: Snapshot,
        identity: Identity | None,
        service: str,
    ) -> str | None:
        """Return the refresh token that goes with the answer, if one was asked for and may."""
        if not request.offline or identity is None:
            return None
        if isinstance(request.shown, Refresh):
            return request.shown.secret
        if not identity.may_stay_logged_in or not snapshot.registries[service].refresh_tokens:
            return None
        secret = tokens.make(Prefix.REFRESH, self.random)
        login = refresh_tokens.Login(
            identity.known.id,
            identity.known.password_hash,
            request.origin.address,
            request.origin.client,
        )
        idle = self.authenticator.uses.idle
        if not self.storing.acquire(blocking=False):
            log.warning("no refresh token could be stored", error="too many logins wait to be")
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

    def answered(self, answer: Answer, jwt_id: str) -> None:
        self.service, self.jwt_id = answer.service, jwt_id
        self.outcome, self.granted = answer.outcome, answer.granted
        self.reason, self.rules = answer.reason, answer.rules

    def seen(self, request: TokenRequest) -> dict[str, str]:
        return {
            "account": self.account or "anonymous",
            "address": request.origin.address,
            "service": printable(self.service or " ".join(request.question.services)),
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
            service=self.service or " ".join(request.question.services),
            requested=" ".join(request.question.scopes),
            granted=self.granted,
            jwt_id=self.jwt_id,
            reason=self.reason,
            rules=self.rules,
        )
