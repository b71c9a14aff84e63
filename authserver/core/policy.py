"""Rules, and the one function that decides.

For an account: granted = requested ∩ (((allow(account) ∩ ceiling) ∪ grant(anonymous)) −
deny(account)). For a request without credentials: granted = requested ∩ (allow − deny) over the
rules on ``anonymous`` and ``everyone``. The order of rules never matters, a deny always wins,
and no rule means no access.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from authserver.core.errors import Refused
from authserver.core.names import account_name, is_repository_name
from authserver.core.patterns import Pattern, repository_pattern
from authserver.core.scope import Scope

ALL = "*"
ANONYMOUS = "anonymous"
CATALOG = "catalog"

# What each resource type knows, in the order in which answers list it.
ACTIONS = {"repository": ("pull", "push", "delete", ALL), "registry": (ALL,)}


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class AccountKind(StrEnum):
    USER = "user"
    ROBOT = "robot"


class SubjectKind(StrEnum):
    USER = "user"
    ROBOT = "robot"
    GROUP = "group"
    ANONYMOUS = "anonymous"
    AUTHENTICATED = "authenticated"
    EVERYONE = "everyone"


NAMED_SUBJECTS = frozenset({SubjectKind.USER, SubjectKind.ROBOT, SubjectKind.GROUP})


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks. ``groups`` are the names of all groups that the account is in."""

    name: str
    kind: AccountKind = AccountKind.USER
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a rule is about; ``name`` is empty but for a user, a robot or a group."""

    kind: SubjectKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else str(self.kind)

    def binds(self, account: Account | None) -> bool:
        """Whether a rule on this subject speaks of ``account`` (None: no credentials)."""
        match self.kind:
            case SubjectKind.EVERYONE:
                return True
            case SubjectKind.ANONYMOUS:
                return account is None
            case SubjectKind.AUTHENTICATED:
                return account is not None
            case SubjectKind.GROUP:
                return account is not None and self.name in account.groups
        return account is not None and self.kind.value == account.kind and self.name == account.name


def subject(text: str) -> Subject:
    """Read ``user:NAME``, ``robot:NAME``, ``group:NAME``, or one of the three words.

    Raises:
        Refused: it is none of these, or the name can be no name.
    """
    word, colon, name = text.partition(":")
    try:
        kind = SubjectKind(word)
    except ValueError:
        hint = "" if colon else f"; for the user of that name write user:{text}"
        raise Refused(
            f"unknown subject {text!r}: write user:NAME, robot:NAME, group:NAME, "
            f"anonymous, authenticated or everyone{hint}"
        ) from None
    if (kind in NAMED_SUBJECTS) != bool(colon):
        raise Refused(f"the subject {text!r} {'takes no' if colon else 'needs a'} name after it")
    return Subject(kind, account_name(name) if colon else "")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``service`` None means every registry, also those added later."""

    id: int
    effect: Effect
    subject: Subject
    pattern: Pattern
    actions: frozenset[str]
    type: str = "repository"
    service: str | None = None

    def __str__(self) -> str:
        where = f"on {self.service}" if self.service else "on every registry"
        what = "" if self.type == "repository" else f"{self.type} "
        actions = ",".join(in_order(self.type, self.actions))
        return f"{self.effect} {self.subject} {what}{self.pattern} {actions} {where}"

    def covers(self, service: str, scope: Scope, account: Account | None) -> bool:
        return (
            self.type == scope.type
            and self.service in (None, service)
            and self.pattern.matches(scope.name, account.name if account else None)
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """One entry of a credential's ceiling: what it may at most be used for."""

    type: str
    pattern: Pattern
    actions: frozenset[str]


class Cause(StrEnum):
    """Why a decision came out as it did."""

    ALLOWED = "allowed"
    DENIED = "denied"
    CEILING = "ceiling"
    NO_RULE = "no-rule"
    UNKNOWN_TYPE = "unknown-type"
    UNKNOWN_ACTION = "unknown-action"
    IMPOSSIBLE_NAME = "impossible-name"


@dataclass(frozen=True, slots=True)
class Reason:
    """One step that led to a decision: the cause, what it touched, and the rule if there is one."""

    cause: Cause
    actions: tuple[str, ...] = ()
    rule: Rule | None = None

    def __str__(self) -> str:
        cited = f"{self.rule.id} ({self.rule})" if self.rule else ""
        return _SENTENCES[self.cause].format(what=",".join(self.actions) or "(empty)", rule=cited)


_SENTENCES = {
    Cause.ALLOWED: "{what} allowed by rule {rule}",
    Cause.DENIED: "{what} denied by rule {rule}",
    Cause.CEILING: "{what} is beyond what this credential may be used for",
    Cause.NO_RULE: "no rule allows {what}",
    Cause.UNKNOWN_TYPE: "unknown resource type",
    Cause.UNKNOWN_ACTION: "unknown action {what}",
    Cause.IMPOSSIBLE_NAME: "no registry accepts this name",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What is granted for one scope, in the order of :data:`ACTIONS`, and every step there."""

    scope: Scope
    granted: tuple[str, ...]
    reasons: tuple[Reason, ...]

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is granted."""
        return bool(self.scope.actions) and set(self.scope.actions) <= set(self.granted)


def decide(
    rules: Iterable[Rule],
    account: Account | None,
    service: str,
    scope: Scope,
    ceiling: Sequence[Limit] | None = None,
) -> Decision:
    """Decide one scope for ``account`` (None: a request without credentials).

    ``ceiling`` None means that the credential stands for all of the account. A requested ``*``
    asks for every action that the resource type knows.
    """
    reasons = _impossible(scope)
    requested = _expand(scope.type, scope.actions)
    if not requested or any(r.cause is not Cause.UNKNOWN_ACTION for r in reasons):
        return Decision(scope, (), tuple(reasons))

    allowed: set[str] = set()
    denied: set[str] = set()
    public: set[str] = set()
    for rule in rules:
        # Whom it is about costs less to tell than what it covers, and rules out most.
        binds = rule.subject.binds(account)
        if not binds and not rule.subject.binds(None):
            continue
        touched = _expand(rule.type, rule.actions) & requested
        if not touched or not rule.covers(service, scope, account):
            continue
        if rule.effect is Effect.DENY:
            denied |= touched if binds else set()
        else:
            anyone = _grants_anyone(rule, service, scope)
            allowed |= touched if binds else set()
            public |= touched if anyone else set()
            binds = binds or anyone
        if binds:
            cause = Cause.ALLOWED if rule.effect is Effect.ALLOW else Cause.DENIED
            reasons.append(Reason(cause, in_order(scope.type, touched), rule))

    within = allowed if ceiling is None else allowed & _ceiling(ceiling, scope, account)
    granted = (within | public) - denied
    if denied:
        granted.discard(ALL)
    missing = requested - granted - denied
    cut = missing & (allowed - within)
    unmatched = missing - cut - (allowed | public)
    if cut:
        reasons.append(Reason(Cause.CEILING, in_order(scope.type, cut)))
    if unmatched:
        reasons.append(Reason(Cause.NO_RULE, in_order(scope.type, unmatched)))
    return Decision(scope, in_order(scope.type, granted), tuple(reasons))


def _impossible(scope: Scope) -> list[Reason]:
    known = ACTIONS.get(scope.type)
    if known is None:
        return [Reason(Cause.UNKNOWN_TYPE)]
    possible = is_repository_name if scope.type == "repository" else CATALOG.__eq__
    if not possible(scope.name):
        return [Reason(Cause.IMPOSSIBLE_NAME)]
    unknown = tuple(a for a in scope.actions if a not in known)
    return [Reason(Cause.UNKNOWN_ACTION, unknown)] if unknown else []


def _expand(kind: str, actions: Iterable[str]) -> set[str]:
    known = ACTIONS.get(kind, ())
    asked = set(actions)
    return set(known) if ALL in asked else asked.intersection(known)


def _grants_anyone(rule: Rule, service: str, scope: Scope) -> bool:
    """Whether an allow holds without credentials; ``{account}`` is nobody's name then."""
    return rule.subject.binds(None) and rule.covers(service, scope, None)


def _ceiling(limits: Sequence[Limit], scope: Scope, account: Account | None) -> set[str]:
    name = account.name if account else None
    return {
        action
        for limit in limits
        if limit.type == scope.type and limit.pattern.matches(scope.name, name)
        for action in _expand(limit.type, limit.actions)
    }


def in_order(kind: str, actions: Iterable[str]) -> tuple[str, ...]:
    """Return ``actions`` in the order of :data:`ACTIONS`."""
    chosen = set(actions)
    return tuple(a for a in ACTIONS[kind] if a in chosen)


def rule_pattern(kind: str, text: str) -> Pattern:
    """Return a new rule's pattern.

    Raises:
        Refused: it can match no name of that resource type.
    """
    if kind == "repository":
        return repository_pattern(text)
    pattern = Pattern(text)
    whole = "**" not in text or text == "**"
    if not whole or not pattern.matches(CATALOG, None):
        raise Refused(f"the only resource of type registry is {CATALOG!r}, not {text!r}")
    return pattern


def rule_actions(effect: Effect, kind: str, text: str) -> frozenset[str]:
    """Return the actions that a new rule is stored with, from ``pull,push`` or ``all``.

    The registry takes an upload only with both, so allowing push allows pull, and denying pull
    denies push.

    Raises:
        Refused: an action is unknown to the resource type, or none is given.
    """
    words = [ALL if w == "all" else w for w in text.split(",")]
    for word in words:
        if word not in ACTIONS[kind]:
            known = ", ".join((*ACTIONS[kind][:-1], "all"))
            raise Refused(f"unknown action {word!r} for a {kind}: choose from {known}")
    if ALL in words:
        return frozenset({ALL})
    implied = ("push", "pull") if effect is Effect.ALLOW else ("pull", "push")
    return frozenset(words) | ({implied[1]} if implied[0] in words else set())
