"""Requests as Granian hands them over, without Granian."""

from asyncio import CancelledError
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Callable

Pair = tuple[str, str]


class Scope(dict[str, Any]):
    """A request, but for its body; ``path`` as it is sent."""

    def __init__(
        self,
        method: str = "GET",
        path: str = "/token",
        query_string: str = "",
        headers: tuple[Pair, ...] = (),
        *,
        client: str = "192.0.2.1",
        host: tuple[str, ...] = ("localhost",),
        http_version: str = "1.1",
    ) -> None:
        pairs = (*(("host", value) for value in host), *headers)
        super().__init__(
            http_version=http_version,
            server=("192.0.2.9", "8000"),
            client=(client, "50000"),
            scheme="http",
            method=method,
            path=unquote(path),
            raw_path=quote(path, safe="/%.~\n").encode(),
            query_string=query_string.encode(),
            headers=[(name.encode(), value.encode()) for name, value in pairs],
        )


class Future:
    """As Granian's: it keeps its callback, and calls it once."""

    def __init__(self) -> None:
        self.value: dict[str, Any] | CancelledError | None = None
        self.callback: Callable[[Future], object] | None = None

    def add_done_callback(self, callback: "Callable[[Future], object]") -> None:
        self.callback = callback
        if self.value is not None:
            callback(self)

    def end(self, value: dict[str, Any] | CancelledError) -> bool:
        if self.value is not None:
            return False
        self.value = value
        if self.callback is not None:
            self.callback(self)
        return True

    def cancel(self) -> bool:
        return self.end(CancelledError())

    def result(self) -> dict[str, Any]:
        assert self.value is not None
        if isinstance(self.value, CancelledError):
            raise CancelledError
        return self.value


class CutOff:
    """In the place of a piece: the connection is gone."""


class Exchange:
    """Has the body come in ``pieces``, an empty one after the last; without any none has come."""

    def __init__(self, *pieces: bytes | CutOff) -> None:
        self.pieces = list(pieces)
        self.awaited: Future | None = None
        self.answered = Event()
        self.messages: list[dict[str, Any]] = []

    def receive(self) -> Future:
        future = Future()
        if self.pieces:
            future.end(message_of(self.pieces.pop(0)))
        else:
            self.awaited = future
        return future

    def come(self, piece: bytes | CutOff) -> bool:
        """Have a piece come that is awaited; return whether it still was."""
        awaited, self.awaited = self.awaited, None
        return awaited is not None and awaited.end(message_of(piece))

    def send(self, message: dict[str, Any]) -> None:
        assert not self.answered.is_set()
        self.messages.append(message)
        if message["type"] == "http.response.body":
            self.answered.set()

    @property
    def status(self) -> int:
        assert self.answered.wait(10)
        start, _ = self.messages
        status: int = start["status"]
        return status

    @property
    def headers(self) -> list[Pair]:
        assert self.status
        return [(name.decode(), value.decode()) for name, value in self.messages[0]["headers"]]

    @property
    def text(self) -> bytes:
        assert self.status == 200
        text: bytes = self.messages[1]["body"]
        return text


def message_of(piece: bytes | CutOff) -> dict[str, Any]:
    if isinstance(piece, CutOff):
        return {"type": "http.disconnect"}
    return {"type": "http.request", "body": piece, "more_body": piece != b""}


@dataclass
class Incoming:
    scope: Any
    proto: Any
