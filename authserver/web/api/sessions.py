"""Sessions: everybody's below ``/sessions``, the caller's own below ``/me/sessions``.

At the end are console sessions, likewise.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy.orm import Session as Store

from authserver.core.errors import NotFound
from authserver.db import console_sessions, lists, lookup, losses, refresh_tokens
from authserver.db.models import ConsoleSessionRow, RefreshTokenRow
from authserver.web.api import me
from authserver.web.api.app_tokens import LastUse, OfAccount
from authserver.web.api.caller import Need
from authserver.web.api.models import (
    MAX_ID,
    WHOLE,
    ApiAnswer,
    ApiBody,
    ApiQuery,
    Confirming,
    Name,
    Nothing,
)
from authserver.web.api.operations import BareCall, Call, Operations, Tagged, references
from authserver.web.api.pagination import Page, search, table_page
from authserver.web.api.problems import require_confirmed
from authserver.web.api.resources import View

OPERATIONS = Operations("sessions", "Logins that go on without the password (refresh tokens).")


class Session(ApiAnswer):
    """A session. No answer has its refresh token."""

    id: int
    account: str
    registry: str
    created_at: datetime
    created_address: str
    created_client: str
    expires_at: datetime
    last_used: LastUse | None


class Sessions(Page[Session]):
    """A page of the list of sessions."""


class WhoseSessions(ApiBody):
    """The account whose sessions end."""

    account: Name


class Ended(ApiAnswer):
    """How many sessions ended."""

    ended: int


def view(call: Call[Any, Any]) -> View[RefreshTokenRow, Session]:
    """Return how sessions are answered. Below ``/me``, only the caller's own are there."""

    def find(session: Store, session_id: int) -> RefreshTokenRow:
        row = session.get(RefreshTokenRow, session_id)
        if call.owner is not None and (row is None or row.account.name != call.owner):
            raise NotFound(f"there is no session {session_id} of yours")
        return refresh_tokens.get(session, session_id)

    return View(Session, find, refresh_tokens.described, frozenset({"last_used", "expires_at"}))


@me.own(
    "GET", "/sessions", need=Need.ANY, summary="List my sessions.", query=search(lists.SESSIONS)
)
@OPERATIONS.operation("GET", "/sessions", need=Need.READER, query=search(lists.SESSIONS, OfAccount))
def list_sessions(call: Call[Nothing, OfAccount]) -> Sessions:
    """List the sessions."""
    account = call.owner or call.query.account
    return table_page(
        call,
        Sessions,
        lambda session, window: refresh_tokens.listed(session, account, window),
        refresh_tokens.described,
        lists.SESSIONS,
    )


@me.own("GET", "/sessions/{id}", need=Need.ANY, summary="Show a session of mine.")
@OPERATIONS.operation("GET", "/sessions/{id}", need=Need.READER)
def show_session(call: BareCall) -> Tagged[Session]:
    """Show a session."""
    return view(call).show(call)


@me.own("DELETE", "/sessions/{id}", need=Need.SELF, summary="End a session of mine.")
@OPERATIONS.operation("DELETE", "/sessions/{id}")
def revoke_session(call: BareCall) -> None:
    """End a session: its client has to log in again."""
    with call.change() as change:
        row = view(call).seen(call, change.session)
        refresh_tokens.revoke(change, row.id)


@me.own(
    "POST",
    "/sessions/revoke",
    need=Need.SELF,
    summary="End all my sessions.",
    body=Nothing,
    query=ApiQuery,
)
@OPERATIONS.operation("POST", "/sessions/revoke")
def revoke_sessions(call: Call[WhoseSessions, Confirming]) -> Ended:
    """End all sessions of an account."""
    account = call.owner or call.body.account
    with call.change() as change, references():
        row = lookup.account(change.session, account)
        if call.owner is None:
            require_confirmed(call.query, losses.logins_of(change.session, [row]))
        return Ended(ended=refresh_tokens.end_all(change, row))


class ApiConsoleSession(ApiAnswer):
    """A login to the console. No answer has its secret."""

    id: int
    account: str
    stage: str = Field(description="What it is good for; `open` is for all.")
    created_at: datetime
    created_address: str
    created_client: str
    seen_at: datetime = Field(description="When it was used last, to the minute.")
    expires_at: datetime = Field(description="When it ends unless it is used; then later.")


class ConsoleSessions(Page[ApiConsoleSession]):
    """A page of the list of console sessions."""


class KeptSession(ApiBody):
    """Which console session goes on."""

    keep: Annotated[int, Field(ge=0, le=MAX_ID), WHOLE] | None = Field(
        default=None, description="The id of one that goes on."
    )


class WhoseConsoleSessions(KeptSession):
    """The account whose console sessions end."""

    account: Name


def console_view(call: Call[Any, Any]) -> View[ConsoleSessionRow, ApiConsoleSession]:
    """Return how console sessions are answered. Below ``/me``, only the caller's own are there."""

    def find(session: Store, session_id: int) -> ConsoleSessionRow:
        row = session.get(ConsoleSessionRow, session_id)
        if call.owner is not None and (row is None or row.account.name != call.owner):
            raise NotFound(f"there is no console session {session_id} of yours")
        return console_sessions.get(session, session_id)

    return View(
        ApiConsoleSession,
        find,
        console_sessions.described,
        frozenset({"stage", "seen_at", "expires_at"}),
    )


@me.own(
    "GET",
    "/console-sessions",
    need=Need.SELF,
    summary="List my console sessions.",
    query=search(lists.CONSOLE_SESSIONS),
)
@OPERATIONS.operation(
    "GET", "/console-sessions", query=search(lists.CONSOLE_SESSIONS, OfAccount), need=Need.READER
)
def list_console_sessions(call: Call[Nothing, OfAccount]) -> ConsoleSessions:
    """List the console sessions."""
    account, now = call.owner or call.query.account, call.parts.store.clock()
    return table_page(
        call,
        ConsoleSessions,
        lambda session, window: console_sessions.listed(session, now, account, window),
        console_sessions.described,
        lists.CONSOLE_SESSIONS,
    )


@me.own("GET", "/console-sessions/{id}", need=Need.SELF, summary="Show a console session of mine.")
@OPERATIONS.operation("GET", "/console-sessions/{id}", need=Need.READER)
def show_console_session(call: BareCall) -> Tagged[ApiConsoleSession]:
    """Show a console session."""
    return console_view(call).show(call)


@me.own(
    "DELETE", "/console-sessions/{id}", need=Need.SELF, summary="End a console session of mine."
)
@OPERATIONS.operation("DELETE", "/console-sessions/{id}")
def revoke_console_session(call: BareCall) -> None:
    """End a console session: its browser has to log in again."""
    with call.change() as change:
        console_sessions.end(change, console_view(call).seen(call, change.session))


@me.own(
    "POST",
    "/console-sessions/revoke",
    need=Need.SELF,
    summary="End my console sessions: all, or all but one.",
    body=KeptSession,
)
@OPERATIONS.operation("POST", "/console-sessions/revoke")
def revoke_console_sessions(call: Call[WhoseConsoleSessions, ApiQuery]) -> Ended:
    """End the console sessions of an account: all, or all but one."""
    account = call.owner or call.body.account
    with call.change() as change, references():
        row = lookup.account(change.session, account)
        return Ended(ended=console_sessions.end_all(change, row, call.body.keep))
