"""Writing the second copy of the audit records, which may be slow or hang."""

from dataclasses import dataclass, field
from threading import Thread

import structlog

from authserver.audit.outbox import Outbox
from authserver.runtime.periodic import Repeating

INTERVAL = 0.4
STOP_WAITS = 2.0
STUCK = "it takes no lines"

log = structlog.get_logger()


@dataclass
class SecondCopy:
    """Has a thread of its own: a disk or a syslog daemon that hangs holds up nothing else."""

    outbox: Outbox
    _told: bool = False
    _lost: int = 0
    _thread: Repeating = field(init=False)

    def __post_init__(self) -> None:
        self._thread = Repeating("audit log", INTERVAL, self.write)

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
