"""Work that is done again and again in a thread of its own."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Repeating:
    """Does ``work`` every ``interval`` seconds until it is stopped; it must not raise.

    Work that returns True is not done yet, and goes on at once.
    """

    name: str
    interval: float
    work: Callable[[], object]
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the thread, which keeps no process from ending."""
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self, patience: float | None = None) -> bool:
        """End the thread, if it was started; return whether it has ended in ``patience`` seconds.

        None waits for as long as it takes.
        """
        self._ended.set()
        if self._thread is None:
            return True
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        seconds = self.interval
        while not self._ended.wait(seconds):
            seconds = 0.0 if self.work() is True else self.interval
