"""What would be after the steps of a plan, told without doing them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from authserver.core.rules import Effect, Rule
from authserver.core.subjects import Subject, SubjectKind
from authserver.policy.files.current_state import PolicyState
from authserver.policy.files.document import (
    AccountEntry,
    DelegationEntry,
    GroupEntry,
    RegistryEntry,
    RuleEntry,
)
from authserver.policy.files.steps import MembershipEntry, Step, Verb


@dataclass(frozen=True)
class Outcome:
    """What would be; ``notes`` say what else changes, ``unsafe`` what only ``--force`` does."""

    state: PolicyState
    notes: Sequence[str]
    unsafe: Sequence[str]


def outcome(before: PolicyState, steps: Iterable[Step]) -> Outcome:
    """Return what would be after ``steps``, in the order in which they are done."""
    working = _Working(
        registries=dict(before.registries),
        accounts=dict(before.accounts),
        groups={name: set(group.members) for name, group in before.groups.items()},
        delegations={each.id: each for each in before.delegations},
    )
    for each in before.rules:
        working.put(each)
    for step in steps:
        working.take(step)
    after = PolicyState(
        working.registries,
        working.accounts,
        {name: GroupEntry(name, frozenset(members)) for name, members in working.groups.items()},
        list(working.rules.values()),
        list(working.delegations.values()),
        before.log_in,
    )
    if before.administrators() and not after.administrators():
        working.unsafe.append("no administrator that can log in would be left")
    return Outcome(after, working.notes, working.unsafe)


@dataclass
class _Working:
    registries: dict[str, RegistryEntry]
    accounts: dict[str, AccountEntry]
    groups: dict[str, set[Subject]]
    delegations: dict[int, DelegationEntry]
    rules: dict[int, RuleEntry] = field(default_factory=dict)
    naming: defaultdict[Subject, set[int]] = field(default_factory=lambda: defaultdict(set))
    meaning: defaultdict[Rule, set[int]] = field(default_factory=lambda: defaultdict(set))
    notes: list[str] = field(default_factory=list)
    unsafe: list[str] = field(default_factory=list)
    new: int = 0

    def take(self, step: Step) -> None:
        if step.verb is Verb.REMOVE:
            self.remove(step)
            return
        entry = step.entry
        match entry:
            case RegistryEntry():
                self.registries[entry.service] = entry
            case AccountEntry():
                self.accounts[entry.name] = entry
            case GroupEntry():
                self.groups[entry.name] = set()
            case MembershipEntry():
                self.groups[entry.group].add(entry.member)
            case RuleEntry():
                number = entry.rule.id or self.number()
                self.put(replace(entry, rule=replace(entry.rule, id=number)))
            case DelegationEntry():
                number = entry.id or self.number()
                self.delegations[number] = replace(entry, id=number)

    def remove(self, step: Step) -> None:
        entry = step.entry
        match entry:
            case RegistryEntry():
                self.remove_registry(entry)
            case AccountEntry():
                self.remove_account(entry)
            case GroupEntry():
                self.remove_group(entry)
            case MembershipEntry():
                about = Subject(SubjectKind.GROUP, entry.group)
                self.refuse_denies(about, f"rules deny {about} something that {entry.member} gains")
                self.groups[entry.group].discard(entry.member)
            case RuleEntry():
                self.drop(entry.rule.id)
            case DelegationEntry():
                self.end(entry)

    def put(self, statement: RuleEntry) -> None:
        number = statement.rule.id
        if number in self.rules:
            self.drop(number)
        self.rules[number] = statement
        self.meaning[statement.meaning].add(number)
        for about in statement.rule.subjects:
            self.naming[about].add(number)

    def drop(self, number: int) -> None:
        statement = self.rules.pop(number)
        self.meaning[statement.meaning].discard(number)
        for about in statement.rule.subjects:
            self.naming[about].discard(number)

    def remove_registry(self, entry: RegistryEntry) -> None:
        for rule in [each.rule for each in self.rules.values()]:
            if rule.service == entry.service:
                self.unsafe.append(f"{_cited(rule)} is on the registry and goes with it")
                self.drop(rule.id)
        for delegation in list(self.delegations.values()):
            if delegation.service == entry.service:
                self.notes.append(f"delegation {delegation.id} to {delegation.group} ends")
                self.end(delegation)
        del self.registries[entry.service]

    def remove_account(self, entry: AccountEntry) -> None:
        self.refuse_denies(entry.subject, f"rules deny {entry.subject} something")
        self.unname(entry.subject)
        for members in self.groups.values():
            members.discard(entry.subject)
        del self.accounts[entry.name]

    def remove_group(self, entry: GroupEntry) -> None:
        about = Subject(SubjectKind.GROUP, entry.name)
        self.refuse_denies(about, f"rules deny {about} something that its members gain")
        self.unname(about)
        for delegation in list(self.delegations.values()):
            if delegation.group == entry.name:
                self.notes.append(f"delegation {delegation.id} to {delegation.group} ends")
                self.end(delegation)
        del self.groups[entry.name]

    def refuse_denies(self, about: Subject, what: str) -> None:
        for number in sorted(self.naming[about]):
            rule = self.rules[number].rule
            if rule.effect is Effect.DENY:
                self.unsafe.append(f"{what}: {_cited(rule)}")

    def unname(self, about: Subject) -> None:
        """Take one that goes out of the rules that name it, as the store does."""
        for number in sorted(self.naming[about]):
            each = self.rules[number]
            kept = tuple(subject for subject in each.rule.subjects if subject != about)
            if not kept:
                self.notes.append(f"{_cited(each.rule)} goes with {about}")
                self.drop(number)
                continue
            self.notes.append(f"{_cited(each.rule)} names {about} no more")
            left = replace(each, rule=replace(each.rule, subjects=kept))
            self.put(left)
            self.drop_twin(left)

    def drop_twin(self, left: RuleEntry) -> None:
        """Drop one of two rules that say the same; the one that is in force stays."""
        for number in self.meaning[left.meaning] - {left.rule.id}:
            other = self.rules[number]
            stays = other.rule.enabled or not left.rule.enabled
            gone = left if stays else other
            self.notes.append(f"{_cited(gone.rule)} goes: another says the same then")
            self.drop(gone.rule.id)
            return

    def end(self, delegation: DelegationEntry) -> None:
        for each in list(self.rules.values()):
            if each.delegation == delegation.id:
                if each.rule.enabled:
                    self.notes.append(f"{_cited(each.rule)} is disabled with its delegation")
                disabled = replace(each.rule, enabled=False)
                self.put(replace(each, rule=disabled, delegation=None))
        del self.delegations[delegation.id]

    def number(self) -> int:
        """Return an id for what is new: below those of the store."""
        self.new -= 1
        return self.new


def _cited(rule: Rule) -> str:
    return f"rule {rule.id} ({rule})"
