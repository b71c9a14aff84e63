"""App tokens: everybody's below ``/tokens``, the caller's own below ``/me/tokens``."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy.orm import Session

from authserver.core.bounds import str_limit
from authserver.core.errors import NotFound
from authserver.db import app_tokens, lists
from authserver.db.app_tokens import Wanted
from authserver.db.models import AppTokenRow
from authserver.web.api import me
from authserver.web.api.caller import Need
from authserver.web.api.models import (
    WHOLE,
    ApiAnswer,
    ApiBody,
    ApiQuery,
    Name,
    Nothing,
    Paging,
    Sought,
)
from authserver.web.api.operations import BareCall, Call, Operations, Tagged, references
from authserver.web.api.pagination import Page, search, table_page
from authserver.web.api.resources import View

OPERATIONS = Operations("tokens", "App tokens: secrets for programs, in place of a password.")

DAY = 86400
LIFETIME_MAX = 3650 * DAY
Scope = Annotated[
    str, Field(max_length=400, examples=["repository:team/**:pull", "admin", "auditor", "self"])
]
Network = Annotated[str, Field(max_length=50, examples=["10.0.0.0/8"])]


class NewToken(ApiBody):
    """An app token to make. If an app token makes it, its bounds are within that one's."""

    name: Name = Field(description="What it is called, once an account.")
    scopes: list[Scope] = Field(
        default=[],
        max_length=100,
        description="What it may be used for at most; `admin` is the admin API, `auditor` reading "
        "there: a user's where the user may, a robot's always. `self`, which `admin` includes, is "
        "the account's own tokens and logins, and rules as a delegate. Without any: for all that "
        "the account may do on registries, or an app token that makes it.",
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
    """An app token to make for an account."""

    account: Name


class Rotation(ApiBody):
    """How long the old secret stays good."""

    grace: Annotated[int, Field(ge=0, le=LIFETIME_MAX), WHOLE] = Field(
        default=DAY, description="Seconds for which the old one stays good."
    )


class LastUse(ApiAnswer):
    """When and from where it was used last."""

    at: datetime
    address: str | None
    client: str | None


class Token(ApiAnswer):
    """An app token. Only the answer that makes it has its secret."""

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
    """An app token and its secret. No later answer has the secret."""

    token: str


class Tokens(Page[Token]):
    """A page of the list of app tokens."""


class OfAccount(Paging):
    """Of which account."""

    account: Sought | None = Field(None, description="Only those of this account.")


def view(call: Call[Any, Any]) -> View[AppTokenRow, Token]:
    """Return how app tokens are answered. Below ``/me``, only the caller's own are there."""
    now = call.parts.store.clock()

    def find(session: Session, token_id: int) -> AppTokenRow:
        row = session.get(AppTokenRow, token_id)
        if call.owner is not None and (row is None or row.account.name != call.owner):
            # The same for another's: nobody learns how many there are.
            raise NotFound(f"there is no app token {token_id} of yours")
        return app_tokens.get(session, token_id)

    return View(
        Token,
        find,
        lambda row: app_tokens.described(row, now),
        frozenset({"last_used", "expired"}),
    )


def _wanted(call: Call[Any, ApiQuery], account: str, new: NewToken) -> Wanted:
    """Return the token to make. The bounds of the caller's credential fill what is left out.

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
    # The store's clock may differ from this one.
    return replace(wanted, latest=own.end)


def _with_secret(
    call: Call[Any, Any], row: AppTokenRow, secret: str, location: str | None = None
) -> Tagged[NewSecret]:
    how = view(call)
    answer = NewSecret.model_validate(how.described(row) | {"token": secret})
    return Tagged(answer, how.tag_of(row), location)


@me.own("GET", "/tokens", need=Need.ANY, summary="List my app tokens.", query=search(lists.TOKENS))
@OPERATIONS.operation("GET", "/tokens", need=Need.READER, query=search(lists.TOKENS, OfAccount))
def list_tokens(call: Call[Nothing, OfAccount]) -> Tokens:
    """List app tokens."""
    account = call.owner or call.query.account
    return table_page(
        call,
        Tokens,
        lambda session, window: app_tokens.listed(session, account, window=window),
        view(call).described,
        lists.TOKENS,
    )


@me.own(
    "POST",
    "/tokens",
    need=Need.SELF,
    summary="Make an app token for myself. Only this answer has its secret.",
    body=NewToken,
    status=201,
)
@OPERATIONS.operation("POST", "/tokens", status=201)
def create_token(call: Call[NewTokenOf, ApiQuery]) -> Tagged[NewSecret]:
    """Make an app token for an account. Only this answer has its secret."""
    account = call.owner or call.body.account
    wanted = _wanted(call, account, call.body)
    with call.change() as change, references():
        row, secret = app_tokens.create(change, account, wanted, secrets.token_bytes)
        return _with_secret(call, row, secret, f"{call.here}/{row.id}")


@me.own("GET", "/tokens/{id}", need=Need.ANY, summary="Show an app token of mine.")
@OPERATIONS.operation("GET", "/tokens/{id}", need=Need.READER)
def show_token(call: BareCall) -> Tagged[Token]:
    """Show an app token."""
    return view(call).show(call)


@me.own(
    "POST",
    "/tokens/{id}/rotate",
    need=Need.SELF,
    summary="Give an app token of mine a new secret; the old one stays good for a while.",
)
@OPERATIONS.operation("POST", "/tokens/{id}/rotate")
def rotate_token(call: Call[Rotation, ApiQuery]) -> Tagged[NewSecret]:
    """Give an app token a new secret; the old one stays good for a while."""
    find, number = view(call).find, call.path["id"]
    grace, latest = timedelta(seconds=call.body.grace), call.caller.bounds.end
    with call.read() as session:
        call.caller.require_within(app_tokens.bounds(find(session, number)))
    with call.change() as change:
        find(change.session, number)
        row, secret = app_tokens.rotate(change, number, grace, secrets.token_bytes, latest)
        return _with_secret(call, row, secret)


@me.own(
    "DELETE",
    "/tokens/{id}",
    need=Need.ANY,
    summary="Revoke an app token of mine; with no admin or self ceiling, one revokes only itself.",
)
@OPERATIONS.operation("DELETE", "/tokens/{id}")
def revoke_token(call: BareCall) -> None:
    """Revoke an app token."""
    credential = call.caller.identity.app_token
    if credential is not None and credential.id != call.path["id"]:
        call.caller.require(Need.SELF)
    with call.change() as change:
        row = view(call).seen(call, change.session)
        app_tokens.revoke(change, row.id)
