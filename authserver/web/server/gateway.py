"""From the HTTP server to WSGI; whatever waits for nothing is answered at once.

Granian has one thread for Python, in which it hands over each request in the form of ASGI. Token
requests are answered in that very thread: several threads would hand the interpreter to each other
all the time. One that finds that it has to wait (for bcrypt, the store, another machine) is given
to a thread that may, as are all others. Long ones are answered one by one in a thread of their own,
for they may be much work. While a body is on its way nobody waits, if it is short and tells its
length.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import structlog
from werkzeug.exceptions import RequestTimeout

from authserver.core.errors import BadRequest, MustWait, NotReady
from authserver.runtime.concurrency import Slots
from authserver.runtime.periodic import PeriodicThread
from authserver.web.bodies import LATE, MAX_BYTES, SECONDS, TOO_MANY
from authserver.web.server import ambiguity
from authserver.web.server.ambiguity import AMBIGUITY, ENCODING, HOST, ONE_HOST
from authserver.web.server.asgi import (
    CUT,
    AsgiScope,
    BodyPiece,
    BodyStream,
    Exchange,
    Future,
    Incoming,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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

# As long as MAX_BYTES in digits.
_DIGITS = 5

log = structlog.get_logger()


@dataclass
class Gateway:
    """Gives requests to ``app``, those for the paths ``quick`` at once.

    Of their headers they get ``headers`` only, by the names that WSGI has for them. ``client_of``
    tells whose a request is. Below the paths ``slashed`` there may be encoded slashes.
    """

    app: "WSGIApplication"
    quick: frozenset[str]
    headers: tuple[str, ...]
    client_of: "Callable[[WSGIEnvironment], str]"
    slashed: tuple[str, ...] = ()
    seconds: float = SECONDS
    places: Slots = field(default_factory=lambda: Slots(ARRIVING, ARRIVING_EACH))
    _quick: frozenset[bytes] = field(init=False)
    _slashed: tuple[bytes, ...] = field(init=False)
    _keys: dict[bytes, str] = field(init=False)
    _arriving: dict["_Arriving", Future] = field(default_factory=dict, init=False)
    _threads: ThreadPoolExecutor = field(init=False)
    _long: ThreadPoolExecutor = field(init=False)
    _watch: PeriodicThread = field(init=False)

    def __post_init__(self) -> None:
        self._quick = frozenset(path.encode() for path in self.quick)
        self._slashed = tuple(path.encode() for path in self.slashed)
        self._keys = {_header_name(key): key for key in (*self.headers, HOST, ENCODING)}
        self._threads = ThreadPoolExecutor(THREADS, "request")
        # Several would leave the HTTP server's thread the less, the more of them there are.
        self._long = ThreadPoolExecutor(1, "long")
        self._watch = PeriodicThread("bodies", LOOK_EVERY, self.give_up_late)

    def start(self) -> None:
        """Start the thread that gives up bodies that come too slowly."""
        self._watch.start()

    def __call__(self, incoming: Incoming) -> None:
        """Take a request; called in the HTTP server's one thread, which must never wait."""
        scope, pending = incoming.scope, _Pending(incoming.proto)
        # A frame that somebody keeps keeps those of its callers.
        del incoming
        with pending:
            self._take(scope, pending)

    def _take(self, scope: AsgiScope, pending: "_Pending") -> None:
        if scope["raw_path"] not in self._quick:
            self._threads.submit(self._whole, scope, pending)
            return
        environ = _environ(scope, self._keys.get)
        _look_at_headers(scope, environ, pending)
        if environ["REQUEST_METHOD"] != "POST":
            if len(environ["QUERY_STRING"]) > LONG_QUERY:
                self._long.submit(self._apart, environ, pending)
            else:
                self._try(environ, pending)
        elif _is_short(environ):
            self._await(environ, pending)
        else:
            self._threads.submit(self._whole, scope, pending)

    def _try(self, environ: "WSGIEnvironment", pending: "_Pending") -> None:
        reply = _StartedResponse()
        environ[AT_ONCE] = True
        try:
            parts = self.app(environ, reply)
        except MustWait:
            environ[AT_ONCE] = False
            self._threads.submit(self._answer, environ, pending)
        else:
            pending.end(reply, parts)

    def _apart(self, environ: "WSGIEnvironment", pending: "_Pending") -> None:
        with pending:
            self._try(environ, pending)

    def _await(self, environ: "WSGIEnvironment", pending: "_Pending") -> None:
        client = self.client_of(environ)
        if self.places.enter(client):
            deadline = time.monotonic() + self.seconds
            self._receive(_Arriving(environ, pending, client, deadline))
        else:
            environ["wsgi.input"] = _Lost(NotReady, TOO_MANY)
            self._try(environ, pending)

    def _receive(self, arriving: "_Arriving") -> None:
        # What the callback keeps must not keep the piece: that is no garbage to Python.
        piece = arriving.pending.exchange.receive()
        self._arriving[arriving] = piece
        piece.add_done_callback(partial(self._arrived, arriving))

    def _arrived(self, arriving: "_Arriving", piece: Future) -> None:
        environ, pending = arriving.environ, arriving.pending
        with pending:
            del self._arriving[arriving]
            source = arriving.source(piece)
            if source is None:
                self._receive(arriving)
                return
            self.places.leave(arriving.client)
            environ["wsgi.input"] = source
            if _is_long(environ):
                self._long.submit(self._apart, environ, pending)
            else:
                self._try(environ, pending)

    def give_up_late(self) -> None:
        """Refuse the requests whose bodies have not come in time; that ends their connections."""
        now = time.monotonic()
        for arriving, piece in list(self._arriving.items()):
            if arriving.deadline < now:
                piece.cancel()

    def _whole(self, scope: AsgiScope, pending: "_Pending") -> None:
        """Answer a request in this thread, with all that WSGI has."""
        with pending:
            environ = _whole_environ(scope)
            _look_at_headers(scope, environ, pending)
            if (
                why := ambiguity.of_path(scope["raw_path"], scope["path"], self._slashed)
            ) is not None:
                environ[AMBIGUITY] = why
            environ["wsgi.input"] = BodyStream(pending, self.seconds)
            self._answer(environ, pending)

    def _answer(self, environ: "WSGIEnvironment", pending: "_Pending") -> None:
        with pending:
            reply = _StartedResponse()
            pending.end(reply, self.app(environ, reply))


