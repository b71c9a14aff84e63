"""What a credential may do of what a client asks for, by one snapshot: all but the token itself."""

from dataclasses import dataclass, replace

from authserver.audit.records import MAX_RULES
from authserver.auth.credentials import Identity
from authserver.core import scope
from authserver.core.claims import Claims, access
from authserver.core.commands import program
from authserver.core.conditions import Circumstances
from authserver.core.decision import Decision, decide
from authserver.core.errors import (
    AppTokenNeeded,
    BadRequest,
    Challenged,
    LoginEnded,
    Unauthorized,
)
from authserver.core.names import nfc, printable, the_registry
from authserver.core.scope import MalformedScope
from authserver.db.snapshot import Snapshot

MAX_SCOPES = 200


@dataclass(frozen=True, slots=True)
class ScopeRequest:
    """What a client asks for, as it sent it. Nothing of it is secret or tells who asks."""

    services: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    @property
    def requested(self) -> str:
        return " ".join(self.scopes)

    @property
    def characters(self) -> int:
        return sum(map(len, (*self.services, *self.accounts, *self.scopes)))


@dataclass(frozen=True, slots=True)
class Authorization:
    """What is granted, as claims, and what records and the log say about it.

    ``outcome`` is ``granted``, ``partial`` or ``denied``; ``reason`` says why something was not
    granted, ``rules`` which rules decided. Equal requests share its texts. One that is
    ``conditional`` holds for one request only.
    """

    service: str
    claims: Claims
    requested: str
    granted: str
    outcome: str
    reason: str
    rules: str
    conditional: bool


def authorize(
    snapshot: Snapshot,
    identity: Identity | None,
    wanted: ScopeRequest,
    here: Circumstances,
    token_ttl: int,
) -> Authorization:
    """Decide what the account of ``identity`` may do, or anonymous if that is None.

    Tokens live for ``token_ttl`` seconds where the registry has no lifetime of its own.

    Raises:
        Challenged: anonymous is not granted all, on a registry that asks for a login then.
        BadRequest: there are too many scopes, or the service is missing, repeated or unknown.
        LoginEnded: the credential is bound to another registry.
        AppTokenNeeded: it is a password, or was got by one, where only app tokens are taken.
        Unauthorized: the account parameter is another account.
    """
    service = _service(wanted.services, snapshot)
    _require_bound(identity, service)
    _require_app_token(snapshot, identity, service)
    _require_account(wanted.accounts, identity)
    scopes, malformed = _scopes(wanted.scopes)
    account = identity.known.account if identity else None
    ceiling = identity.ceiling if identity else None
    candidates = [snapshot.rules.candidates(account, each.name) for each in scopes]
    decisions = [
        decide(rules, account, service, each, ceiling, here)
        for each, rules in zip(scopes, candidates, strict=True)
    ]
    registry = snapshot.registries[service]
    claims = Claims.of(
        issuer=snapshot.issuer,
        subject=account.name if account else "",
        audience=service,
        lifetime=registry.token_ttl or token_ttl,
        access=access(decisions),
    )
    granted = [replace(d.scope, actions=d.granted) for d in decisions if d.granted]
    short = [d for d in decisions if not d.complete]
    outcome = _outcome(complete=not short and not malformed, empty=not granted)
    reason = "; ".join([*malformed, *map(_shortfall, short)])
    if identity is None and outcome != "granted" and registry.challenge_anonymous:
        raise Challenged(f"the registry asks for a login: {reason}")
    rule_ids = {r.rule.id for d in decisions for r in d.reasons if r.rule is not None}
    return Authorization(
        service=service,
        claims=claims,
        requested=wanted.requested,
        granted=" ".join(map(str, granted)),
        outcome=outcome,
        reason=reason,
        rules=" ".join(map(str, sorted(rule_ids)[:MAX_RULES])),
        conditional=any(rule.conditions for rules in candidates for rule in rules),
    )


def _outcome(*, complete: bool, empty: bool) -> str:
    if complete:
        return "granted"
    return "denied" if empty else "partial"


def _shortfall(decision: Decision) -> str:
    why = ", ".join(str(r) for r in decision.reasons if r.cause != "allowed")
    return f"{printable(str(decision.scope))}: {why}"


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
        f"registry entries, see `{program()} registry list`"
    )


def _require_bound(identity: Identity | None, service: str) -> None:
    if identity is not None and identity.bound_to not in (None, service):
        raise LoginEnded("refresh token of another registry")


def _require_app_token(snapshot: Snapshot, identity: Identity | None, service: str) -> None:
    if identity is None or identity.app_token is not None:
        return
    if snapshot.registries[service].app_tokens_only:
        raise AppTokenNeeded(the_registry(service))
    if identity.known.app_tokens_only:
        raise AppTokenNeeded(f"the account {identity.known.account.name}")


def _require_account(named: tuple[str, ...], identity: Identity | None) -> None:
    if identity is None:
        # Docker sends the account's name also without credentials.
        return
    if any(nfc(name) != identity.known.account.name for name in named if name):
        raise Unauthorized("the account parameter is not the authenticated account")


def _scopes(values: tuple[str, ...]) -> tuple[list[scope.Scope], list[str]]:
    """Return the scopes that can be read, merged, and what is wrong with each other one."""
    texts = scope.split(values)
    if len(texts) > MAX_SCOPES:
        raise BadRequest(f"more than {MAX_SCOPES} scopes; ask in several requests")
    scopes, malformed = [], []
    for text in texts:
        try:
            scopes.append(scope.parse(text))
        except MalformedScope as error:
            malformed.append(printable(str(error)))
    return scope.merge(scopes), malformed
