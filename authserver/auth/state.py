"""What a serving process holds in memory, and the thread that keeps it fresh.

Requests only read :attr:`Live.current`. The thread looks at the store's version twice a second,
so a change that was made anywhere is in force here within a second.
"""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from authserver.audit import journal, retention
from authserver.audit.journal import Journal
from authserver.audit.recorder import Trail
from authserver.audit.room import Room
from authserver.audit.spool import Spool
from authserver.auth.credentials import AppToken, Refresh, Shown
from authserver.auth.usage import Rehashes, Uses
from authserver.core import secret_tokens
from authserver.core.errors import AuthserverError, MustWait, NotReady, Occupied, StoreFull
from authserver.db import schema, snapshot
from authserver.db.snapshot import Snapshot
from authserver.db.store import Store
from authserver.keys import keyring, registry_keys, signing_keys
from authserver.keys.keyring import Signer
from authserver.keys.private_keys import Safe
from authserver.keys.signing_keys import Ending
from authserver.registry import published_keys
from authserver.registry.published_keys import PublishedKeys
from authserver.runtime.periodic import Repeating

INTERVAL = 0.4
STALE_AFTER = 10.0
RECORDS_WAIT = 1.0
LOOK_WAITS = 2.0
STOP_WAITS = 5.0
PRUNE_EVERY = 3600.0
MANY_RECORDS = journal.MAX_RECORDS * 11 // 10
"""From so many on no more are written than are pruned; below, pruning gives way to writing."""
ROTATE_EVERY = 60.0
ROTATION_WAITS = 1.0
SEAL_EVERY = 60.0
SCHEMA_EVERY = 2.0
WARN_EVERY = 24 * 3600.0
MAX_SKEW = timedelta(seconds=5)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class State:
    """One consistent state; ``read_at`` is when the store was last known to agree with it.

    ``store_time`` is the store's clock at that moment, ``skew`` how far ours was ahead of it.
    It is ``stale`` if the store cannot be reached and may say something else by now.
    """

    snapshot: Snapshot
    signer: Signer
    own_signers: Mapping[str, Signer | NotReady]
    published: Mapping[str | None, PublishedKeys]
    endings: tuple[Ending, ...]
    read_at: float
    store_time: datetime
    skew: timedelta
    stale: bool = False

    def signer_of(self, service: str) -> Signer:
        """Return what signs the tokens of a registry.

        Raises:
            NotReady: its own key cannot be opened.
        """
        signer = self.own_signers.get(service, self.signer)
        if isinstance(signer, NotReady):
            raise signer
        return signer

    @property
    def warnings(self) -> list[str]:
        """Return which keys end soon, and which registries' own keys cannot sign."""
        closed = [
            f"no tokens for the registry {service}: {signer}"
            for service, signer in self.own_signers.items()
            if isinstance(signer, NotReady)
        ]
        return closed + [e.warning for e in self.endings if e.is_near(self.store_time)]

    def require_clock(self) -> None:
        """Check that this process's clock agrees with the store's.

        Raises:
            NotReady: it is more than MAX_SKEW off.
        """
        if abs(self.skew) > MAX_SKEW:
            raise NotReady(
                f"this machine's clock is {self.skew.total_seconds():+.0f} s off the store's: "
                "synchronise both by NTP"
            )


@dataclass
class Every:
    """Something that is due when it was not done for some seconds."""

    seconds: float
    last: float | None = None

    def due(self, now: float) -> bool:
        return self.last is None or now - self.last > self.seconds


