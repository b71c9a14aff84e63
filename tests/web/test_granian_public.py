"""The gateway behind ASGI's coroutines, which are Granian's public interface."""

import asyncio
from typing import Any

import pytest

from authserver.web.bodies import MAX_BYTES
from authserver.web.server.gateway import Gateway
from authserver.web.server.granian_public import application
from tests.web.exchanges import CutOff, Scope, message_of
from tests.web.test_gateway import App, answers, gateway, post


def ask(taking: Gateway, scope: Scope, *pieces: bytes | CutOff) -> tuple[int, bytes]:
    """Return the status and the body of the answer; after ``pieces`` no more comes."""
    sent: list[dict[str, Any]] = []

    async def run() -> None:
        coming = list(pieces)

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            if not coming:
                await asyncio.Event().wait()
            return message_of(coming.pop(0))

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await asyncio.wait_for(application(taking)(scope, receive, send), 20)

    asyncio.run(run())
    start, body = sent
    return start["status"], body["body"]


def test_a_request_without_a_body_is_answered() -> None:
    app = App()
    assert ask(gateway(app), Scope(query_string="a=b")) == (200, b"yes")
    assert app.asked[0][0]["QUERY_STRING"] == "a=b"


@pytest.mark.parametrize("length", [5, MAX_BYTES + 1])
def test_a_body_is_read_in_pieces(length: int) -> None:
    app = App(lambda environ: bytes(environ["wsgi.input"].read()))
    assert ask(gateway(app), post(length), b"a=", b"bcd", b"") == (200, b"a=bcd")


@pytest.mark.parametrize("length", [5, MAX_BYTES + 1])
def test_a_body_that_is_cut_off_is_an_error(length: int) -> None:
    taking = gateway(App(answers(Exception)))
    assert ask(taking, post(length), b"a", CutOff()) == (200, b"BadRequest")


@pytest.mark.parametrize("length", [5, MAX_BYTES + 1])
def test_a_body_that_stops_coming_is_given_up(length: int) -> None:
    taking = gateway(App(answers(Exception)), seconds=0.01)
    taking.start()
    assert ask(taking, post(length), b"a") == (200, b"RequestTimeout")


def test_an_error_of_the_application_is_answered() -> None:
    def fail(_: object) -> bytes:
        raise ValueError

    assert ask(gateway(App(fail)), Scope())[0] == 500
