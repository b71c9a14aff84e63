"""Places: how many requests may do a thing at a time, in all and from one address."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from authserver.core.addresses import household


class Places:
    """``total`` places in this process, of which one address (of IPv6 a /64) gets ``each``."""

    def __init__(self, total: int, each: int) -> None:
        self.total, self.each = total, each
        self.taken = 0
        self._by_client: dict[str, int] = {}
        self._lock = Lock()

    def enter(self, client: str, leaving: int = 0) -> bool:
        """Take a place, if there is one without the last ``leaving``; tell whether there was.

        It is given back by :meth:`leave`.
        """
        client = household(client)
        with self._lock:
            mine = self._by_client.get(client, 0)
            if self.taken >= self.total - leaving or mine >= self.each:
                return False
            self._by_client[client] = mine + 1
            self.taken += 1
        return True

    def leave(self, client: str) -> None:
        """Give back a place that was taken by :meth:`enter`."""
        client = household(client)
        with self._lock:
            self.taken -= 1
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]

    @contextmanager
    def take(self, client: str, leaving: int = 0) -> Iterator[bool]:
        """Take a place for the block, as :meth:`enter` does; tell whether there was one."""
        free = self.enter(client, leaving)
        try:
            yield free
        finally:
            if free:
                self.leave(client)
