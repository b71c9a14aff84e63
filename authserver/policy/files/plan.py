"""Planning: what a file would change, and who would gain or lose by it.

Nothing that the file does not name is removed, unless it is asked for; a section that the file
does not have is left alone altogether, and so is what delegates wrote.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from authserver.core.errors import Refused
from authserver.core.subjects import AccountKind
from authserver.policy.files import current_state, effects, references
from authserver.policy.files.current_state import PolicyState
from authserver.policy.files.document import (
    AccountEntry,
    BadPolicy,
    GroupEntry,
    Policy,
    RegistryEntry,
    RuleEntry,
)
from authserver.policy.files.effects import StepEffects
from authserver.policy.files.simulation import outcome
from authserver.policy.files.steps import MembershipEntry, Step, Verb, added_or_edited

_Entry = TypeVar("_Entry", RegistryEntry, AccountEntry, GroupEntry)

Progress = Callable[[int, int], None]
"""Told how many of how many steps are done."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Plan:
    """What would be done, in this order, and what else there is to know about it.

    ``prunable`` is what only ``--prune`` removes, ``unsafe`` what only ``--force`` does.
    """

    steps: Sequence[Step]
    effects: Sequence[StepEffects]
    prunable: Sequence[Step]
    notes: Sequence[str]
    unsafe: Sequence[str]
    after: PolicyState

    @cached_property
    def id(self) -> str:
        """Return what tells this plan from one that does, or means, anything else."""
        done = {name: said for name, said in self._told.items() if name != "prunable"}
        return hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, **self._told}

    @cached_property
    def _told(self) -> dict[str, Any]:
        return {
            "changes": [
                step.as_json() | {"effects": told.as_json()}
                for step, told in zip(self.steps, self.effects, strict=True)
            ],
            "prunable": [step.as_json() for step in self.prunable],
            "notes": list(self.notes),
            "unsafe": list(self.unsafe),
        }


def require_something(policy: Policy) -> None:
    """Check that there is more in a file than tests.

    Raises:
        Refused: there is not.
    """
    if not policy.says_something:
        raise Refused(f"{policy.file} has no section but tests: there is nothing to plan")


def plan(
    session: Session, policy: Policy, *, prune: bool = False, progress: Progress = no_progress
) -> Plan:
    """Say what a file would change.

    Raises:
        BadPolicy: the file refers to what is not there, or names something that cannot be made.
    """
    return plan_from(current_state.load(session), policy, prune=prune, progress=progress)


def plan_from(
    before: PolicyState, policy: Policy, *, prune: bool = False, progress: Progress = no_progress
) -> Plan:
    """Say what a file would change of a given state. Raises what :func:`plan` raises."""
    differences = _differences(before, policy)
    steps = [*differences.changes, *(differences.removals if prune else ())]
    if problems := [*references.clashes(policy, before)]:
        raise BadPolicy(policy.file, problems)
    told = outcome(before, steps)
    if problems := [*references.dangling(policy, told.state, before)]:
        raise BadPolicy(policy.file, problems)
    return Plan(
        steps,
        effects.of(steps, before, told.state, progress),
        () if prune else differences.removals,
        [*differences.notes, *told.notes, *_starting_disabled(steps)],
        told.unsafe,
        told.state,
    )


def applied(policy: Policy) -> PolicyState:
    """Return what there would be if there were nothing but the file, with its accounts enabled.

    Raises what :func:`plan` raises.
    """
    empty = PolicyState()
    after = outcome(empty, _differences(empty, policy).changes).state
    if problems := [*references.dangling(policy, after, empty)]:
        raise BadPolicy(policy.file, problems)
    meant = policy.accounts or {}
    return replace(
        after,
        accounts={
            name: replace(account, disabled=bool(meant[name].disabled))
            for name, account in after.accounts.items()
        },
    )


@dataclass(frozen=True)
class _Differences:
    changes: list[Step]
    removals: list[Step]
    notes: list[str]


def _differences(before: PolicyState, policy: Policy) -> _Differences:
    changes: list[Step] = []
    removals: list[Step] = []
    notes: list[str] = []
    rules = _Rules(before.rules, policy.rules)
    changes += _entries(before.registries, policy.registries)
    changes += sorted(_accounts(before, policy), key=_owners_first)
    changes += _groups(before, policy)
    changes += rules.changes()
    changes += _delegations(before, policy)
    notes += rules.notes()

    removals += _ended(before, policy)
    removals += rules.removals()
    removals += _memberships_gone(before, policy)
    removals += _gone(before.groups, policy.groups)
    removals += sorted(_gone(before.accounts, policy.accounts), key=_owners_last)
    removals += _gone(before.registries, policy.registries)
    return _Differences(changes, removals, notes)


def _entries(before: Mapping[str, _Entry], wanted: Mapping[str, _Entry] | None) -> Iterator[Step]:
    for name, entry in sorted((wanted or {}).items()):
        if step := added_or_edited(before.get(name), entry):
            yield step


