"""The second copy of the audit records: the queue, and the thread that writes it.

Writing may be slow or hang, so no request waits for it.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Thread

import structlog

from authserver.audit.sinks import Sink
from authserver.runtime.periodic import PeriodicThread

MAX_WAITING = 100_000
AT_ONCE = 5000

INTERVAL = 0.4
STOP_WAITS = 2.0
STUCK = "it takes no lines"

log = structlog.get_logger()


@dataclass
class Outbox:
    """Keeps lines until :meth:`write` has the sink take them.

    ``trouble`` is why the sink did not take some, ``lost`` how many were dropped in all.
    """

    sink: Sink | None = None
    trouble: str | None = None
    lost: int = 0
    _waiting: deque[str] = field(default_factory=deque, repr=False)

    @property
    def pending(self) -> int:
        """Return how many lines wait."""
        return len(self._waiting)

    def add(self, lines: Iterable[str]) -> None:
        """Take lines; never blocks. The oldest are lost, and counted, if too many wait."""
        if self.sink is None:
            return
        self._waiting.extend(lines)
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self.lost += 1

    def write(self) -> None:
        """Have the sink take what waits; if it does not, it goes on waiting."""
        while self._waiting and self.sink is not None:
            lines = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            try:
                self.sink.write(lines)
            except OSError as error:
                self._waiting.extendleft(reversed(lines))
                self.trouble = error.strerror or str(error)
                return
        self.trouble = None

    def finish(self) -> None:
        """Write what waits, and let go of the sink."""
        self.write()
        if self.sink is not None:
            self.sink.close()


@dataclass
class SecondCopy:
    """Has a thread of its own: a disk or a syslog daemon that hangs holds up nothing else."""

    outbox: Outbox
    _told: bool = False
    _lost: int = 0
    _thread: PeriodicThread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = PeriodicThread("audit log", INTERVAL, self.write)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and write what waits."""
        trouble = self.finish() if self._thread.stop(STOP_WAITS) else STUCK
        if trouble:
            log.error("the audit log lacks the last records", error=trouble)

    def finish(self) -> str | None:
        """Write what waits, and close the log, in at most STOP_WAITS.

        Return why the log lacks some lines, if so.
        """
        if self.outbox.sink is None:
            return None
        writing = Thread(target=self.outbox.finish, name="audit log", daemon=True)
        writing.start()
        writing.join(STOP_WAITS)
        return STUCK if writing.is_alive() else self.outbox.trouble

    def write(self) -> None:
        """Write what waits, and tell the log when that begins to fail and when it is over."""
        self.outbox.write()
        trouble = self.outbox.trouble
        if trouble and not self._told:
            log.error("the audit log cannot be written: see AUTHSERVER_AUDIT_LOG", error=trouble)
        if self._told and not trouble:
            log.info("the audit log is written again", lost=self.outbox.lost - self._lost)
            self._lost = self.outbox.lost
        self._told = trouble is not None
