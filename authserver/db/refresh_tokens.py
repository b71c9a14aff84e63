"""Refresh tokens: logins that go on without the password."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from authserver import tokens
from authserver.core.errors import NotFound
from authserver.db import named
from authserver.db.models import Account, RefreshToken, Registry
from authserver.db.store import Change

MAX_CLIENT = 200


@dataclass(frozen=True)
class From:
    """Where a login comes from."""

    address: str
    client: str


def add(
    change: Change, account_id: int, service: str, secret: str, idle: timedelta, origin: From
) -> RefreshToken:
    """Store a refresh token, bound to account and registry, good until it was idle so long.

    Raises:
        NotFound: the account or the registry is gone, or the account was disabled meanwhile.
    """
    account = change.session.get(Account, account_id)
    if account is None or account.disabled_at is not None:
        raise NotFound("the account was removed or disabled meanwhile")
    row = RefreshToken(
        account=account,
        for_registry=named.registry(change.session, service),
        secret_hash=tokens.digest(secret),
        created_at=change.at,
        created_address=origin.address,
        created_client=origin.client[:MAX_CLIENT],
        expires_at=change.at + idle,
    )
    change.session.add(row)
    change.session.flush()
    change.record("session.add", _target(row), after={"registry": service})
    return row


def revoke(change: Change, session_id: int) -> str:
    """Remove one refresh token; return what it was.

    Raises:
        NotFound: there is none of that id.
    """
    row = change.session.get(RefreshToken, session_id)
    if row is None:
        raise NotFound(f"there is no session {session_id}; see `authserver session list`")
    change.record("session.revoke", _target(row))
    change.session.delete(row)
    return f"{row.account.name} on {row.for_registry.service}"


def end_all(change: Change, account: Account) -> int:
    """Remove every refresh token of an account; return how many there were."""
    mine = RefreshToken.account_id == account.id
    ended = len(
        change.session.scalars(delete(RefreshToken).where(mine).returning(RefreshToken.id)).all()
    )
    if ended:
        change.record(
            "session.revoke", f"{account.kind}:{account.name}", before={"sessions": ended}
        )
    return ended


def end_on(change: Change, registry: Registry) -> None:
    """Remove every refresh token of a registry."""
    change.session.execute(delete(RefreshToken).where(RefreshToken.registry_id == registry.id))


def prune(session: Session, now: datetime) -> int:
    """Remove what was idle for too long; return how many there were."""
    idle = delete(RefreshToken).where(RefreshToken.expires_at <= now)
    return len(session.scalars(idle.returning(RefreshToken.id)).all())


def listed(session: Session, account: str | None = None) -> Sequence[RefreshToken]:
    """Return the refresh tokens, of one account if asked.

    Raises:
        NotFound: there is no such account.
    """
    loaded = (joinedload(RefreshToken.account), joinedload(RefreshToken.for_registry))
    query = select(RefreshToken).options(*loaded).order_by(RefreshToken.id)
    if account is not None:
        query = query.where(RefreshToken.account_id == named.account(session, account).id)
    return session.scalars(query).all()


def described(row: RefreshToken) -> dict[str, Any]:
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


def _target(row: RefreshToken) -> str:
    return f"{row.account.kind}:{row.account.name} session:{row.id}"
