"""Plan and apply: what a file would change, who would gain or lose by it, and the change itself.

A plan is an application that is undone: the same steps are carried out by the same functions, on a
copy of the store's policy in memory, and the states before and after are compared.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy.orm import Session

from authserver.core.errors import Refused
from authserver.core.subjects import AccountKind
from authserver.db import lookup, losses
from authserver.db.models import AccountRow, RegistryRow
from authserver.db.store import Change
from authserver.policy.files import current_state, effects, references, renames
from authserver.policy.files.consequences import consequences
from authserver.policy.files.current_state import PolicyState
from authserver.policy.files.differences import differences
from authserver.policy.files.document import (
    AccountEntry,
    BadPolicy,
    Policy,
    RegistryEntry,
    RuleEntry,
)
from authserver.policy.files.effects import StepEffects
from authserver.policy.files.execution import Progress, carry_out, no_progress
from authserver.policy.files.steps import PolicyEntry, Step, Verb, named
from authserver.policy.files.store_copy import StoreCopy
from authserver.policy.lint import checks

TOLD = 5
"""Names of a kind of new accounts that a plan tells; the steps have all of them."""


@dataclass(frozen=True)
class Plan:
    """The steps in their order, their effects, and what else an operator must know.

    ``prunable`` is what only ``--prune`` removes, ``unsafe`` what only ``--force`` does. ``goes``
    tells the credentials that go, which come and go meanwhile: the plan's id leaves them out.
    """

    steps: Sequence[Step]
    effects: Sequence[StepEffects]
    prunable: Sequence[Step]
    notes: Sequence[str]
    unsafe: Sequence[str]
    goes: Sequence[str]
    after: PolicyState

    @cached_property
    def id(self) -> str:
        """The identity of the plan: another plan, or one with other effects, has another id."""
        left_out = ("prunable", "goes")
        done = {name: value for name, value in self._as_json.items() if name not in left_out}
        return hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, **self._as_json}

    @cached_property
    def _as_json(self) -> dict[str, Any]:
        return {
            "changes": [
                step.as_json() | {"effects": effect.as_json()}
                for step, effect in zip(self.steps, self.effects, strict=True)
            ],
            "prunable": [step.as_json() for step in self.prunable],
            "notes": list(self.notes),
            "unsafe": list(self.unsafe),
            "goes": list(self.goes),
        }


def require_something(policy: Policy) -> None:
    """Check that a file has a section besides ``tests``.

    Raises:
        Refused: it has none.
    """
    if not policy.says_something:
        raise Refused(f"{policy.file} has no section but tests: there is nothing to plan")


def plan(
    store: StoreCopy, policy: Policy, *, prune: bool = False, progress: Progress = no_progress
) -> Plan:
    """Return what a file would change. ``progress`` follows the comparison.

    Raises:
        BadPolicy: the file refers to what is not there, or names something that cannot be made.
        Refused: the store would not take a step.
    """
    with store.opened() as change:
        return _carried_out(
            change, policy, prune=prune, in_use=lambda: store.in_use, comparing=progress
        )


def apply(
    change: Change,
    policy: Policy,
    *,
    prune: bool = False,
    force: bool = False,
    expect: str | None = None,
    progress: Progress = no_progress,
) -> Plan:
    """Do what a file says; return what was done. ``progress`` follows the steps.

    ``expect`` is the id of the plan that was reviewed. Steps come before checks: let what is raised
    here end the change, so that its transaction takes the steps back.

    Raises:
        BadPolicy: the file refers to what is not there, or names something that cannot be made.
        Refused: the store does not take a step; or the plan is another one than was expected; or it
            takes away what a deny or the administration rests on, and ``force`` is not set.
    """
    done = _carried_out(
        change,
        policy,
        prune=prune,
        in_use=lambda: losses.in_use(change.session, change.at),
        progress=progress,
    )
    require_expected(done, expect)
    require_safe(done, force=force)
    return done


def _carried_out(
    change: Change,
    policy: Policy,
    *,
    prune: bool,
    in_use: Callable[[], frozenset[str]],
    progress: Progress = no_progress,
    comparing: Progress = no_progress,
) -> Plan:
    before = current_state.load(change.session)
    renaming = renames.renames(before, policy)
    if renaming:
        renames.carry_out(change, renaming)
        before = _state_after(change)
    difference = differences(before, policy)
    steps = [*difference.changes, *(difference.removals if prune else ())]
    if problems := [*references.clashes(policy, before)]:
        raise BadPolicy(policy.file, problems)
    if problems := [*references.dangling(policy, before, prune=prune)]:
        raise BadPolicy(policy.file, problems)
    after, goes = before, [*_credentials(change.session, steps)]
    less = any(isinstance(step.entry, RegistryEntry) and step.after is None for step in steps)
    used = in_use() if less else frozenset()
    if steps:
        carry_out(change, steps, progress)
        after = _state_after(change)
    consequence = consequences(before, after, steps, used)
    return Plan(
        [*renaming, *steps],
        [*(StepEffects() for _ in renaming), *effects.of(steps, before, after, comparing)],
        () if prune else difference.removals,
        [
            *renames.notes(change, renaming),
            *difference.notes,
            *consequence.notes,
            *_taking_passwords(steps),
            *_starting_disabled(steps),
            *_warnings(difference.changes),
        ],
        consequence.unsafe,
        goes,
        after,
    )


def _credentials(session: Session, steps: Sequence[Step]) -> Iterator[str]:
    """Give what goes with accounts and registries: app tokens, logins and invitations.

    All of them go with what is removed, logins and invitations also with some changes.
    """
    gone = [step.before for step in steps if step.after is None]
    changed = [step.after for step in steps if _ends_logins(step)]
    with lookup.remembered(session):
        removed_rows, changed_rows = _rows(session, gone), _rows(session, changed)
        uninvited_rows = [lookup.account(session, name) for name in _uninvited(steps)]
    for kind, rows in removed_rows.items():
        for loss in losses.of(session, rows):
            if loss.what in losses.CREDENTIALS:
                yield f"goes with the removed {kind}: {loss}"
    for kind, rows in changed_rows.items():
        for loss in losses.logins_of(session, rows):
            yield f"goes with the changed {kind}: {loss}"
    for loss in losses.invitations_of(session, uninvited_rows):
        yield f"goes with the changed accounts: {loss}"


def _rows(
    session: Session, entries: Iterable[PolicyEntry | None]
) -> dict[str, list[AccountRow] | list[RegistryRow]]:
    """Return the rows of accounts and of registries, by what they are called together."""
    entries = list(entries)
    names = [each.name for each in entries if isinstance(each, AccountEntry)]
    services = [each.service for each in entries if isinstance(each, RegistryEntry)]
    return {
        "accounts": [lookup.account(session, name) for name in names],
        "registries": [lookup.registry(session, service) for service in services],
    }


def _ends_logins(step: Step) -> bool:
    """Whether a change ends docker logins: those of a user, or those on a registry."""
    match step.before, step.after:
        case RegistryEntry(), RegistryEntry() as after:
            return after.app_tokens_only or not after.refresh_tokens
        case AccountEntry() as before, AccountEntry() as after:
            barred = after.app_tokens_only and not before.app_tokens_only
            return barred or (bool(after.disabled) and not before.disabled)
    return False


def _uninvited(steps: Sequence[Step]) -> Iterator[str]:
    """Give the accounts whose invitation a change ends: it disables, or raises the role."""
    for step in steps:
        match step.before, step.after:
            case AccountEntry() as before, AccountEntry() as after:
                disables = bool(after.disabled) and not before.disabled
                if disables or after.role > before.role:
                    yield after.name


def _state_after(change: Change) -> PolicyState:
    """Read the state from the transaction, not from the objects of the change."""
    change.session.flush()
    with Session(change.session.connection()) as reading:
        return current_state.load(reading)


def applied(policy: Policy) -> PolicyState:
    """Return the state that consists of one file, its accounts enabled unless they are disabled.

    Raises:
        BadPolicy: the file refers to what is not in it.
    """
    if problems := [*references.dangling(policy, PolicyState())]:
        raise BadPolicy(policy.file, problems)
    return current_state.state_of(policy)


def require_expected(plan: Plan, expect: str | None) -> None:
    """Check that a plan is the one that was reviewed; None accepts any.

    Raises:
        Refused: it is another one.
    """
    if expect not in (None, plan.id):
        raise Refused(
            f"the plan is another one now, {plan.id} and not {expect}: the store or the file has "
            "changed since; look at the plan again"
        )


def require_safe(plan: Plan, *, force: bool) -> None:
    """Check that the plan needs no force.

    Raises:
        Refused: it takes away what a deny or the administration rests on, and ``force`` is not
            set.
    """
    if plan.unsafe and not force:
        refusal = "refused, unless forced (--force, or force=true in the API):"
        raise Refused("\n".join((refusal, *plan.unsafe)))


def _warnings(steps: Iterable[Step]) -> Iterator[str]:
    """Give what lint calls an error in rules that the file writes."""
    for step in steps:
        if isinstance(step.after, RuleEntry):
            for error in checks.errors_of(step.after.rule):
                yield f"Warning: {error.text} ({error.code}): change it in the file"


def new_accounts(steps: Iterable[Step], kind: AccountKind) -> list[str]:
    """Return the names of the accounts of a kind that a plan adds."""
    entries = (step.entry for step in steps if step.verb is Verb.ADD)
    return [e.name for e in entries if isinstance(e, AccountEntry) and e.kind is kind]


def _taking_passwords(steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        match step.before, step.after:
            case RegistryEntry(app_tokens_only=True), RegistryEntry(app_tokens_only=False):
                yield f"{named(step.entry)} takes passwords again"
            case AccountEntry(app_tokens_only=True), AccountEntry(app_tokens_only=False):
                yield f"the password of {named(step.entry)} gets registry tokens again"


def _starting_disabled(steps: Sequence[Step]) -> Iterator[str]:
    for kind in AccountKind:
        names = new_accounts(steps, kind)
        if len(names) == 1:
            yield f"{kind} {names[0]} starts disabled"
        elif names:
            more = len(names) - TOLD
            rest = f", … and {more:,} more" if more > 0 else ""
            yield f"{len(names):,} {kind}s start disabled: {', '.join(names[:TOLD])}{rest}"