class _StartedResponse:
    """WSGI's ``start_response``."""

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[str, str]] = []

    def __call__(
        self, status: str, headers: list[tuple[str, str]], _: object = None, /
    ) -> "Callable[[bytes], object]":
        self.status, self.headers = int(status[:3]), headers
        return _no_writing


def _no_writing(_: bytes) -> None:
    raise NotImplementedError("PEP 3333's write() is for old applications")


class _Pending:
    """Holds an exchange until it is answered, and is all that holds it.

    As long as an exchange whose body was not read is there, Granian keeps the connection and
    answers nothing else on it. Frames and environments may be kept for long, as by a traceback.

    As a context it answers with an error if the block raises one: Granian would not even tell.
    """

    __slots__ = ("_exchange", "closes")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange: Exchange | None = exchange
        self.closes = False
        """Whether the answer ends the connection."""

    @property
    def exchange(self) -> Exchange:
        """The exchange, while it is not answered."""
        if self._exchange is None:
            raise RuntimeError("the request was answered already")
        return self._exchange

    def end(self, reply: _StartedResponse, parts: "Iterable[bytes]") -> None:
        """Answer with ``reply`` and the body ``parts``."""
        body = _joined(parts)
        self._respond(reply.status, reply.headers, body)

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            if self.closes:
                headers = [*headers, ("Connection", "close")]
            _send(exchange, status, headers, body)

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if error is not None:
            self._respond(500, [], b"")
            # What is raised into Granian ends its one thread for Python.
            with suppress(Exception):
                log.error("unexpected error", exc_info=error)
        return True


@dataclass(eq=False, slots=True)
class _Arriving:
    """A request whose short body is on its way; it has one of the gateway's places."""

    environ: "WSGIEnvironment"
    pending: _Pending
    client: str
    deadline: float
    _body: bytearray = field(default_factory=bytearray, init=False)

    def source(self, future: Future) -> "BytesIO | _Lost | None":
        """Return what the body is read from, if ``future`` has the last piece."""
        try:
            piece = BodyPiece(future)
        except BadRequest:
            return _Lost(BadRequest, CUT)
        except RequestTimeout:
            return _Lost(RequestTimeout, LATE)
        self._body += piece.data
        complete = piece.last or len(self._body) >= int(self.environ["CONTENT_LENGTH"])
        return BytesIO(self._body) if complete else None


class _Lost:
    """A body that there is no reading."""

    def __init__(self, kind: type[Exception], why: str) -> None:
        self._kind, self._why = kind, why

    def read(self, _: int = -1, /) -> bytes:
        raise self._kind(self._why)


def _look_at_headers(scope: AsgiScope, environ: "WSGIEnvironment", pending: _Pending) -> None:
    """Note whether another server may take a request for something else."""
    host = environ.get(HOST)
    # The values of several headers are in one.
    is_ambiguous = "," in host if host else scope["http_version"] == "1.1"
    if is_ambiguous:
        environ[AMBIGUITY] = ONE_HOST
    # Granian reads the chunks, and leaves out a length that came with them: what follows for us may
    # be a part of the body for a server that goes by the length.
    pending.closes = is_ambiguous or ENCODING in environ


def _is_short(environ: "WSGIEnvironment") -> bool:
    length = environ.get("CONTENT_LENGTH", "")
    return length.isdecimal() and len(length) <= _DIGITS and int(length) <= MAX_BYTES


def _is_long(environ: "WSGIEnvironment") -> bool:
    lengths = int(environ["CONTENT_LENGTH"]), len(environ.get("CONTENT_TYPE", ""))
    return max(lengths) > LONG_BODY


def _environ(scope: AsgiScope, key_of: "Callable[[bytes], str | None]") -> "WSGIEnvironment":
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


def _whole_environ(scope: AsgiScope) -> "WSGIEnvironment":
    """Return all that WSGI has of a request, but for its body."""
    host, port = scope["server"]
    return _environ(scope, _any_key) | {
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


def _header_name(key: str) -> bytes:
    """Return the header that WSGI has under ``key``."""
    return key.removeprefix("HTTP_").replace("_", "-").lower().encode()


def _joined(parts: "Iterable[bytes]") -> bytes:
    """Return a body that an application gave in ``parts``, which are closed if they can be."""
    if isinstance(parts, list) and len(parts) == 1:
        only: bytes = parts[0]
        return only
    try:
        return b"".join(parts)
    finally:
        if (close := getattr(parts, "close", None)) is not None:
            close()


def _send(exchange: Exchange, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Send an answer."""
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    exchange.send({"type": "http.response.start", "status": status, "headers": encoded})
    exchange.send({"type": "http.response.body", "body": body})
