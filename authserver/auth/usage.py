"""When tokens were last used, and password hashes to renew: kept in memory for a moment,
written in batches off the request.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Update, update

from authserver.audit.journal import MAX_PENDING
from authserver.core.names import printable
from authserver.db import accounts, change_log
from authserver.db.models import AppTokenRow, RefreshTokenRow, StoreStateRow
from authserver.db.store import APPEND_WAITS, Store

USES_EVERY = timedelta(minutes=1)
PROLONG_EVERY = timedelta(days=1)


class Kind(StrEnum):
    """What was used."""

    APP = "app token"
    REFRESH = "refresh token"


class Use(NamedTuple):
    """One use of a token.

    ``expires_at`` is when a refresh token would end without it, ``ends`` when an app token does.
    """

    kind: Kind
    id: int
    at: datetime
    address: str
    client: str
    expires_at: datetime | None = None
    ends: datetime | None = None


@dataclass
class Uses:
    """When and from where tokens were last used: written at most once a minute for each."""

    idle: timedelta
    _noted: dict[tuple[Kind, int], datetime] = field(default_factory=dict, repr=False)
    _pending: dict[tuple[Kind, int], Use] = field(default_factory=dict, repr=False)
    _forgot_at: datetime | None = None

    def note(self, use: Use) -> bool:
        """Take a use; return whether it will be written, which one a minute is."""
        key = use.kind, use.id
        noted = self._noted.get(key)
        if noted is not None and use.at - noted < USES_EVERY:
            return False
        self._noted[key] = use.at
        self._pending[key] = use
        return True

    def write(self, store: Store) -> None:
        """Store what is pending; on an error it stays pending."""
        self._forget(store.clock())
        pending = dict(self._pending)
        if not pending:
            return
        with store.append() as session:
            # In the order in which everybody locks: the version, as changes do, then the tokens.
            prolonged = [use for use in pending.values() if self._prolongs(use)]
            if prolonged:
                # Other processes must not go by an end that was put off long ago.
                session.execute(update(StoreStateRow).values(version=StoreStateRow.version + 1))
                rows = [(RefreshTokenRow.__tablename__, use.id) for use in prolonged]
                change_log.note(session, store.clock(), rows)
            for _, use in sorted(pending.items()):
                session.execute(self._update(use))
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

    def _update(self, use: Use) -> Update:
        table = AppTokenRow if use.kind is Kind.APP else RefreshTokenRow
        values: dict[str, object] = {
            "last_used_at": use.at,
            "last_used_address": use.address,
            "last_used_client": printable(use.client, 100)[:200],
        }
        if use.kind is Kind.REFRESH:
            values["expires_at"] = use.at + self.idle
        return update(table).where(table.id == use.id).values(values)

    def _prolongs(self, use: Use) -> bool:
        return use.expires_at is not None and use.at + self.idle - use.expires_at > min(
            PROLONG_EVERY, self.idle / 10
        )


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
