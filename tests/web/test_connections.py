"""How many connections an address may have; those that are too many end."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authserver.web.client_address import ClientAddress
from authserver.web.server.connections import Connections

HERE, ELSEWHERE, PROXY = "127.0.0.1", "127.0.0.5", "127.0.0.9"
EACH = 300
"""More descriptors than the tests have open otherwise."""


@dataclass
class Place:
    """A listener of this process, and connections to it."""

    held: ExitStack
    listener: socket.socket
    accepted: list[socket.socket] = field(default_factory=list)

    def connect(self, number: int, source: str = HERE) -> list[socket.socket]:
        """Connect so often from an address; return the clients' ends."""
        clients = []
        for _ in range(number):
            client = socket.create_connection(
                self.listener.getsockname(), timeout=10, source_address=(source, 0)
            )
            clients.append(self.held.enter_context(client))
            accepted, _ = self.listener.accept()
            self.accepted.append(self.held.enter_context(accepted))
        return clients


@pytest.fixture
def place() -> Iterator[Place]:
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server((HERE, 0), backlog=EACH))
        yield Place(held, listener)


def bound(each: int = EACH) -> Connections:
    proxies = ClientAddress([ip_network(f"{PROXY}/32")], "X-Forwarded-For")
    return Connections(each, proxies.is_proxy)


def ended(clients: list[socket.socket]) -> list[int]:
    """Return which of some connections were ended."""
    found = []
    for number, client in enumerate(clients):
        client.settimeout(0)
        with suppress(BlockingIOError):
            assert client.recv(1) == b""
            found.append(number)
    return found


def test_the_newest_of_too_many_connections_end(place: Place) -> None:
    connections = bound()
    first = place.connect(EACH)
    connections.look()
    # Their descriptors may be lower than those of the first: what was seen first stays.
    free = [os.dup(0) for _ in range(5)]
    more = place.connect(3)
    for descriptor in free:
        os.close(descriptor)
    later = place.connect(4)
    connections.look()
    assert ended(first) == []
    assert ended(more + later) == list(range(7))


def test_other_addresses_keep_theirs(place: Place) -> None:
    connections = bound()
    many, others = place.connect(EACH + 2), place.connect(5, ELSEWHERE)
    connections.look()
    assert ended(many) == [EACH, EACH + 1]
    assert ended(others) == []


def test_proxies_have_no_limit(place: Place) -> None:
    connections = bound()
    proxied = place.connect(EACH + 2, PROXY)
    connections.look()
    assert ended(proxied) == []


def test_what_this_process_connects_to_is_not_counted(place: Place) -> None:
    """Its connections to the store may be many, and their own ends are of this process."""
    connections = bound()
    with socket.create_server((HERE, 0), backlog=EACH) as store:
        taken = Place(place.held, store)
        out = taken.connect(EACH + 2)
    connections.look()
    assert ended(out) == []


def test_a_connection_that_ended_makes_room(place: Place) -> None:
    connections = bound()
    first = place.connect(EACH)
    connections.look()
    first.pop(0).close()
    place.accepted.pop(0).close()
    more = place.connect(1)
    connections.look()
    assert ended(first + more) == []


def test_unix_sockets_have_no_limit(place: Place, tmp_path: Path) -> None:
    connections = bound()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(EACH)
        clients = []
        for _ in range(EACH + 2):
            client = place.held.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(tmp_path / "s"))
            clients.append(client)
            place.held.enter_context(listener.accept()[0])
    connections.look()
    assert ended(clients) == []


def test_half_of_all_connections_are_left_to_others() -> None:
    for at_once, each in ((1000, 100), (100, 50), (1, 1)):
        connections = bound(100)
        connections.leave_half_of(at_once)
        assert connections.each == each


def test_it_is_told_once_a_minute(place: Place) -> None:
    connections, now = bound(), 0.0
    connections.monotonic = lambda: now
    with capture_logs() as lines:
        for now in (0.0, 59.0, 60.0):  # noqa: B007 - the clock reads it
            place.connect(EACH + 1)
            connections.look()
    assert [line["address"] for line in lines] == [HERE, HERE]