def _gone(before: Mapping[str, _Entry], wanted: Mapping[str, _Entry] | None) -> Iterator[Step]:
    if wanted is not None:
        for name, entry in sorted(before.items()):
            if name not in wanted:
                yield Step(Verb.REMOVE, entry, None)


def _accounts(before: PolicyState, policy: Policy) -> Iterator[Step]:
    for name, entry in sorted((policy.accounts or {}).items()):
        old = before.accounts.get(name)
        starts = True if old is None else old.disabled
        keeps = old is None or entry.disabled is None
        if step := added_or_edited(old, replace(entry, disabled=starts) if keeps else entry):
            yield step


def _owners_first(step: Step) -> bool:
    return isinstance(step.entry, AccountEntry) and step.entry.kind is AccountKind.ROBOT


def _owners_last(step: Step) -> bool:
    return not _owners_first(step)


def _groups(before: PolicyState, policy: Policy) -> Iterator[Step]:
    wanted = sorted((policy.groups or {}).items())
    for name, group in wanted:
        if name not in before.groups:
            yield Step(Verb.ADD, None, group)
    for name, group in wanted:
        old = before.groups.get(name)
        for member in sorted(group.members - (old.members if old else frozenset()), key=str):
            yield Step(Verb.ADD, None, MembershipEntry(name, member))


def _memberships_gone(before: PolicyState, policy: Policy) -> Iterator[Step]:
    for name, group in sorted((policy.groups or {}).items()):
        old = before.groups.get(name)
        for member in sorted(old.members - group.members if old else (), key=str):
            if policy.accounts is None or member.name in policy.accounts:
                yield Step(Verb.REMOVE, MembershipEntry(name, member), None)


def _delegations(before: PolicyState, policy: Policy) -> Iterator[Step]:
    old = {each.bounds: each for each in before.delegations}
    for each in policy.delegations or ():
        there = old.get(each.bounds)
        if step := added_or_edited(there, replace(each, id=there.id) if there else each):
            yield step


def _ended(before: PolicyState, policy: Policy) -> Iterator[Step]:
    if policy.delegations is not None:
        kept = {each.bounds for each in policy.delegations}
        for each in before.delegations:
            if each.bounds not in kept:
                yield Step(Verb.REMOVE, each, None)


class _Rules:
    """The rules that there are against those that a file names."""

    def __init__(self, before: Iterable[RuleEntry], wanted: Sequence[RuleEntry] | None) -> None:
        there = {each.meaning: each for each in before}
        named = {each.meaning: each for each in wanted or ()}
        self.written_by_delegates = [
            there[meaning]
            for meaning in named
            if meaning in there and there[meaning].delegation is not None
        ]
        self.same = [
            (there[meaning], each)
            for meaning, each in named.items()
            if meaning in there and there[meaning].delegation is None
        ]
        new = [each for meaning, each in named.items() if meaning not in there]
        old = [
            each
            for meaning, each in there.items()
            if meaning not in named and each.delegation is None and wanted is not None
        ]
        self.edited = list(_pairs(old, new))
        paired = {id(each) for pair in self.edited for each in pair}
        self.new = [each for each in new if id(each) not in paired]
        self.old = [each for each in old if id(each) not in paired]

    def changes(self) -> Iterator[Step]:
        for old, wanted in sorted(self.same + self.edited, key=lambda pair: pair[0].rule.id):
            after = replace(wanted, rule=replace(wanted.rule, id=old.rule.id))
            if step := added_or_edited(old, after):
                yield step
        for wanted in self.new:
            yield Step(Verb.ADD, None, wanted)

    def removals(self) -> Iterator[Step]:
        return (Step(Verb.REMOVE, each, None) for each in self.old)

    def notes(self) -> Iterator[str]:
        for each in self.written_by_delegates:
            yield (
                f"rule {each.rule.id} ({each.rule}) was written under delegation "
                f"{each.delegation}: it is left to its delegate"
            )


def _pairs(
    old: Iterable[RuleEntry], new: Iterable[RuleEntry]
) -> Iterator[tuple[RuleEntry, RuleEntry]]:
    """Give the rules of which one is the other, edited: equal but for actions and conditions.

    Where they are not as many on both sides, which is which cannot be told.
    """
    sides: defaultdict[Hashable, tuple[list[RuleEntry], list[RuleEntry]]]
    sides = defaultdict(lambda: ([], []))
    for side, statements in enumerate((old, new)):
        for each in statements:
            said = each.rule
            key = (said.effect, said.subjects, said.patterns, said.type, said.service)
            sides[key][side].append(each)
    for left, right in sides.values():
        if len(left) == len(right):
            yield from zip(sorted(left, key=_by_text), sorted(right, key=_by_text), strict=True)


def _by_text(statement: RuleEntry) -> str:
    return str(statement.rule)


def _starting_disabled(steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        if step.verb is Verb.ADD and isinstance(step.entry, AccountEntry):
            kind, name = step.entry.kind, step.entry.name
            yield f"{kind} {name} starts disabled: authserver {kind} enable {name}"
