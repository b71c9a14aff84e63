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
    _ended: bool = field(default=False, init=False)
    _woken: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the thread, which keeps no process from ending."""
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the work done now, or once more if it is being done."""
        self._woken.set()

    def stop(self, patience: float | None = None) -> bool:
        """End the thread, if it was started; return whether it has ended in ``patience`` seconds.

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
