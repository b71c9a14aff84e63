"""Places: how many requests may do a thing at a time, in all and from one address."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from authserver.core.households import household


class Places:
    """``total`` places in this process, of which one address (of IPv6 a /64) gets ``each``."""

    def __init__(self, total: int, each: int) -> None:
        self.total, self.each = total, each
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def taken(self) -> int:
        return self._taken.total()

    def enter(self, client: str) -> bool:
        """Take a place if there is one; give it back by :meth:`leave`."""
        client = household(client)
        with self._lock:
            free = self.taken < self.total and self._taken[client] < self.each
            if free:
                self._taken[client] += 1
        return free

    def leave(self, client: str) -> None:
        """Give a place back."""
        client = household(client)
        with self._lock:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]

    @contextmanager
    def take(self, client: str, leaving: int = 0) -> Iterator[bool]:
        """Take a place for the block; tell whether there was one without the last ``leaving``."""
        client = household(client)
        with self._lock:
            free = self.taken < self.total - leaving and self._taken[client] < self.each
            self._taken[client] += free
        try:
            yield free
        finally:
            with self._lock:
                self._taken[client] -= free
                if not self._taken[client]:
                    del self._taken[client]
