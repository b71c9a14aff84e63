"""What a policy file refers to: all of it must be there."""

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
    """Give the names that cannot be made, for what is there already."""
    alike = {folded(name): name for name in before.accounts}
    for account in (policy.accounts or {}).values():
        there = alike.get(folded(account.name))
        if there is not None and there != account.name:
            yield PolicyProblem(account.location, _differs(account.name, there))
        elif there is not None and before.accounts[there].kind is not account.kind:
            kind = before.accounts[there].kind
            yield PolicyProblem(account.location, f"{there} is a {kind} already: remove it first")
    groups = {folded(name): name for name in before.groups}
    for group in (policy.groups or {}).values():
        there = groups.get(folded(group.name))
        if there is not None and there != group.name:
            yield PolicyProblem(group.location, _differs(group.name, there))


def _differs(name: str, there: str) -> str:
    return f"there is {there} already, and {name} differs from it in case only"


def dangling(
    policy: Policy, before: PolicyState, *, prune: bool = False
) -> Iterator[PolicyProblem]:
    """Give the references to what would not be there after the file was applied."""
    known = _Known(_after(policy, before, prune=prune), before)
    for account in (policy.accounts or {}).values():
        if account.owner is not None:
            owner = Subject(SubjectKind.USER, account.owner)
            yield from known.subject(account.location, owner)
    for group in (policy.groups or {}).values():
        for member, location in group.locations.items():
            yield from known.subject(location, member)
    for statement in policy.rules or ():
        for about in statement.rule.subjects:
            yield from known.subject(statement.location, about)
        yield from known.registry(statement.location, statement.rule.service)
    for delegation in policy.delegations or ():
        yield from known.subject(delegation.location, Subject(SubjectKind.GROUP, delegation.group))
        yield from known.registry(delegation.location, delegation.service)


def _after(policy: Policy, before: PolicyState, *, prune: bool) -> PolicyState:
    """Return the names that would be there. Nothing but a step adds or removes one."""

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

    def subject(self, location: Location, about: Subject) -> Iterator[PolicyProblem]:
        if about.kind in NAMED_SUBJECTS and not _has(self.after, about):
            yield PolicyProblem(
                location, f"there is no {about.kind} {about.name!r}{self.hint(about)}"
            )

    def hint(self, about: Subject) -> str:
        if _has(self.before, about):
            return " any more: --prune removes what the file does not name"
        if about.kind is SubjectKind.GROUP:
            return ": name it under groups"
        other = self.after.accounts.get(about.name)
        return f"; {other.name} is a {other.kind}" if other else ": name it under accounts"

    def registry(self, location: Location, service: str | None) -> Iterator[PolicyProblem]:
        if service is not None and service not in self.after.registries:
            yield PolicyProblem(
                location, f"there is no registry {service!r}: name it under registries"
            )


def _has(state: PolicyState, about: Subject) -> bool:
    if about.kind is SubjectKind.GROUP:
        return about.name in state.groups
    account = state.accounts.get(about.name)
    return account is not None and account.kind is AccountKind(about.kind.value)
