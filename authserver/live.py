"""What a serving process holds in memory, and the thread that keeps it fresh.

Requests only read :attr:`Live.current`. The thread looks at the store's version twice a second,
so a change that was made anywhere is in force here within a second.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy.orm import Session

from authserver import journal, keyring, tokens
from authserver.core.errors import AuthserverError, NotReady
from authserver.credentials import Basic, Refresh, Shown
from authserver.db import keys, snapshot
from authserver.db.snapshot import Snapshot
from authserver.db.store import Store
from authserver.journal import Journal, Rehashes, Uses
from authserver.keyring import Signer
from authserver.sealing import MasterKey
from authserver.spool import Spool
from authserver.tokens import Prefix

INTERVAL = 0.4
STALE_AFTER = 10.0
RECORDS_WAIT = 1.0
LOOK_WAITS = 2.0
STOP_WAITS = 5.0
PRUNE_EVERY = 3600.0
RENEW_EVERY = 60.0
RENEWAL_WAITS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class State:
    """One consistent state; ``read_at`` is when the store was last known to agree with it.

    It is ``stale`` if the store cannot be reached and may say something else by now.
    """

    snapshot: Snapshot
    signer: Signer
    read_at: float
    stale: bool = False


@dataclass
class Live:
    """Holds the state, replaces it as a whole, and does the work that no request should wait for.

    ``monotonic`` is a clock in seconds that never goes back. ``max_staleness`` is for how many
    seconds the state is answered from when the store cannot be reached; 0 means not at all.
    ``trouble`` is why the last look at it failed.
    """

    store: Store
    master: MasterKey = field(repr=False)
    journal: Journal
    uses: Uses
    rehashes: Rehashes
    spool: Spool
    max_staleness: float
    record_days: int
    monotonic: Callable[[], float]
    _state: State | None = None
    trouble: str | None = None
    _written_at: float | None = None
    _pruned_at: float | None = None
    _renewed_at: float | None = None
    _refreshing: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def age(self) -> float:
        """Return for how many seconds the store is not known to agree with the state."""
        return math.inf if self._state is None else self.monotonic() - self._state.read_at

    @property
    def stale(self) -> bool:
        """Whether the store cannot be reached: a look at it failed, or none comes to an end."""
        return self.trouble is not None or self.age > self._fresh_for

    @property
    def _fresh_for(self) -> float:
        return min(STALE_AFTER, self.max_staleness or STALE_AFTER)

    @property
    def records_late(self) -> bool:
        """Whether the store has taken no records for more than RECORDS_WAIT seconds."""
        written_at = self._written_at
        return written_at is not None and self.monotonic() - written_at > RECORDS_WAIT

    @property
    def current(self) -> State:
        """Return the state to answer from.

        Raises:
            NotReady: it is older than ``max_staleness`` allows, or nothing can be recorded.
        """
        state = self._state
        if self.journal.full:
            raise NotReady("neither the store nor the spool takes records of token requests")
        if state is None:
            raise NotReady("the store cannot be reached")
        age = self.monotonic() - state.read_at
        if self.trouble is None and age <= self._fresh_for:
            return state
        if not self.max_staleness or age > self.max_staleness:
            raise NotReady("the store cannot be reached")
        return replace(state, stale=True)

    def knowing(self, shown: Shown) -> State:
        """Return the state to answer from; one that knows of a token made a moment ago.

        Raises:
            NotReady: as :attr:`current`, or the token is not known and the store cannot be read.
        """
        state = self.current
        known = state.snapshot
        match shown:
            case Refresh(secret):
                new = tokens.digest(secret) not in known.refresh_tokens
            case Basic(_, secret) if tokens.claims_to_be(secret, Prefix.APP):
                new = tokens.digest(secret) not in known.app_tokens
            case _:
                return state
        if not new or not tokens.is_well_formed(secret):
            return state
        if state.stale:
            raise NotReady("the store cannot be reached, and this token may be newer than this")
        self.refresh()
        return self.current

    def refresh(self) -> None:
        """Bring the state up to date.

        Raises:
            NotReady: the store or the keys cannot be used; the old state stays, as a stale one.
        """
        now = self.monotonic()
        with self._looking() as session:
            if self._state is None or self._state.snapshot.version != snapshot.version(session):
                keys.require_master_key(session, self.master)
                signer = Signer.of(keys.load_leaf(session, self.master))
                self._state = State(snapshot.load(session), signer, now)
            else:
                self._state = replace(self._state, read_at=now)

    @contextmanager
    def _looking(self) -> Iterator[Session]:
        """Give a session to one at a time, and note whether the store could be read."""
        # Whoever looks may hang for as long as the network does; requests must not wait with him.
        if not self._refreshing.acquire(timeout=LOOK_WAITS):
            raise NotReady("the store takes too long to answer")
        try:
            with self.store.read() as session:
                yield session
            self.trouble = None
        except Exception as error:
            self.trouble = str(error)
            raise
        finally:
            self._refreshing.release()

    def tick(self) -> None:
        """Do all that is due: refresh, renew the signing key, write and prune records."""
        self.refresh()
        self._write()
        self._renew_signing_key()
        now = self.monotonic()
        if self._pruned_at is None or now - self._pruned_at > PRUNE_EVERY:
            journal.prune(self.store, self.record_days)
            self._pruned_at = now
        # Last: a disk that fails must not keep the signing key from being renewed.
        self.spool.write(self.store)

    def _renew_signing_key(self) -> None:
        state = self._state
        if state is None or not keyring.due(state.signer.pair.certificate, self.store.clock()):
            return
        now = self.monotonic()
        if self._renewed_at is not None and now - self._renewed_at < RENEW_EVERY:
            return
        self._renewed_at = now
        with self.store.change("system", wait=RENEWAL_WAITS) as change:
            renewed = keys.renew_leaf(change, self.master)
        if renewed:
            log.info("made a new signing key")
        self.refresh()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and write what is pending, if the store takes it."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(STOP_WAITS)
            if self._thread.is_alive():
                return
        try:
            self._write()
        except AuthserverError as error:
            log.error("the last records could not be stored", error=str(error))

    def _write(self) -> None:
        for pending in (self.rehashes, self.uses, self.journal):
            pending.write(self.store)
        self._written_at = self.monotonic()

    def _run(self) -> None:
        failing = False
        while not self._ended.wait(INTERVAL):
            try:
                self.tick()
                if failing:
                    log.info("the store can be used again")
                failing = False
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed
                if not failing:
                    log.error(
                        "cannot keep up with the store",
                        error=str(error),
                        tokens_go_on_for=f"{self.max_staleness:.0f} s",
                    )
                failing = True
