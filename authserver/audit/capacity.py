"""How many records of token requests the store may hold, and how a full store goes on.

The oldest records are pruned before their days are over in three cases: records take more bytes
than they may; the disk of an embedded store has little free space; the store takes no more.
``web.server.maintenance`` asks and reports here.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import DBAPIError

from authserver.audit import journal, retention
from authserver.core.errors import NotReady, StoreFull
from authserver.db import space
from authserver.db.dialects.dialect import Reserve, Space
from authserver.db.store import Store

TIGHT_FOR = 600.0
"""Seconds for which a store does not grow after it was full."""
RESERVE_EVERY = 600.0
LEAST_RECORDS = 10_000
"""The store may hold this many, if it takes them, however little space is free."""
MAX_ROUNDS = 5
ROUND_EVERY = 60.0
"""Seconds between further rounds of pruning, when MAX_ROUNDS have made no space."""

_FULL = "the store is full: the oldest records of token requests are pruned"
_BEGINNING = datetime.fromtimestamp(0, UTC)

log = structlog.get_logger()


@dataclass
class Capacity:
    """Know how many records there may be: ``most``.

    Records may take ``max_bytes``; ``min_free`` bytes of an embedded store's disk stay free.
    ``reserve`` holds space with which a full store can prune. ``pruned`` counts records that were
    pruned for want of space. ``full`` is True while the store takes no records.
    """

    store: Store
    reserve: Reserve
    max_bytes: int
    min_free: int
    monotonic: Callable[[], float]
    most: int = journal.MAX_RECORDS
    pruned: int = 0
    full: bool = False
    is_low: bool = False
    """Whether less than ``min_free`` is free."""
    space: Space | None = None
    _is_frozen: bool = False
    _is_logged: bool = False
    _rounds: int = 0
    _full_at: float = -math.inf
    _reserved_at: float = -math.inf

    @property
    def was_full(self) -> bool:
        """Whether the store is full, or was within TIGHT_FOR seconds."""
        return self.full or self.monotonic() - self._full_at < TIGHT_FOR

    @property
    def is_tight(self) -> bool:
        """Whether the store may not grow."""
        return self.is_low or self.was_full

    @property
    def crowded_from(self) -> int:
        """Return the number of records from which on no more are written than are pruned."""
        return self.most if self.is_tight else self.most * 11 // 10

    @property
    def warnings(self) -> list[str]:
        """Return the warnings for ``/readyz``."""
        warnings = []
        if self.was_full:
            warnings.append(_FULL)
        if self.is_low and self.space is not None and self.space.free is not None:
            warnings.append(
                f"{self.space.free >> 20} MiB are free for the store, less than "
                "AUTHSERVER_MIN_FREE: new records of token requests take the place of old ones"
            )
        if self.most < journal.MAX_RECORDS and not self.is_tight:
            warnings.append(
                "records of token requests take more than AUTHSERVER_TOKEN_RECORD_SIZE: the oldest "
                "go before AUTHSERVER_TOKEN_RECORD_DAYS are over"
            )
        return warnings

    def measure(self, records: int) -> None:
        """Measure the space that ``records`` take, and set how many there may be."""
        measured = self.space = space.measured(self.store, records)
        is_low = measured.free is not None and measured.free < self.min_free
        if is_low and not self.is_low:
            log.warning("little space is free for the store", mib=(measured.free or 0) >> 20)
        self.is_low = is_low
        self.most = self._most(records, measured)

    def _most(self, records: int, measured: Space) -> int:
        was_frozen, self._is_frozen = self._is_frozen, self.is_tight
        if self._is_frozen:
            # As many as there were when it began. Fewer would free no space on the disk: deleted
            # rows leave pages that the next ones fill.
            most = min(self.most, records) if was_frozen else records
            return max(most, LEAST_RECORDS)
        if measured.used > self.max_bytes:
            return records * self.max_bytes // measured.used
        return journal.MAX_RECORDS

    def note_pruned(self, number: int) -> None:
        """Count records that were pruned, if they went for want of space."""
        if self.most < journal.MAX_RECORDS:
            self.pruned += number

    def keep_reserve(self) -> None:
        """Fill the reserve every RESERVE_EVERY seconds."""
        now = self.monotonic()
        if now - self._reserved_at < RESERVE_EVERY:
            return
        self._reserved_at = now
        try:
            self.reserve.keep()
        except (NotReady, DBAPIError) as error:
            log.warning("no space is kept for pruning a full store", error=str(error))

    def make_space(self, error: StoreFull, seal: Callable[[], None]) -> None:
        """Prune the oldest records of a full store, twice as many as the last time.

        Only sealed records are pruned, so ``seal`` is called before.

        Raises:
            StoreFull: ``error`` itself: there is nothing to prune, or pruning has not helped.
            NotReady: the store cannot be used.
        """
        now = self.monotonic()
        if self._rounds >= MAX_ROUNDS and now - self._full_at < ROUND_EVERY:
            raise error
        if not self.was_full:
            log.error(_FULL)
            self._is_logged = True
        self.full, self._full_at, self._reserved_at = True, now, now
        released = self.reserve.release()
        with suppress(StoreFull):
            space.reclaim(self.store)
        with suppress(StoreFull):
            seal()
        pruned = self._prune(2**self._rounds)
        self._rounds = min(self._rounds + 1, MAX_ROUNDS)
        space.reclaim(self.store)
        with suppress(NotReady):
            # Another program may take the free space now. Without a reserve no second round could
            # prune anything.
            self.reserve.keep(released // 2)
        if not pruned:
            raise error

    def _prune(self, times: int) -> int:
        pruned = sum(retention.prune(self.store, _BEGINNING, 0) for _ in range(times))
        self.pruned += pruned
        self.most = max(self.most - pruned, LEAST_RECORDS)
        return pruned

    def note_success(self) -> None:
        """Note that the store takes records."""
        if self.full and self._is_logged:
            log.info("the store takes records again", pruned=self.pruned)
            self._is_logged = False
        self.full, self._rounds = False, 0
