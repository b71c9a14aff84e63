"""How the threads of a worker are scheduled. Each is tried in a thread, which ends with it."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from authserver.runtime import process
from authserver.web.server import thread_priority


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    monkeypatch.setattr(process, "available_processors", lambda: 2)
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)
    with ThreadPoolExecutor(1) as one:
        yield one


def _shares() -> tuple[int, int]:
    return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)


def _after_giving_way(thread: ThreadPoolExecutor) -> tuple[int, int]:
    thread.submit(thread_priority.give_way).result()
    return thread.submit(_shares).result()


def test_threads_give_way(thread: ThreadPoolExecutor) -> None:
    before = _shares()
    assert _after_giving_way(thread) == (os.SCHED_BATCH, thread_priority.NICE)
    assert _shares() == before


def test_on_one_processor_answering_weighs_as_much_as_hashing(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "available_processors", lambda: 1)
    assert _after_giving_way(thread) == (os.SCHED_BATCH, 0)


def test_a_nice_value_that_somebody_chose_is_left_as_it_is(thread: ThreadPoolExecutor) -> None:
    thread.submit(os.setpriority, os.PRIO_PROCESS, 0, 3).result()
    assert _after_giving_way(thread) == (os.SCHED_BATCH, 3)


def test_systemd_is_not_asked_for_what_it_may_forbid(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    assert _after_giving_way(thread) == (os.SCHED_OTHER, 0)


def test_what_the_kernel_refuses_is_left(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", refuse)
    assert _after_giving_way(thread) == (os.SCHED_OTHER, 0)
