"""Carry out the steps of a plan, with the functions that single commands call."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from authserver.core.patterns import Pattern
from authserver.core.subjects import AccountKind
from authserver.db import accounts, delegations, groups, lookup, rules
from authserver.db.delegations import Extent
from authserver.db.store import Change
from authserver.policy.files.document import (
    AccountEntry,
    DelegationEntry,
    GroupEntry,
    RegistryEntry,
    RuleEntry,
)
from authserver.policy.files.steps import MembershipEntry, PolicyEntry, Step
from authserver.registry import entries

Progress = Callable[[int, int], None]
"""Called with the number of steps that are done, and of all."""


def no_progress(done: int, total: int) -> None:
    """Do nothing."""


def carry_out(change: Change, steps: Sequence[Step], progress: Progress = no_progress) -> None:
    """Carry out all steps, with force: the plan tells where force is needed, all reasons at once.

    Raises:
        Refused: the store does not take a step.
    """
    done = 0
    with change.counting(), lookup.remembered(change.session):
        for batch in _batches(steps):
            _do_together(change, batch)
            done += len(batch)
            progress(done, len(steps))


def _batches(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Group successive steps of one kind: thousands of rules are written at once."""
    for _, batch in groupby(steps, lambda s: (s.noun, s.before is None, s.after is None)):
        yield list(batch)


def _do_together(change: Change, batch: Sequence[Step]) -> None:
    statements = [step.entry for step in batch if isinstance(step.entry, RuleEntry)]
    if statements:
        _rules(change, batch[0], statements)
        return
    for step in batch:
        _do(change, step)


def _rules(change: Change, first: Step, statements: Sequence[RuleEntry]) -> None:
    rules_with_comments = [(each.rule, each.comment) for each in statements]
    if first.before is None:
        rules.add_all(change, rules_with_comments)
    elif first.after is None:
        rules.remove_all(change, [each.rule.id for each in statements])
    else:
        rules.edit_all(change, rules_with_comments)


def _do(change: Change, step: Step) -> None:
    if step.after is None:
        _remove(change, step.entry)
        return
    match step.after:
        case RegistryEntry():
            _registry(change, step.after, new=step.before is None)
        case AccountEntry():
            _account(change, step.before, step.after)
        case GroupEntry():
            groups.add(change, step.after.name)
        case MembershipEntry():
            groups.add_member(change, step.after.group, step.after.member.name)
        case DelegationEntry():
            _delegation(change, step.after)


def _registry(change: Change, entry: RegistryEntry, *, new: bool) -> None:
    write = entries.add if new else entries.replace
    write(
        change,
        entry.service,
        token_ttl=entry.token_ttl,
        refresh_tokens=entry.refresh_tokens,
        app_tokens_only=entry.app_tokens_only,
        challenge_anonymous=entry.challenge_anonymous,
    )


def _account(change: Change, before: object, entry: AccountEntry) -> None:
    if not isinstance(before, AccountEntry):
        _new_account(change, entry)
        return
    if entry.kind is AccountKind.USER:
        accounts.set_role(change, entry.name, admin=entry.admin, auditor=entry.auditor, force=True)
        accounts.set_app_tokens_only(change, entry.name, only=entry.app_tokens_only)
    elif _ownership(before) != _ownership(entry):
        accounts.replace_robot(change, entry.name, **_ownership(entry))
    accounts.set_disabled(change, entry.name, disabled=bool(entry.disabled), force=True)


def _new_account(change: Change, entry: AccountEntry) -> None:
    if entry.kind is AccountKind.USER:
        accounts.add_user(
            change,
            entry.name,
            None,
            admin=entry.admin,
            auditor=entry.auditor,
            app_tokens_only=entry.app_tokens_only,
            disabled=True,
        )
    else:
        accounts.add_robot(change, entry.name, **_ownership(entry), disabled=True)


def _ownership(entry: AccountEntry) -> dict[str, Any]:
    return {
        "owner": entry.owner,
        "description": entry.description,
        "outlives_owner": entry.outlives_owner,
    }


def _delegation(change: Change, entry: DelegationEntry) -> None:
    if entry.id:
        delegations.comment(change, entry.id, entry.comment)
        return
    to = Extent(Pattern(entry.pattern), entry.actions)
    delegations.add(change, entry.group, entry.service, to, entry.comment)


def _remove(change: Change, entry: PolicyEntry) -> None:
    match entry:
        case RegistryEntry():
            entries.remove(change, entry.service, force=True)
        case AccountEntry():
            accounts.remove(change, entry.name, force=True)
        case GroupEntry():
            groups.remove(change, entry.name, force=True)
        case MembershipEntry():
            groups.remove_member(change, entry.group, entry.member.name, force=True)
        case DelegationEntry():
            delegations.end(change, entry.id)
