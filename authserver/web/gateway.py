"""From the HTTP server to WSGI; whatever waits for nothing is answered at once.

Granian has one thread for Python, in which it hands over each request in the form of RSGI. Token
requests are answered in that very thread: several threads would hand the interpreter to each other
all the time. One that finds that it has to wait (for bcrypt, the store, another machine) is given
to a thread that may, as are all others. Long ones are answered one by one in a thread of their own,
for they may be much work. While a body is on its way nobody waits, if it is short and tells its
length.
"""

import sys
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO, RawIOBase
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import structlog
from werkzeug.exceptions import RequestTimeout

from authserver.core.errors import BadRequest, MustWait, NotReady
from authserver.places import Places
from authserver.repeating import Repeating
from authserver.web.bodies import LATE, MAX_BYTES, SECONDS, TOO_MANY

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

THREADS = 96
ARRIVING, ARRIVING_EACH = 512, 64
"""Bodies that are on their way at a time, and those of one client; MAX_BYTES each."""

LONG_QUERY, LONG_BODY = 4096, 2048
"""Characters of a query, and bytes of a body, up to which they are read at once.

Where they are hostile, each takes up to 0.7 µs in a query and up to 4 µs in a body.
"""

LOOK_EVERY = 1.0

AT_ONCE = "authserver.at_once"
"""In the environment of a request that is to raise MustWait where it would have to wait."""

_CUT = "the body was cut off"
# As long as MAX_BYTES in digits.
_DIGITS = 5

log = structlog.get_logger()