@dataclass
class Live:
    """Holds the state, replaces it as a whole, and does the work that no request should wait for.

    ``monotonic`` is a clock in seconds that never goes back. ``max_staleness`` is for how many
    seconds the state is answered from when the store cannot be reached; 0 means not at all.
    ``trouble`` is why the last look at it failed, ``unfit`` why its schema is not this version's,
    ``altered`` what the last checkpoint found wrong.
    """

    store: Store
    safe: Safe
    journal: Journal
    uses: Uses
    rehashes: Rehashes
    spool: Spool
    room: Room
    max_staleness: float
    record_days: int
    monotonic: Callable[[], float]
    errors: int = 0
    """How many times the thread could not do what was due."""
    _state: State | None = None
    trouble: str | None = None
    unfit: str | None = None
    altered: str | None = None
    _written_at: float | None = None
    _crowded: bool = False
    """Whether there were MANY_RECORDS of token requests at the last checkpoint."""
    _pruning: Every = field(default_factory=lambda: Every(PRUNE_EVERY))
    _rotating: Every = field(default_factory=lambda: Every(ROTATE_EVERY))
    _sealing: Every = field(default_factory=lambda: Every(SEAL_EVERY))
    _schema: Every = field(default_factory=lambda: Every(SCHEMA_EVERY))
    _warning: Every = field(default_factory=lambda: Every(WARN_EVERY))
    _refreshing: threading.Lock = field(default_factory=threading.Lock)
    _thread: Repeating = field(init=False)
    _failing: bool = False

    def __post_init__(self) -> None:
        self._thread = Repeating("live", INTERVAL, self._try)
        self.journal.wake = self._wake

    def _wake(self) -> None:
        # A store that fails is not to be asked again and again.
        if not self._failing:
            self._thread.wake()

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

    @property
    def latest(self) -> State | None:
        """Return the last state, however old: to tell of it, never to answer from it."""
        return self._state

    def knowing(self, shown: Shown, *, at_once: bool = False) -> State:
        """Return the state to answer from; one that knows of a token made a moment ago.

        Raises:
            MustWait: the store has to be asked, and that is not to be waited for.
            NotReady: as :attr:`current`, or the token is not known and the store cannot be read.
        """
        state = self.current
        known = state.snapshot
        match shown:
            case AppToken(_, digest, well_formed):
                new = digest not in known.app_tokens and well_formed
            case Refresh(secret, digest):
                new = digest not in known.refresh_tokens and secret_tokens.is_well_formed(secret)
            case _:
                return state
        if not new:
            return state
        if state.stale:
            raise NotReady("the store cannot be reached, and this token may be newer than this")
        if at_once:
            raise MustWait
        self.refresh()
        return self.current

    def refresh(self, known: Snapshot | None = None) -> None:
        """Bring the state up to date; the first one goes on from what is ``known``, if anything is.

        Raises:
            NotReady: the store or the keys cannot be used; the old state stays, as a stale one.
        """
        now = self.monotonic()
        with self._looking() as session:
            self._look_at_schema(session, now)
            time = self.store.time(session)
            skew = self.store.clock() - time
            state = self._state
            if state is not None and state.snapshot.version == snapshot.version(session):
                self._state = replace(state, read_at=now, store_time=time, skew=skew)
                return
            self.safe = self.safe.still_of(session)
            known = state.snapshot if state is not None else known
            self._state = self._load(session, known, now, time, skew)

    def _look_at_schema(self, session: Session, now: float) -> None:
        if self._schema.due(now):
            self._schema.last = now
            try:
                schema.require_head(session.connection())
                self.unfit = None
            except NotReady as error:
                self.unfit = str(error)

    def _load(
        self, session: Session, known: Snapshot | None, now: float, time: datetime, skew: timedelta
    ) -> State:
        return State(
            snapshot=snapshot.follow(session, known) if known else snapshot.load(session),
            signer=Signer.of(signing_keys.load_leaf(session, self.safe)),
            own_signers=registry_keys.signers(session, self.safe),
            published=published_keys.by_registry(session, time),
            endings=signing_keys.endings_of(session),
            read_at=now,
            store_time=time,
            skew=skew,
        )

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
        except AuthserverError as error:
            self.trouble = str(error)
            raise
        except Exception:
            # Whoever asks for readiness is told; what a driver says is for the log.
            self.trouble = "the store cannot be used; the log says why"
            raise
        finally:
            self._refreshing.release()

    def load(self, known: Snapshot | None = None) -> None:
        """Read the first state, and rotate the signing key if it is due.

        What is ``known`` already, of whatever version, is not read again. What else is due the
        thread does: others may write for longer than it should wait for.

        Raises:
            NotReady: the store or the keys cannot be used.
        """
        self.refresh(known)
        self._rotate()

    def tick(self) -> bool:
        """Do all that is due: refresh, rotate the key; write, seal and prune records; warn.

        In a store that is full room is made first. Return whether there may be more records than
        were written in one go.
        """
        try:
            more = self._tick()
        except StoreFull as error:
            self.room.make(error, self._seal)
            return True
        self.room.made()
        return more

    def _tick(self) -> bool:
        self.refresh()
        more = self._write()
        self._rotate()
        now = self.monotonic()
        if self._sealing.due(now) or self.room.is_tight:
            self._seal()
            self._sealing.last = now
        if self._pruning.due(now) and (self._crowded or not more):
            self._prune(now)
        self._warn(now)
        # Last: a disk that fails must not keep the signing key from being rotated.
        self.spool.write(self.store)
        return more

    def _prune(self, now: float) -> None:
        # Each record is verified before. If a day's are due, all else must not wait for that.
        pruned = journal.prune(self.store, self.record_days, self.room.most)
        self.room.note(pruned)
        if pruned == 0:
            # On a full disk the log of an embedded store is what there is to write to.
            if not self.room.is_tight:
                self.store.overwrite_deleted()
            self._pruning.last = now

    def _rotate(self) -> None:
        state = self._state
        if state is None or not keyring.due(state.signer.pair.certificate, state.store_time):
            return
        now = self.monotonic()
        if not self._rotating.due(now):
            return
        self._rotating.last = now
        try:
            with self.store.change("system", wait=ROTATION_WAITS) as change:
                rotated = signing_keys.rotate_if_due(change, self.safe)
        except NotReady as error:
            # The key that is due goes on signing; perhaps another replica can open the authority.
            log.error("the signing key is due and cannot be rotated", error=str(error))
            return
        if rotated:
            log.info("made a new signing key")
            self.store.overwrite_deleted()
        self.refresh()

    def _warn(self, now: float) -> None:
        if self._state is None or not self._state.warnings or not self._warning.due(now):
            return
        self._warning.last = now
        for warning in self._state.warnings:
            log.warning(warning)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; write what is pending and seal it, if the store takes it."""
        if not self._thread.stop(STOP_WAITS):
            return
        try:
            while self._write():
                pass
            self._seal()
            with self.store.append() as session:
                Trail.of(self.store).end(session)
        except AuthserverError as error:
            log.error("the last records could not be stored", error=str(error))

    def _write(self) -> bool:
        self.rehashes.write(self.store)
        self.uses.write(self.store)
        most = retention.AT_ONCE if self._crowded else journal.MAX_BATCH
        more = self.journal.write(self.store, most)
        self._written_at = self.monotonic()
        return more

    def _seal(self) -> None:
        with self.store.append() as session:
            self.altered = self.store.trail.checkpoint(session, self.store.time(session))
            records = retention.sealed(session)
        self.room.measure(records)
        self._crowded = records >= min(MANY_RECORDS, self.room.many)
        if records > self.room.most:
            self._pruning.last = None
        if self.altered:
            log.error(
                "audit records were altered in the store: run `authserver audit verify`",
                error=self.altered,
            )

    def _try(self) -> bool:
        try:
            more = self.tick()
            self.room.keep()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed
            if self._is_short(error):
                return True
            self.errors += 1
            if not self._failing:
                log.error(
                    "cannot keep up with the store",
                    error=str(error),
                    tokens_go_on_for=f"{self.max_staleness:.0f} s",
                )
            self._failing = True
            return False
        if self._failing:
            log.info("the store can be used again")
        self._failing = False
        return more

    def _is_short(self, error: Exception) -> bool:
        """Whether it is only that another has been writing, and not for long yet."""
        is_known = self._written_at is not None and not self.records_late
        return isinstance(error, Occupied) and is_known
