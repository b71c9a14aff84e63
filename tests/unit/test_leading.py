"""Which of the HTTP server's threads take requests."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from authserver.waiting import before_waiting
from authserver.web.leading import Leading
from tests.world import wait_until

PATIENCE = 30


@dataclass
class Pool:
    """Threads that take requests from a queue, as the HTTP server has them."""

    waiting: "queue.SimpleQueue[tuple[Callable[[], object], threading.Event] | None]" = field(
        default_factory=queue.SimpleQueue
    )
    threads: list[threading.Thread] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    leading: Leading = field(init=False)

    def __post_init__(self) -> None:
        self.leading = Leading(self.answer)

    def answer(self, exchange: Any, _: dict[str, Any]) -> None:
        work, done = exchange
        self.names.append(threading.current_thread().name)
        try:
            work()
        finally:
            done.set()

    def add(self, name: str) -> None:
        thread = threading.Thread(target=self.run, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def run(self) -> None:
        while (task := self.waiting.get()) is not None:
            try:
                self.leading(task, {})
            except ZeroDivisionError:
                continue

    def ask(self, work: Callable[[], object] = lambda: None) -> threading.Event:
        done = threading.Event()
        self.waiting.put((work, done))
        return done

    def asked(self, work: Callable[[], object] = lambda: None) -> str:
        """Have a request answered; return by which thread."""
        assert self.ask(work).wait(PATIENCE)
        return self.names[-1]


class Waits:
    """A request that waits until it is told to go on."""

    def __init__(self, *, says_so: bool = True) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.says_so = says_so

    def __call__(self) -> None:
        if self.says_so:
            before_waiting()
        self.begun.set()
        assert self.go.wait(PATIENCE)


@pytest.fixture
def pool() -> Pool:
    """Two threads, of which the first leads and the other follows."""
    made = Pool()
    made.add("a")
    slow = Waits(says_so=False)
    done = made.ask(slow)
    assert slow.begun.wait(PATIENCE)
    made.add("b")
    assert made.asked() == "b"
    assert wait_until(lambda: made.leading.followers == 1, PATIENCE)
    slow.go.set()
    assert done.wait(PATIENCE)
    return made


def test_one_thread_takes_all_requests(pool: Pool) -> None:
    assert {pool.asked() for _ in range(100)} == {"a"}


def test_a_request_that_waits_has_another_thread_lead(pool: Pool) -> None:
    slow = Waits()
    done = pool.ask(slow)
    assert slow.begun.wait(PATIENCE)
    assert {pool.asked() for _ in range(20)} == {"b"}
    slow.go.set()
    assert done.wait(PATIENCE)
    assert {pool.asked() for _ in range(20)} == {"b"}


def test_if_all_wait_the_first_that_is_done_leads(pool: Pool) -> None:
    first, second = Waits(), Waits()
    for slow in (first, second):
        pool.ask(slow)
        assert slow.begun.wait(PATIENCE)
    done = pool.ask()
    second.go.set()
    assert done.wait(PATIENCE)
    assert {pool.asked() for _ in range(20)} == {"b"}
    first.go.set()


def test_an_error_leaves_the_thread_leading(pool: Pool) -> None:
    assert pool.asked(lambda: 1 / 0) == "a"
    assert pool.asked() == "a"


def test_when_the_leader_ends_another_leads(pool: Pool) -> None:
    pool.waiting.put(None)
    pool.threads[0].join(PATIENCE)
    assert pool.asked() == "b"


def test_all_are_answered_whatever_waits() -> None:
    pool = Pool()
    for number in range(8):
        pool.add(str(number))
    done = [pool.ask(before_waiting if n % 3 else lambda: None) for n in range(3000)]
    assert all(one.wait(PATIENCE) for one in done)
    # A thread that had no request yet may still come, and then waits like the others.
    assert wait_until(lambda: pool.asked() and pool.leading.followers == 7, PATIENCE)
    assert len({pool.asked() for _ in range(20)}) == 1


def test_nobody_is_told_outside_of_a_request() -> None:
    before_waiting()