class _Headers(Protocol):
    """What came in more than once is in there as often; what is not ASCII as nothing."""

    def __contains__(self, name: str, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def get_all(self, name: str, /) -> list[str]: ...


class _Scope(Protocol):
    client: str
    server: str
    scheme: str
    http_version: str
    method: str
    path: str
    query_string: str
    authority: str | None
    headers: _Headers


class _Future(Protocol):
    """Calls back in the HTTP server's thread, or in the one that cancels it."""

    def add_done_callback(self, callback: "Callable[[_Future], object]", /) -> None: ...
    def result(self) -> bytes: ...
    def cancel(self) -> bool: ...


class _Exchange(Protocol):
    """The answer, and the body: as a whole, or piece by piece."""

    def __call__(self) -> _Future: ...
    def __aiter__(self) -> "_Exchange": ...
    def __anext__(self) -> _Future: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


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


class _Reply:
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


@dataclass
class Gateway:
    """Gives requests to ``app``, those for the paths ``quick`` at once.

    Of their headers they get ``headers`` only, by the names that WSGI has for them. ``client_of``
    tells whose a request is.
    """

    app: "WSGIApplication"
    quick: frozenset[str]
    headers: tuple[str, ...]
    client_of: "Callable[[WSGIEnvironment], str]"
    seconds: float = SECONDS
    places: Places = field(default_factory=lambda: Places(ARRIVING, ARRIVING_EACH))
    _names: tuple[tuple[str, str], ...] = field(init=False)
    _arriving: dict[object, "_Arriving"] = field(default_factory=dict, init=False)
    _threads: ThreadPoolExecutor = field(init=False)
    _long: ThreadPoolExecutor = field(init=False)
    _watch: Repeating = field(init=False)

    def __post_init__(self) -> None:
        self._names = tuple((_header_name(key), key) for key in self.headers)
        self._threads = ThreadPoolExecutor(THREADS, "request")
        # Several would leave the HTTP server's thread the less, the more of them there are.
        self._long = ThreadPoolExecutor(1, "long")
        self._watch = Repeating("bodies", LOOK_EVERY, self.give_up_late)

    def start(self) -> None:
        """Start the thread that gives up bodies that come too slowly."""
        self._watch.start()

    def __call__(self, incoming: Incoming) -> None:
        """Take a request; called in the HTTP server's one thread, which must never wait."""
        with _answering(incoming.proto):
            self._take(incoming.scope, incoming.proto)

    def _take(self, scope: _Scope, exchange: _Exchange) -> None:
        if scope.path not in self.quick:
            self._threads.submit(self._whole, scope, exchange)
            return
        environ = _environ(scope, scope.headers, self._names)
        if environ["REQUEST_METHOD"] != "POST":
            if len(environ["QUERY_STRING"]) > LONG_QUERY:
                self._long.submit(self._apart, environ, exchange)
            else:
                self._try(environ, exchange)
        elif _is_short(environ, scope.headers):
            self._await(environ, exchange)
        else:
            self._threads.submit(self._whole, scope, exchange)

    def _try(self, environ: "WSGIEnvironment", exchange: _Exchange) -> None:
        reply = _Reply()
        environ[AT_ONCE] = True
        try:
            parts = self.app(environ, reply)
        except MustWait:
            environ[AT_ONCE] = False
            self._threads.submit(self._answer, environ, exchange)
        else:
            _send(exchange, reply, parts)

    def _apart(self, environ: "WSGIEnvironment", exchange: _Exchange) -> None:
        with _answering(exchange):
            self._try(environ, exchange)

    def _await(self, environ: "WSGIEnvironment", exchange: _Exchange) -> None:
        client = self.client_of(environ)
        if not self.places.enter(client):
            environ["wsgi.input"] = _Lost(NotReady, TOO_MANY)
            self._try(environ, exchange)
            return
        # What the callback keeps must not keep the future: that is no garbage to Python.
        this, body = object(), exchange()
        self._arriving[this] = _Arriving(body, time.monotonic() + self.seconds)

        def arrived(future: _Future) -> None:
            del self._arriving[this]
            self.places.leave(client)
            environ["wsgi.input"] = _arrived(future)
            with _answering(exchange):
                if _is_long(environ):
                    self._long.submit(self._apart, environ, exchange)
                else:
                    self._try(environ, exchange)

        body.add_done_callback(arrived)

    def give_up_late(self) -> None:
        """Refuse the requests whose bodies have not come in time; that ends their connections."""
        now = time.monotonic()
        for this in list(self._arriving.values()):
            if this.deadline < now:
                this.body.cancel()

    def _whole(self, scope: _Scope, exchange: _Exchange) -> None:
        """Answer a request in this thread, with all that WSGI has."""
        with _answering(exchange):
            headers = scope.headers
            # X_A would be taken for X-A, which a proxy in front of us may have set.
            names = ((name, _environ_name(name)) for name in headers if "_" not in name)
            environ = _environ(scope, headers, names)
            host, _, port = scope.server.rpartition(":")
            environ.setdefault("HTTP_HOST", scope.authority or "")
            environ |= {
                "SCRIPT_NAME": "",
                "SERVER_NAME": host,
                "SERVER_PORT": port,
                "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
                "wsgi.version": (1, 0),
                "wsgi.url_scheme": scope.scheme,
                "wsgi.input": _Body(exchange, self.seconds),
                "wsgi.input_terminated": True,
                "wsgi.errors": sys.stderr,
                "wsgi.multithread": True,
                "wsgi.multiprocess": True,
                "wsgi.run_once": False,
            }
            self._answer(environ, exchange)

    def _answer(self, environ: "WSGIEnvironment", exchange: _Exchange) -> None:
        with _answering(exchange):
            reply = _Reply()
            _send(exchange, reply, self.app(environ, reply))


class _answering:  # noqa: N801 - made for each request: contextlib's take longer
    """Answers with an error where the block raises one: Granian would not even tell of it."""

    __slots__ = ("exchange",)

    def __init__(self, exchange: _Exchange) -> None:
        self.exchange = exchange

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if error is not None:
            self.exchange.response_bytes(500, [], b"")
            # What is raised into Granian ends its one thread for Python.
            with suppress(Exception):
                log.error("unexpected error", exc_info=error)
        return True


class _Arriving(NamedTuple):
    body: _Future
    deadline: float


class _Lost:
    """A body that there is no reading."""

    def __init__(self, kind: type[Exception], why: str) -> None:
        self._kind, self._why = kind, why

    def read(self, _: int = -1, /) -> bytes:
        raise self._kind(self._why)


class _Body(RawIOBase):
    """A body as it arrives, for a thread that waits for it; within some seconds from the start."""

    def __init__(self, exchange: _Exchange, seconds: float) -> None:
        self._exchange, self._seconds = exchange, seconds
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
            self._exchange.__aiter__()
        came = Event()
        piece = self._exchange.__anext__()
        piece.add_done_callback(lambda _: came.set())
        if not came.wait(max(0.0, self._deadline - time.monotonic())):
            piece.cancel()
        try:
            return piece.result() or self._end()
        except CancelledError:
            raise RequestTimeout(LATE) from None

    def _end(self) -> bytes:
        try:
            self._exchange.__anext__()
        except StopAsyncIteration:
            return b""
        # Granian gives nothing as well where the body was cut off, or has trailers, but goes on.
        raise BadRequest(_CUT)


def _arrived(body: _Future) -> BytesIO | _Lost:
    # An error that is raised holds all that called, and so the future: it is not to be kept.
    try:
        return BytesIO(body.result())
    except CancelledError:
        return _Lost(RequestTimeout, LATE)
    except RuntimeError as error:
        # The future keeps it.
        error.__traceback__ = None
        return _Lost(BadRequest, _CUT)


def _environ(
    scope: _Scope, headers: _Headers, names: Iterable[tuple[str, str]]
) -> "WSGIEnvironment":
    """Return what there is of a request by WSGI's names, and of its headers ``names``."""
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": _latin(scope.path),
        "QUERY_STRING": _latin(scope.query_string),
        "REMOTE_ADDR": _host(scope.client),
    }
    for name, key in names:
        values = headers.get_all(name)
        if len(values) == 1:
            environ[key] = values[0]
        elif values or name in headers:
            environ[key] = ",".join(values)
    return environ


def _host(peer: str) -> str:
    """Return the address of an address with a port, without the zone that IPv6 may have."""
    return peer.rpartition(":")[0].strip("[]").partition("%")[0]


def _latin(text: str) -> str:
    """Return what WSGI has for a text: its bytes, each as a character (PEP 3333)."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")


def _environ_name(header: str) -> str:
    key = header.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def _header_name(key: str) -> str:
    return key.removeprefix("HTTP_").replace("_", "-").lower()


def _is_short(environ: "WSGIEnvironment", headers: _Headers) -> bool:
    length = environ.get("CONTENT_LENGTH", "")
    return (
        length.isdecimal()
        and len(length) <= _DIGITS
        and int(length) <= MAX_BYTES
        and "transfer-encoding" not in headers
    )


def _is_long(environ: "WSGIEnvironment") -> bool:
    lengths = int(environ["CONTENT_LENGTH"]), len(environ.get("CONTENT_TYPE", ""))
    return max(lengths) > LONG_BODY


def _send(exchange: _Exchange, reply: _Reply, parts: Iterable[bytes]) -> None:
    if isinstance(parts, list) and len(parts) == 1:
        body = parts[0]
    else:
        try:
            body = b"".join(parts)
        finally:
            if (close := getattr(parts, "close", None)) is not None:
                close()
    exchange.response_bytes(reply.status, reply.headers, body)
