"""Threads that do the same work again and again, such as the snapshot's reader."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class PeriodicThread:
    """Does ``work`` every ``interval`` seconds until :meth:`stop`. The work must not raise.

    Work that returns True is not finished: it is called again at once.
    """

    name: str
    interval: float
    work: Callable[[], object]
    _ended: bool = field(default=False, init=False)
    _woken: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the thread. It does not keep the process from ending."""
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the work done now, or once more if it runs already."""
        self._woken.set()

    def stop(self, patience: float | None = None) -> bool:
        """End the thread, if it was started; tell whether it ended within ``patience`` seconds.

        None waits for as long as it takes.
        """
        self._ended = True
        self.wake()
        if self._thread is None:
            return True
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        seconds = self.interval
        while self._pause(seconds):
            seconds = 0.0 if self.work() is True else self.interval

    def _pause(self, seconds: float) -> bool:
        """Wait for so long, unless woken; return whether to go on."""
        self._woken.wait(seconds)
        self._woken.clear()
        return not self._ended
