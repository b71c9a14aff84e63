"""Lockouts: addresses and accounts whose passwords are not checked for a while."""

from datetime import datetime
from typing import Any

from pydantic import Field
from sqlalchemy.orm import Session

from authserver.core.bounds import UNBOUNDED
from authserver.db import lockouts
from authserver.db.models import LockoutRow
from authserver.web.api.caller import Need
from authserver.web.api.models import ApiAnswer, Nothing, Paging
from authserver.web.api.operations import BareCall, Call, Operations
from authserver.web.api.pagination import Page, page
from authserver.web.api.resources import View

OPERATIONS = Operations(
    "lockouts", "Passwords that are not checked for a while, because too many were wrong."
)


class ApiLockout(ApiAnswer):
    """A lockout that refused a login."""

    id: int
    address: str = Field(description="Of IPv6 the /64.")
    account: str | None = Field(
        description="null: all accounts. A name that no account has is hashed, as in records."
    )
    why: str
    began_at: datetime
    until: datetime


class Lockouts(Page[ApiLockout]):
    """A page of the list of lockouts."""


VIEW = View(ApiLockout, lockouts.get, lockouts.described, frozenset({"until"}))


@OPERATIONS.operation("GET", "/lockouts", need=Need.READER)
def list_lockouts(call: Call[Nothing, Paging]) -> Lockouts:
    """List the lockouts that refused a login, up to a thousand."""

    def rows(session: Session, after: list[Any] | None, limit: int) -> list[LockoutRow]:
        listed = lockouts.listed(session, call.parts.store.time(session))
        return [row for row in listed if after is None or row.id > after[0]][:limit]

    return page(call, Lockouts, rows, lockouts.described, lambda rows: [rows[-1].id], int)


@OPERATIONS.operation("DELETE", "/lockouts/{id}")
def lift_lockout(call: BareCall) -> None:
    """Lift a lockout: every server ends it within a second. The wrong passwords are forgotten.

    An app token with bounds may not: whoever lifts without end guesses passwords without end.
    """
    call.caller.require_within(UNBOUNDED)
    with call.change() as change:
        lockouts.lift(change, VIEW.seen(call, change.session))
