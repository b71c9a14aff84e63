"""What a serving process holds in memory, and the thread that keeps it fresh.

Requests only read :attr:`Live.current`. The thread looks at the store's version twice a second,
so a change that was made anywhere is in force here within a second.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from authserver import journal, keyring, tokens
from authserver.core.errors import NotReady
from authserver.credentials import Basic, Refresh, Shown
from authserver.db import keys, snapshot
from authserver.db.snapshot import Snapshot
from authserver.db.store import Store
from authserver.journal import Journal, Rehashes, Uses
from authserver.keyring import Signer
from authserver.sealing import MasterKey
from authserver.tokens import Prefix

INTERVAL = 0.4
STALE_AFTER = 10.0
PRUNE_EVERY = 3600.0
RENEW_EVERY = 60.0
RENEWAL_WAITS = 1.0
CHECKPOINT_EVERY = 60.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class State:
    """One consistent state; ``read_at`` is when the store was last known to agree with it."""

    snapshot: Snapshot
    signer: Signer
    read_at: float


@dataclass
class Live:
    """Holds the state, replaces it as a whole, and does the work that no request should wait for.

    ``monotonic`` is a clock in seconds that never goes back.
    """

    store: Store
    master: MasterKey = field(repr=False)
    journal: Journal
    uses: Uses
    rehashes: Rehashes
    record_days: int
    monotonic: Callable[[], float]
    _state: State | None = None
    _pruned_at: float | None = None
    _renewed_at: float | None = None
    _sealed_at: float | None = None
    _refreshing: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def current(self) -> State:
        """Return the state to answer from.

        Raises:
            NotReady: the store could not be read for more than STALE_AFTER seconds.
        """
        state = self._state
        if state is None or self.monotonic() - state.read_at > STALE_AFTER:
            raise NotReady("the store cannot be reached")
        return state

    def knowing(self, shown: Shown) -> State:
        """Return the state to answer from; one that knows of a token made a moment ago.

        Raises:
            NotReady: as :attr:`current`, or a new token made it look and the store cannot be read.
        """
        known = self.current.snapshot
        match shown:
            case Refresh(secret):
                new = tokens.digest(secret) not in known.refresh_tokens
            case Basic(_, secret) if tokens.claims_to_be(secret, Prefix.APP):
                new = tokens.digest(secret) not in known.app_tokens
            case _:
                return self.current
        if new and tokens.is_well_formed(secret):
            self.refresh()
        return self.current

    def refresh(self) -> None:
        """Bring the state up to date.

        Raises:
            NotReady: the store or the keys cannot be used; the old state stays.
        """
        now = self.monotonic()
        with self._refreshing, self.store.read() as session:
            if self._state is None or self._state.snapshot.version != snapshot.version(session):
                keys.require_master_key(session, self.master)
                signer = Signer.of(keys.load_leaf(session, self.master))
                self._state = State(snapshot.load(session), signer, now)
            else:
                self._state = replace(self._state, read_at=now)

    def tick(self) -> None:
        """Do all that is due: refresh, renew the signing key; write, seal, prune, copy records."""
        try:
            self.refresh()
            self._write()
            self._renew_signing_key()
            now = self.monotonic()
            if self._sealed_at is None or now - self._sealed_at >= CHECKPOINT_EVERY:
                self._seal()
                self._sealed_at = now
            if self._pruned_at is None or now - self._pruned_at > PRUNE_EVERY:
                journal.prune(self.store, self.record_days)
                self._pruned_at = now
        finally:
            # What is committed is copied whatever fails after it.
            self._copy()

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
        """End the thread, write what is pending and seal it."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._write()
        self._seal()
        self._copy()

    def _write(self) -> None:
        for pending in (self.rehashes, self.uses, self.journal):
            pending.write(self.store)

    def _seal(self) -> None:
        with self.store.append() as session:
            trouble = self.store.trail.checkpoint(session, self.store.clock())
        if trouble:
            log.error(
                "audit records were altered in the store: run `authserver audit verify`",
                error=trouble,
            )

    def _copy(self) -> None:
        outbox = self.store.trail.outbox
        before = outbox.trouble
        outbox.write()
        if outbox.trouble and not before:
            log.error(
                "the audit log cannot be written: see AUTHSERVER_AUDIT_LOG", error=outbox.trouble
            )
        if before and not outbox.trouble:
            log.info("the audit log is written again", lost=outbox.lost)
            outbox.lost = 0

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
                    log.error("cannot keep up with the store", error=str(error))
                failing = True
