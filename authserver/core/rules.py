"""Rules: when one applies, and the checks of a new one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from authserver.core.conditions import (
    ALWAYS,
    UNKNOWN,
    Circumstances,
    Conditions,
    Hindrance,
    Value,
)
from authserver.core.errors import Refused
from authserver.core.patterns import Pattern, repository_pattern, require_length
from authserver.core.scope import Scope
from authserver.core.subjects import Account, Subject

ALL = "*"
CATALOG = "catalog"
LIST = "list"
"""What people write for the one action on the catalog."""

# The actions of each resource type, in the order in which answers list them.
ACTIONS = {"repository": ("pull", "push", "delete", ALL), "registry": (ALL,)}


IS_DISABLED = Hindrance("disabled", "it is disabled")
OTHER_REGISTRY = Hindrance("registry", "it is for another registry")
OTHER_TYPE = Hindrance("type", "it is for another resource type")
OTHER_SUBJECT = Hindrance("subject", "it is about somebody else")
OTHER_NAME = Hindrance("pattern", "its pattern does not cover the name")
OTHER_ACTIONS = Hindrance("action", "it is about other actions")


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: an account, a registry, a scope, and the circumstances of the request."""

    account: Account | None
    service: str
    scope: Scope
    circumstances: Circumstances = UNKNOWN

    def anonymously(self) -> "Asked":
        """Return the same without credentials."""
        return self if self.account is None else replace(self, account=None)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. It is about any of its subjects and covers any of its patterns.

    ``service`` None means every registry, also those added later.
    """

    id: int
    effect: Effect
    subjects: tuple[Subject, ...]
    patterns: tuple[Pattern, ...]
    actions: frozenset[str]
    type: str = "repository"
    service: str | None = None
    conditions: Conditions = ALWAYS
    enabled: bool = True

    def __str__(self) -> str:
        who = ",".join(map(str, self.subjects))
        what = "" if self.type == "repository" else f"{self.type} "
        names = ",".join(map(str, self.patterns))
        actions = ",".join(in_order(self.type, self.actions))
        where = f"on {self.service}" if self.service else "on every registry"
        when = f" {self.conditions}" if self.conditions else ""
        off = "" if self.enabled else " (disabled)"
        return f"{self.effect} {who} {what}{names} {actions} {where}{when}{off}"

    def applies(self, asked: Asked) -> bool:
        """Whether the rule applies to any of the requested actions."""
        return next(self.hindrances(asked), None) is None

    def hindrances(self, asked: Asked) -> Iterator[Hindrance]:
        """Give everything that keeps the rule from applying; nothing if it applies."""
        # The cheapest checks that rule out most rules come first.
        if not self.binds(asked.account):
            yield OTHER_SUBJECT
        if self.type != asked.scope.type:
            yield OTHER_TYPE
        if self.service not in (None, asked.service):
            yield OTHER_REGISTRY
        if not self.enabled:
            yield IS_DISABLED
        if not self.touched(asked.scope):
            yield OTHER_ACTIONS
        if not self.covers(asked.scope.name, asked.account):
            yield OTHER_NAME
        for condition in self.conditions.parts:
            unmet = condition.unmet(asked.circumstances)
            if unmet is not None and (self.effect is Effect.ALLOW or not unmet.unknown):
                yield unmet

    def binds(self, account: Account | None) -> bool:
        # A loop, since each token request passes many rules: a generator takes twice the time.
        for subject in self.subjects:  # noqa: SIM110
            if subject.binds(account):
                return True
        return False

    def covers(self, name: str, account: Account | None) -> bool:
        asking = account.name if account else None
        return any(pattern.matches(name, asking) for pattern in self.patterns)

    def touched(self, scope: Scope) -> set[str]:
        """Return the actions of ``scope`` that the rule names."""
        return expand(self.type, self.actions) & expand(scope.type, scope.actions)


@dataclass(frozen=True, slots=True)
class Limit:
    """One entry of a credential's ceiling."""

    type: str
    pattern: Pattern
    actions: frozenset[str]


def expand(kind: str, actions: Iterable[str]) -> set[str]:
    """Return those ``actions`` that the resource type knows; ``*`` stands for all of them."""
    every = ACTIONS.get(kind, ())
    requested = set(actions)
    return set(every) if ALL in requested else requested.intersection(every)


def in_order(kind: str, actions: Iterable[str]) -> tuple[str, ...]:
    """Return ``actions`` in the order of :data:`ACTIONS`."""
    unordered = set(actions)
    return tuple(action for action in ACTIONS[kind] if action in unordered)


def new_rule(
    effect: Effect,
    subjects: Iterable[Subject],
    patterns: Iterable[str],
    actions: str,
    *,
    resource_type: str = "repository",
    service: str | None = None,
    now: datetime | None = None,
    enabled: bool = True,
    **conditions: Value,
) -> Rule:
    """Return a rule that may be written, in its one form: each list sorted, nothing twice.

    The rule has no id yet. ``conditions`` are fields of ``core.conditions``. With ``now`` None
    the rule may have ended already.

    Raises:
        Refused: there is no subject, a pattern can match nothing, an action is unknown, a value of
            a condition is no good, or the rule would have ended already.
    """
    if resource_type not in ACTIONS:
        raise Refused(f"the resource type is repository or registry, not {resource_type!r}")
    unique = sorted(set(subjects), key=str)
    names = sorted({rule_pattern(resource_type, text) for text in patterns}, key=str)
    if not unique or not names:
        raise Refused(f"the rule names no {'pattern' if unique else 'subject'}")
    when = Conditions.parse(conditions)
    if now is not None:
        when.require_end_after(now)
    return Rule(
        id=0,
        effect=effect,
        subjects=tuple(unique),
        patterns=tuple(names),
        actions=rule_actions(effect, resource_type, actions),
        type=resource_type,
        service=service,
        conditions=when,
        enabled=enabled,
    )


def rule_pattern(kind: str, text: str) -> Pattern:
    """Return a new rule's pattern.

    Raises:
        Refused: the pattern can match no name of that resource type.
    """
    if kind == "repository":
        return repository_pattern(text)
    require_length(text)
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
