"""Bodies: how long they may take, and how many are read at once."""

from contextlib import ExitStack
from io import BufferedReader, BytesIO
from typing import Any

import pytest
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from authserver.core.errors import NotReady
from authserver.runtime.concurrency import Slots
from authserver.web.bodies import MAX_BYTES, Bodies
from tests.world import World


def environ(body: bytes, **more: Any) -> dict[str, Any]:
    return {"REMOTE_ADDR": "192.0.2.1", "wsgi.input": BytesIO(body)} | more


def test_a_body_that_was_read_is_there_to_be_read_again() -> None:
    request = environ(b"a=b")
    Bodies(Slots(1, 1)).read(request, "client")
    assert request["wsgi.input"].read() == b"a=b"
    assert request["CONTENT_LENGTH"] == "3"


@pytest.mark.parametrize("length", [{}, {"CONTENT_LENGTH": str(MAX_BYTES + 1)}])
def test_a_body_is_too_large_whether_it_tells_its_length_or_not(length: dict[str, str]) -> None:
    Bodies(Slots(1, 1)).read(environ(b"x" * MAX_BYTES), "client")
    with pytest.raises(RequestEntityTooLarge):
        Bodies(Slots(1, 1)).read(environ(b"x" * (MAX_BYTES + 1), **length), "client")


@pytest.mark.parametrize(("sent", "length"), [(b"a=bcd", "3"), (b"a=b", "03"), (b"a=b", "9")])
def test_a_body_ends_where_it_says_or_is_cut_off(sent: bytes, length: str) -> None:
    assert Bodies(Slots(1, 1)).read(environ(sent, CONTENT_LENGTH=length), "client") == b"a=b"


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
        Bodies(Slots(1, 1), seconds=-1).read(environ(b"late"), "client")


def test_one_client_gets_a_few_at_once_and_everybody_some_more() -> None:
    places = Slots(3, 2)
    reader, coming = Bodies(places), {"wsgi.input": BufferedReader(BytesIO(b"a=b"))}
    with ExitStack() as stack:
        for client in ("2001:db8::1", "2001:db8::2"):
            stack.enter_context(places.take(client))
        with pytest.raises(NotReady):
            reader.read(coming, "2001:db8::3")
        stack.enter_context(places.take("192.0.2.1"))
        with pytest.raises(NotReady):
            reader.read(coming, "192.0.2.2")
        assert reader.read(environ(b"it is there"), "192.0.2.2") == b"it is there"
    assert reader.read(coming, "192.0.2.2") == b"a=b"
