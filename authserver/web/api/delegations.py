"""Delegations: leave for a group's members to write rules within bounds."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy.orm import Session

from authserver.db import delegations
from authserver.db.models import DelegationRow
from authserver.web.api.caller import Need
from authserver.web.api.models import (
    ApiAnswer,
    ApiBody,
    ApiQuery,
    Name,
    Nothing,
    Paging,
    Removed,
    Text,
)
from authserver.web.api.operations import BareCall, Call, Operations, Tagged, references
from authserver.web.api.pagination import Page, page
from authserver.web.api.resources import View
from authserver.web.api.rules import Action, delegate

OPERATIONS = Operations("delegations", "Leave for a group's members to write rules within bounds.")


class NewDelegation(ApiBody):
    """A delegation to make."""

    group: Name
    registry: Text
    pattern: Text
    actions: list[Action] = Field(default=["*"], min_length=1, max_length=4)
    comment: Annotated[str, Field(max_length=1000)] = ""


class ApiDelegation(ApiAnswer):
    """A delegation."""

    id: int
    group: str
    registry: str
    pattern: str
    actions: list[str]
    comment: str
    created_by: str
    created_at: datetime


class Delegations(Page[ApiDelegation]):
    """A page of the list of delegations."""


VIEW = View(ApiDelegation, delegations.get, delegations.described)


@OPERATIONS.operation("GET", "/delegations", need=Need.SELF_READER)
def list_delegations(call: Call[Nothing, Paging]) -> Delegations:
    """List the delegations; a delegate gets only their own."""

    def rows(session: Session, after: list[Any] | None, limit: int) -> list[DelegationRow]:
        author = delegate(call, session)
        own = (
            delegations.listed(session) if author is None else delegations.held_by(session, author)
        )
        return [row for row in own if after is None or row.id > after[0]][:limit]

    return page(call, Delegations, rows, delegations.described, lambda rows: [rows[-1].id], int)


@OPERATIONS.operation("POST", "/delegations", status=201)
def add_delegation(call: Call[NewDelegation, ApiQuery]) -> Tagged[ApiDelegation]:
    """Let the members of a group write allows within a pattern on one registry."""
    new = call.body
    extent = delegations.extent(new.pattern, ",".join(new.actions))
    with call.change() as change, references():
        row = delegations.add(change, new.group, new.registry, extent, new.comment)
        return VIEW.tagged(row, f"{call.here}/{row.id}")


@OPERATIONS.operation("GET", "/delegations/{id}", need=Need.READER)
def show_delegation(call: BareCall) -> Tagged[ApiDelegation]:
    """Show a delegation."""
    return VIEW.show(call)


@OPERATIONS.operation("DELETE", "/delegations/{id}")
def end_delegation(call: BareCall) -> Removed:
    """End a delegation. The rules that were written under it are disabled, and listed."""
    with call.change() as change:
        row = VIEW.seen(call, change.session)
        return Removed(rules=delegations.end(change, row.id))
