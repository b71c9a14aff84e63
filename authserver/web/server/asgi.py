"""Requests as Granian hands them over (ASGI), and their bodies as they arrive.

ASGI's form, for it has what RSGI's keeps back: the path as it was sent, and headers that are not
ASCII.
"""

import asyncio
import concurrent.futures
import time
from io import RawIOBase
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from werkzeug.exceptions import RequestTimeout

from authserver.core.errors import BadRequest
from authserver.web.bodies import LATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

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
