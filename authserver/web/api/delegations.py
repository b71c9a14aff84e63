"""Delegations: leave for a group's members to write rules within bounds."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy.orm import Session

from authserver.db import delegations
from authserver.db.lookup import Window
from authserver.db.models import DelegationRow
from authserver.web.api.caller import Need
from authserver.web.api.models import Answer, Body, Name, Nothing, Paging, Query, Removed
from authserver.web.api.operations import Call, Operations, Reply, references
from authserver.web.api.pagination import Page, page
from authserver.web.api.resources import Shown
from authserver.web.api.rules import Action, Text, delegate

OPERATIONS = Operations("delegations", "Leave for a group's members to write rules within bounds.")


class NewDelegation(Body):
    """A delegation that is to be made."""

    group: Name
    registry: Text
    pattern: Text
    actions: list[Action] = Field(default=["*"], min_length=1, max_length=4)
    comment: Annotated[str, Field(max_length=1000)] = ""


class Delegation(Answer):
    """A delegation."""

    id: int
    group: str
    registry: str
    pattern: str
    actions: list[str]
    comment: str
    created_by: str
    created_at: datetime


class Delegations(Page[Delegation]):
    """A part of the list of delegations."""


SHOWN = Shown(Delegation, delegations.get, delegations.described)


@OPERATIONS.operation("GET", "/delegations", answer=Delegations, query=Paging, need=Need.SELF)
def list_delegations(call: Call[Nothing, Paging]) -> Reply:
    """List the delegations; to a delegate, those that he has."""

    def listed(session: Session, window: Window) -> list[DelegationRow]:
        author = delegate(call, session)
        held = (
            delegations.listed(session) if author is None else delegations.held_by(session, author)
        )
        after: Any = window.after
        return [row for row in held if after is None or row.id > after][: window.limit]

    return page(call, Delegations, listed, delegations.described, lambda row: row.id, int)


@OPERATIONS.operation(
    "POST", "/delegations", answer=Delegation, body=NewDelegation, statuses=(201,), tagged=True
)
def add_delegation(call: Call[NewDelegation, Query]) -> Reply:
    """Let the members of a group write allows within a pattern on one registry."""
    new = call.body
    to = delegations.extent(new.pattern, ",".join(new.actions))
    with call.change() as change, references():
        row = delegations.add(change, new.group, new.registry, to, new.comment)
        reply = SHOWN.reply(row, 201)
        return Reply(reply.answer, 201, reply.tag, f"{call.here}/{row.id}")


@OPERATIONS.operation("GET", "/delegations/{id}", answer=Delegation, tagged=True)
def show_delegation(call: Call[Nothing, Query]) -> Reply:
    """Show a delegation."""
    with call.read() as session:
        return SHOWN.reply(delegations.get(session, call.path["id"]))


@OPERATIONS.operation("DELETE", "/delegations/{id}", answer=Removed, conditional=True)
def end_delegation(call: Call[Nothing, Query]) -> Reply:
    """End a delegation: the rules that were written under it are disabled, and told."""
    with call.change() as change:
        row = SHOWN.required(call, change.session, call.path["id"])
        return Reply(Removed(rules=delegations.end(change, row.id)))
