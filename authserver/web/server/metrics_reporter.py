"""One worker's metrics: add up the observations of requests, read gauges, write the sheet.

``worker`` starts it. Requests only append to ``Observations``.
"""

import os
import platform
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from resource import getpagesize

import structlog

from authserver import __version__
from authserver.audit.capacity import Capacity
from authserver.audit.recorder import Trail
from authserver.auth.rate_limits import Counts
from authserver.auth.state import AuthState
from authserver.core.errors import BadRequest, Busy, NotReady, TooManyAttempts, Unauthorized
from authserver.db.snapshot import Snapshot
from authserver.runtime.metrics import families
from authserver.runtime.metrics.counters import Observations, TokenRequestObservation, Totals, taken
from authserver.runtime.metrics.exposition import WorkerSheets
from authserver.runtime.periodic import PeriodicThread
from authserver.web.proxies import header_name
from authserver.web.server.maintenance import Maintenance

INTERVAL = 1.0
EXPIRING_DAYS = (1, 7, 30)

# Error → outcome. Any other error was not expected.
OUTCOMES: dict[type[Exception], str] = {
    Unauthorized: "unauthorized",
    BadRequest: "bad_request",
    TooManyAttempts: "limited",
    Busy: "busy",
    NotReady: "unavailable",
}

log = structlog.get_logger()


