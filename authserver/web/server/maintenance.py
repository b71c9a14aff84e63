"""The work that no request waits for: a list of jobs, each with its interval, and their thread.

``wiring`` makes it, and a worker starts and stops it. ``health`` and ``metrics_reporter`` read it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from authserver.audit import journal, retention
from authserver.audit.capacity import Capacity
from authserver.audit.journal import Journal
from authserver.audit.recorder import Trail
from authserver.audit.spool import Spool
from authserver.auth.lockout_log import LockoutLog
from authserver.auth.state import StateCache
from authserver.auth.usage import CredentialUses, Rehashes
from authserver.core.commands import program
from authserver.core.errors import AuthserverError, NotReady, Occupied, StoreFull
from authserver.db.store import Store
from authserver.keys import keyring, signing_keys
from authserver.runtime.periodic import PeriodicThread
from authserver.web.proxies import ProxyWatch

INTERVAL = 0.4
EACH_ROUND = 0.0
ROTATE_EVERY = 60.0
SEAL_EVERY = 60.0
PRUNE_EVERY = 3600.0
WARN_EVERY = 24 * 3600.0

RECORDS_WAIT = 1.0
ROTATION_WAITS = 1.0
STOP_WAITS = 5.0
MANY_RECORDS = journal.MAX_RECORDS * 11 // 10
"""From this many on, no more records are written than are pruned; below, writing goes first."""

log = structlog.get_logger()


@dataclass
class Job:
    """Work that is due every ``interval`` seconds.

    An ``action`` that returns True is not finished, and is due again in the next round.
    """

    name: str
    interval: float
    action: Callable[[], bool | None]
    done_at: float = -math.inf

    def run_if_due(self, now: float) -> None:
        if now - self.done_at >= self.interval and not self.action():
            self.done_at = now

    def hasten(self) -> None:
        """Make the job due in the next round."""
        self.done_at = -math.inf


@dataclass
class Maintenance:
    """Run the jobs that are due, in rounds of INTERVAL seconds.

    ``errors`` counts the rounds that failed. ``altered`` says which audit records the last
    checkpoint found altered.
    """

    state: StateCache
    uses: CredentialUses
    rehashes: Rehashes
    spool: Spool
    capacity: Capacity
    record_days: int
    proxies: ProxyWatch
    lockouts: LockoutLog
    errors: int = 0
    altered: str | None = None
    jobs: dict[str, Job] = field(init=False, repr=False)
    _written_at: float | None = None
    _has_more: bool = False
    """Whether more records may be pending than were written in one go."""
    _is_crowded: bool = False
    """Whether the last checkpoint found MANY_RECORDS of token requests."""
    _is_failing: bool = False
    _thread: PeriodicThread = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._thread = PeriodicThread("maintenance", INTERVAL, self.attempt)
        self.journal.wake = self._wake
        jobs = (
            Job("refresh", EACH_ROUND, self.state.refresh),
            Job("write", EACH_ROUND, self._write),
            Job("rotate", ROTATE_EVERY, self._rotate),
            Job("seal", SEAL_EVERY, self._seal),
            Job("prune", PRUNE_EVERY, self._prune),
            Job("warn", WARN_EVERY, self._warn),
            Job("proxies", EACH_ROUND, self.proxies.add_up),
            Job("lockouts", EACH_ROUND, self._follow_lockouts),
            # Last: a disk that fails must not keep the signing key from being rotated.
            Job("spool", EACH_ROUND, lambda: self.spool.write(self.store)),
        )
        self.jobs = {job.name: job for job in jobs}

    @property
    def store(self) -> Store:
        return self.state.store

    @property
    def journal(self) -> Journal:
        return self.state.journal

    @property
    def records_late(self) -> bool:
        """Whether the store has taken no records for more than RECORDS_WAIT seconds."""
        written_at = self._written_at
        return written_at is not None and self.state.monotonic() - written_at > RECORDS_WAIT

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; write the records that are pending and seal them, if the store can."""
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

    def _wake(self) -> None:
        # A store that fails must not be asked more often than every INTERVAL.
        if not self._is_failing:
            self._thread.wake()

    def attempt(self) -> bool:
        """Run a round. Count an error, and log the first of several. Return as :meth:`tick`."""
        try:
            has_more = self.tick()
            self.capacity.keep_reserve()
        except Exception as error:  # noqa: BLE001 - the thread must go on: the next round may succeed
            if self._is_brief(error):
                return True
            self.errors += 1
            if not self._is_failing:
                log.error(
                    "cannot keep up with the store",
                    error=str(error),
                    tokens_go_on_for=f"{self.state.max_staleness:.0f} s",
                )
            self._is_failing = True
            return False
        if self._is_failing:
            log.info("the store can be used again")
        self._is_failing = False
        return has_more

    def _is_brief(self, error: Exception) -> bool:
        """Whether another writer holds the store, and records are not late yet."""
        has_written = self._written_at is not None
        return isinstance(error, Occupied) and has_written and not self.records_late

    def tick(self) -> bool:
        """Run the jobs that are due; in a full store, make space first.

        Return whether there may be more records than were written in one go.
        """
        if self.capacity.is_tight:
            # Only sealed records can be pruned.
            self.jobs["seal"].hasten()
        try:
            for name in self.jobs:
                self.run(name)
        except StoreFull as error:
            self.capacity.make_space(error, self._seal)
            return True
        self.capacity.note_success()
        return self._has_more

    def run(self, name: str) -> None:
        """Run one job, if it is due."""
        self.jobs[name].run_if_due(self.state.monotonic())

    def _write(self) -> bool:
        most = retention.AT_ONCE if self._is_crowded else journal.MAX_BATCH
        self._has_more = self.journal.write(self.store, most)
        self.rehashes.write(self.store)
        self.uses.write(self.store)
        self.lockouts.write(self.store)
        self._written_at = self.state.monotonic()
        return self._has_more

    def _rotate(self) -> bool:
        """Rotate the signing key if it is due. Return False after an attempt."""
        state = self.state.latest
        if state is None or not keyring.due(state.signer.pair.certificate, state.store_time):
            return True
        try:
            with self.store.change("system", wait=ROTATION_WAITS) as change:
                is_rotated = signing_keys.rotate_if_due(change, self.state.safe)
        except NotReady as error:
            # The key that is due goes on signing; perhaps another replica can open the authority.
            log.error("the signing key is due and cannot be rotated", error=str(error))
            return False
        if is_rotated:
            log.info("made a new signing key")
            self.store.overwrite_deleted()
        self.state.refresh()
        return False

    def _follow_lockouts(self) -> None:
        if (state := self.state.latest) is not None:
            self.lockouts.follow(self.store, state.snapshot.version)

    def _seal(self) -> None:
        with self.store.append() as session:
            self.altered = self.store.trail.checkpoint(session, self.store.time(session))
            records = retention.kept(session, Trail.of(self.store).key(session))
        self.capacity.measure(records)
        self._is_crowded = records >= min(MANY_RECORDS, self.capacity.crowded_from)
        if records > self.capacity.most:
            self.jobs["prune"].hasten()
        if self.altered:
            log.error(
                f"audit records were altered in the store: run `{program()} audit verify`",
                error=self.altered,
            )

    def _prune(self) -> bool:
        """Prune a part of the records that are due. Return whether there may be more."""
        if self._has_more and not self._is_crowded:
            return True
        # Each record is verified before. If a day's are due, the other jobs must not wait for all.
        pruned = journal.prune(self.store, self.record_days, self.capacity.most)
        self.capacity.note_pruned(pruned)
        if pruned:
            return True
        # On a full disk an embedded store has only its log to write to.
        if not self.capacity.is_tight:
            self.store.overwrite_deleted()
        return False

    def _warn(self) -> bool:
        """Log the state's warnings. Return whether there was none."""
        warnings = self.state.latest.warnings if self.state.latest else []
        for warning in warnings:
            log.warning(warning)
        return not warnings
