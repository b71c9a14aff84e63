"""Refresh tokens: docker logins, which go on without the password."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session, joinedload

from authserver.core import secret_tokens
from authserver.core.commands import program
from authserver.core.errors import NotFound
from authserver.core.names import printable
from authserver.db import change_log, lists, lookup
from authserver.db.lists import Window
from authserver.db.models import AccountRow, RefreshTokenRow, RegistryRow, StoreStateRow
from authserver.db.store import Change

MAX_CLIENT = 200
MAX_SESSIONS = 100
"""Of one account on one registry: a script that keeps logging in must not fill the store."""


_LOADED = (joinedload(RefreshTokenRow.account), joinedload(RefreshTokenRow.for_registry))


@dataclass(frozen=True)
class Login:
    """A login with a password: the account, the stored hash that it matched, and the client."""

    account_id: int
    name: str
    password_hash: str | None = field(repr=False)
    address: str
    client: str


def add(
    change: Change, login: Login, service: str, secret: str, idle: timedelta
) -> RefreshTokenRow:
    """Store a refresh token, bound to account and registry, that expires when ``idle`` so long.

    The login was checked a moment ago, and the account may have changed since. Only the
    MAX_SESSIONS last used sessions of an account on a registry are kept.

    Raises:
        NotFound: the account or the registry is gone, the account was disabled or renamed, its
            password was changed or a second factor set up, or the registry gives no refresh tokens
            any more, or one of them takes app tokens only.
    """
    account = change.session.get(AccountRow, login.account_id)
    if account is None or account.disabled_at is not None:
        raise NotFound("the account was removed or disabled meanwhile")
    if account.name != login.name:
        raise NotFound("the account was renamed meanwhile")
    if account.password_hash != login.password_hash:
        raise NotFound("the account's password was changed meanwhile")
    registry = lookup.registry(change.session, service)
    if not registry.refresh_tokens:
        raise NotFound("the registry gives no refresh tokens any more")
    if registry.app_tokens_only or account.app_tokens_only:
        raise NotFound("only app tokens are taken by now")
    if account.second_factor:
        raise NotFound("the account has a second factor by now")
    _make_room(change.session, account, registry)
    row = RefreshTokenRow(
        account=account,
        for_registry=registry,
        secret_hash=secret_tokens.digest(secret),
        created_at=change.at,
        created_address=login.address,
        created_client=printable(login.client, MAX_CLIENT),
        expires_at=change.at + idle,
    )
    change.session.add(row)
    change.session.flush()
    change.record("session.add", _target(row), after={"registry": service})
    return row


def _make_room(session: Session, account: AccountRow, registry: RegistryRow) -> None:
    last_used = func.coalesce(RefreshTokenRow.last_used_at, RefreshTokenRow.created_at)
    surplus = session.scalars(
        select(RefreshTokenRow)
        .where(RefreshTokenRow.account_id == account.id, RefreshTokenRow.registry_id == registry.id)
        .order_by(last_used.desc(), RefreshTokenRow.id.desc())
        .offset(MAX_SESSIONS - 1)
    )
    for row in surplus:
        session.delete(row)


def revoke(change: Change, session_id: int) -> str:
    """Remove one refresh token; return its account and registry for a message.

    Raises:
        NotFound: no session has that id.
    """
    row = get(change.session, session_id)
    change.record("session.revoke", _target(row))
    change.session.delete(row)
    change.session.flush()
    return f"{row.account.name} on {row.for_registry.service}"


def get(session: Session, session_id: int) -> RefreshTokenRow:
    """Return one refresh token.

    Raises:
        NotFound: no session has that id.
    """
    row = session.get(RefreshTokenRow, session_id, options=_LOADED)
    if row is None:
        raise NotFound(f"there is no session {session_id}; see `{program()} session list`")
    return row


def end_all(change: Change, account: AccountRow) -> int:
    """Remove every refresh token of an account; return how many there were."""
    ended = len(_delete(change.session, RefreshTokenRow.account_id == account.id))
    if ended:
        change.record(
            "session.revoke", f"{account.kind}:{account.name}", before={"sessions": ended}
        )
    return ended


def _delete(session: Session, condition: ColumnElement[bool]) -> Sequence[int]:
    """Delete refresh tokens and return their ids. MySQL has no DELETE … RETURNING."""
    ids = session.scalars(select(RefreshTokenRow.id).where(condition)).all()
    if ids:
        session.execute(delete(RefreshTokenRow).where(condition))
    return ids


def end_on(change: Change, registry: RegistryRow) -> None:
    """Remove every refresh token of a registry."""
    change.session.execute(
        delete(RefreshTokenRow).where(RefreshTokenRow.registry_id == registry.id)
    )


def prune(session: Session, now: datetime) -> int:
    """Delete the refresh tokens that were idle for too long; return how many there were."""
    ended = _delete(session, RefreshTokenRow.expires_at <= now)
    if ended:
        # They are refused already; this lets other processes drop them from memory.
        session.execute(update(StoreStateRow).values(version=StoreStateRow.version + 1))
        change_log.note(session, now, [("refresh_token", ended_id) for ended_id in ended])
    return len(ended)


def listed(
    session: Session, account: str | None = None, window: Window = lists.ALL
) -> Sequence[RefreshTokenRow]:
    """Return the refresh tokens, filtered by account.

    Raises:
        NotFound: there is no such account.
    """
    query = select(RefreshTokenRow).options(*_LOADED)
    if account is not None:
        query = query.where(RefreshTokenRow.account_id == lookup.account(session, account).id)
    return session.scalars(lists.SESSIONS.within(query, window)).all()


def described(row: RefreshTokenRow) -> dict[str, Any]:
    """Return the session for ``--json``."""
    return {
        "id": row.id,
        "account": row.account.name,
        "registry": row.for_registry.service,
        "created_at": row.created_at.isoformat(),
        "created_address": row.created_address,
        "created_client": row.created_client,
        "expires_at": row.expires_at.isoformat(),
        "last_used": row.last_used_at
        and {
            "at": row.last_used_at.isoformat(),
            "address": row.last_used_address,
            "client": row.last_used_client,
        },
    }


def _target(row: RefreshTokenRow) -> str:
    return f"{row.account.kind}:{row.account.name} session:{row.id}"
