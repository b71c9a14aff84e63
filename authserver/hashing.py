"""Hashing passwords: by few processors at a time, for the whole server.

A bcrypt keeps a processor busy for a quarter of a second. However many passwords come, most
processors and threads stay for requests that need none.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TypeVar

from authserver import passwords
from authserver.core.errors import Busy
from authserver.core.households import household
from authserver.shared import Shared

PATIENCE = 5.0
"""Seconds for which a request waits for its turn."""

_T = TypeVar("_T")


def processors() -> int:
    """Return how many processors hash passwords: half of them, at least one."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


class Hashing:
    """Lets requests that hash a password in by turns.

    ``turns`` is how many have theirs at a time in all processes that share ``shared``; ``places``
    how many of this process may have it or wait for it, and ``places_each`` how many from one
    address (of IPv6 a /64).
    """

    def __init__(
        self,
        shared: Shared,
        turns: int,
        places: int,
        places_each: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.places, self.places_each = places, places_each
        self._shared, self._monotonic = shared, monotonic
        self._free: SimpleQueue[int] = SimpleQueue()
        for turn in range(turns):
            self._free.put(turn)
        self._taken: Counter[str] = Counter()
        self._checks: dict[bytes, Future[bool | None]] = {}
        self._lock = Lock()

    def run(self, client: str, work: Callable[[], _T]) -> _T:
        """Do ``work`` in a turn of its own; ``client`` is the address that it is for.

        Raises:
            Busy: too many wait, or this one has waited for too long.
        """
        with self._place(client) as deadline, self._turn(deadline):
            return work()

    def hash_new(self, client: str, password: str, cost: int) -> str:
        """Return a new password's hash. Raises as :func:`passwords.hash_new`, and :meth:`run`."""
        return self.run(client, lambda: passwords.hash_new(password, cost))

    def once(self, client: str, check: bytes, work: Callable[[], bool]) -> bool:
        """Do ``work`` in a turn, or wait for the result of an equal ``check`` that is under way.

        Raises:
            Busy: as :meth:`run`.
        """
        with self._place(client) as deadline:
            result = None
            while result is None:
                result = self._result(check, work, deadline)
            return result

    def _result(self, check: bytes, work: Callable[[], bool], deadline: float) -> bool | None:
        """Return a check's result; None if another's ended without one, which is his alone."""
        mine: Future[bool | None] = Future()
        with self._lock:
            first = self._checks.setdefault(check, mine)
        if first is not mine:
            return first.result()
        result = None
        try:
            with self._turn(deadline):
                result = work()
        finally:
            with self._lock:
                del self._checks[check]
            mine.set_result(result)
        return result

    @contextmanager
    def _place(self, client: str) -> Iterator[float]:
        """Take a place; give the time until which to wait in it."""
        client = household(client)
        with self._lock:
            if self._taken.total() >= self.places or self._taken[client] >= self.places_each:
                raise Busy("too many passwords wait to be checked")
            self._taken[client] += 1
        try:
            yield self._monotonic() + PATIENCE
        finally:
            with self._lock:
                self._taken[client] -= 1
                if not self._taken[client]:
                    del self._taken[client]

    @contextmanager
    def _turn(self, deadline: float) -> Iterator[None]:
        try:
            turn = self._free.get(timeout=max(0.0, deadline - self._monotonic()))
        except Empty:
            raise Busy("a password has waited too long to be checked") from None
        try:
            with self._shared.alone(turn):
                yield
        finally:
            self._free.put(turn)
