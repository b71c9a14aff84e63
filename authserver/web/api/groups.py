"""Groups of accounts."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from authserver.core.subjects import AccountKind, subject
from authserver.db import groups, lists, lookup
from authserver.db.store import Change
from authserver.web.api.models import ApiAnswer, ApiBody, Force
from authserver.web.api.operations import Call, Operations, Tagged, references
from authserver.web.api.pagination import Page
from authserver.web.api.resources import Resource, View

OPERATIONS = Operations("groups", "Named sets of accounts, for rules that hold for several.")

MEMBER = Field(pattern="^(user|robot):.", max_length=134, examples=["user:alice"])
Members = Annotated[list[Annotated[str, MEMBER]], AfterValidator(lambda names: sorted({*names}))]


class GroupTerms(ApiBody):
    """A group: its members."""

    members: Members = Field(default=[], description="user:NAME and robot:NAME.")


class MembersChange(ApiBody):
    """Who joins and who leaves. Other members stay, so this needs no If-Match."""

    add: Members = Field(default=[])
    remove: Members = Field(default=[])


class ApiGroup(ApiAnswer):
    """A group."""

    name: str
    members: list[str]
    created_at: datetime


class Groups(Page[ApiGroup]):
    """A page of the list of groups."""


def _account(change: Change, member: str) -> str:
    """Return the name of the account that ``kind:NAME`` names.

    Raises:
        Refused: there is no such account.
    """
    account = subject(member)
    with references():
        return lookup.account(change.session, account.name, AccountKind(account.kind)).name


def _set(change: Change, name: str, members: list[str], *, force: bool) -> None:
    wanted = [_account(change, member) for member in members]
    groups.set_members(change, name, wanted, force=force)


def _add(_: Call[Any, Any], change: Change, name: str, terms: GroupTerms) -> None:
    row = groups.add(change, name)
    change.session.flush()
    _set(change, row.name, terms.members, force=False)


VIEW = View(ApiGroup, lookup.group, groups.described, key="name")

Resource(
    noun="group",
    path="/groups",
    view=VIEW,
    page=Groups,
    terms=GroupTerms,
    listed=groups.listed,
    listing=lists.GROUPS,
    add=_add,
    edit=lambda call, change, row, terms: _set(
        change, row.name, terms.members, force=call.query.force
    ),
    remove=lambda change, row, force: groups.remove(change, row.name, force=force),
    rename=groups.rename,
).declare(OPERATIONS)


@OPERATIONS.operation("POST", "/groups/{name}/members")
def change_members(call: Call[MembersChange, Force]) -> Tagged[ApiGroup]:
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
        return VIEW.changed(change, row)
