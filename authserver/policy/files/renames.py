"""Renames that a file asks for: ``was`` says what an account or a group was called before.

They come before all other steps, so that everything else of the file is about the present names.
Where the new name is there already, ``was`` asks for nothing: the rename is done.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from authserver.db import accounts, groups, rule_rows
from authserver.db.store import Change
from authserver.policy.files.current_state import PolicyState
from authserver.policy.files.document import AccountEntry, GroupEntry, Policy
from authserver.policy.files.steps import Step, Verb

_Named = TypeVar("_Named", AccountEntry, GroupEntry)


def renames(before: PolicyState, policy: Policy) -> list[Step]:
    """Return the renames in an order in which each new name is free."""
    return [*_of(before.accounts, policy.accounts), *_of(before.groups, policy.groups)]


def _of(present: Mapping[str, _Named], wanted: Mapping[str, _Named] | None) -> Iterator[Step]:
    names = set(present)
    waiting = {entry.was: entry for entry in (wanted or {}).values() if entry.was in present}
    while True:
        ready = [was for was, e in waiting.items() if was in names and e.name not in names]
        if not ready:
            return
        for was in ready:
            assert was is not None  # noqa: S101 - it is a key of present
            after = waiting.pop(was).name
            names.remove(was)
            names.add(after)
            yield Step(Verb.RENAME, present[was], replace(present[was], name=after))


def carry_out(change: Change, steps: Iterable[Step]) -> None:
    """Rename, with the functions that single commands call.

    Raises:
        Refused: a new name is malformed, or another account or group has it in another case.
    """
    for step in steps:
        match step.before, step.after:
            case AccountEntry() as before, AccountEntry() as after:
                accounts.rename(change, before.name, after.name)
            case GroupEntry() as before, GroupEntry() as after:
                groups.rename(change, before.name, after.name)


def notes(change: Change, steps: Iterable[Step]) -> Iterator[str]:
    """Say which repositories follow a name and not the account."""
    renamed = [
        (step.before.name, step.after.name)
        for step in steps
        if isinstance(step.before, AccountEntry) and isinstance(step.after, AccountEntry)
    ]
    if renamed and rule_rows.any_by_name(change.session):
        for name, new_name in renamed:
            yield (
                f"{{account}} in patterns stands for {new_name} now: repositories under {name}/ "
                "stay where they are"
            )
