"""The thread that has the spool take the records of token requests that the store does not take.

It is one of its own, since the thread that writes to the store may hang with it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from authserver.journal import Journal
from authserver.spool import Spool

INTERVAL = 0.4

log = structlog.get_logger()


@dataclass
class Spooler:
    """Moves what is pending from the journal to the spool while the store is ``late``."""

    journal: Journal
    spool: Spool
    late: Callable[[], bool]
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

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
        self._thread = threading.Thread(target=self._run, name="spooler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and move what the store has not taken by now."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._move()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self.tick()
