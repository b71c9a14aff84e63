"""How many requests may do one thing at a time: in this process, and from one address."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from authserver.core.addresses import household


class Slots:
    """``total`` slots in this process. One address (of IPv6 a /64) gets at most ``each``."""

    def __init__(self, total: int, each: int) -> None:
        self.total, self.each = total, each
        self.taken = 0
        self._by_client: dict[str, int] = {}
        self._lock = Lock()

    def enter(self, client: str, leaving: int = 0) -> bool:
        """Take a slot, if one is free besides the last ``leaving``; tell whether it was.

        :meth:`leave` gives it back.
        """
        client = household(client)
        with self._lock:
            own = self._by_client.get(client, 0)
            if self.taken >= self.total - leaving or own >= self.each:
                return False
            self._by_client[client] = own + 1
            self.taken += 1
        return True

    def leave(self, client: str) -> None:
        """Give back a slot that :meth:`enter` took."""
        client = household(client)
        with self._lock:
            self.taken -= 1
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]

    @contextmanager
    def take(self, client: str, leaving: int = 0) -> Iterator[bool]:
        """Take a slot for the block, as :meth:`enter` does; tell whether one was free."""
        free = self.enter(client, leaving)
        try:
            yield free
        finally:
            if free:
                self.leave(client)
