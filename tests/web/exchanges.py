"""Requests as Granian hands them over, without Granian."""

from asyncio import CancelledError
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any


class Headers:
    """As Granian's: several values of one name, and none for what is not ASCII."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self.pairs = pairs

    def __contains__(self, name: str) -> bool:
        return any(name == one for one, _ in self.pairs)

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.pairs))

    def get_all(self, name: str) -> list[str]:
        return [value for one, value in self.pairs if one == name and value.isascii()]


@dataclass
class Scope:
    method: str = "GET"
    path: str = "/token"
    query_string: str = ""
    headers: Headers = field(default_factory=Headers)
    client: str = "192.0.2.1:50000"
    server: str = "192.0.2.9:8000"
    scheme: str = "http"
    http_version: str = "1.1"
    authority: str | None = None


class Future:
    """As Granian's: it keeps its callback, and calls it once."""

    def __init__(self) -> None:
        self.value: bytes | BaseException | None = None
        self.callback: Callable[[Future], object] | None = None

    def add_done_callback(self, callback: "Callable[[Future], object]") -> None:
        self.callback = callback
        if self.value is not None:
            callback(self)

    def end(self, value: bytes | BaseException) -> bool:
        if self.value is not None:
            return False
        self.value = value
        if self.callback is not None:
            self.callback(self)
        return True

    def cancel(self) -> bool:
        return self.end(CancelledError())

    def result(self) -> bytes:
        assert self.value is not None
        if isinstance(self.value, CancelledError):
            raise CancelledError
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class Exchange:
    def __init__(self, *pieces: bytes | BaseException) -> None:
        self.body, self.pieces, self.ended = Future(), list(pieces), False
        self.answered = Event()
        self.answer: tuple[int, list[tuple[str, str]], bytes] | None = None

    def __call__(self) -> Future:
        return self.body

    def __aiter__(self) -> "Exchange":
        return self

    def __anext__(self) -> Future:
        """Give the next piece. What was cut off gives nothing, as the end does, but goes on."""
        if self.ended:
            raise StopAsyncIteration
        future = Future()
        if self.pieces:
            piece = self.pieces.pop(0)
            self.ended = piece == b""
            future.end(b"" if isinstance(piece, BaseException) else piece)
        return future

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        assert self.answer is None
        self.answer = status, headers, body
        self.answered.set()

    @property
    def status(self) -> int:
        assert self.answered.wait(10)
        assert self.answer is not None
        return self.answer[0]

    @property
    def text(self) -> bytes:
        assert self.status == 200
        assert self.answer is not None
        return self.answer[2]


@dataclass
class Incoming:
    scope: Any
    proto: Any
