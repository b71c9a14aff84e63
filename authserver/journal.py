"""What requests leave behind: kept in memory for a moment, written in batches off the request."""

import hmac
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

import structlog
from sqlalchemy import Update, update

from authserver.core.names import printable
from authserver.db import accounts, refresh_tokens, retention
from authserver.db.models import AppToken, RefreshToken, StoreState
from authserver.db.store import APPEND_WAITS, Store

MAX_PENDING = 20_000
MAX_RECORDS = 2_000_000
MAX_TEXT = 1000
USES_EVERY = timedelta(minutes=1)
PROLONG_EVERY = timedelta(days=1)

_LONGEST = {
    "account": 150,
    "credential": 200,
    "address": 60,
    "client": 200,
    "service": 200,
    "requested": MAX_TEXT,
    "granted": MAX_TEXT,
    "reason": MAX_TEXT,
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One token request and its outcome: ``granted``, ``partial``, ``denied`` or ``refused``."""

    at: datetime
    request_id: str
    outcome: str
    account: str
    credential: str
    address: str
    client: str
    service: str
    requested: str
    granted: str
    jwt_id: str | None
    reason: str
    rules: str


@dataclass
class Journal:
    """Collects token events until :meth:`write` stores them."""

    key: bytes = field(repr=False)
    pending: deque[TokenEvent] = field(default_factory=deque, repr=False)
    _lost: int = 0

    def add(self, event: TokenEvent) -> None:
        """Take an event; never blocks. The oldest is lost, and counted, if too many wait."""
        # Whoever sends much must not have us keep much.
        event = replace(
            event,
            **{name: getattr(event, name)[:limit] for name, limit in _LONGEST.items()},
        )
        if len(self.pending) >= MAX_PENDING:
            self.pending.popleft()
            self._lost += 1
        self.pending.append(event)

    def hashed(self, name: str) -> str:
        """Return what stands for a name that no account has: people type passwords there."""
        return f"unknown-{hmac.digest(self.key, name.encode(), sha256).hex()[:12]}"

    def write(self, store: Store) -> None:
        """Store what is pending, in one transaction; on an error it stays pending."""
        if self._lost:
            log.error("token records were lost", number=self._lost)
            self._lost = 0
        events = [self.pending.popleft() for _ in range(len(self.pending))]
        if not events:
            return
        try:
            with store.append() as session:
                store.trail.tokens(session, [_row(event) for event in events])
        except Exception:
            self._put_back(events)
            raise

    def _put_back(self, events: list[TokenEvent]) -> None:
        room = max(0, MAX_PENDING - len(self.pending))
        self._lost += len(events) - len(events[-room:] if room else [])
        self.pending.extendleft(reversed(events[-room:] if room else []))


def _row(event: TokenEvent) -> dict[str, object]:
    row = asdict(event)
    for name, limit in _LONGEST.items():
        row[name] = printable(row[name], limit)
    return row


def prune(store: Store, days: int) -> int:
    """Delete token records that are too old or too many, and logins that were idle for too long.

    Return how many records there were.
    """
    with store.append() as session:
        refresh_tokens.prune(session, store.clock())
    return retention.prune(store, store.clock() - timedelta(days=days), MAX_RECORDS)


class Kind(StrEnum):
    """What was used."""

    APP = "app token"
    REFRESH = "refresh token"


@dataclass(frozen=True, slots=True)
class Use:
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
        pending = dict(self._pending)
        if not pending:
            return
        with store.append() as session:
            for use in pending.values():
                session.execute(self._update(use))
            if any(self._prolongs(use) for use in pending.values()):
                # Other processes must not go by an end that was put off long ago.
                session.execute(update(StoreState).values(version=StoreState.version + 1))
        for key, use in pending.items():
            if self._pending.get(key) is use:
                del self._pending[key]

    def _update(self, use: Use) -> Update:
        table = AppToken if use.kind is Kind.APP else RefreshToken
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
