"""Groups of accounts: adding, removing, members."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from authserver.core.errors import NotFound
from authserver.core.names import folded
from authserver.db import delegations, lists, lookup, losses, rules
from authserver.db.lists import Window
from authserver.db.models import DelegationRow, GroupRow, RuleSubjectRow
from authserver.db.store import Change


def add(change: Change, name: str) -> GroupRow:
    """Add an empty group.

    Raises:
        Refused: the name is malformed, or a group has it in this or another case.
    """
    name = lookup.free_name(change.session, GroupRow, name)
    row = GroupRow(name=name, folded_name=folded(name), created_at=change.at)
    change.session.add(row)
    change.record("group.add", f"group:{name}")
    return row


def rename(change: Change, name: str, new_name: str) -> bool:
    """Give a group another name; False if it has that name already.

    Members, rules and delegations stay with the group.

    Raises:
        NotFound: there is no such group.
        Refused: the new name is malformed, or another group has it in this or another case.
    """
    return lookup.rename(change, lookup.group(change.session, name), "group", new_name)


def remove(change: Change, name: str, *, force: bool = False) -> list[str]:
    """Remove a group and end its delegations; return, in words, what happened to its rules.

    Raises:
        NotFound: there is no such group.
        Refused: a deny names the group, so that its members would gain, and ``force`` is not set.
    """
    row = lookup.group(change.session, name)
    named_in = RuleSubjectRow.group_id == row.id
    naming = rules.naming(change.session, named_in)
    what = f"rules deny group {row.name} something that its members would gain"
    rules.refuse_denies(naming, what, force=force)
    before = losses.counts(losses.of(change.session, [row])) | described(row)
    removed = rules.unname(change, naming, named_in)
    removed += delegations.end_all(change, DelegationRow.group_id == row.id)
    row.members.clear()
    change.session.flush()
    change.session.delete(row)
    change.record("group.remove", f"group:{row.name}", before=before)
    return removed


def add_member(change: Change, group: str, account: str) -> bool:
    """Put an account into a group; False if it was in it already.

    Raises:
        NotFound: there is no such group or account.
    """
    row = lookup.group(change.session, group)
    member = lookup.account(change.session, account)
    if member in row.members:
        return False
    row.members.append(member)
    change.record(
        "group.add-member", f"group:{row.name}", after={"member": f"{member.kind}:{member.name}"}
    )
    return True


def remove_member(change: Change, group: str, account: str, *, force: bool = False) -> None:
    """Take an account out of a group.

    Raises:
        NotFound: there is no such group or account, or the account is not in the group.
        Refused: a deny names the group, so that the account would gain, and ``force`` is not set.
    """
    row = lookup.group(change.session, group)
    member = lookup.account(change.session, account)
    if member not in row.members:
        raise NotFound(f"{member.kind} {member.name} is not in group {row.name}")
    naming = rules.naming(change.session, RuleSubjectRow.group_id == row.id)
    what = f"rules deny group {row.name} something that {member.name} would gain"
    rules.refuse_denies(naming, what, force=force)
    row.members.remove(member)
    change.record(
        "group.remove-member",
        f"group:{row.name}",
        before={"member": f"{member.kind}:{member.name}"},
    )


def set_members(
    change: Change, group: str, accounts: Collection[str], *, force: bool = False
) -> None:
    """Make exactly these accounts the members of a group.

    Raises:
        NotFound: there is no such group or account.
        Refused: a deny names the group, so that a leaving member would gain, and ``force`` is not
            set.
    """
    row = lookup.group(change.session, group)
    members = {lookup.account(change.session, name).name for name in accounts}
    for name in sorted({member.name for member in row.members} - members):
        remove_member(change, group, name, force=force)
    for name in sorted(members):
        add_member(change, group, name)


def listed(session: Session, window: Window = lists.ALL) -> Sequence[GroupRow]:
    """Return the groups, by folded name unless sorted."""
    query = select(GroupRow).options(selectinload(GroupRow.members))
    return session.scalars(lists.GROUPS.within(query, window)).all()


def described(row: GroupRow) -> dict[str, Any]:
    """Return the group for ``--json`` and for audit records."""
    return {
        "name": row.name,
        "members": [f"{member.kind}:{member.name}" for member in row.members],
        "created_at": row.created_at.isoformat(),
    }
