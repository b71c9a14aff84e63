"""The queue for bcrypt: few processors hash passwords at a time, for the whole server.

One bcrypt of cost 12 keeps a processor busy for a quarter of a second. However many passwords
come, most processors and threads stay free for requests without one.
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
from authserver.auth.passwords import NewPasswords
from authserver.core.errors import Busy
from authserver.runtime import process
from authserver.runtime.concurrency import Slots
from authserver.runtime.shared_memory import SharedMemory

PATIENCE = 5.0
"""Seconds for which a request waits for its turn."""

_T = TypeVar("_T")


def at_a_time() -> int:
    """Return how many passwords are hashed at a time: by half of the processors, at least one."""
    return max(1, process.available_processors() // 2)


class Hashing:
    """Lets requests that hash a password take turns.

    ``turns`` is how many requests have a turn at a time, in all processes that use ``shared``. The
    requests of this process that have a turn or wait for one take ``places``. Guests come before
    strangers, who leave them a quarter of the places: a flood of passwords from everywhere does
    not keep out the clients that were here before.
    """

    def __init__(
        self,
        shared: SharedMemory,
        turns: int,
        places: Slots,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.places = places
        self._shared, self._monotonic = shared, monotonic
        self._turns, self._free = range(turns), turns
        self._waiting: list[tuple[bool, int]] = []
        self._arrivals = count()
        self._checks: dict[bytes, Future[bool | None]] = {}
        self._changed = Condition()
        self._threads: _HashingThreads | None = None

    def start(self) -> None:
        """Hash in separate threads from now on, not in those of the requests.

        They have the nice value that the calling thread has now.
        """
        self._threads = _HashingThreads()

    def hash_new(self, client: str, text: str, name: str, new: NewPasswords) -> str:
        """Return the hash of ``name``'s new password; ``client`` is the address it comes from.

        Raises:
            Refused: as :meth:`NewPasswords.require`, before anything waits.
            Busy: as :meth:`run`.
        """
        new.require(text, name)
        return self.run(client, lambda: passwords.hash_password(text, new.cost), guest=True)

    def run(self, client: str, work: Callable[[], _T], *, guest: bool) -> _T:
        """Do ``work`` in a turn of its own; ``client`` is the address that it is for.

        Raises:
            Busy: too many requests wait, or this one has waited for too long.
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
        own: Future[bool | None] = Future()
        with self._changed:
            first = self._checks.setdefault(check, own)
        if first is not own:
            return first.result()
        result = None
        try:
            result = self._do(work, deadline, guest=guest)
        finally:
            with self._changed:
                del self._checks[check]
            own.set_result(result)
        return result

    @contextmanager
    def _place(self, client: str, *, guest: bool) -> Iterator[float]:
        """Take a place, and give the time until which the request may wait there."""
        left_to_guests = 0 if guest else self.places.total // 4
        with self.places.take(client, left_to_guests) as has_place:
            if not has_place:
                raise Busy("too many passwords wait to be checked")
            yield self._monotonic() + PATIENCE

    def _do(self, work: Callable[[], _T], deadline: float, *, guest: bool) -> _T:
        self._wait(deadline, guest=guest)
        turn = partial(self._turn, work)
        return turn() if self._threads is None else self._threads(turn)

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


class _HashingThreads:
    """Runs work in threads with the nice value and policy of the thread that makes this object.

    A thread inherits both from its maker, so one thread that is made here makes all the others.
    """

    def __init__(self) -> None:
        self._works: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # Daemons: an exit waits for the threads of the requests, which wait for these.
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
        """Make a thread for each piece of work. Beside a bcrypt that costs nothing."""
        while True:
            work = self._works.get()
            try:
                Thread(target=work, name="hash", daemon=True).start()
            except RuntimeError:  # there may be no more of them
                work()