@dataclass
class Reporter:
    """Reports every INTERVAL seconds, under a ``name`` that no other worker had.

    ``tls_ends`` is when the certificate ends that is served, None without TLS.
    """

    name: str
    sheets: WorkerSheets
    maintenance: Maintenance
    observations: Observations
    counts: Counts
    clock: Callable[[], datetime]
    tls_ends: datetime | None = None
    totals: Totals = field(default_factory=Totals)
    _expiries: "_Expiries | None" = None
    _thread: PeriodicThread = field(init=False)
    _failing: bool = False

    def __post_init__(self) -> None:
        self._thread = PeriodicThread("reporter", INTERVAL, self._try)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and report once more."""
        self._thread.stop()
        self.report()

    def _try(self) -> None:
        try:
            self.report()
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.error("metrics cannot be written", error=str(error))
            self._failing = True

    def report(self) -> None:
        """Write the sheet.

        Raises:
            OSError: the directory is gone or full; nothing that was counted is lost.
        """
        self._count()
        self._read()
        self.sheets.write(self.name, self.totals, time.monotonic())

    def _count(self) -> None:
        seen, totals = self.observations, self.totals
        state = self.maintenance.state.latest
        known = state.snapshot.registries if state else {}
        for request in taken(seen.token_requests):
            # A client can name anything: each name would become a label.
            registry = request.registry if request.registry in known else ""
            labels = registry, _outcome(request), request.credential
            totals.count(families.TOKEN_REQUESTS, *labels)
            duration = families.TOKEN_REQUEST_DURATION
            totals.observe(duration, request.credential, seconds=request.seconds)
        for part, code in taken(seen.responses):
            totals.count(families.HTTP_RESPONSES, part, str(code))
        for result in taken(seen.passwords):
            totals.count(families.PASSWORD_CHECKS, result)
        for limit in taken(seen.limits):
            totals.count(families.LIMITED, limit)
        for header in taken(seen.unreadable):
            totals.count(families.UNREADABLE_ADDRESSES, header)
        for key in taken(seen.unheeded):
            totals.count(families.UNHEEDED_PROXIES, header_name(key))

    def _read(self) -> None:
        totals, maintenance = self.totals, self.maintenance
        cache, journal = maintenance.state, maintenance.journal
        totals.gauges.clear()
        totals.gauge(families.WORKERS, value=1)
        totals.gauge(families.BUILD_INFO, __version__, platform.python_version(), value=1)
        totals.gauge(families.RECORDS_PENDING, value=len(journal.pending))
        totals.gauge(families.RECORDS_SPOOLED, value=maintenance.spool.waiting)
        totals.gauge(families.RECORDS_FULL, value=journal.full)
        totals.reached(families.RECORDS_LOST, journal.lost)
        totals.reached(families.REQUESTS_COUNTED, journal.tallies.total)
        self._read_capacity(maintenance.capacity)
        totals.gauge(families.RECORDS_ALTERED, value=maintenance.altered is not None)
        outbox = Trail.of(cache.store).outbox
        totals.gauge(families.LOG_PENDING, value=outbox.pending)
        totals.reached(families.LOG_LOST, outbox.lost)
        totals.reached(families.STORE_ERRORS, maintenance.errors)
        totals.gauge(families.STORE_UNREACHABLE, value=cache.stale)
        totals.gauge(families.LIMITS_ALONE, value=self.counts.away)
        if self.tls_ends is not None:
            totals.gauge(families.TLS_EXPIRY, value=self.tls_ends.timestamp())
        if cache.latest is not None:
            self._read_state(cache.latest)
        _read_process(totals)

    def _read_capacity(self, capacity: Capacity) -> None:
        self.totals.reached(families.RECORDS_PRUNED_EARLY, capacity.pruned)
        self.totals.gauge(families.STORE_FULL, value=capacity.was_full)
        if capacity.space is not None:
            self.totals.gauge(families.RECORDS_BYTES, value=capacity.space.used)
        if capacity.space is not None and capacity.space.free is not None:
            self.totals.gauge(families.STORE_FREE, value=capacity.space.free)

    def _read_state(self, state: AuthState) -> None:
        totals, snapshot = self.totals, state.snapshot
        totals.gauge(families.SNAPSHOT_AGE, value=state.read_at)
        totals.gauge(families.SNAPSHOT_VERSION, value=snapshot.version)
        totals.gauge(families.SIGNING_KEY_EXPIRY, value=state.signer.not_after.timestamp())
        for ending in state.keys.endings:
            totals.gauge(families.KEY_EXPIRY, ending.name, value=ending.at.timestamp())
        if self._expiries is None or self._expiries.snapshot is not snapshot:
            self._expiries = _Expiries.of(snapshot)
        self._expiries.read(totals, self.clock())


def _outcome(request: TokenRequestObservation) -> str:
    if request.refusal is None:
        return request.outcome
    return next((OUTCOMES[kind] for kind in request.refusal.mro() if kind in OUTCOMES), "failed")


@dataclass(frozen=True)
class _Expiries:
    """When the app tokens of a snapshot expire, the first first; ``lasting`` never do."""

    snapshot: Snapshot
    ends: list[datetime]
    lasting: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> "_Expiries":
        usable = [
            token for token in snapshot.app_tokens.values() if not snapshot.owner(token).disabled
        ]
        lasting = {token.id for token in usable if token.expires_at is None}
        # A rotated token has its old secret as well, for a while.
        latest: dict[int, datetime] = {}
        for token in usable:
            if token.expires_at is not None and token.id not in lasting:
                latest[token.id] = max(token.expires_at, latest.get(token.id, token.expires_at))
        return cls(snapshot, sorted(latest.values()), len(lasting))

    def read(self, totals: Totals, now: datetime) -> None:
        expired = bisect_right(self.ends, now)
        good = len(self.ends) - expired + self.lasting
        totals.gauge(families.APP_TOKENS, value=good)
        for days in EXPIRING_DAYS:
            soon = bisect_right(self.ends, now + timedelta(days=days)) - expired
            totals.gauge(families.APP_TOKENS_EXPIRING, str(days), value=soon)
        if expired < len(self.ends):
            totals.gauge(families.APP_TOKEN_EXPIRY, value=self.ends[expired].timestamp())


def _read_process(totals: Totals) -> None:
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    totals.gauge(families.MEMORY, value=resident * getpagesize())
    totals.gauge(families.OPEN_FDS, value=len(os.listdir("/proc/self/fd")))  # noqa: PTH208
    totals.reached(families.CPU, time.process_time())
