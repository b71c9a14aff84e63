"""Find who gains or loses what by each step of a plan."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any, NamedTuple

from authserver.core.conditions import ALWAYS
from authserver.core.patterns import Pattern
from authserver.core.rules import ALL, Effect, Rule, expand, in_order
from authserver.core.subjects import ANONYMOUS, AccountKind, Subject, SubjectKind
from authserver.policy.files.coverage import Coverage, Cut, Permission, within
from authserver.policy.files.current_state import PolicyState
from authserver.policy.files.document import AccountEntry, GroupEntry, RuleEntry
from authserver.policy.files.steps import MembershipEntry, Step
from authserver.policy.pattern_index import RulePattern

MAX_PIECES = 250
"""Of one step; the plan says if there are more."""

MAX_NAMES = 10


@dataclass(frozen=True, slots=True)
class AccessChange:
    """What some accounts gain or lose; with ``some``, on a part of the pattern only."""

    gains: bool
    names: tuple[str, ...]
    actions: tuple[str, ...]
    piece: Permission
    some: bool

    def __str__(self) -> str:
        more = len(self.names) - MAX_NAMES
        who = ", ".join(self.names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
        verb = ("gain" if self.gains else "lose") + ("s" if len(self.names) == 1 else "")
        piece = self.piece
        of = "some of " if self.some else ""
        kind = "" if piece.type == "repository" else f"{piece.type} "
        where = f" on {piece.service}" if piece.service else ""
        when = f" {piece.conditions}" if piece.conditions != ALWAYS else ""
        return f"{who} {verb} {','.join(self.actions)} on {of}{kind}{piece.pattern}{where}{when}"

    def as_json(self) -> dict[str, Any]:
        return {
            "change": "gain" if self.gains else "lose",
            "accounts": list(self.names),
            "actions": list(self.actions),
            "type": self.piece.type,
            "pattern": str(self.piece.pattern),
            "some": self.some,
            "registry": self.piece.service,
            "conditions": str(self.piece.conditions) or None,
        }


@dataclass(frozen=True, slots=True)
class StepEffects:
    """What accounts gain or lose by one step; ``more`` if this is not all."""

    changes: Sequence[AccessChange] = ()
    more: bool = False

    def as_json(self) -> dict[str, Any]:
        return {"told": [each.as_json() for each in self.changes], "more": self.more}


def of(
    steps: Sequence[Step],
    before: PolicyState,
    after: PolicyState,
    progress: Callable[[int, int], None],
) -> list[StepEffects]:
    """Return the effects of each step.

    Effects compare the state before and after the whole plan, not step by step. Disabled accounts
    neither gain nor lose.
    """
    comparison = _Comparison(before, after)
    effects = []
    for number, step in enumerate(steps, 1):
        effects.append(comparison.effects(step))
        progress(number, len(steps))
    return effects


class _Moved(NamedTuple):
    """The accounts that gain or lose a permission, or ``some`` of it."""

    gains: bool
    some: bool
    names: frozenset[str]


class _Difference(NamedTuple):
    """The permissions that a rule touches, each with the accounts that gain or lose it."""

    rule: Rule
    moved: list[tuple[Permission, _Moved]]
    more: bool


class _Comparison:
    def __init__(self, before: PolicyState, after: PolicyState) -> None:
        self._states = before, after
        self._old, self._new = Coverage(before), Coverage(after)
        self._moved: dict[Permission, tuple[_Moved, ...]] = {}
        self._by_rule: dict[int, _Difference] = {}

    def effects(self, step: Step) -> StepEffects:
        """Return the effects of one step."""
        entry = step.entry
        match entry:
            case RuleEntry():
                versions = [e.rule for e in (step.before, step.after) if isinstance(e, RuleEntry)]
                return self._effects_of(versions, self._bound_by(versions))
            case MembershipEntry():
                group = GroupEntry(entry.group).subject
                return self._of_rules([group], frozenset({entry.member.name}))
            case GroupEntry() if step.after is None:
                return self._of_rules([entry.subject], frozenset(m.name for m in entry.members))
            case AccountEntry():
                return self._of_account(entry)
        return StepEffects()

    def _bound_by(self, rules: Iterable[Rule]) -> frozenset[str]:
        entries = [RulePattern(pattern, rule) for rule in rules for pattern in rule.patterns]
        bound = (each.bound(entry) for entry in entries for each in (self._old, self._new))
        return frozenset().union(*bound)

    def _of_account(self, account: AccountEntry) -> StepEffects:
        names = {account.name}
        if account.kind is AccountKind.USER:
            names.update(self._owned.get(account.name, ()))
        moved = frozenset(
            name for name in names if self._old.is_enabled(name) != self._new.is_enabled(name)
        )
        subjects = {Subject(kind) for kind in _WORDS} if moved else set()
        for name in moved:
            for state in self._states:
                subjects.update(_subjects(state, name))
        return self._of_rules(sorted(subjects, key=str), moved)

    def _of_rules(self, subjects: Iterable[Subject], names: frozenset[str]) -> StepEffects:
        """Return the effects of the rules on some subjects for these accounts."""
        if not any(each.is_enabled(n) for each in (self._old, self._new) for n in names):
            return StepEffects()
        return self._effects_of(
            (rule for one in subjects for rule in self._naming.get(one, ())), names
        )

    @cached_property
    def _owned(self) -> dict[str, set[str]]:
        """The robots of each user, in either state."""
        robots: defaultdict[str, set[str]] = defaultdict(set)
        for state in self._states:
            for account in state.accounts.values():
                if account.owner is not None:
                    robots[account.owner].add(account.name)
        return robots

    @cached_property
    def _naming(self) -> dict[Subject, list[Rule]]:
        by_subject: defaultdict[Subject, list[Rule]] = defaultdict(list)
        for rule in dict.fromkeys((*self._old.rules, *self._new.rules)):
            for subject in rule.subjects:
                by_subject[subject].append(rule)
        return by_subject

    def _pieces_of(self, entry: RulePattern) -> Iterator[Permission]:
        rule = entry.rule
        if rule.effect is Effect.ALLOW:
            yield from _pieces(rule, rule, entry.pattern)
            return
        for coverage in (self._old, self._new):
            for allow in coverage.allowed_near(entry):
                inner = within(entry.pattern, allow.pattern)
                yield from _pieces(allow.rule, rule, entry.pattern if inner else allow.pattern)

    def _effects_of(self, rules: Iterable[Rule], among: frozenset[str]) -> StepEffects:
        grouped: defaultdict[tuple[Any, ...], list[Permission]] = defaultdict(list)
        differences = [self._difference(rule) for rule in rules if rule.enabled]
        number = 0
        for piece, (gains, some, names) in chain.from_iterable(each.moved for each in differences):
            own_names = names & among
            if not own_names:
                continue
            number += 1
            if number > MAX_PIECES:
                break
            where = (piece.type, piece.pattern, piece.service, piece.conditions)
            grouped[(gains, some, own_names, *where)].append(piece)
        changes = [
            AccessChange(
                gains,
                _in_order(own_names),
                in_order(together[0].type, {piece.action for piece in together}),
                together[0],
                some,
            )
            for (gains, some, own_names, *_), together in grouped.items()
        ]
        return StepEffects(
            sorted(changes, key=str),
            more=number > MAX_PIECES or any(each.more for each in differences),
        )

    def _difference(self, rule: Rule) -> _Difference:
        # By identity: hashing a rule costs more than the lookup saves.
        if id(rule) not in self._by_rule:
            pieces = (
                p for pattern in rule.patterns for p in self._pieces_of(RulePattern(pattern, rule))
            )
            some = list(islice(pieces, MAX_PIECES + 1))
            moved = [(p, moved) for p in dict.fromkeys(some) for moved in self._compared(p)]
            self._by_rule[id(rule)] = _Difference(rule, moved, more=len(some) > MAX_PIECES)
        return self._by_rule[id(rule)]

    def _compared(self, piece: Permission) -> tuple[_Moved, ...]:
        if piece not in self._moved:
            old, new = self._old.holding(piece), self._new.holding(piece)
            both = old.names & new.names
            nothing: frozenset[Cut] = frozenset()
            cut = {n for n in both if new.cuts.get(n, nothing) - old.cuts.get(n, nothing)}
            mended = {n for n in both if old.cuts.get(n, nothing) - new.cuts.get(n, nothing)}
            gain, lose = new.names - old.names, old.names - new.names
            partly_gain = gain & frozenset(new.cuts)
            partly_lose = lose & frozenset(old.cuts)
            shifts = (
                _Moved(gains=True, some=False, names=gain - partly_gain),
                _Moved(gains=False, some=False, names=lose - partly_lose),
                _Moved(gains=True, some=True, names=partly_gain | mended),
                _Moved(gains=False, some=True, names=partly_lose | cut),
            )
            self._moved[piece] = tuple(moved for moved in shifts if moved.names)
        return self._moved[piece]


_WORDS = (SubjectKind.AUTHENTICATED, SubjectKind.EVERYONE, SubjectKind.ANONYMOUS)


def _subjects(state: PolicyState, name: str) -> Iterator[Subject]:
    account = state.accounts.get(name)
    if account is not None:
        yield account.subject
        for group in state.groups.values():
            if account.subject in group.members:
                yield Subject(SubjectKind.GROUP, group.name)


def _pieces(allow: Rule, rule: Rule, pattern: Pattern) -> Iterator[Permission]:
    """Give the permissions within a pattern that both an allow and a rule are about."""
    named = expand(allow.type, allow.actions) & expand(rule.type, rule.actions)
    # For repositories * is no more than the three that it stands for.
    actions = named - {ALL} if allow.type == "repository" else named
    service = rule.service or allow.service
    narrower = rule if rule.conditions.within(allow.conditions) else allow
    for action in in_order(allow.type, actions):
        yield Permission(allow.type, pattern, action, service, narrower.conditions)


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (name != ANONYMOUS, name.casefold())))
