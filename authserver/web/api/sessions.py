"""Sessions: logins that go on without the password."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session as Store

from authserver.core.errors import NotFound
from authserver.db import lookup, refresh_tokens
from authserver.db.models import RefreshTokenRow
from authserver.web.api.app_tokens import LastUse, OfAccount
from authserver.web.api.models import Answer, Body, Name, Nothing, Query
from authserver.web.api.operations import Call, Operations, Reply, references
from authserver.web.api.pagination import Page, page
from authserver.web.api.resources import Shown

OPERATIONS = Operations("sessions", "Logins that go on without the password (refresh tokens).")


class Session(Answer):
    """A session; its refresh token is never told."""

    id: int
    account: str
    registry: str
    created_at: datetime
    created_address: str
    created_client: str
    expires_at: datetime
    last_used: LastUse | None


class Sessions(Page[Session]):
    """A part of the list of sessions."""


class WhoseSessions(Body):
    """Whose sessions end."""

    account: Name


class Ended(Answer):
    """How many sessions ended."""

    ended: int


def shown(owner: str | None = None) -> Shown[RefreshTokenRow]:
    """Return how sessions are shown: all of them, or to their ``owner`` only his own."""

    def find(session: Store, session_id: int) -> RefreshTokenRow:
        row = refresh_tokens.get(session, session_id)
        if owner not in (None, row.account.name):
            raise NotFound(f"there is no session {session_id} of yours")
        return row

    return Shown(Session, find, refresh_tokens.described, frozenset({"last_used", "expires_at"}))


def listing(call: Call[Nothing, Any], account: str | None) -> Reply:
    """Return a part of the list, of one account if asked."""
    return page(
        call,
        Sessions,
        lambda session, window: refresh_tokens.listed(session, account, window),
        refresh_tokens.described,
        lambda row: row.id,
        int,
    )


def showing(call: Call[Nothing, Query], owner: str | None = None) -> Reply:
    """Return one session."""
    how = shown(owner)
    with call.read() as session:
        return how.reply(how.find(session, call.path["id"]))


def revoking(call: Call[Nothing, Query], owner: str | None = None) -> Reply:
    """End one session."""
    with call.change() as change:
        row = shown(owner).required(call, change.session, call.path["id"])
        refresh_tokens.revoke(change, row.id)
    return Reply(None, 204)


def ending_all(call: Call[Any, Query], account: str) -> Reply:
    """End all sessions of an account."""
    with call.change() as change, references():
        row = lookup.account(change.session, account)
        return Reply(Ended(ended=refresh_tokens.end_all(change, row)))


@OPERATIONS.operation("GET", "/sessions", answer=Sessions, query=OfAccount)
def list_sessions(call: Call[Nothing, OfAccount]) -> Reply:
    """List the sessions."""
    return listing(call, call.query.account)


@OPERATIONS.operation("GET", "/sessions/{id}", answer=Session, tagged=True)
def show_session(call: Call[Nothing, Query]) -> Reply:
    """Show a session."""
    return showing(call)


@OPERATIONS.operation("DELETE", "/sessions/{id}", statuses=(204,), conditional=True)
def revoke_session(call: Call[Nothing, Query]) -> Reply:
    """End a session: its client has to log in again."""
    return revoking(call)


@OPERATIONS.operation("POST", "/sessions/revoke", answer=Ended, body=WhoseSessions)
def revoke_sessions(call: Call[WhoseSessions, Query]) -> Reply:
    """End all sessions of an account."""
    return ending_all(call, call.body.account)
