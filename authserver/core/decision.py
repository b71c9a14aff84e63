"""Rules, and the one function that decides.

For an account: granted = requested ∩ (((allow(account) ∩ ceiling) ∪ grant(anonymous)) −
deny(account)). For a request without credentials: granted = requested ∩ (allow − deny) over the
rules on ``anonymous`` and ``everyone``. The order of rules never matters, a deny always wins,
and no rule means no access.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from authserver.core.conditions import UNKNOWN, Circumstances
from authserver.core.names import is_repository_name
from authserver.core.rules import (
    ACTIONS,
    ALL,
    CATALOG,
    Asked,
    Effect,
    Limit,
    Rule,
    expand,
    in_order,
)
from authserver.core.scope import Scope
from authserver.core.subjects import Account


class Cause(StrEnum):
    """The cause of one step of a decision."""

    ALLOWED = "allowed"
    DENIED = "denied"
    CEILING = "ceiling"
    NO_RULE = "no-rule"
    UNKNOWN_TYPE = "unknown-type"
    UNKNOWN_ACTION = "unknown-action"
    IMPOSSIBLE_NAME = "impossible-name"


@dataclass(frozen=True, slots=True)
class Reason:
    """One step of a decision: its cause, the actions it touched, and its rule if there is one."""

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
    """What is granted for one scope, in the order of :data:`ACTIONS`, and every reason."""

    scope: Scope
    granted: tuple[str, ...]
    reasons: tuple[Reason, ...]

    @property
    def complete(self) -> bool:
        """Whether every requested action is granted."""
        return bool(self.scope.actions) and set(self.scope.actions) <= set(self.granted)


def decide(
    rules: Iterable[Rule],
    account: Account | None,
    service: str,
    scope: Scope,
    ceiling: Sequence[Limit] | None = None,
    circumstances: Circumstances = UNKNOWN,
) -> Decision:
    """Decide one scope for ``account`` (None: a request without credentials).

    ``ceiling`` None means that the credential stands for all of the account. A requested ``*``
    asks for every action that the resource type knows.
    """
    reasons = _impossible(scope)
    requested = expand(scope.type, scope.actions)
    if not requested or any(r.cause is not Cause.UNKNOWN_ACTION for r in reasons):
        return Decision(scope, (), tuple(reasons))

    asked = Asked(account, service, scope, circumstances)
    anonymously = asked.anonymously()
    allowed: set[str] = set()
    denied: set[str] = set()
    public: set[str] = set()
    for rule in rules:
        # Comparing subjects costs less than matching patterns, and rules out most rules.
        own = rule.binds(account)
        if own and not rule.applies(asked):
            # Without credentials the rule covers no more: {account} matches nothing then.
            continue
        # An account may do what an anonymous request may do.
        anyone = rule.effect is Effect.ALLOW and rule.binds(None) and rule.applies(anonymously)
        if not own and not anyone:
            continue
        touched = rule.touched(scope)
        if rule.effect is Effect.DENY:
            denied |= touched
            reasons.append(Reason(Cause.DENIED, in_order(scope.type, touched), rule))
            continue
        allowed |= touched if own else set()
        public |= touched if anyone else set()
        reasons.append(Reason(Cause.ALLOWED, in_order(scope.type, touched), rule))

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


def _ceiling(limits: Sequence[Limit], scope: Scope, account: Account | None) -> set[str]:
    name = account.name if account else None
    return {
        action
        for limit in limits
        if limit.type == scope.type and limit.pattern.matches(scope.name, name)
        for action in expand(limit.type, limit.actions)
    }
