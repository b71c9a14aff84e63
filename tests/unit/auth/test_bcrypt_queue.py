"""Hashing: by turns that all processes share, with few who wait, and once for equal checks."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Event, Thread, get_ident

import pytest

from authserver.auth import bcrypt_queue
from authserver.auth.bcrypt_queue import PATIENCE, Hashing, at_a_time
from authserver.core.errors import Busy
from authserver.runtime import process
from authserver.runtime.concurrency import Slots
from authserver.runtime.shared_memory import ENVIRON, SharedMemory
from tests.world import wait_until

SECONDS = 10


class Slow:
    """Work that lasts until it is let go."""

    def __init__(self, result: bool = True) -> None:  # noqa: FBT002
        self.begun, self.go, self.result, self.times = Event(), Event(), result, 0

    def __call__(self) -> bool:
        self.times += 1
        self.begun.set()
        assert self.go.wait(SECONDS)
        return self.result


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def taken(pool: Hashing) -> int:
    return pool.places.taken


@contextmanager
def busy(threads: ThreadPoolExecutor, pool: Hashing) -> Iterator[None]:
    """Have all turns of ``pool``, which has one, taken."""
    slow = Slow()
    running = threads.submit(pool.run, "192.0.2.99", slow, guest=False)
    assert slow.begun.wait(SECONDS)
    try:
        yield
    finally:
        slow.go.set()
        running.result(SECONDS)


@pytest.mark.parametrize(("there", "expected"), [(1, 1), (2, 1), (3, 1), (4, 2), (64, 32)])
def test_half_of_the_processors_hash(
    monkeypatch: pytest.MonkeyPatch, there: int, expected: int
) -> None:
    monkeypatch.setattr(process, "available_processors", lambda: there)
    assert at_a_time() == expected


def test_only_as_many_work_as_there_are_turns(threads: ThreadPoolExecutor) -> None:
    pool = Hashing(SharedMemory.make(), 2, Slots(8, 8))
    works = [Slow() for _ in range(4)]
    asked = [threads.submit(pool.run, "a", work, guest=False) for work in works]
    assert wait_until(lambda: sum(work.begun.is_set() for work in works) == 2, SECONDS)
    assert wait_until(lambda: taken(pool) == 4, SECONDS)
    assert sum(work.begun.is_set() for work in works) == 2
    for work in works:
        work.go.set()
    assert all(future.result(SECONDS) for future in asked)
    assert taken(pool) == 0


def test_processes_that_share_memory_share_the_turns(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = SharedMemory.make()
    monkeypatch.setenv(ENVIRON, memory.path)
    one, other = (
        Hashing(memory, 1, Slots(8, 8)),
        Hashing(SharedMemory.join(), 1, Slots(8, 8)),
    )
    with busy(threads, one):
        work = Slow()
        waiting = threads.submit(other.run, "a", work, guest=False)
        assert wait_until(lambda: taken(other) == 1, SECONDS)
        assert not work.begun.wait(0.05)
    work.go.set()
    assert waiting.result(SECONDS)


def test_each_takes_a_turn_that_is_free(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = SharedMemory.make()
    monkeypatch.setenv(ENVIRON, memory.path)
    pools = [
        Hashing(memory, 3, Slots(8, 8)),
        *(Hashing(SharedMemory.join(), 3, Slots(8, 8)),) * 2,
    ]
    works = [Slow() for _ in pools]
    for pool, work in zip(pools, works, strict=True):
        threads.submit(pool.run, "a", work, guest=False)
        assert work.begun.wait(SECONDS)
    fourth = Slow()
    waiting = threads.submit(pools[0].run, "a", fourth, guest=False)
    assert wait_until(lambda: taken(pools[0]) == 2, SECONDS)
    assert not fourth.begun.wait(0.05)
    for work in (*works, fourth):
        work.go.set()
    assert waiting.result(SECONDS)


def test_a_full_house_is_said_at_once(threads: ThreadPoolExecutor) -> None:
    pool = Hashing(SharedMemory.make(), 1, Slots(4, 8))
    with busy(threads, pool):
        waiting = [threads.submit(pool.run, f"192.0.2.{n}", bool, guest=False) for n in range(2)]
        assert wait_until(lambda: taken(pool) == 3, SECONDS)
        with pytest.raises(Busy):
            pool.run("192.0.2.7", bool, guest=False)
        with pytest.raises(Busy):
            pool.once("192.0.2.7", b"", bool, guest=False)
    assert [future.result(SECONDS) for future in waiting] == [False, False]
    assert pool.run("192.0.2.7", bool, guest=False) is False


def test_one_household_leaves_places_to_others(threads: ThreadPoolExecutor) -> None:
    pool = Hashing(SharedMemory.make(), 1, Slots(8, 2))
    with busy(threads, pool):
        waiting = [threads.submit(pool.run, f"2001:db8::{n}", bool, guest=False) for n in range(2)]
        assert wait_until(lambda: taken(pool) == 3, SECONDS)
        with pytest.raises(Busy):
            pool.run("2001:db8::7", bool, guest=False)
        waiting.append(threads.submit(pool.run, "2001:db8:0:1::7", bool, guest=False))
        assert wait_until(lambda: taken(pool) == 4, SECONDS)
    assert len([future.result(SECONDS) for future in waiting]) == 3


def test_guests_come_before_strangers_and_have_places_of_their_own(
    threads: ThreadPoolExecutor,
) -> None:
    pool = Hashing(SharedMemory.make(), 1, Slots(4, 8))
    done: list[str] = []
    with busy(threads, pool):
        waiting = []
        for number, guest in enumerate((False, False, True)):
            who = f"{'guest' if guest else 'stranger'} {number}"
            client, work = f"192.0.2.{number}", partial(done.append, who)
            waiting.append(threads.submit(pool.run, client, work, guest=guest))
            assert wait_until(lambda: len(pool._waiting) == len(waiting), SECONDS)
        with pytest.raises(Busy):
            pool.run("192.0.2.7", bool, guest=True)
    for future in waiting:
        future.result(SECONDS)
    assert done == ["guest 2", "stranger 0", "stranger 1"]


def test_nobody_waits_for_ever(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PATIENCE < 15, "docker waits 15 seconds"
    monkeypatch.setattr(bcrypt_queue, "PATIENCE", 0.01)
    pool = Hashing(SharedMemory.make(), 1, Slots(8, 8))
    with busy(threads, pool):
        with pytest.raises(Busy):
            pool.run("a", bool, guest=False)
        with pytest.raises(Busy):
            pool.once("a", b"", bool, guest=False)
    assert taken(pool) == 0


def together(
    threads: ThreadPoolExecutor, pool: Hashing, *works: Callable[[], bool], check: bytes = b"x"
) -> list[Future[bool]]:
    """Ask for equal checks while the one turn is taken; the first one's work is done first."""
    asked = []
    with busy(threads, pool):
        for number, work in enumerate(works):
            client = f"192.0.2.{number}"
            asked.append(threads.submit(pool.once, client, check, work, guest=False))
            assert wait_until(lambda: taken(pool) == len(asked) + 1, SECONDS)
    return asked


