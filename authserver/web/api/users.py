"""Users: people."""

from datetime import datetime
from functools import partial
from typing import Any, Literal

from pydantic import Field

from authserver.core.bounds import UNBOUNDED
from authserver.core.subjects import AccountKind, AdminTokens
from authserver.db import accounts, lists, lookup
from authserver.db.models import AccountRow
from authserver.db.store import Change
from authserver.web.api.models import ApiAnswer, ApiBody, ApiQuery, Force, Password
from authserver.web.api.operations import Call, Operations
from authserver.web.api.pagination import Page
from authserver.web.api.resources import Resource, View

OPERATIONS = Operations("users", "People: accounts with a password.")
_USER = AccountKind.USER


class UserTerms(ApiBody):
    """A user. A new one has no password: invite it, or set one."""

    admin: bool = Field(default=False, description="May administer; no right on any repository.")
    auditor: bool = Field(
        default=False, description="Reads all that an administrator reads, and changes nothing."
    )
    disabled: bool = Field(default=False, description="No credential of it is good.")
    app_tokens_only: bool = Field(
        default=False,
        description="Its password gets no registry tokens, only app tokens do; it still opens the "
        "API. Its sessions end.",
    )


class Editing(Force):
    """How to change a user."""

    admin_tokens: Literal["keep", "revoke"] | None = Field(
        None,
        description="Whether a user who becomes an administrator or auditor keeps app tokens that "
        "open the administration. Without it, 409 if there are such tokens.",
    )


class User(ApiAnswer):
    """A user."""

    name: str
    kind: str
    admin: bool
    auditor: bool
    disabled: bool
    app_tokens_only: bool
    second_factor: bool = Field(
        description="Whether it has one, so that its password alone is good for nothing."
    )
    password: bool = Field(description="Whether it has one.")
    groups: list[str]
    created_at: datetime
    last_login_at: datetime | None = Field(description="When its password was last good.")
    last_used_at: datetime | None = Field(
        description="When any credential of it was last used, also one that is gone."
    )


class Users(Page[User]):
    """A page of the list of users."""


class NewPassword(ApiBody):
    """A password to set."""

    password: Password


def _add(_: Call[Any, Any], change: Change, name: str, terms: UserTerms) -> None:
    only = terms.app_tokens_only
    row = accounts.add_user(
        change, name, None, admin=terms.admin, auditor=terms.auditor, app_tokens_only=only
    )
    accounts.set_disabled(change, row.name, disabled=terms.disabled)


def _edit(call: Call[Any, Any], change: Change, row: AccountRow, terms: UserTerms) -> None:
    tokens = call.query.admin_tokens and AdminTokens(call.query.admin_tokens)
    accounts.set_role(
        change, row.name, admin=terms.admin, auditor=terms.auditor, admin_tokens=tokens
    )
    accounts.set_app_tokens_only(change, row.name, only=terms.app_tokens_only)
    accounts.set_disabled(change, row.name, disabled=terms.disabled)


def _remove(change: Change, row: AccountRow, force: bool) -> list[str]:
    # Force is for rules: the API would lock its administrators out.
    accounts.require_other_administrator(change.session, row)
    return accounts.remove(change, row.name, force=force, kind=_USER)


VIEW = View(
    User,
    lambda session, name: lookup.account(session, name, _USER),
    accounts.described,
    frozenset({"last_login_at", "last_used_at"}),
    key="name",
)

Resource(
    noun="user",
    path="/users",
    view=VIEW,
    page=Users,
    terms=UserTerms,
    listed=lambda session, window: accounts.listed(session, _USER, window),
    listing=lists.USERS,
    add=_add,
    edit=_edit,
    remove=_remove,
    editing=Editing,
    rename=partial(accounts.rename, kind=_USER),
).declare(OPERATIONS)


@OPERATIONS.operation("POST", "/users/{name}/password")
def set_password(call: Call[NewPassword, ApiQuery]) -> None:
    """Give a user a new password. This ends the user's sessions."""
    call.caller.require_within(UNBOUNDED)
    name = call.path["name"]
    with call.read() as session:
        lookup.account(session, name, _USER)
    hashed = call.hash_new(call.body.password, name)
    with call.change() as change:
        accounts.set_password(change, name, hashed)
