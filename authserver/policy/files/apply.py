"""Doing what a plan says, in one change, by the functions that the command line has."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from authserver.core.errors import Refused
from authserver.core.patterns import Pattern
from authserver.core.subjects import AccountKind
from authserver.db import accounts, delegations, groups, lookup, rules
from authserver.db.delegations import Extent
from authserver.db.store import Change
from authserver.policy.files import plan as policy_plan
from authserver.policy.files.document import (
    AccountEntry,
    DelegationEntry,
    GroupEntry,
    Policy,
    RegistryEntry,
    RuleEntry,
)
from authserver.policy.files.plan import Plan, Progress, no_progress
from authserver.policy.files.steps import MembershipEntry, PolicyEntry, Step
from authserver.registry import entries


def apply(
    change: Change,
    policy: Policy,
    *,
    prune: bool = False,
    force: bool = False,
    expect: str | None = None,
    progress: Progress = no_progress,
) -> Plan:
    """Do what a file says; return what was done.

    ``expect`` is the id of the plan that somebody has seen.

    Raises:
        BadPolicy: the file refers to what is not there.
        Refused: the plan is another one than was expected; or it takes away what a deny or the
            administration rests on, and ``force`` is not set.
    """
    plan = policy_plan.plan(change.session, policy, prune=prune)
    require_expected(plan, expect)
    require_safe(plan, force=force)
    done = 0
    with change.counting(), lookup.remembered(change.session):
        for batch in _batches(plan.steps):
            _do_together(change, batch, force=force)
            done += len(batch)
            progress(done, len(plan.steps))
    return plan


def require_expected(plan: Plan, expect: str | None) -> None:
    """Check that a plan is the one that was seen; None expects any.

    Raises:
        Refused: it is another one.
    """
    if expect not in (None, plan.id):
        raise Refused(
            f"the plan is another one now, {plan.id} and not {expect}: the store or the file has "
            "changed since; look at the plan again"
        )


def require_safe(plan: Plan, *, force: bool) -> None:
    """Check that nothing is taken away on which a deny or the administration rests.

    Raises:
        Refused: something is, and ``force`` is not set.
    """
    if plan.unsafe and not force:
        raise Refused("\n".join(("refused, unless --force is said:", *plan.unsafe)))


def _batches(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Give the steps in their order, those of one kind that follow each other together."""
    for _, batch in groupby(steps, lambda s: (s.noun, s.before is None, s.after is None)):
        yield list(batch)


def _do_together(change: Change, batch: Sequence[Step], *, force: bool) -> None:
    statements = [step.entry for step in batch if isinstance(step.entry, RuleEntry)]
    if statements:
        _rules(change, batch[0], statements)
        return
    for step in batch:
        _do(change, step, force=force)


def _rules(change: Change, first: Step, statements: Sequence[RuleEntry]) -> None:
    said = [(each.rule, each.comment) for each in statements]
    if first.before is None:
        rules.add_all(change, said)
    elif first.after is None:
        rules.remove_all(change, [each.rule.id for each in statements])
    else:
        rules.edit_all(change, said)


def _do(change: Change, step: Step, *, force: bool) -> None:
    if step.after is None:
        _remove(change, step.entry, force=force)
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
    write(change, entry.service, token_ttl=entry.token_ttl, refresh_tokens=entry.refresh_tokens)


def _account(change: Change, before: object, entry: AccountEntry) -> None:
    if not isinstance(before, AccountEntry):
        _new_account(change, entry)
        return
    if entry.kind is AccountKind.USER:
        accounts.set_admin(change, entry.name, admin=entry.admin)
    elif _ownership(before) != _ownership(entry):
        accounts.replace_robot(change, entry.name, **_ownership(entry))
    accounts.set_disabled(change, entry.name, disabled=bool(entry.disabled))


def _new_account(change: Change, entry: AccountEntry) -> None:
    if entry.kind is AccountKind.USER:
        accounts.add_user(change, entry.name, None, admin=entry.admin, disabled=True)
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


def _remove(change: Change, entry: PolicyEntry, *, force: bool) -> None:
    match entry:
        case RegistryEntry():
            entries.remove(change, entry.service, force=force)
        case AccountEntry():
            accounts.remove(change, entry.name, force=force)
        case GroupEntry():
            groups.remove(change, entry.name, force=force)
        case MembershipEntry():
            groups.remove_member(change, entry.group, entry.member.name, force=force)
        case DelegationEntry():
            delegations.end(change, entry.id)
