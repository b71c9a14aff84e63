"""Room for records of token requests: how many there may be, and making room in a full store.

The oldest go before their days are over where they take more than they may, where the disk of an
embedded store has little space left, and where a store takes nothing more.
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
from authserver.db.reserve import Reserve
from authserver.db.space import Space
from authserver.db.store import Store

TIGHT_FOR = 600.0
"""Seconds for which a store does not grow after it was full."""
KEEP_EVERY = 600.0
LEAST_RECORDS = 10_000
"""So many there may be, if the store takes them, however little space is free."""
MOST_ROUNDS = 5
ROUND_EVERY = 60.0
"""Seconds between two more rounds of pruning, when MOST_ROUNDS have made no room."""

_FULL = "the store is full: the oldest records of token requests are pruned"
_BEGINNING = datetime.fromtimestamp(0, UTC)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bounds:
    """In bytes: what records may take, and what is to be left free."""

    records: int
    free: int


@dataclass
class Room:
    """Knows how many records there may be. ``reserve`` is there so that a full store can prune.

    ``most`` is that number, ``pruned`` how many went for want of space, ``full`` whether the store
    took nothing when it was last written to.
    """

    store: Store
    bounds: Bounds
    reserve: Reserve
    monotonic: Callable[[], float]
    most: int = journal.MAX_RECORDS
    pruned: int = 0
    full: bool = False
    is_low: bool = False
    """Whether less is free than there should be."""
    space: Space | None = None
    _frozen: bool = False
    _told: bool = False
    _rounds: int = 0
    _full_at: float = -math.inf
    _kept_at: float = -math.inf

    @property
    def was_full(self) -> bool:
        """Whether the store is full, or was within TIGHT_FOR seconds."""
        return self.full or self.monotonic() - self._full_at < TIGHT_FOR

    @property
    def is_tight(self) -> bool:
        """Whether the store may not grow."""
        return self.is_low or self.was_full

    @property
    def many(self) -> int:
        """Return from how many records on no more are written than are pruned."""
        return self.most if self.is_tight else self.most * 11 // 10

    @property
    def warnings(self) -> list[str]:
        """Return what an operator should know."""
        found = []
        if self.was_full:
            found.append(_FULL)
        if self.is_low and self.space is not None and self.space.free is not None:
            found.append(
                f"{self.space.free >> 20} MiB are free for the store, less than "
                "AUTHSERVER_MIN_FREE: new records of token requests take the place of old ones"
            )
        if self.most < journal.MAX_RECORDS and not self.is_tight:
            found.append(
                "records of token requests take more than AUTHSERVER_TOKEN_RECORD_SIZE: the oldest "
                "go before AUTHSERVER_TOKEN_RECORD_DAYS are over"
            )
        return found

    def measure(self, records: int) -> None:
        """Look how much space there is, and how many of so many records there may be."""
        found = self.space = space.measured(self.store, records)
        is_low = found.free is not None and found.free < self.bounds.free
        if is_low and not self.is_low:
            log.warning("little space is free for the store", mib=(found.free or 0) >> 20)
        self.is_low = is_low
        self.most = self._most(records, found)

    def _most(self, records: int, found: Space) -> int:
        was_frozen, self._frozen = self._frozen, self.is_tight
        if self._frozen:
            # No more than there were when it began. Fewer would make no space on the disk.
            most = min(self.most, records) if was_frozen else records
            return max(most, LEAST_RECORDS)
        if found.used > self.bounds.records:
            return records * self.bounds.records // found.used
        return journal.MAX_RECORDS

    def note(self, pruned: int) -> None:
        """Take note of how many records were pruned."""
        if self.most < journal.MAX_RECORDS:
            self.pruned += pruned

    def keep(self) -> None:
        """Have the reserve hold space, if that is due."""
        now = self.monotonic()
        if now - self._kept_at < KEEP_EVERY:
            return
        self._kept_at = now
        try:
            self.reserve.keep()
        except (NotReady, DBAPIError) as error:
            log.warning("no space is kept for pruning a full store", error=str(error))

    def make(self, error: StoreFull, seal: Callable[[], None]) -> None:
        """Prune the oldest records of a store that is full, twice as many as the last time.

        Only what ``seal`` has sealed is pruned.

        Raises:
            StoreFull: there is nothing to prune, or pruning has not helped; ``error`` itself.
            NotReady: the store cannot be used.
        """
        now = self.monotonic()
        if self._rounds >= MOST_ROUNDS and now - self._full_at < ROUND_EVERY:
            raise error
        if not self.was_full:
            log.error(_FULL)
            self._told = True
        self.full, self._full_at, self._kept_at = True, now, now
        released = self.reserve.release()
        with suppress(StoreFull):
            space.reclaim(self.store)
        with suppress(StoreFull):
            seal()
        pruned = self._prune(2**self._rounds)
        self._rounds = min(self._rounds + 1, MOST_ROUNDS)
        space.reclaim(self.store)
        with suppress(NotReady):
            # Others may take what is free now, and then there was no way to prune once more.
            self.reserve.keep(released // 2)
        if not pruned:
            raise error

    def _prune(self, times: int) -> int:
        pruned = 0
        for _ in range(times):
            pruned += retention.prune(self.store, _BEGINNING, 0)
        self.pruned += pruned
        self.most = max(self.most - pruned, LEAST_RECORDS)
        return pruned

    def made(self) -> None:
        """Take note that the store takes records."""
        if self.full and self._told:
            log.info("the store takes records again", pruned=self.pruned)
            self._told = False
        self.full, self._rounds = False, 0
