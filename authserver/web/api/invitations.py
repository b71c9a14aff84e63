"""Invitations: a code with which a user sets a first password, once."""

import secrets

from pydantic import Field

from authserver.core.bounds import UNBOUNDED
from authserver.db import invitations
from authserver.web.api.caller import Need
from authserver.web.api.models import Answer, Body, Name, Password, Query
from authserver.web.api.operations import Call, Operations, Reply, references

OPERATIONS = Operations(
    "invitations", "Codes with which users set a first password, once, within 72 hours."
)


class Invited(Body):
    """Who is invited."""

    user: Name


class Invitation(Answer):
    """An invitation, told only now: whoever has the link sets the password."""

    user: str
    link: str
    code: str


class Redemption(Body):
    """The code of an invitation, and the password that is set with it."""

    code: str = Field(max_length=200, repr=False)
    password: Password


class Redeemed(Answer):
    """Whose password was set."""

    user: str


@OPERATIONS.operation("POST", "/invitations", answer=Invitation, body=Invited, statuses=(201,))
def invite_user(call: Call[Invited, Query]) -> Reply:
    """Invite a user, who is added if not there. An earlier invitation of the same user ends."""
    call.caller.require_within(UNBOUNDED)
    with call.change() as change, references():
        row, code = invitations.invite(change, call.body.user, secrets.token_bytes)
    link = call.parts.settings.invitation_link(code)
    return Reply(Invitation(user=row.name, link=link, code=code), 201)


@OPERATIONS.operation(
    "POST", "/invitations/redeem", answer=Redeemed, body=Redemption, need=Need.NOTHING
)
def redeem_invitation(call: Call[Redemption, Query]) -> Reply:
    """Set a first password. This takes no account but the code."""
    body = call.body
    user = invitations.accept(call.parts.store, body.code.strip(), body.password, call.hash_new)
    return Reply(Redeemed(user=user))
