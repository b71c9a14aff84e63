"""Requests as Granian hands them over (ASGI), and what WSGI has for each part of them.

ASGI's form, for it has what RSGI's keeps back: the path as it was sent, and headers that are not
ASCII.
"""

import asyncio
import concurrent.futures
import sys
import time
from collections.abc import Callable, Iterable
from io import RawIOBase
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from werkzeug.exceptions import RequestTimeout

from authserver.core.errors import BadRequest
from authserver.web.bodies import LATE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from _typeshed.wsgi import WSGIEnvironment

CUT = "the body was cut off"

# By Granian's own future, or by the one of a coroutine.
_CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)


class AsgiScope(TypedDict):
    """A request, but for its body.

    A request without Host has one here all the same, with what its target says, or empty.
    """

    http_version: str
    server: tuple[str, str]
    client: tuple[str, str]
    scheme: str
    method: str
    path: str
    raw_path: bytes
    query_string: bytes
    headers: list[tuple[bytes, bytes]]


class Future(Protocol):
    """Calls back in the HTTP server's thread, or in the one that cancels it."""

    def add_done_callback(self, callback: "Callable[[Future], object]", /) -> None: ...
    def result(self) -> dict[str, Any]: ...
    def cancel(self) -> bool: ...


class Exchange(Protocol):
    """The body, piece by piece, and the answer."""

    def receive(self) -> Future: ...
    def send(self, message: dict[str, Any], /) -> object: ...


class Pending(Protocol):
    """Holds an exchange while it is not answered."""

    @property
    def exchange(self) -> Exchange: ...


class Incoming(Protocol):
    """A request, as Granian gives it to a scheduler."""

    scope: Any
    proto: Any


class StartedResponse:
    """WSGI's ``start_response``."""

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[str, str]] = []

    def __call__(
        self, status: str, headers: list[tuple[str, str]], _: object = None, /
    ) -> Callable[[bytes], object]:
        self.status, self.headers = int(status[:3]), headers
        return _no_writing


def _no_writing(_: bytes) -> None:
    raise NotImplementedError("PEP 3333's write() is for old applications")


class BodyPiece:
    """A piece of a body; the last may be empty."""

    __slots__ = ("data", "last")

    def __init__(self, future: Future) -> None:
        """Take a piece that has come.

        Raises:
            RequestTimeout: it was given up.
            BadRequest: the body was cut off.
        """
        try:
            message = future.result()
        except _CANCELLED:
            raise RequestTimeout(LATE) from None
        if message["type"] != "http.request":
            raise BadRequest(CUT)
        self.data: bytes = message["body"]
        self.last: bool = not message["more_body"]


class BodyStream(RawIOBase):
    """A body as it arrives, for a thread that waits for it; within some seconds from the start."""

    def __init__(self, pending: Pending, seconds: float) -> None:
        self._pending, self._seconds = pending, seconds
        self._deadline: float | None = None
        self._held = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        while not self._held and not self._ended:
            piece = self._next()
            self._held, self._ended = memoryview(piece.data), piece.last
        into = memoryview(buffer)
        size = min(len(into), len(self._held))
        into[:size], self._held = self._held[:size], self._held[size:]
        return size

    def _next(self) -> BodyPiece:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._seconds
        came = Event()
        future = self._pending.exchange.receive()
        future.add_done_callback(lambda _: came.set())
        if not came.wait(max(0.0, self._deadline - time.monotonic())):
            future.cancel()
        return BodyPiece(future)


def environ(scope: AsgiScope, key_of: Callable[[bytes], str | None]) -> "WSGIEnvironment":
    """Return what there is of a request by WSGI's names, and of its headers what has a key.

    A header that came in more than once has its values in one. A value that is not ASCII is empty.
    """
    found: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": scope["raw_path"].decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "REMOTE_ADDR": scope["client"][0],
    }
    for name, value in scope["headers"]:
        key = key_of(name)
        if key is not None:
            text = value.decode() if value.isascii() else ""
            found[key] = f"{found[key]},{text}" if key in found else text
    return found


def whole_environ(scope: AsgiScope) -> "WSGIEnvironment":
    """Return all that WSGI has of a request, but for its body."""
    host, port = scope["server"]
    return environ(scope, _any_key) | {
        "PATH_INFO": _latin(scope["path"]),
        "SCRIPT_NAME": "",
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def _latin(text: str) -> str:
    """Return what WSGI has for a text: its bytes, each as a character (PEP 3333)."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")


def _any_key(header: bytes) -> str | None:
    # X_A would be taken for X-A, which a proxy in front of us may have set.
    if b"_" in header:
        return None
    key = header.decode().upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def header_name(key: str) -> bytes:
    """Return the header that WSGI has under ``key``."""
    return key.removeprefix("HTTP_").replace("_", "-").lower().encode()


def joined(parts: Iterable[bytes]) -> bytes:
    """Return a body that an application gave in ``parts``, which are closed if they can be."""
    if isinstance(parts, list) and len(parts) == 1:
        only: bytes = parts[0]
        return only
    try:
        return b"".join(parts)
    finally:
        if (close := getattr(parts, "close", None)) is not None:
            close()


def send(exchange: Exchange, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Send an answer."""
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    exchange.send({"type": "http.response.start", "status": status, "headers": encoded})
    exchange.send({"type": "http.response.body", "body": body})
