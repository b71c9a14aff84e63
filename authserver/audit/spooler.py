"""The thread that has the spool take the records of token requests that the store does not take.

It is one of its own, since the thread that writes to the store may hang with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from authserver.audit.journal import Journal
from authserver.audit.spool import Spool
from authserver.runtime.periodic import Repeating

INTERVAL = 0.4

log = structlog.get_logger()


@dataclass
class Spooler:
    """Moves what is pending from the journal to the spool while the store is ``late``."""

    journal: Journal
    spool: Spool
    late: Callable[[], bool]
    _thread: Repeating = field(init=False)

    def __post_init__(self) -> None:
        self._thread = Repeating("spooler", INTERVAL, self.tick)

    def tick(self) -> None:
        """Move what is pending if the store has not taken it for too long."""
        if self.late():
            self._move()

    def _move(self) -> None:
        events = self.journal.take()
        if not events:
            return
        try:
            self.spool.keep(events)
        except Exception as error:  # noqa: BLE001 - whatever it is, no record may be lost
            self.journal.put_back(events)
            if not self.journal.stuck:
                log.error("no tokens: their records can be kept nowhere", error=str(error))
            self.journal.stuck = True
        else:
            self.journal.stuck = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and move what the store has not taken by now."""
        self._thread.stop()
        self._move()
