"""Console sessions: logins to the console, which end when idle, and after 12 hours at the latest.

The console's cookie holds the secret, the store only its hash.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session, joinedload

from authserver.core import secret_tokens
from authserver.core.commands import shell_command
from authserver.core.errors import NotFound
from authserver.core.names import printable
from authserver.db import lists, lookup
from authserver.db.lists import Window
from authserver.db.models import AccountRow, ConsoleSessionRow
from authserver.db.refresh_tokens import MAX_CLIENT
from authserver.db.store import Change

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
SECOND_STEP = timedelta(minutes=10)
"""How long a session waits for the second factor."""
FRESH = timedelta(minutes=10)
"""How long a proof of the password or of a second factor is good for what needs a fresh one."""
MAX_SESSIONS = 20
"""Of one account: a script that keeps logging in must not fill the store.

So many are open, and so many wait for another step: a password alone ends no login of its owner.
"""


class Stage(StrEnum):
    """What a session may be used for."""

    PASSWORD = "password"  # noqa: S105 - the password was right, the second factor is due
    ENROLMENT = "enrolment"
    """The password was right, and a second factor has to be set up first."""
    OPEN = "open"


@dataclass(frozen=True)
class ConsoleLogin:
    """What a new session is for: the account, the stage, and where it comes from."""

    account_id: int
    stage: Stage
    address: str
    client: str


def add(change: Change, login: ConsoleLogin, secret: str) -> ConsoleSessionRow:
    """Store a session. Only the MAX_SESSIONS newest of an account are kept.

    Raises:
        NotFound: the account is gone, or was disabled meanwhile.
    """
    account = change.session.get(AccountRow, login.account_id)
    if account is None or account.disabled_at is not None:
        raise NotFound("the account was removed or disabled meanwhile")
    oldest = (
        select(ConsoleSessionRow)
        .where(ConsoleSessionRow.account_id == account.id, _same_class(login.stage))
        .order_by(ConsoleSessionRow.id.desc())
        .offset(MAX_SESSIONS - 1)
    )
    for row in change.session.scalars(oldest):
        change.session.delete(row)
    row = ConsoleSessionRow(
        account=account,
        secret_hash=secret_tokens.digest(secret),
        stage=login.stage,
        created_at=change.at,
        created_address=login.address,
        created_client=printable(login.client, MAX_CLIENT),
        seen_at=change.at,
        proved_at=change.at,
        expires_at=change.at + (LONGEST if login.stage is Stage.OPEN else SECOND_STEP),
    )
    change.session.add(row)
    change.session.flush()
    change.record("session.add", _target(row), after={"console": True, "stage": login.stage})
    return row


def _same_class(stage: Stage) -> ColumnElement[bool]:
    is_open = ConsoleSessionRow.stage == Stage.OPEN
    return is_open if stage is Stage.OPEN else ~is_open


def advance(change: Change, row: ConsoleSessionRow, secret: str, stage: Stage = Stage.OPEN) -> None:
    """Let a session go on after another proof, under another secret: the former is no longer good.

    A session that was open before still ends when it would have.
    """
    if row.stage != Stage.OPEN and stage is Stage.OPEN:
        row.expires_at = change.at + LONGEST
    row.stage, row.secret_hash, row.pending = stage, secret_tokens.digest(secret), None
    row.seen_at = row.proved_at = change.at
    change.record("session.advance", _target(row), after={"stage": stage})


def by_secret(session: Session, secret: str, now: datetime) -> ConsoleSessionRow | None:
    """Return the session of a secret, None without one or after its end."""
    if not secret_tokens.is_well_formed(secret):
        return None
    row = session.scalars(
        select(ConsoleSessionRow)
        .options(joinedload(ConsoleSessionRow.account))
        .where(ConsoleSessionRow.secret_hash == secret_tokens.digest(secret))
    ).one_or_none()
    if row is None or min(row.expires_at, row.seen_at + IDLE) <= now:
        return None
    return row


def get(session: Session, session_id: int) -> ConsoleSessionRow:
    """Return a session. Raises NotFound."""
    row = session.get(
        ConsoleSessionRow, session_id, options=[joinedload(ConsoleSessionRow.account)]
    )
    if row is None:
        listing = shell_command("session", "list", "--kind", "console")
        raise NotFound(f"there is no console session {session_id}; see `{listing}`")
    return row


def end(change: Change, row: ConsoleSessionRow) -> None:
    """End a session."""
    change.record("session.revoke", _target(row))
    change.session.delete(row)
    change.session.flush()


def end_all(change: Change, account: AccountRow, keep: int | None = None) -> int:
    """End every session of an account, all but ``keep``; return how many that were."""
    whose = ConsoleSessionRow.account_id == account.id
    if keep is not None:
        whose &= ConsoleSessionRow.id != keep
    ended = len(change.session.scalars(select(ConsoleSessionRow.id).where(whose)).all())
    if ended:
        change.session.execute(delete(ConsoleSessionRow).where(whose))
        change.record("session.revoke", f"user:{account.name}", before={"console_sessions": ended})
    return ended


def prune(session: Session, now: datetime) -> None:
    """Delete the sessions that have ended by themselves."""
    over = (ConsoleSessionRow.expires_at <= now) | (ConsoleSessionRow.seen_at <= now - IDLE)
    session.execute(delete(ConsoleSessionRow).where(over))


def listed(
    session: Session, now: datetime, account: str | None = None, window: Window = lists.ALL
) -> Sequence[ConsoleSessionRow]:
    """Return the sessions that go on, filtered by account. Raises NotFound for an unknown one."""
    query = select(ConsoleSessionRow).options(joinedload(ConsoleSessionRow.account))
    if account is not None:
        query = query.where(ConsoleSessionRow.account_id == lookup.account(session, account).id)
    query = query.where(ConsoleSessionRow.expires_at > now, ConsoleSessionRow.seen_at > now - IDLE)
    return session.scalars(lists.CONSOLE_SESSIONS.within(query, window)).all()


def described(row: ConsoleSessionRow) -> dict[str, Any]:
    """Return the session for ``--json``."""
    return {
        "id": row.id,
        "account": row.account.name,
        "stage": row.stage,
        "created_at": row.created_at.isoformat(),
        "created_address": row.created_address,
        "created_client": row.created_client,
        "seen_at": row.seen_at.isoformat(),
        "expires_at": min(row.expires_at, row.seen_at + IDLE).isoformat(),
    }


def _target(row: ConsoleSessionRow) -> str:
    return f"user:{row.account.name} console-session:{row.id}"
