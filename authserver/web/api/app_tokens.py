"""App tokens."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy.orm import Session

from authserver.core.bounds import str_limit
from authserver.core.errors import NotFound
from authserver.db import app_tokens
from authserver.db.app_tokens import Wanted
from authserver.db.models import AppTokenRow
from authserver.web.api.models import WHOLE, Answer, Body, Name, Nothing, Paging, Query, Sought
from authserver.web.api.operations import Call, Operations, Reply, references
from authserver.web.api.pagination import Page, page
from authserver.web.api.resources import Shown

OPERATIONS = Operations("tokens", "App tokens: secrets for programs, in the place of a password.")

DAY = 86400
LIFETIME_MAX = 3650 * DAY
Scope = Annotated[str, Field(max_length=400, examples=["repository:team/**:pull", "admin"])]
Network = Annotated[str, Field(max_length=50, examples=["10.0.0.0/8"])]


class NewToken(Body):
    """An app token that is to be made. One that an app token makes is within that one's bounds."""

    name: Name = Field(description="What it is called, once an account.")
    scopes: list[Scope] = Field(
        default=[],
        max_length=100,
        description="What it may be used for at most; `admin` is the admin API. Without any: for "
        "all that the account may do on registries, or an app token that makes it.",
    )
    networks: list[Network] = Field(
        default=[],
        max_length=100,
        description="Where it may be used from; without any, anywhere, or where an app token that "
        "makes it may.",
    )
    lifetime: Annotated[int, Field(ge=60, le=LIFETIME_MAX), WHOLE] | None = Field(
        default=90 * DAY,
        description="In seconds; null is for ever. Left out, it ends with an app token that makes "
        "it, if that is sooner.",
    )


class NewTokenOf(NewToken):
    """An app token that is to be made for an account."""

    account: Name


class Rotation(Body):
    """How a secret is replaced."""

    grace: Annotated[int, Field(ge=0, le=LIFETIME_MAX), WHOLE] = Field(
        default=DAY, description="Seconds for which the old one stays good."
    )


class LastUse(Answer):
    """When and from where something was used last."""

    at: datetime
    address: str | None
    client: str | None


class Token(Answer):
    """An app token; its secret is told only when it is made."""

    id: int
    account: str
    name: str
    scopes: list[str] | None
    networks: list[str] | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    previous_until: datetime | None = Field(description="Until when the secret before is good.")
    expired: bool
    last_used: LastUse | None


class NewSecret(Token):
    """An app token and its secret, which is told only now."""

    token: str


class Tokens(Page[Token]):
    """A part of the list of app tokens."""


class OfAccount(Paging):
    """Whose."""

    account: Sought | None = Field(None, description="Only those of this account.")


def shown(call: Call[Any, Any], owner: str | None = None) -> Shown[AppTokenRow]:
    """Return how app tokens are shown: all of them, or to their ``owner`` only his own."""
    now = call.parts.store.clock()

    def find(session: Session, token_id: int) -> AppTokenRow:
        row = app_tokens.get(session, token_id)
        if owner not in (None, row.account.name):
            raise NotFound(f"there is no app token {token_id} of yours")
        return row

    return Shown(
        Token,
        find,
        lambda row: app_tokens.described(row, now),
        frozenset({"last_used", "expired"}),
    )


def listing(call: Call[Nothing, Any], account: str | None) -> Reply:
    """Return a part of the list, of one account if asked."""
    return page(
        call,
        Tokens,
        lambda session, window: app_tokens.listed(session, account, window=window),
        shown(call).described,
        lambda row: row.id,
        int,
    )


def showing(call: Call[Nothing, Query], owner: str | None = None) -> Reply:
    """Return one app token."""
    how = shown(call, owner)
    with call.read() as session:
        return how.reply(how.find(session, call.path["id"]))


def making(call: Call[Any, Query], account: str, new: NewToken, where: str) -> Reply:
    """Make an app token."""
    wanted = _wanted(call, account, new)
    with call.change() as change, references():
        row, secret = app_tokens.create(change, account, wanted, secrets.token_bytes)
        told = shown(call).described(row) | {"token": secret}
        return Reply(
            NewSecret.model_validate(told),
            201,
            shown(call).state_tag(row),
            f"{where}/{row.id}",
        )


def _wanted(call: Call[Any, Query], account: str, new: NewToken) -> Wanted:
    """Return what is to be made; what is left out is as the credential that makes it has it.

    Raises:
        Forbidden: it is wider than that credential.
    """
    own, now = call.caller.bounds, call.parts.store.clock()
    wanted = Wanted(
        new.name,
        lifetime=None if new.lifetime is None else timedelta(seconds=new.lifetime),
        scopes=new.scopes or [str_limit(limit) for limit in own.limits or ()],
        networks=new.networks or [str(network) for network in own.networks],
        latest=None if "lifetime" in new.model_fields_set else own.end,
    )
    call.caller.require_within(wanted.bounds(account, now))
    # The store's clock may be another than this one.
    return replace(wanted, latest=own.end)


def rotating(call: Call[Rotation, Query], owner: str | None = None) -> Reply:
    """Give an app token a new secret."""
    how = shown(call, owner)
    number, grace = call.path["id"], timedelta(seconds=call.body.grace)
    with call.read() as session:
        call.caller.require_within(app_tokens.bounds(how.find(session, number)))
    with call.change() as change:
        how.find(change.session, number)
        latest = call.caller.bounds.end
        row, secret = app_tokens.rotate(change, number, grace, secrets.token_bytes, latest)
        told = how.described(row) | {"token": secret}
        return Reply(NewSecret.model_validate(told), 200, how.state_tag(row))


def revoking(call: Call[Nothing, Query], owner: str | None = None) -> Reply:
    """Revoke an app token."""
    with call.change() as change:
        row = shown(call, owner).required(call, change.session, call.path["id"])
        app_tokens.revoke(change, row.id)
    return Reply(None, 204)


@OPERATIONS.operation("GET", "/tokens", answer=Tokens, query=OfAccount)
def list_tokens(call: Call[Nothing, OfAccount]) -> Reply:
    """List app tokens."""
    return listing(call, call.query.account)


@OPERATIONS.operation(
    "POST", "/tokens", answer=NewSecret, body=NewTokenOf, statuses=(201,), tagged=True
)
def create_token(call: Call[NewTokenOf, Query]) -> Reply:
    """Make an app token for an account; its secret is told only now."""
    return making(call, call.body.account, call.body, call.here)


@OPERATIONS.operation("GET", "/tokens/{id}", answer=Token, tagged=True)
def show_token(call: Call[Nothing, Query]) -> Reply:
    """Show an app token."""
    return showing(call)


@OPERATIONS.operation("POST", "/tokens/{id}/rotate", answer=NewSecret, body=Rotation, tagged=True)
def rotate_token(call: Call[Rotation, Query]) -> Reply:
    """Give an app token a new secret; the old one stays good for a while."""
    return rotating(call)


@OPERATIONS.operation("DELETE", "/tokens/{id}", statuses=(204,), conditional=True)
def revoke_token(call: Call[Nothing, Query]) -> Reply:
    """Revoke an app token."""
    return revoking(call)
