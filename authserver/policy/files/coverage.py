"""Which accounts may do all that a pattern covers, in one state; plans compare two of these.

If several rules cover a pattern only together, none of them counts as covering it.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from authserver.core import pattern_sets
from authserver.core.conditions import Conditions
from authserver.core.names import is_path_component
from authserver.core.patterns import ACCOUNT, Pattern
from authserver.core.rules import Effect, Rule, expand
from authserver.core.subjects import ANONYMOUS, NAMED_SUBJECTS, Subject, SubjectKind
from authserver.policy.files.current_state import PolicyState
from authserver.policy.pattern_index import RulePattern, Tree

Cut = tuple[Pattern, str | None, Conditions]
"""What a deny takes away: names by a pattern, on one registry or on all, under conditions."""

_SAMPLE = "0a0"

_PUBLIC = frozenset({SubjectKind.ANONYMOUS, SubjectKind.EVERYONE})


@dataclass(frozen=True, slots=True)
class Permission:
    """One action on all names of a pattern, under conditions.

    ``service`` None means every registry.
    """

    type: str
    pattern: Pattern
    action: str
    service: str | None
    conditions: Conditions


@dataclass(frozen=True, slots=True)
class Holders:
    """The accounts that have a permission, and by name what denies take away of it."""

    names: frozenset[str]
    cuts: dict[str, frozenset[Cut]]


@dataclass(frozen=True, slots=True)
class _Bound(RulePattern):
    """A pattern with all accounts that equal rules on different subjects bind; ``rule`` is one."""

    names: frozenset[str]


class Coverage:
    """The rules of one state, indexed by pattern."""

    def __init__(self, state: PolicyState) -> None:
        self._accounts = frozenset(n for n in state.accounts if not state.is_disabled(n))
        self._placed = frozenset(filter(is_path_component, self._accounts))
        self._members = {
            Subject(SubjectKind.GROUP, name): frozenset(m.name for m in group.members)
            for name, group in state.groups.items()
        }
        self.rules = [each.rule for each in state.rules if each.rule.enabled]
        self._bound: dict[tuple[tuple[Subject, ...], Effect, bool], frozenset[str]] = {}
        self._allows = Tree(self._merged(Effect.ALLOW))
        self._denies = Tree(self._merged(Effect.DENY))

    def _merged(self, effect: Effect) -> Iterator[_Bound]:
        alike: defaultdict[tuple[Hashable, ...], list[RulePattern]] = defaultdict(list)
        for rule in self.rules:
            if rule.effect is effect:
                terms = (rule.type, rule.actions, rule.service, rule.conditions)
                for pattern in rule.patterns:
                    alike[(pattern, *terms)].append(RulePattern(pattern, rule))
        for entries in alike.values():
            names = frozenset().union(*map(self.bound, entries))
            yield _Bound(entries[0].pattern, entries[0].rule, names)

    def is_enabled(self, name: str) -> bool:
        return name in self._accounts

    def bound(self, entry: RulePattern) -> frozenset[str]:
        """Return the names that a rule binds by a pattern, ``anonymous`` included."""
        key = (entry.rule.subjects, entry.rule.effect, ACCOUNT in entry.pattern.text)
        if key not in self._bound:
            self._bound[key] = self._names(*key)
        return self._bound[key]

    def _names(self, subjects: Sequence[Subject], effect: Effect, own: bool) -> frozenset[str]:
        names: set[str] = set()
        for subject in subjects:
            # An allow on anonymous grants to accounts too; a deny on anonymous binds no account.
            public = subject.kind in _PUBLIC and effect is Effect.ALLOW and not own
            if subject.kind in (SubjectKind.AUTHENTICATED, SubjectKind.EVERYONE) or public:
                names |= self._accounts
            if subject.kind in _PUBLIC and not own:
                names.add(ANONYMOUS)
            if subject.kind in NAMED_SUBJECTS:
                names |= self._members.get(subject, frozenset({subject.name})) & self._accounts
        return frozenset(names & self._placed if own else names)

    def holding(self, permission: Permission) -> Holders:
        """Return the accounts that have a permission, and what denies cut from it."""
        names: set[str] = set()
        for entry in self._allows.around(permission.pattern):
            binds = entry.names
            if not binds <= names and _is_about(entry, permission) and _covers(entry, permission):
                names |= binds
        cuts: defaultdict[str, set[Cut]] = defaultdict(set)
        for entry in self._denies.near(permission.pattern):
            binds = entry.names & names
            if not binds or not _is_about(entry, permission):
                continue
            if _covers(entry, permission):
                names -= binds
            elif overlap(entry.pattern, permission.pattern):
                for name in binds:
                    cuts[name].add((entry.pattern, entry.rule.service, entry.rule.conditions))
        return Holders(frozenset(names), {n: frozenset(cuts[n]) for n in cuts.keys() & names})

    def allowed_near(self, entry: RulePattern) -> Iterator[RulePattern]:
        """Give the allows that overlap a pattern of a rule and bind one of the same accounts."""
        names = self.bound(entry)
        for other in self._allows.near(entry.pattern):
            same = other.rule.type == entry.rule.type and _meet(other.rule, entry.rule)
            if same and other.names & names and overlap(other.pattern, entry.pattern):
                yield other


def _meet(one: Rule, other: Rule) -> bool:
    return one.service is None or other.service in (None, one.service)


def _is_about(entry: RulePattern, permission: Permission) -> bool:
    """Whether a rule is about the action of a permission, on one of its registries."""
    rule = entry.rule
    services = rule.service is None or permission.service in (None, rule.service)
    return (
        rule.type == permission.type
        and services
        and permission.action in expand(rule.type, rule.actions)
    )


def _covers(entry: RulePattern, permission: Permission) -> bool:
    """Whether a rule covers all of a permission, given that it covers the action."""
    return (
        entry.rule.service in (None, permission.service)
        and permission.conditions.within(entry.rule.conditions)
        and within(permission.pattern, entry.pattern)
    )


def within(inner: Pattern, outer: Pattern) -> bool:
    """Whether one pattern covers all that another does."""
    if inner.text == outer.text:
        return True
    # One name that is not covered suffices, and is cheaper than the whole comparison.
    return outer.matches(_sample(inner), _SAMPLE) and _within(inner, outer)


@lru_cache(maxsize=2**16)
def _within(inner: Pattern, outer: Pattern) -> bool:
    return pattern_sets.within(inner, [outer])


@lru_cache(maxsize=2**16)
def _sample(pattern: Pattern) -> str:
    """Return one name that a pattern covers for the account _SAMPLE."""
    return pattern.text.replace(ACCOUNT, _SAMPLE).replace("**", f"0/{_SAMPLE}").replace("*", "0")


@lru_cache(maxsize=2**16)
def overlap(one: Pattern, other: Pattern) -> bool:
    return pattern_sets.overlap(one, other)
