"""Records of token requests: kept in memory for a moment, written in batches off the request."""

import hmac
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

import structlog
from sqlalchemy import delete, insert

from authserver.core.names import printable
from authserver.db.models import TokenRecord
from authserver.db.store import Store

MAX_PENDING = 100_000
MAX_TEXT = 4000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One token request and its outcome: ``granted``, ``partial``, ``denied`` or ``refused``."""

    at: datetime
    request_id: str
    outcome: str
    account: str
    address: str
    client: str
    service: str
    requested: str
    granted: str
    jwt_id: str | None
    reason: str


@dataclass
class Journal:
    """Collects token events until :meth:`write` stores them."""

    key: bytes = field(repr=False)
    pending: deque[TokenEvent] = field(default_factory=deque, repr=False)
    _lost: int = 0

    def add(self, event: TokenEvent) -> None:
        """Take an event; never blocks. The oldest is lost, and counted, if too many wait."""
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
                session.execute(insert(TokenRecord), [_row(event) for event in events])
        except Exception:
            self.pending.extendleft(reversed(events))
            raise


def _row(event: TokenEvent) -> dict[str, object]:
    row = asdict(event)
    for name in ("requested", "granted", "reason"):
        row[name] = printable(row[name], MAX_TEXT)
    for name, limit in (("account", 150), ("client", 250), ("service", 250)):
        row[name] = printable(row[name], limit // 2)[:limit]
    return row


def prune(store: Store, days: int) -> int:
    """Delete token records older than ``days`` and return how many there were."""
    with store.append() as session:
        old = delete(TokenRecord).where(TokenRecord.at < store.clock() - timedelta(days=days))
        return len(session.scalars(old.returning(TokenRecord.id)).all())
