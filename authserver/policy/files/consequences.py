"""What a plan changes besides its steps, told from the states before and after.

The store takes a removed subject out of rules, ends the delegations of a removed group, and so on.
This module names what became of each rule and delegation that no step names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from authserver.core.rules import Effect
from authserver.core.subjects import Subject
from authserver.db import losses
from authserver.policy.files.current_state import PolicyState
from authserver.policy.files.document import (
    AccountEntry,
    DelegationEntry,
    GroupEntry,
    RegistryEntry,
    RuleEntry,
)
from authserver.policy.files.steps import MembershipEntry, Step, Verb, named


@dataclass(frozen=True)
class Consequences:
    """``notes`` say what else changes, ``unsafe`` what only ``--force`` does."""

    notes: Sequence[str]
    unsafe: Sequence[str]


def consequences(
    before: PolicyState, after: PolicyState, steps: Sequence[Step], in_use: frozenset[str]
) -> Consequences:
    """Return what the store changed besides the steps. ``in_use`` are registries."""
    comparison = _Comparison(before, after, steps)
    return Consequences(
        [*comparison.delegation_notes(), *comparison.rule_notes()],
        [*comparison.unsafe(), *comparison.last_in_use(in_use)],
    )


class _Comparison:
    def __init__(self, before: PolicyState, after: PolicyState, steps: Sequence[Step]) -> None:
        self.before, self.after = before, after
        self.removed = [step.entry for step in steps if step.verb is Verb.REMOVE]
        # The rules as the steps alone would leave them.
        rules = {each.rule.id: each for each in before.rules}
        written = [step.after for step in steps if isinstance(step.after, RuleEntry)]
        rules.update({each.rule.id: each for each in written if each.rule.id})
        for entry in self.removed:
            if isinstance(entry, RuleEntry):
                del rules[entry.rule.id]
        self.rules = [entry for _, entry in sorted(rules.items())]
        self.added = [each for each in written if not each.rule.id]
        self.left = {each.rule.id: each for each in after.rules}
        self.subjects = {
            e.subject for e in self.removed if isinstance(e, AccountEntry | GroupEntry)
        }
        self.services = {e.service for e in self.removed if isinstance(e, RegistryEntry)}

    def delegation_notes(self) -> Iterator[str]:
        """Give the delegations that end with their group or registry."""
        removed = {each.id for each in self.removed if isinstance(each, DelegationEntry)}
        left = {each.id for each in self.after.delegations}
        for each in self.before.delegations:
            if each.id not in removed | left:
                yield f"delegation {each.id} to {each.group} ends"

    def rule_notes(self) -> Iterator[str]:
        """Give what became of the rules that no step names."""
        for entry in self.rules:
            rule, left = entry.rule, self.left.get(entry.rule.id)
            gone = [subject for subject in rule.subjects if subject in self.subjects]
            kept = [subject for subject in rule.subjects if subject not in self.subjects]
            names = ", ".join(map(str, gone))
            if not kept:
                yield f"{named(entry)} goes with {names}"
                continue
            if gone:
                yield f"{named(entry)} names {names} no more"
            if left is None and rule.service not in self.services:
                shorter = replace(entry, rule=replace(rule, subjects=tuple(kept)))
                yield f"{named(shorter)} goes: another says the same then"
            elif left is not None and rule.enabled and not left.rule.enabled:
                yield f"{named(entry)} is disabled with its delegation"

    def unsafe(self) -> Iterator[str]:
        """Give what is taken away on which a deny, a rule or the administration rests."""
        for entry in self.removed:
            match entry:
                case AccountEntry():
                    yield from self._denies(entry.subject, "something")
                case GroupEntry():
                    yield from self._denies(entry.subject, "something that its members gain")
                case MembershipEntry():
                    group = GroupEntry(entry.group).subject
                    yield from self._denies(group, f"something that {entry.member} gains")
                case RegistryEntry():
                    yield from self._rules_on(entry)
        if self.before.administrators() and not self.after.administrators():
            yield "no administrator that can log in would be left"

    def last_in_use(self, in_use: frozenset[str]) -> Iterator[str]:
        """Give the registries in use, if none of them would be left."""
        if in_use <= self.services:
            yield from map(losses.last_in_use, sorted(in_use))

    def _denies(self, subject: Subject, what: str) -> Iterator[str]:
        for entry in (*self.rules, *self.added):
            if entry.rule.effect is Effect.DENY and subject in entry.rule.subjects:
                yield f"rules deny {subject} {what}: {named(entry)}"

    def _rules_on(self, registry: RegistryEntry) -> Iterator[str]:
        for entry in self.rules:
            if entry.rule.service == registry.service and set(entry.rule.subjects) - self.subjects:
                yield f"{named(entry)} is on the registry and goes with it"
