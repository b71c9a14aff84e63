"""Requests as Granian hands them over (RSGI), and what WSGI has for each part of them."""

import sys
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from io import RawIOBase
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.exceptions import RequestTimeout

from authserver.core.errors import BadRequest
from authserver.web.bodies import LATE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from _typeshed.wsgi import WSGIEnvironment

CUT = "the body was cut off"


class Headers(Protocol):
    """What came in more than once is in there as often; what is not ASCII as nothing."""

    def __contains__(self, name: str, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def get_all(self, name: str, /) -> list[str]: ...


class Scope(Protocol):
    """A request, but for its body. Each look at ``headers`` makes a copy of them."""

    client: str
    server: str
    scheme: str
    http_version: str
    method: str
    path: str
    query_string: str
    authority: str | None
    headers: Headers


class Future(Protocol):
    """Calls back in the HTTP server's thread, or in the one that cancels it."""

    def add_done_callback(self, callback: "Callable[[Future], object]", /) -> None: ...
    def result(self) -> bytes: ...
    def cancel(self) -> bool: ...


class Exchange(Protocol):
    """The answer, and the body: as a whole, or piece by piece."""

    def __call__(self) -> Future: ...
    def __aiter__(self) -> "Exchange": ...
    def __anext__(self) -> Future: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class Turn(Protocol):
    """Holds an exchange while it is not answered."""

    @property
    def exchange(self) -> Exchange: ...


class Incoming(Protocol):
    """A request, as Granian gives it to a scheduler."""

    scope: Any
    proto: Any


class EventLoop:
    """What Granian takes for asyncio's: whatever is due is done at once, by whoever says so."""

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *arguments: object, **_context: object
    ) -> None:
        """Call back; there is no loop to wait for."""
        callback(*arguments)

    call_soon = call_soon_threadsafe


class Reply:
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


class Body(RawIOBase):
    """A body as it arrives, for a thread that waits for it; within some seconds from the start."""

    def __init__(self, turn: Turn, seconds: float) -> None:
        self._turn, self._seconds = turn, seconds
        self._deadline: float | None = None
        self._held = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        if not self._held and not self._ended:
            self._held = memoryview(self._next())
            self._ended = not self._held
        into = memoryview(buffer)
        size = min(len(into), len(self._held))
        into[:size], self._held = self._held[:size], self._held[size:]
        return size

    def _next(self) -> bytes:
        """Wait for the next piece; nothing is the end.

        Raises:
            RequestTimeout: the whole body takes too long.
            BadRequest: it was cut off.
        """
        if self._deadline is None:
            self._deadline = time.monotonic() + self._seconds
            self._turn.exchange.__aiter__()
        came = Event()
        piece = self._turn.exchange.__anext__()
        piece.add_done_callback(lambda _: came.set())
        if not came.wait(max(0.0, self._deadline - time.monotonic())):
            piece.cancel()
        try:
            return piece.result() or self._end()
        except CancelledError:
            raise RequestTimeout(LATE) from None

    def _end(self) -> bytes:
        try:
            self._turn.exchange.__anext__()
        except StopAsyncIteration:
            return b""
        # Granian gives nothing as well where the body was cut off, or has trailers, but goes on.
        raise BadRequest(CUT)


def environ(scope: Scope, headers: Headers, names: Iterable[tuple[str, str]]) -> "WSGIEnvironment":
    """Return what there is of a request by WSGI's names, and of its ``headers`` those ``names``."""
    found: WSGIEnvironment = {
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": _latin(scope.path),
        "QUERY_STRING": _latin(scope.query_string),
        "REMOTE_ADDR": _host(scope.client),
    }
    for name, key in names:
        values = headers.get_all(name)
        if len(values) == 1:
            found[key] = values[0]
        elif values or name in headers:
            found[key] = ",".join(values)
    return found


def whole_environ(scope: Scope) -> "WSGIEnvironment":
    """Return all that WSGI has of a request, but for its body."""
    headers = scope.headers
    # X_A would be taken for X-A, which a proxy in front of us may have set.
    names = ((name, _environ_name(name)) for name in headers if "_" not in name)
    host, _, port = scope.server.rpartition(":")
    return (
        {"HTTP_HOST": scope.authority or ""}
        | environ(scope, headers, names)
        | {
            "SCRIPT_NAME": "",
            "SERVER_NAME": host,
            "SERVER_PORT": port,
            "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": scope.scheme,
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
    )


def _host(peer: str) -> str:
    """Return the address of an address with a port, without the zone that IPv6 may have."""
    return peer.rpartition(":")[0].strip("[]").partition("%")[0]


def _latin(text: str) -> str:
    """Return what WSGI has for a text: its bytes, each as a character (PEP 3333)."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")


def _environ_name(header: str) -> str:
    key = header.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def header_name(key: str) -> str:
    """Return the header that WSGI has under ``key``."""
    return key.removeprefix("HTTP_").replace("_", "-").lower()


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
