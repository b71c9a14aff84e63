"""When credentials and accounts were last used, and password hashes to renew.

Requests leave both in memory; a thread of the server writes them in batches.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

import structlog
from sqlalchemy import Update, bindparam, or_, update
from sqlalchemy.orm import Session

from authserver.audit.journal import MAX_PENDING
from authserver.core.commands import shell_command
from authserver.core.names import printable
from authserver.db import accounts, change_log
from authserver.db.models import AccountRow, AppTokenRow, RefreshTokenRow, StoreStateRow
from authserver.db.store import APPEND_WAITS, Store, lock_version_at_once

USES_EVERY = timedelta(minutes=1)
PROLONG_EVERY = timedelta(days=1)
EXPIRES_SOON = timedelta(days=14)

log = structlog.get_logger()


class CredentialKind(StrEnum):
    """A kind of credential whose uses are noted."""

    PASSWORD = "password"  # noqa: S105 - a kind, no password
    APP = "app token"
    REFRESH = "refresh token"


class CredentialUse(NamedTuple):
    """One use of a credential of the account ``account_id``; a password has that id as well.

    A refresh token ends at ``expires_at`` unless it is used, an app token at ``ends``. ``account``
    and ``token`` are names, for the warning that an app token expires soon.
    """

    kind: CredentialKind
    id: int
    account_id: int
    at: datetime
    address: str
    client: str
    expires_at: datetime | None = None
    ends: datetime | None = None
    account: str = ""
    token: str = ""


_Key = tuple[CredentialKind, int]


@dataclass
class CredentialUses:
    """When and from where credentials were last used. Each is written once a minute at most.

    A refresh token ends when it is not used for ``idle``.
    """

    idle: timedelta
    _noted: dict[_Key, datetime] = field(default_factory=dict, repr=False)
    _pending: dict[_Key, CredentialUse] = field(default_factory=dict, repr=False)
    _forgot_at: datetime | None = None

    def note(self, use: CredentialUse) -> bool:
        """Take a use; return whether it will be written: the first in a minute is."""
        key = use.kind, use.id
        noted = self._noted.get(key)
        if noted is not None and use.at - noted < USES_EVERY:
            return False
        self._noted[key] = use.at
        self._pending[key] = use
        if use.ends is not None and use.ends - use.at < EXPIRES_SOON:
            rotate = shell_command("token", "rotate", use.id)
            log.warning(
                f"an app token in use expires soon: {rotate}",
                account=use.account,
                token=use.token,
                id=use.id,
                expires_at=use.ends.isoformat(timespec="minutes"),
            )
        return True

    def write(self, store: Store) -> None:
        """Store what is pending; on an error, or while a change runs, it stays pending."""
        self._forget(store.clock())
        pending = dict(self._pending)
        if not pending:
            return
        with store.append() as session:
            # On PostgreSQL a change locks the version, then accounts and tokens in an order of its
            # own. Without the version first, both could wait for each other: a deadlock. This
            # thread also writes the token records, so it must not wait for a change to end.
            if not lock_version_at_once(session):
                return
            prolonged = [use for use in pending.values() if self._prolongs(use)]
            if prolonged:
                # A later end is news to the other processes, which would refuse the token.
                session.execute(update(StoreStateRow).values(version=StoreStateRow.version + 1))
                rows = [(RefreshTokenRow.__tablename__, use.id) for use in prolonged]
                change_log.note(session, store.clock(), rows)
            for _, use in sorted(pending.items()):
                if use.kind is not CredentialKind.PASSWORD:
                    session.execute(self._update(use))
            _note_accounts(session, pending.values())
        for key, use in pending.items():
            if self._pending.get(key) is use:
                del self._pending[key]

    def _forget(self, now: datetime) -> None:
        """Forget, once a minute, the uses that no longer keep another one from being written."""
        if self._forgot_at is not None and now - self._forgot_at < USES_EVERY:
            return
        self._forgot_at = now
        for key, noted in list(self._noted.items()):
            if now - noted >= USES_EVERY:
                self._noted.pop(key, None)

    def _update(self, use: CredentialUse) -> Update:
        table = AppTokenRow if use.kind is CredentialKind.APP else RefreshTokenRow
        values: dict[str, object] = {
            "last_used_at": use.at,
            "last_used_address": use.address,
            "last_used_client": printable(use.client, 100)[:200],
        }
        if use.kind is CredentialKind.REFRESH:
            values["expires_at"] = use.at + self.idle
        return update(table).where(table.id == use.id).values(values)

    def _prolongs(self, use: CredentialUse) -> bool:
        return use.expires_at is not None and use.at + self.idle - use.expires_at > min(
            PROLONG_EVERY, self.idle / 10
        )


def _note_accounts(session: Session, uses: Iterable[CredentialUse]) -> None:
    """Store when accounts, and their passwords, were last used. No time becomes earlier."""
    used: dict[int, datetime] = {}
    logins: dict[int, datetime] = {}
    for use in sorted(uses, key=attrgetter("account_id", "at")):
        used[use.account_id] = use.at
        if use.kind is CredentialKind.PASSWORD:
            logins[use.account_id] = use.at
    for column, times in ((AccountRow.last_used_at, used), (AccountRow.last_login_at, logins)):
        if times:
            is_later = or_(column.is_(None), column < bindparam("at"))
            noted = update(AccountRow).where(AccountRow.id == bindparam("of"), is_later)
            rows = [{"of": account_id, "at": at} for account_id, at in times.items()]
            session.connection().execute(noted.values({column: bindparam("at")}), rows)


@dataclass
class Rehashes:
    """Hashes of unchanged passwords at a higher cost, on their way to the store."""

    _pending: deque[tuple[int, str, str]] = field(default_factory=deque, repr=False)

    def add(self, account_id: int, old: str, new: str) -> None:
        """Take the new hash of an account's password; dropped if too many wait."""
        if len(self._pending) < MAX_PENDING:
            self._pending.append((account_id, old, new))

    def write(self, store: Store) -> None:
        """Store what is pending, unless the password was changed meanwhile."""
        while self._pending:
            account_id, old, new = self._pending[0]
            with store.change("system", wait=APPEND_WAITS) as change:
                accounts.rehash(change, account_id, old, new)
            self._pending.popleft()
