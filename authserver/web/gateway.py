"""From the HTTP server to WSGI; whatever waits for nothing is answered at once.

Granian has one thread for Python, in which it hands over each request in the form of RSGI. Token
requests are answered in that very thread: several threads would hand the interpreter to each other
all the time. One that finds that it has to wait (for bcrypt, the store, another machine) is given
to a thread that may, as are all others. Long ones are answered one by one in a thread of their own,
for they may be much work. While a body is on its way nobody waits, if it is short and tells its
length.
"""

import time
from asyncio import CancelledError
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import structlog
from werkzeug.exceptions import RequestTimeout

from authserver.core.errors import BadRequest, MustWait, NotReady
from authserver.places import Places
from authserver.repeating import Repeating
from authserver.web import rsgi
from authserver.web.bodies import LATE, MAX_BYTES, SECONDS, TOO_MANY
from authserver.web.rsgi import CUT, Body, Exchange, Future, Headers, Incoming, Reply, Scope

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
        self._names = tuple((rsgi.header_name(key), key) for key in self.headers)
        self._threads = ThreadPoolExecutor(THREADS, "request")
        # Several would leave the HTTP server's thread the less, the more of them there are.
        self._long = ThreadPoolExecutor(1, "long")
        self._watch = Repeating("bodies", LOOK_EVERY, self.give_up_late)

    def start(self) -> None:
        """Start the thread that gives up bodies that come too slowly."""
        self._watch.start()

    def __call__(self, incoming: Incoming) -> None:
        """Take a request; called in the HTTP server's one thread, which must never wait."""
        scope, turn = incoming.scope, _Turn(incoming.proto)
        # A frame that somebody keeps keeps those of its callers.
        del incoming
        with turn:
            self._take(scope, turn)

    def _take(self, scope: Scope, turn: "_Turn") -> None:
        if scope.path not in self.quick:
            self._threads.submit(self._whole, scope, turn)
            return
        headers = scope.headers
        environ = rsgi.environ(scope, headers, self._names)
        if environ["REQUEST_METHOD"] != "POST":
            if len(environ["QUERY_STRING"]) > LONG_QUERY:
                self._long.submit(self._apart, environ, turn)
            else:
                self._try(environ, turn)
        elif _is_short(environ, headers):
            self._await(environ, turn)
        else:
            self._threads.submit(self._whole, scope, turn)

    def _try(self, environ: "WSGIEnvironment", turn: "_Turn") -> None:
        reply = Reply()
        environ[AT_ONCE] = True
        try:
            parts = self.app(environ, reply)
        except MustWait:
            environ[AT_ONCE] = False
            self._threads.submit(self._answer, environ, turn)
        else:
            turn.end(reply, parts)

    def _apart(self, environ: "WSGIEnvironment", turn: "_Turn") -> None:
        with turn:
            self._try(environ, turn)

    def _await(self, environ: "WSGIEnvironment", turn: "_Turn") -> None:
        client = self.client_of(environ)
        if not self.places.enter(client):
            environ["wsgi.input"] = _Lost(NotReady, TOO_MANY)
            self._try(environ, turn)
            return
        # What the callback keeps must not keep the future: that is no garbage to Python.
        this, body = object(), turn.exchange()
        self._arriving[this] = _Arriving(body, time.monotonic() + self.seconds)

        def arrived(future: Future) -> None:
            del self._arriving[this]
            self.places.leave(client)
            environ["wsgi.input"] = _arrived(future)
            with turn:
                if _is_long(environ):
                    self._long.submit(self._apart, environ, turn)
                else:
                    self._try(environ, turn)

        body.add_done_callback(arrived)

    def give_up_late(self) -> None:
        """Refuse the requests whose bodies have not come in time; that ends their connections."""
        now = time.monotonic()
        for this in list(self._arriving.values()):
            if this.deadline < now:
                this.body.cancel()

    def _whole(self, scope: Scope, turn: "_Turn") -> None:
        """Answer a request in this thread, with all that WSGI has."""
        with turn:
            environ = rsgi.whole_environ(scope)
            environ["wsgi.input"] = Body(turn, self.seconds)
            self._answer(environ, turn)

    def _answer(self, environ: "WSGIEnvironment", turn: "_Turn") -> None:
        with turn:
            reply = Reply()
            turn.end(reply, self.app(environ, reply))


class _Turn:
    """Holds an exchange until it is answered, and is all that holds it.

    As long as an exchange whose body was not read is there, Granian keeps the connection and
    answers nothing else on it. Frames and environments may be kept for long, as by a traceback.

    As a context it answers with an error if the block raises one: Granian would not even tell.
    """

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange: Exchange | None = exchange

    @property
    def exchange(self) -> Exchange:
        """The exchange, while it is not answered."""
        if self._exchange is None:
            raise RuntimeError("the request was answered already")
        return self._exchange

    def end(self, reply: Reply, parts: "Iterable[bytes]") -> None:
        """Answer with ``reply`` and the body ``parts``."""
        body = rsgi.joined(parts)
        self._respond(reply.status, reply.headers, body)

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.response_bytes(status, headers, body)

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if error is not None:
            self._respond(500, [], b"")
            # What is raised into Granian ends its one thread for Python.
            with suppress(Exception):
                log.error("unexpected error", exc_info=error)
        return True


class _Arriving(NamedTuple):
    body: Future
    deadline: float


class _Lost:
    """A body that there is no reading."""

    def __init__(self, kind: type[Exception], why: str) -> None:
        self._kind, self._why = kind, why

    def read(self, _: int = -1, /) -> bytes:
        raise self._kind(self._why)


def _arrived(body: Future) -> BytesIO | _Lost:
    # An error that is raised holds all that called, and so the future: it is not to be kept.
    try:
        return BytesIO(body.result())
    except CancelledError:
        return _Lost(RequestTimeout, LATE)
    except RuntimeError as error:
        # The future keeps it.
        error.__traceback__ = None
        return _Lost(BadRequest, CUT)


def _is_short(environ: "WSGIEnvironment", headers: Headers) -> bool:
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
