"""Invitations: a code with which a user sets a password, once."""

import secrets
from typing import Literal

from pydantic import Field

from authserver.core.bounds import UNBOUNDED
from authserver.db import invitations
from authserver.db.invitations import Reset
from authserver.web.api.caller import Need
from authserver.web.api.models import ApiAnswer, ApiBody, ApiQuery, Name, Password
from authserver.web.api.operations import Call, Operations, references

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
