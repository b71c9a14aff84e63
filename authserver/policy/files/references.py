"""Check the names in a policy file: new names must be free, references must exist."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from authserver.core.names import folded
from authserver.core.subjects import NAMED_SUBJECTS, AccountKind, Subject, SubjectKind
from authserver.policy.files.current_state import PolicyState
from authserver.policy.files.document import (
    AccountEntry,
    GroupEntry,
    Location,
    Policy,
    PolicyProblem,
    RegistryEntry,
)

_Entry = TypeVar("_Entry", RegistryEntry, AccountEntry, GroupEntry)


def clashes(policy: Policy, before: PolicyState) -> Iterator[PolicyProblem]:
    """Give the new names that clash with existing ones."""
    alike = {folded(name): name for name in before.accounts}
    for account in (policy.accounts or {}).values():
        present = alike.get(folded(account.name))
        if present is not None and present != account.name:
            yield PolicyProblem(account.location, _differs(account.name, present))
        elif present is not None and before.accounts[present].kind is not account.kind:
            kind = before.accounts[present].kind
            yield PolicyProblem(account.location, f"{present} is a {kind} already: remove it first")
    groups = {folded(name): name for name in before.groups}
    for group in (policy.groups or {}).values():
        present = groups.get(folded(group.name))
        if present is not None and present != group.name:
            yield PolicyProblem(group.location, _differs(group.name, present))


def _differs(name: str, present: str) -> str:
    return f"there is {present} already, and {name} differs from it in case only"


def dangling(
    policy: Policy, before: PolicyState, *, prune: bool = False
) -> Iterator[PolicyProblem]:
    """Give the references to things that would not exist after the file was applied."""
    known = _Known(_after(policy, before, prune=prune), before)
    for account in (policy.accounts or {}).values():
        if account.owner is not None:
            owner = Subject(SubjectKind.USER, account.owner)
            yield from known.subject(account.location, owner)
    for group in (policy.groups or {}).values():
        for member, location in group.locations.items():
            yield from known.subject(location, member)
    for statement in policy.rules or ():
        for subject in statement.rule.subjects:
            yield from known.subject(statement.location, subject)
        yield from known.registry(statement.location, statement.rule.service)
    for delegation in policy.delegations or ():
        yield from known.subject(delegation.location, Subject(SubjectKind.GROUP, delegation.group))
        yield from known.registry(delegation.location, delegation.service)


def _after(policy: Policy, before: PolicyState, *, prune: bool) -> PolicyState:
    """Return the names that would exist after the file was applied."""

    def left(old: Mapping[str, _Entry], new: Mapping[str, _Entry] | None) -> Mapping[str, _Entry]:
        return {**({} if prune and new is not None else old), **(new or {})}

    return PolicyState(
        registries=left(before.registries, policy.registries),
        accounts=left(before.accounts, policy.accounts),
        groups=left(before.groups, policy.groups),
    )


class _Known:
    def __init__(self, after: PolicyState, before: PolicyState) -> None:
        self.after, self.before = after, before

    def subject(self, location: Location, subject: Subject) -> Iterator[PolicyProblem]:
        if subject.kind in NAMED_SUBJECTS and not _has(self.after, subject):
            yield PolicyProblem(
                location, f"there is no {subject.kind} {subject.name!r}{self.hint(subject)}"
            )

    def hint(self, subject: Subject) -> str:
        if _has(self.before, subject):
            return " any more: --prune removes what the file does not name"
        if subject.kind is SubjectKind.GROUP:
            return ": name it under groups"
        other = self.after.accounts.get(subject.name)
        return f"; {other.name} is a {other.kind}" if other else ": name it under accounts"

    def registry(self, location: Location, service: str | None) -> Iterator[PolicyProblem]:
        if service is not None and service not in self.after.registries:
            yield PolicyProblem(
                location, f"there is no registry {service!r}: name it under registries"
            )


def _has(state: PolicyState, subject: Subject) -> bool:
    if subject.kind is SubjectKind.GROUP:
        return subject.name in state.groups
    account = state.accounts.get(subject.name)
    return account is not None and account.kind is AccountKind(subject.kind.value)
