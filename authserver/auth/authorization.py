"""What a credential is answered to a question, by one snapshot: all of it but the token itself."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from authserver.audit.records import MAX_RULES
from authserver.audit.token_event import MAX_TEXT
from authserver.auth.credentials import Identity
from authserver.core import claims, scope
from authserver.core.claims import Template
from authserver.core.conditions import Circumstances
from authserver.core.decision import Decision, decide
from authserver.core.errors import BadRequest, LoginEnded, Unauthorized
from authserver.core.names import nfc, printable
from authserver.core.scope import MalformedScope
from authserver.db.snapshot import Snapshot

MAX_SCOPES = 200
MAX_SCOPE_BYTES = 12 * 1024
MAX_REMEMBERED = 2_000
MAX_REMEMBERED_CHARACTERS = 1 << 20
"""Of the questions whose answers are remembered, all together; an answer is some times as long."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks for, as it sent it, whoever it is: nothing of it is secret."""

    services: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    @property
    def requested(self) -> str:
        return " ".join(self.scopes)

    @property
    def characters(self) -> int:
        return sum(map(len, (*self.services, *self.accounts, *self.scopes)))

    def require_size(self) -> None:
        """Check that not too much is asked for at once.

        Raises:
            BadRequest: it is more than MAX_SCOPE_BYTES.
        """
        # No character has more than four bytes.
        if 4 * sum(map(len, self.scopes)) <= MAX_SCOPE_BYTES:
            return
        if sum(len(text.encode()) for text in self.scopes) > MAX_SCOPE_BYTES:
            raise BadRequest(
                f"more than {MAX_SCOPE_BYTES} bytes of scopes; ask in several requests"
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """What is granted, as claims, and what records and the log say of it.

    ``outcome`` is ``granted``, ``partial`` or ``denied``; ``reason`` says why something was not
    granted, ``rules`` which rules led here. One that is ``conditional`` is good for one request.
    ``scope`` is all that is granted; ``requested`` and ``granted`` are cut to what a record holds,
    and shared by the records of equal requests.
    """

    service: str
    claims: Template
    scope: str
    requested: str
    granted: str
    outcome: str
    reason: str
    rules: str
    conditional: bool


def answer(
    snapshot: Snapshot,
    identity: Identity | None,
    question: Question,
    here: Circumstances,
    token_ttl: int,
) -> Answer:
    """Answer a question by whom a credential has proved, or by nobody in particular (None).

    Tokens live for ``token_ttl`` seconds where the registry says nothing else.

    Raises:
        BadRequest: there are too many scopes, or the service is missing, repeated or unknown.
        LoginEnded: the credential is bound to another registry.
        Unauthorized: the account parameter is another account.
    """
    service = _service(question.services, snapshot)
    _require_bound(identity, service)
    _require_account(question.accounts, identity)
    asked, malformed = _scopes(question.scopes)
    account = identity.known.account if identity else None
    ceiling = identity.ceiling if identity else None
    candidates = [snapshot.rules.candidates(account, wanted.name) for wanted in asked]
    decisions = [
        decide(rules, account, service, wanted, ceiling, here)
        for wanted, rules in zip(asked, candidates, strict=True)
    ]
    template = Template.of(
        issuer=snapshot.issuer,
        subject=account.name if account else "",
        audience=service,
        lifetime=snapshot.registries[service].token_ttl or token_ttl,
        access=claims.access(decisions),
    )
    conditional = any(rule.conditions for rules in candidates for rule in rules)
    return _told(question, decisions, malformed, service, template, conditional=conditional)


def _told(
    question: Question,
    decisions: list[Decision],
    malformed: list[str],
    service: str,
    template: Template,
    *,
    conditional: bool,
) -> Answer:
    given = [replace(d.scope, actions=d.granted) for d in decisions if d.granted]
    short = [d for d in decisions if not d.complete]
    used = {r.rule.id for d in decisions for r in d.reasons if r.rule is not None}
    granted = " ".join(map(str, given))
    outcome = "partial" if given else "denied"
    return Answer(
        service=service,
        claims=template,
        scope=granted,
        requested=question.requested[:MAX_TEXT],
        granted=granted[:MAX_TEXT],
        outcome=outcome if short or malformed else "granted",
        reason="; ".join([*malformed, *map(_shortfall, short)]),
        rules=" ".join(map(str, sorted(used)[:MAX_RULES])),
        conditional=conditional,
    )


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
        "registry entries, see `authserver registry list`"
    )


def _require_bound(identity: Identity | None, service: str) -> None:
    if identity is not None and identity.bound_to not in (None, service):
        raise LoginEnded("refresh token of another registry")


def _require_account(named: tuple[str, ...], identity: Identity | None) -> None:
    if identity is None:
        return
    if any(nfc(name) != identity.known.account.name for name in named if name):
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


@dataclass(slots=True)
class _Page:
    """Answers of one snapshot, and for how many characters more there is room."""

    basis: object
    answers: dict[Hashable, Answer] = field(default_factory=dict)
    room: int = MAX_REMEMBERED_CHARACTERS


class Remembered:
    """Answers that were given lately, so that equal requests need not be decided twice.

    They go by the credential, not by what was shown: that is proved again each time. They end
    with the snapshot that gave them, and refusals are never among them.
    """

    def __init__(self) -> None:
        self._page = _Page(None)

    def find(
        self, snapshot: Snapshot, identity: Identity | None, question: Question
    ) -> Answer | None:
        """Return what ``snapshot`` has answered to this question by this very credential."""
        page = self._page
        if page.basis is not snapshot.basis:
            return None
        return page.answers.get((identity and identity.key, question))

    def keep(
        self, snapshot: Snapshot, identity: Identity | None, question: Question, given: Answer
    ) -> None:
        """Remember an answer, unless it holds for one request only."""
        if given.conditional:
            return
        page = self._page
        if page.basis is not snapshot.basis or page.room < 0 or len(page.answers) >= MAX_REMEMBERED:
            # Other threads go on with the page that they hold; nobody waits.
            page = self._page = _Page(snapshot.basis)
        page.room -= question.characters
        page.answers[identity and identity.key, question] = given
