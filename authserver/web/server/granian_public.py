"""Serving through what Granian documents: its ASGI interface, with asyncio.

``http_server`` uses it where ``granian_worker`` does not know the installed Granian. ASGI and not
WSGI, because WSGI lacks what our answers depend on: the path as it was sent, the difference
between ``X-A`` and ``X_A``, and a body that can be given up. So the same gateway answers.

A listener beside the first has a server of its own in a process of its own.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any

from granian import Granian
from granian.constants import Interfaces, Loops, SSLProtocols

from authserver.runtime import process
from authserver.web.server import drain
from authserver.web.server.gateway import Gateway
from authserver.web.server.listener import Address, Listener
from authserver.web.server.tls import watch
from authserver.web.server.worker import Handlers

# Granian makes a worker's sockets after it has loaded the application, and does not say when.
SOCKETS_SECONDS, SOCKETS_EVERY = 10.0, 0.02
START_SECONDS = 30.0

_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Any, _Receive, _Send], Coroutine[Any, Any, None]]


def serve(
    listeners: Sequence[Listener],
    options: dict[str, Any],
    load: Callable[[], Handlers],
    on_listening: Callable[[], None],
) -> None:
    """Serve as ``http_server.run`` says."""
    server = _server(listeners[0], options)
    others = [
        _OtherServer(listener.address, partial(_serve_other, number, listener, options, load))
        for number, listener in enumerate(listeners[1:], start=1)
    ]
    for other in others:
        server.on_startup(other.start)
        server.on_shutdown(other.stop)
    server.on_startup(on_listening)
    server.serve(target_loader=partial(_load, 0, options, load))
    if any(other.failed for other in others):
        raise SystemExit(1)


def _server(listener: Listener, options: dict[str, Any]) -> Any:  # noqa: ANN401 - Granian is untyped
    address, certificate = listener.address, listener.certificate
    tls: dict[str, Any] = {}
    if certificate is not None:
        tls = {
            "ssl_cert": certificate.certificate,
            "ssl_key": certificate.key,
            "ssl_protocol_min": SSLProtocols.tls12,
            "ssl_ca": certificate.clients,
            "ssl_client_verify": certificate.clients is not None,
        }
    server = Granian(
        "authserver.web.app",
        address=address.host,
        port=address.port,
        uds=address.unix_socket,
        uds_permissions=address.mode,
        interface=Interfaces.ASGINL,
        loop=Loops.asyncio,
        **options,
        **tls,
    )
    if certificate is not None:
        renewed = partial(os.kill, os.getpid(), signal.SIGHUP)
        server.on_startup(lambda: watch([certificate], renewed))
        # Granian keeps what the paths led to. Where they are links (certbot, Kubernetes), new
        # workers would read the former files.
        server.on_reload(
            lambda: server.build_ssl_context(
                certificate.certificate,
                certificate.key,
                None,
                SSLProtocols.tls12,
                certificate.clients,
                [],
                certificate.clients is not None,
            )
        )
    return server


def _load(
    number: int, options: dict[str, Any], load: Callable[[], Handlers], _target: str
) -> Application:
    """Return what one worker of the listener ``number`` answers with."""
    # Without a loop here Granian has changed, and goes on with its own handlers.
    with suppress(RuntimeError):
        _stop_once(asyncio.get_event_loop())
    handlers = load()
    start = partial(_start, handlers, options["backpressure"])
    threading.Thread(target=start, name="start", daemon=True).start()
    return application(handlers.gateways[number])


def _start(handlers: Handlers, connections: int) -> None:
    """Start the threads of a worker as soon as it listens."""
    deadline = time.monotonic() + SOCKETS_SECONDS
    while not drain.limit_writing() and time.monotonic() < deadline:
        time.sleep(SOCKETS_EVERY)
    handlers.start(connections)


def _stop_once(loop: asyncio.AbstractEventLoop) -> None:
    """Have signals stop this worker once, however often they come.

    Two times Ctrl-C in a terminal are three signals, and Granian's handler hangs at the third.
    """
    add, stopped = loop.add_signal_handler, False

    def add_once(number: int, callback: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401
        def stop() -> None:
            nonlocal stopped
            if not stopped:
                stopped = True
                callback(*arguments)

        add(number, stop)

    setattr(loop, "add_signal_handler", add_once)  # noqa: B010 - mypy knows that it is a method


def application(gateway: Gateway) -> Application:
    """Return an ASGI application that has ``gateway`` answer."""

    async def answer(scope: Any, receive: _Receive, send: _Send) -> None:  # noqa: ANN401
        exchange = _Exchange(receive)
        gateway(_Request(scope, exchange))
        for message in await exchange.messages:
            await send(message)

    return answer


@dataclass
class _Request:
    scope: Any
    proto: "_Exchange"


class _Exchange:
    """One request's body and answer, for a gateway that does not know asyncio."""

    def __init__(self, receive: _Receive) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._sent: list[dict[str, Any]] = []
        self.messages: asyncio.Future[list[dict[str, Any]]] = self._loop.create_future()
        """The whole answer, once the gateway has sent it."""

    def receive(self) -> Future[dict[str, Any]]:
        return asyncio.run_coroutine_threadsafe(self._next(), self._loop)

    async def _next(self) -> dict[str, Any]:
        return await self._receive()

    def send(self, message: dict[str, Any], /) -> None:
        self._sent.append(message)
        if message["type"] == "http.response.body":
            self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        # Granian cancels what waits for the answer when it stops.
        if not self.messages.done():
            self.messages.set_result(self._sent)


class _OtherServer:
    """A server in a process of its own. When that ends, this server stops."""

    def __init__(self, address: Address, run: Callable[[], None]) -> None:
        self._address = address
        self._process = multiprocessing.Process(target=run, name="authserver-listener")
        self._stopping = False
        self.failed = False

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process.start()
        threading.Thread(target=self._watch, name="listener", daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        while not self._address.accepts() and time.monotonic() < deadline:
            if wait([self._process.sentinel], 0.05):
                return

    def _watch(self) -> None:
        wait([self._process.sentinel])
        if not self._stopping:
            os.kill(os.getpid(), signal.SIGTERM)

    def stop(self) -> None:
        self._stopping = True
        self._process.terminate()
        # Its workers have had STOP_TIMEOUT by then.
        self._process.join()
        self.failed = self._process.exitcode != 0


def _serve_other(
    number: int, listener: Listener, options: dict[str, Any], load: Callable[[], Handlers]
) -> None:
    process.end_with_parent()
    options = options | {"workers": 1}
    _server(listener, options).serve(target_loader=partial(_load, number, options, load))
