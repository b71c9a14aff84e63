"""Groups of accounts."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from authserver.core.subjects import AccountKind, subject
from authserver.db import groups, lookup
from authserver.db.store import Change
from authserver.web.api.models import Answer, Body, Force
from authserver.web.api.operations import Call, Operations, Reply, references
from authserver.web.api.pagination import Page
from authserver.web.api.resources import Resource, Shown

OPERATIONS = Operations("groups", "Named sets of accounts, for rules that hold for several.")

MEMBER = Field(pattern="^(user|robot):.", max_length=134, examples=["user:alice"])
Members = Annotated[list[Annotated[str, MEMBER]], AfterValidator(lambda names: sorted({*names}))]


class GroupTerms(Body):
    """What is said of a group: who is in it."""

    members: Members = Field(default=[], description="user:NAME and robot:NAME.")


class MembersChange(Body):
    """Who joins and who leaves. Nothing else is touched, so this needs no If-Match."""

    add: Members = Field(default=[])
    remove: Members = Field(default=[])


class Group(Answer):
    """A group."""

    name: str
    members: list[str]
    created_at: datetime


class Groups(Page[Group]):
    """A part of the list of groups."""


def _account(change: Change, member: str) -> str:
    """Return the name of the account that ``kind:NAME`` names.

    Raises:
        Refused: there is none.
    """
    said = subject(member)
    with references():
        return lookup.account(change.session, said.name, AccountKind(said.kind)).name


def _set(change: Change, name: str, members: list[str], *, force: bool) -> None:
    wanted = [_account(change, member) for member in members]
    groups.set_members(change, name, wanted, force=force)


def _add(_: Call[Any, Any], change: Change, name: str, terms: GroupTerms) -> None:
    row = groups.add(change, name)
    change.session.flush()
    _set(change, row.name, terms.members, force=False)


SHOWN = Shown(Group, lookup.group, groups.described)

Resource(
    noun="group",
    path="/groups",
    key="name",
    shown=SHOWN,
    page=Groups,
    terms=GroupTerms,
    listed=groups.listed,
    place=lambda row: row.folded_name,
    add=_add,
    edit=lambda _, change, row, terms, force: _set(change, row.name, terms.members, force=force),
    remove=lambda change, row, force: groups.remove(change, row.name, force=force),
).declare(OPERATIONS)


@OPERATIONS.operation(
    "POST", "/groups/{name}/members", answer=Group, body=MembersChange, query=Force, tagged=True
)
def change_members(call: Call[MembersChange, Force]) -> Reply:
    """Put accounts into a group and take others out."""
    name = call.path["name"]
    with call.change() as change:
        row = lookup.group(change.session, name)
        for member in call.body.add:
            groups.add_member(change, name, _account(change, member))
        for member in call.body.remove:
            with references():
                account = _account(change, member)
                groups.remove_member(change, name, account, force=call.query.force)
        change.session.flush()
        change.session.expire_all()
        return SHOWN.reply(row)
