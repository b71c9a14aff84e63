"""Audit records on their way to their second copy."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from authserver.audit.sinks import Sink

MAX_WAITING = 100_000
AT_ONCE = 5000


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
