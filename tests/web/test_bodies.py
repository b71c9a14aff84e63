"""Bodies: how long they may take, how many are read at once, and whose connections are cut."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from io import BytesIO
from typing import Any

import pytest
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from authserver.core.errors import NotReady
from authserver.web import bodies
from authserver.web.bodies import MAX_BYTES, Bodies, hang_up
from tests.world import World, wait_until


def environ(body: bytes, **more: Any) -> dict[str, Any]:
    return {"REMOTE_ADDR": "192.0.2.1", "wsgi.input": BytesIO(body)} | more


def test_a_body_that_was_read_is_there_to_be_read_again() -> None:
    request = environ(b"a=b")
    Bodies(1, 1).read(request, "client")
    assert request["wsgi.input"].read() == b"a=b"
    assert request["CONTENT_LENGTH"] == "3"


@pytest.mark.parametrize("length", [{}, {"CONTENT_LENGTH": str(MAX_BYTES + 1)}])
def test_a_body_is_too_large_whether_it_tells_its_length_or_not(length: dict[str, str]) -> None:
    Bodies(1, 1).read(environ(b"x" * MAX_BYTES), "client")
    with pytest.raises(RequestEntityTooLarge):
        Bodies(1, 1).read(environ(b"x" * (MAX_BYTES + 1), **length), "client")


@pytest.mark.parametrize(("sent", "length"), [(b"a=bcd", "3"), (b"a=b", "03"), (b"a=b", "9")])
def test_a_body_ends_where_it_says_or_is_cut_off(sent: bytes, length: str) -> None:
    assert Bodies(1, 1).read(environ(sent, CONTENT_LENGTH=length), "client") == b"a=b"


def test_a_chunked_body_is_too_large_as_well(world: World) -> None:
    chunked = world.client.post(
        "/token",
        input_stream=BytesIO(b"grant_type=password&x=" + b"x" * MAX_BYTES),
        environ_overrides={"wsgi.input_terminated": True},
        content_type="application/x-www-form-urlencoded",
    )
    assert chunked.status_code == 413


def test_a_body_that_comes_too_slowly_is_given_up() -> None:
    with pytest.raises(RequestTimeout):
        Bodies(1, 1, seconds=-1).read(environ(b"late"), "client")


def test_one_client_gets_a_few_at_once_and_everybody_some_more() -> None:
    reader = Bodies(3, 2)
    with ExitStack() as stack:
        for client in ("2001:db8::1", "2001:db8::2"):
            stack.enter_context(reader.reading("peer", client))
        with pytest.raises(NotReady):
            stack.enter_context(reader.reading("peer", "2001:db8::3"))
        stack.enter_context(reader.reading("peer", "192.0.2.1"))
        with pytest.raises(NotReady):
            stack.enter_context(reader.reading("peer", "192.0.2.2"))
    with reader.reading("peer", "192.0.2.2"):
        pass


class Pair:
    """A connection that came in to a port of ours, and its other end."""

    def __init__(self, listener: socket.socket) -> None:
        self.client = socket.create_connection(listener.getsockname())
        self.served, _ = listener.accept()

    def is_cut(self) -> bool:
        self.client.settimeout(0.05)
        try:
            return self.client.recv(1) == b""
        except TimeoutError:
            return False


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as made:
        yield made


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[Pair]:
    made = Pair(listener)
    yield made
    made.client.close()
    made.served.close()


def test_a_connection_that_is_silent_for_less_than_a_request_may_take_is_left(pair: Pair) -> None:
    hang_up({"127.0.0.1"}, {})
    assert not pair.is_cut()


def test_a_connection_that_stands_still_is_cut(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "STALLED_MS", 0)
    hang_up({"192.0.2.1"}, {})
    assert not pair.is_cut()
    hang_up({"127.0.0.1"}, {})
    assert pair.is_cut()


def test_a_connection_that_went_out_is_left(monkeypatch: pytest.MonkeyPatch, listener: Any) -> None:
    monkeypatch.setattr(bodies, "STALLED_MS", 0)
    pair = Pair(listener)
    # Nobody listens on that port any more, so neither end came in to one of ours.
    listener.close()
    hang_up({"127.0.0.1"}, {})
    assert not pair.is_cut()
    pair.client.close()
    pair.served.close()


def test_a_connection_that_trickles_twice_is_cut(pair: Pair) -> None:
    seen = hang_up({"127.0.0.1"}, {})
    for cut in (False, True):
        pair.client.sendall(b"a")
        assert wait_until(lambda: pair.served.recv(10, socket.MSG_PEEK), 5)
        seen = hang_up({"127.0.0.1"}, seen)
        assert pair.is_cut() is cut
