"""What the long run of `make soak` judges by, and the way to PostgreSQL that it can cut."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.soak import long_page, long_run
from tests.soak.load import Sample
from tests.soak.outcome import Period, Stored, count
from tests.soak.route import Route
from tests.soak.usage import MEASURES, Usage, courses, worked_share
from tests.world import wait_until

MIB = 2**20
STORED = Stored(10, 5, (), (), 100, 0, 3, 0, "15 changes: all as written", "")


def usages(memory: Callable[[int], int], descriptors: Callable[[int], int]) -> list[Usage]:
    """Return a look at one process each minute for an hour."""
    return [
        Usage("worker", 60.0 * at, memory(at), descriptors(at), 11, worked=at * 6.0)
        for at in range(61)
    ]


def run(looked: list[Usage], kind: str = "granted") -> long_run.Run:
    sample = Sample("password", 1.0, 1.1, kind)
    counted = count(Period("long", 0.0, 3600.0), [sample], [])
    return long_run.Run(counted, STORED, looked, [], 10.0, 3, 0.1)


def test_what_grows_at_first_and_then_stays_is_level() -> None:
    level = run(usages(lambda at: (100 + min(at, 19)) * MIB, lambda at: 30 + at % 3))
    assert long_page.problems(level) == []
    page = long_page.written(level, {})
    assert long_page.GOOD in page
    assert "| worker | 104.5 | 114.5 | 119.0 | 119.0 | 119.0 | 119.0 |" in page


def test_what_grows_all_the_time_is_not_level() -> None:
    grown = long_page.problems(run(usages(lambda at: 100 * MIB + at * MIB // 5, lambda at: at)))
    assert [text.partition(" grew")[0] for text in grown] == [
        "worker: memory",
        "worker: descriptors",
    ]


def test_a_request_that_fails_is_not_as_promised() -> None:
    failed = run(usages(lambda _: MIB, lambda _: 30), kind="502")
    assert long_page.problems(failed) == ["1 requests failed"]


def test_each_process_and_measure_has_its_course() -> None:
    looked = usages(lambda _: MIB, lambda _: 30)
    assert [each.measure for each in courses(looked)] == list(MEASURES)
    assert worked_share(looked) == pytest.approx(0.1)


@pytest.fixture
def echo() -> Iterator[socket.socket]:
    """A server's socket; tests accept and answer by hand."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


@pytest.fixture
def route(echo: socket.socket) -> Iterator[Route]:
    made = Route(echo.getsockname()[1])
    made.open()
    yield made
    made.cut()


def connect(route: Route, seconds: float = 10.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", route.port), seconds)


def test_an_open_way_carries_both_ways(route: Route, echo: socket.socket) -> None:
    with connect(route) as caller, closing(echo.accept()[0]) as server:
        caller.sendall(b"question")
        assert server.recv(100) == b"question"
        server.sendall(b"answer")
        assert caller.recv(100) == b"answer"
        server.close()
        assert caller.recv(100) == b""


def test_a_way_that_is_cut_ends_what_is_open_and_refuses(route: Route, echo: socket.socket) -> None:
    with connect(route) as caller, closing(echo.accept()[0]) as server:
        route.cut()
        assert (caller.recv(100), server.recv(100)) == (b"", b"")
    with pytest.raises(ConnectionRefusedError):
        connect(route)
    route.open()
    connect(route).close()


def test_lost_packets_are_told_to_nobody(route: Route, echo: socket.socket) -> None:
    with connect(route) as caller, closing(echo.accept()[0]) as server:
        caller.sendall(b"before")
        assert server.recv(100) == b"before"
        route.lose_packets()
        caller.sendall(b"meanwhile")
        server.sendall(b"answer")
        for each in (caller, server):
            each.settimeout(0.3)
            with pytest.raises(TimeoutError):
                each.recv(100)
            each.settimeout(10)
        with pytest.raises(TimeoutError):
            connect(route, 0.3)
        route.open()
        # TCP sends again what was lost.
        assert server.recv(100) == b"meanwhile"
        assert caller.recv(100) == b"answer"
    assert wait_until(lambda: not route._callers, 10)
