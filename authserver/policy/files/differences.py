"""Find the steps from the present state to a policy file.

Things that a section does not name are removals, which only ``--prune`` carries out. A section that
the file does not have stays as it is, and so do the rules that delegates wrote.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from authserver.core.subjects import AccountKind
from authserver.policy.files.current_state import PolicyState
from authserver.policy.files.document import (
    AccountEntry,
    GroupEntry,
    Policy,
    RegistryEntry,
    RuleEntry,
)
from authserver.policy.files.steps import MembershipEntry, Step, Verb, added_or_edited

_Entry = TypeVar("_Entry", RegistryEntry, AccountEntry, GroupEntry)


@dataclass(frozen=True)
class Differences:
    """The steps in the order in which they are done; ``removals`` are for ``--prune``."""

    changes: list[Step]
    removals: list[Step]
    notes: list[str]


def differences(before: PolicyState, policy: Policy) -> Differences:
    """Return the steps that make a state what a file says."""
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
    return Differences(changes, removals, notes)


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
        present = old.get(each.bounds)
        if step := added_or_edited(present, replace(each, id=present.id) if present else each):
            yield step


def _ended(before: PolicyState, policy: Policy) -> Iterator[Step]:
    if policy.delegations is not None:
        kept = {each.bounds for each in policy.delegations}
        for each in before.delegations:
            if each.bounds not in kept:
                yield Step(Verb.REMOVE, each, None)


class _Rules:
    """The present rules beside those of a file."""

    def __init__(self, before: Iterable[RuleEntry], wanted: Sequence[RuleEntry] | None) -> None:
        present = {each.meaning: each for each in before}
        named = {each.meaning: each for each in wanted or ()}
        self.written_by_delegates = [
            present[meaning]
            for meaning in named
            if meaning in present and present[meaning].delegation is not None
        ]
        self.same = [
            (present[meaning], each)
            for meaning, each in named.items()
            if meaning in present and present[meaning].delegation is None
        ]
        new = [each for meaning, each in named.items() if meaning not in present]
        old = [
            each
            for meaning, each in present.items()
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
    """Pair rules that differ in actions and conditions only: an edit of one rule.

    If the two sides have different numbers of such rules, none of them is paired.
    """
    sides: defaultdict[Hashable, tuple[list[RuleEntry], list[RuleEntry]]]
    sides = defaultdict(lambda: ([], []))
    for side, statements in enumerate((old, new)):
        for each in statements:
            rule = each.rule
            key = (rule.effect, rule.subjects, rule.patterns, rule.type, rule.service)
            sides[key][side].append(each)
    for left, right in sides.values():
        if len(left) == len(right):
            yield from zip(sorted(left, key=_by_text), sorted(right, key=_by_text), strict=True)


def _by_text(statement: RuleEntry) -> str:
    return str(statement.rule)
