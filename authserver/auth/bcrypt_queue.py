"""Hashing passwords: by few processors at a time, for the whole server.

A bcrypt keeps a processor busy for a quarter of a second. However many passwords come, most
processors and threads stay for requests that need none.
"""

import time
from bisect import insort
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from itertools import count
from queue import SimpleQueue
from threading import Condition, Thread
from typing import TypeVar

from authserver.auth import passwords
from authserver.core.errors import Busy
from authserver.runtime import process
from authserver.runtime.concurrency import Places
from authserver.runtime.shared_memory import Shared

PATIENCE = 5.0
"""Seconds for which a request waits for its turn."""

_T = TypeVar("_T")


def at_a_time() -> int:
    """Return how many passwords are hashed at a time: by half of the processors, at least one."""
    return max(1, process.available_processors() // 2)


class Hashing:
    """Lets requests that hash a password in by turns.

    ``turns`` is how many have theirs at a time in all processes that share ``shared``; ``places``
    are for those of this process that have it or wait for it. Guests come before strangers, who
    leave them a quarter of the places: so a flood of passwords from everywhere does not keep those
    out who were here before.
    """

    def __init__(
        self,
        shared: Shared,
        turns: int,
        places: Places,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.places = places
        self._shared, self._monotonic = shared, monotonic
        self._turns, self._free = range(turns), turns
        self._waiting: list[tuple[bool, int]] = []
        self._arrivals = count()
        self._checks: dict[bytes, Future[bool | None]] = {}
        self._changed = Condition()
        self._apart: _Apart | None = None

    def start(self) -> None:
        """Hash in threads apart from now on, not in those of the requests.

        They weigh as much as the thread that calls this, whatever others weigh later.
        """
        self._apart = _Apart()

    def hash_new(self, client: str, password: str, cost: int) -> str:
        """Return the hash of a password that a guest at the address ``client`` chose.

        Raises:
            Refused: as :func:`passwords.hash_new`.
            Busy: too many wait, or this one has waited for too long.
        """
        return self.run(client, lambda: passwords.hash_new(password, cost), guest=True)

    def run(self, client: str, work: Callable[[], _T], *, guest: bool) -> _T:
        """Do ``work`` in a turn of its own; ``client`` is the address that it is for.

        Raises:
            Busy: too many wait, or this one has waited for too long.
        """
        with self._place(client, guest=guest) as deadline:
            return self._do(work, deadline, guest=guest)

    def once(self, client: str, check: bytes, work: Callable[[], bool], *, guest: bool) -> bool:
        """Do ``work`` in a turn, or wait for the result of an equal ``check`` that is under way.

        Raises:
            Busy: as :meth:`run`.
        """
        with self._place(client, guest=guest) as deadline:
            result = None
            while result is None:
                result = self._result(check, work, deadline, guest=guest)
            return result

    def _result(
        self, check: bytes, work: Callable[[], bool], deadline: float, *, guest: bool
    ) -> bool | None:
        """Return the result, or None if the request that ran the shared check failed."""
        mine: Future[bool | None] = Future()
        with self._changed:
            first = self._checks.setdefault(check, mine)
        if first is not mine:
            return first.result()
        result = None
        try:
            result = self._do(work, deadline, guest=guest)
        finally:
            with self._changed:
                del self._checks[check]
            mine.set_result(result)
        return result

    @contextmanager
    def _place(self, client: str, *, guest: bool) -> Iterator[float]:
        """Take a place; give the time until which to wait in it."""
        leaving = 0 if guest else self.places.total // 4
        with self.places.take(client, leaving) as free:
            if not free:
                raise Busy("too many passwords wait to be checked")
            yield self._monotonic() + PATIENCE

    def _do(self, work: Callable[[], _T], deadline: float, *, guest: bool) -> _T:
        self._wait(deadline, guest=guest)
        turn = partial(self._turn, work)
        return turn() if self._apart is None else self._apart(turn)

    def _turn(self, work: Callable[[], _T]) -> _T:
        try:
            with self._shared.one_of(self._turns):
                return work()
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _wait(self, deadline: float, *, guest: bool) -> None:
        """Wait for a turn of this process: guests first, then in the order of arrival."""
        with self._changed:
            ticket = (not guest, next(self._arrivals))
            insort(self._waiting, ticket)
            came = self._changed.wait_for(
                lambda: self._free > 0 and self._waiting[0] == ticket,
                max(0.0, deadline - self._monotonic()),
            )
            self._waiting.remove(ticket)
            if not came:
                raise Busy("a password has waited too long to be checked")
            self._free -= 1
            self._changed.notify_all()


class _Apart:
    """Does work in threads that have the nice value and policy of the one that makes this.

    The kernel gives them to a thread from its maker, so one that was made first makes them all.
    """

    def __init__(self) -> None:
        self._works: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # Daemons: an exit waits for the requests' threads, and they wait for these.
        Thread(target=self._make_threads, name="hashing", daemon=True).start()

    def __call__(self, work: Callable[[], _T]) -> _T:
        """Return what ``work`` returns, or raise what it raises."""
        future: Future[_T] = Future()
        context = copy_context()

        def do() -> None:
            try:
                future.set_result(context.run(work))
            except BaseException as error:  # noqa: BLE001 - the waiting requests need it
                future.set_exception(error)

        self._works.put(do)
        return future.result()

    def _make_threads(self) -> None:
        """Make a thread for each piece of work: that is nothing beside a bcrypt."""
        while True:
            work = self._works.get()
            try:
                Thread(target=work, name="hash", daemon=True).start()
            except RuntimeError:  # there may be no more of them
                work()
