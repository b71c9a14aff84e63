"""A listener for ``/metrics`` and the full ``/readyz``; it is never the public listener.

It is bound before the workers are forked. They accept from the same queue, so any worker answers a
scrape, for all of them.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from authserver.core.errors import Refused
from authserver.runtime.concurrency import Slots
from authserver.runtime.metrics.exposition import WorkerSheets, expose

PATH = "/metrics"
READY = "/readyz"
BACKLOG = 16
THREADS, THREADS_EACH = 16, 4
"""Requests at a time to this process, and those of one address; others are hung up on."""
SECONDS = 10.0
"""From the connection to the end of the answer."""

_Request = socket.socket | tuple[bytes, socket.socket]
_Address = Any
Examined = Callable[[], tuple[int, Mapping[str, object]]]

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made in it is private


@dataclass(frozen=True)
class MetricsListener:
    """A running server's listener for scrapes, and its workers' sheets."""

    listener: socket.socket
    sheets: WorkerSheets

    def serve(self, examined: Examined) -> ThreadingHTTPServer:
        """Answer scrapes in threads of this process until it ends, or the server is shut down.

        ``examined`` returns the status code and the body of ``/readyz``.
        """
        server = _Server(self.listener, self.sheets, examined)
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        return server


@contextmanager
def metrics_listener(host: str, port: int) -> Iterator[MetricsListener]:
    """Listen, and share a private directory for the sheets, until the block ends.

    Raises:
        Refused: the address cannot be listened on, or there is no place for the directory.
    """
    with _listen(host, port) as listener, _directory() as directory:
        yield MetricsListener(listener, WorkerSheets(directory))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Refused(
            f"cannot serve metrics on {host}:{port}: {error.strerror or error}; "
            "choose another address with AUTHSERVER_METRICS_LISTEN"
        ) from None
    # Another worker may have accepted the connection already.
    listener.setblocking(False)  # noqa: FBT003
    return listener


@contextmanager
def _directory() -> Iterator[Path]:
    # It is written every second, and a container may have no other place that is writable.
    memory = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    try:
        made = TemporaryDirectory(prefix="authserver-metrics-", dir=memory)
    except OSError as error:
        raise Refused(
            f"no directory can be made for metrics: {error.strerror}; name a place in TMPDIR"
        ) from None
    with made as name:
        yield Path(name)


class _Server(ThreadingHTTPServer):
    def __init__(self, listener: socket.socket, sheets: WorkerSheets, examined: Examined) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.sheets = sheets
        self.examined = examined
        self._places = Slots(THREADS, THREADS_EACH)
        self._open: dict[socket.socket, tuple[str, float]] = {}

    def process_request(self, request: _Request, client_address: _Address) -> None:
        """Answer in a thread of its own, if there is one for the client."""
        client = client_address[0]
        if not isinstance(request, socket.socket) or not self._places.enter(client):
            self.shutdown_request(request)
            return
        self._open[request] = client, time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: _Request) -> None:
        """End a connection."""
        if isinstance(request, socket.socket) and (found := self._open.pop(request, None)):
            self._places.leave(found[0])
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Hang up on clients that are too slow; called twice a second."""
        super().service_actions()
        now = time.monotonic()
        for request, (_, begun) in list(self._open.items()):
            if now - begun > SECONDS:
                # Its thread may have ended it by now; it is that thread's to close.
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "authserver"
    sys_version = ""
    timeout = 5.0

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == PATH:
            now = time.monotonic()
            values = self.server.sheets.added_up(now)
            self._answer(200, *expose(values, now, self.headers.get("Accept", "")))
        elif path == READY:
            code, body = self.server.examined()
            self._answer(code, json.dumps(body).encode(), "application/json")
        else:
            self.send_error(404, explain=f"metrics are at {PATH}")

    def _answer(self, code: int, body: bytes, content_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing: scrapes come every few seconds."""