@pytest.mark.parametrize("result", [True, False])
def test_equal_checks_share_one(threads: ThreadPoolExecutor, *, result: bool) -> None:
    pool = Hashing(SharedMemory.make(), 1, Slots(16, 16))
    work = Slow(result)
    work.go.set()
    asked = together(threads, pool, *[work] * 8)
    assert [future.result(SECONDS) for future in asked] == [result] * 8
    assert work.times == 1
    assert pool.once("a", b"x", work, guest=False) is result
    assert work.times == 2, "a result is for those who waited for it, and not kept"


def test_different_checks_do_not(threads: ThreadPoolExecutor) -> None:
    pool = Hashing(SharedMemory.make(), 1, Slots(16, 16))
    with busy(threads, pool):
        right = threads.submit(pool.once, "a", b"x", lambda: True, guest=False)
        wrong = threads.submit(pool.once, "a", b"y", lambda: False, guest=False)
        assert wait_until(lambda: taken(pool) == 3, SECONDS)
    assert right.result(SECONDS)
    assert not wrong.result(SECONDS)


def test_what_refuses_the_first_is_no_result_for_the_others(threads: ThreadPoolExecutor) -> None:
    def refused() -> bool:
        raise ValueError("only for the first")

    pool = Hashing(SharedMemory.make(), 1, Slots(16, 16))
    first, *others = together(threads, pool, refused, lambda: True, lambda: True)
    with pytest.raises(ValueError, match="only for the first"):
        first.result(SECONDS)
    assert [future.result(SECONDS) for future in others] == [True, True]
    assert taken(pool) == 0


def test_once_started_it_hashes_in_threads_apart() -> None:
    pool = Hashing(SharedMemory.make(), 1, Slots(8, 8))
    assert pool.run("a", get_ident, guest=False) == get_ident()
    pool.start()
    assert pool.run("a", get_ident, guest=False) != get_ident()
    assert taken(pool) == 0


def test_threads_apart_know_whose_work_they_do() -> None:
    request: ContextVar[str] = ContextVar("request")
    request.set("this one")
    pool = Hashing(SharedMemory.make(), 1, Slots(8, 8))
    pool.start()
    assert pool.run("a", request.get, guest=False) == "this one"


def test_what_fails_in_a_thread_apart_fails_where_it_is_waited_for(
    threads: ThreadPoolExecutor,
) -> None:
    pool = Hashing(SharedMemory.make(), 1, Slots(8, 8))
    pool.start()

    def fail() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pool.run("a", fail, guest=False)
    with pytest.raises(ZeroDivisionError):
        pool.once("a", b"", fail, guest=False)
    with busy(threads, pool):
        assert taken(pool) == 1
    assert pool.once("a", b"", lambda: True, guest=False)


def test_where_no_more_threads_can_be_made_passwords_are_hashed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Hashing(SharedMemory.make(), 1, Slots(8, 8))
    pool.start()

    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    there = pool.run("a", get_ident, guest=False)
    assert pool.run("b", get_ident, guest=False) == there != get_ident()
