"""Invitations: a code with which a user sets a password, once."""

import secrets
from datetime import datetime
from typing import Literal

from pydantic import Field

from authserver.core.bounds import UNBOUNDED
from authserver.db import invitations
from authserver.db.invitations import Reset
from authserver.web.api.caller import Need
from authserver.web.api.models import (
    ApiAnswer,
    ApiBody,
    ApiQuery,
    Name,
    Nothing,
    Paging,
    Password,
)
from authserver.web.api.operations import Call, Operations, references
from authserver.web.api.pagination import Page, page

OPERATIONS = Operations(
    "invitations", "Codes with which users set a password, once, within 72 hours."
)


class Invited(ApiBody):
    """The user to invite."""

    user: Name
    reset: Literal["later", "now"] | None = Field(
        None,
        description="Needed for a user who has a password. It and its sessions end when the new "
        "one is set (`later`), or at once (`now`; 409 for the last administrator).",
    )


class ApiInvitation(ApiAnswer):
    """An invitation. Only this answer has the link, and the link alone sets the password."""

    user: str
    link: str
    code: str


class Redemption(ApiBody):
    """The code of an invitation, and the password to set."""

    code: str = Field(max_length=200, repr=False)
    password: Password


class Redeemed(ApiAnswer):
    """The user whose password was set."""

    user: str


class OpenInvitation(ApiAnswer):
    """An invitation that was not used yet. No answer but the first has its link."""

    user: str
    reset: bool = Field(description="Whether the user has a password, which ends by it.")
    created_at: datetime
    expires_at: datetime


class Invitations(Page[OpenInvitation]):
    """A page of the list of invitations."""


class Uninvited(ApiBody):
    """The user whose invitation ends."""

    user: Name


@OPERATIONS.operation("GET", "/invitations", need=Need.READER)
def list_invitations(call: Call[Nothing, Paging]) -> Invitations:
    """List the invitations that were not used and have not expired."""
    now = call.parts.store.clock()
    return page(
        call,
        Invitations,
        lambda session, after, limit: invitations.listed(
            session, now, after[0] if after else 0, limit
        ),
        invitations.described,
        lambda rows: [rows[-1][0].id],
        int,
    )


@OPERATIONS.operation("POST", "/invitations/end")
def end_invitation(call: Call[Uninvited, ApiQuery]) -> None:
    """End the invitation of a user: its link is no longer good. 409 if there is none."""
    with call.change() as change, references():
        invitations.end(change, call.body.user)


@OPERATIONS.operation("POST", "/invitations", status=201)
def invite_user(call: Call[Invited, ApiQuery]) -> ApiInvitation:
    """Invite a user, who is added if not there. An earlier invitation of the same user ends."""
    call.caller.require_within(UNBOUNDED)
    reset = call.body.reset and Reset(call.body.reset)
    with call.change() as change, references():
        row, code = invitations.invite(change, call.body.user, secrets.token_bytes, reset)
    return ApiInvitation(user=row.name, link=call.parts.settings.invitation_link(code), code=code)


@OPERATIONS.operation("POST", "/invitations/redeem", need=Need.NOTHING)
def redeem_invitation(call: Call[Redemption, ApiQuery]) -> Redeemed:
    """Set a password. The code is the only credential."""
    body = call.body
    user = invitations.accept(call.parts.store, body.code.strip(), body.password, call.hash_new)
    return Redeemed(user=user)
