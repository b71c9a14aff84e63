"""Users: people."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from authserver.core.bounds import UNBOUNDED
from authserver.core.subjects import AccountKind
from authserver.db import accounts, lookup
from authserver.db.accounts import AdminTokens
from authserver.db.models import AccountRow
from authserver.db.store import Change
from authserver.web.api.models import Answer, Body, Force, Password, Query
from authserver.web.api.operations import Call, Operations, Reply
from authserver.web.api.pagination import Page
from authserver.web.api.resources import Resource, Shown

OPERATIONS = Operations("users", "People: accounts with a password.")
_USER = AccountKind.USER


class UserTerms(Body):
    """What is said of a user. A new one has no password: invite it, or set one."""

    admin: bool = Field(default=False, description="May administer; no right on any repository.")
    disabled: bool = Field(default=False, description="No credential of it is good.")


class Editing(Force):
    """How a user is changed."""

    admin_tokens: Literal["keep", "revoke"] | None = Field(
        None,
        description="What becomes of the app tokens with an admin ceiling of a user who is made "
        "an administrator: without it, 409 where there are such.",
    )


class User(Answer):
    """A user."""

    name: str
    kind: str
    admin: bool
    disabled: bool
    password: bool = Field(description="Whether it has one.")
    groups: list[str]
    created_at: datetime


class Users(Page[User]):
    """A part of the list of users."""


class NewPassword(Body):
    """A password: 8 characters or more, and at most 72 bytes."""

    password: Password


def _add(_: Call[Any, Any], change: Change, name: str, terms: UserTerms) -> None:
    row = accounts.add_user(change, name, None, admin=terms.admin)
    accounts.set_disabled(change, row.name, disabled=terms.disabled)


def _edit(
    call: Call[Any, Any], change: Change, row: AccountRow, terms: UserTerms, _force: bool
) -> None:
    if row.admin and (terms.disabled or not terms.admin):
        accounts.require_other_administrator(change.session, row)
    said = call.query.admin_tokens
    admin_tokens = None if said is None else AdminTokens(said)
    accounts.set_admin(change, row.name, admin=terms.admin, admin_tokens=admin_tokens)
    accounts.set_disabled(change, row.name, disabled=terms.disabled)


def _remove(change: Change, row: AccountRow, force: bool) -> list[str]:
    if row.admin:
        accounts.require_other_administrator(change.session, row)
    return accounts.remove(change, row.name, force=force, kind=_USER)


Resource(
    noun="user",
    path="/users",
    key="name",
    shown=Shown(
        User, lambda session, name: lookup.account(session, name, _USER), accounts.described
    ),
    page=Users,
    terms=UserTerms,
    listed=lambda session, window: accounts.listed(session, _USER, window),
    place=lambda row: row.folded_name,
    add=_add,
    edit=_edit,
    remove=_remove,
    editing=Editing,
).declare(OPERATIONS)


@OPERATIONS.operation("POST", "/users/{name}/password", body=NewPassword, statuses=(204,))
def set_password(call: Call[NewPassword, Query]) -> Reply:
    """Give a user a new password; whoever was logged in has to log in again."""
    call.caller.require_within(UNBOUNDED)
    name = call.path["name"]
    with call.read() as session:
        lookup.account(session, name, _USER)
    hashed = call.hash_new(call.body.password)
    with call.change() as change:
        accounts.set_password(change, name, hashed)
    return Reply(None, 204)
