"""The gateway: what is answered at once, what waits elsewhere, what becomes of bodies."""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import get_ident
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.exceptions import RequestTimeout

from authserver.core.errors import BadRequest, MustWait
from authserver.runtime.concurrency import Slots
from authserver.runtime.metrics.counters import Observations
from authserver.web.bodies import MAX_BYTES, Bodies
from authserver.web.server.front import Front
from authserver.web.server.gateway import AT_ONCE, LONG_BODY, LONG_QUERY, Gateway
from authserver.web.server.granian_worker import EventLoop
from tests.web.exchanges import CutOff, Exchange, Incoming, Pair, Scope

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HEADERS = ("HTTP_AUTHORIZATION", "HTTP_USER_AGENT", "CONTENT_TYPE", "CONTENT_LENGTH")


@dataclass
class App:
    """A WSGI application that notes what it is asked, and says what it is told to."""

    answer: Callable[["WSGIEnvironment"], bytes] = lambda _: b"yes"
    asked: list[tuple["WSGIEnvironment", int]] = field(default_factory=list)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        self.asked.append((dict(environ), get_ident()))
        body = self.answer(environ)
        start_response("200 OK", [("X-A", "b")])
        return [body]


def read(environ: "WSGIEnvironment") -> bytes:
    return Bodies(Slots(1, 1)).read(environ, "client")


def client_of(environ: "WSGIEnvironment") -> str:
    address: str = environ["REMOTE_ADDR"]
    return address


def gateway(app: App, **more: Any) -> Gateway:
    behind = Front(None, client_of, Observations(), app)
    return Gateway(behind, frozenset({"/token"}), HEADERS, client_of, **more)


def ask(taking: Gateway, scope: Scope, *pieces: bytes | CutOff) -> Exchange:
    exchange = Exchange(*pieces)
    taking(Incoming(scope, exchange))
    return exchange


def post(length: int | str, *more: Pair) -> Scope:
    return Scope("POST", headers=(("content-length", str(length)), *more))


def test_what_waits_for_nothing_is_answered_in_the_thread_that_asks() -> None:
    app = App()
    exchange = ask(gateway(app), Scope(query_string="a=b"))
    assert (exchange.status, exchange.headers, exchange.text) == (200, [("X-A", "b")], b"yes")
    [(environ, thread)] = app.asked
    assert thread == get_ident()
    assert environ[AT_ONCE]
    assert environ["QUERY_STRING"] == "a=b"


def test_what_has_to_wait_is_asked_again_where_it_may() -> None:
    def answer(environ: "WSGIEnvironment") -> bytes:
        if environ[AT_ONCE]:
            raise MustWait
        return b"later"

    app = App(answer)
    assert ask(gateway(app), Scope()).text == b"later"
    assert [thread == get_ident() for _, thread in app.asked] == [True, False]


@pytest.mark.parametrize(
    "scope", [Scope(path="/readyz"), Scope(path="/token/x"), Scope("PUT", "/")]
)
def test_other_paths_are_answered_elsewhere(scope: Scope) -> None:
    app = App()
    assert ask(gateway(app), scope).text == b"yes"
    [(environ, thread)] = app.asked
    assert thread != get_ident()
    assert AT_ONCE not in environ


@pytest.mark.parametrize("path", ["/token", "/other"])
def test_an_error_of_the_application_is_an_answer(path: str) -> None:
    def fail(_: "WSGIEnvironment") -> bytes:
        raise ZeroDivisionError

    assert ask(gateway(App(fail)), Scope(path=path)).status == 500


@pytest.mark.parametrize("path", ["/token", "/other"])
def test_headers_are_what_wsgi_makes_of_them(path: str) -> None:
    headers = (
        ("authorization", "Basic a"),
        ("authorization", "Basic b"),
        ("user-agent", "kubelet/ü"),
        ("content-type", "text/plain"),
    )
    app = App()
    ask(gateway(app), Scope(path=path, headers=headers)).status  # noqa: B018
    environ = app.asked[0][0]
    # Two are no credentials, whichever the client meant; and what cannot be read is not nothing.
    assert environ["HTTP_AUTHORIZATION"] == "Basic a,Basic b"
    assert environ["HTTP_USER_AGENT"] == ""
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert environ["CONTENT_TYPE"] == "text/plain"


@pytest.mark.parametrize("path", ["/token", "/other"])
@pytest.mark.parametrize("other", ["user_agent", "content_length"])
def test_a_name_with_an_underscore_is_another_one(path: str, other: str) -> None:
    """A proxy sets and drops the one with a hyphen only."""
    name = other.replace("_", "-")
    headers = ((name, "22"), (other, "1"))
    app = App()
    assert ask(gateway(app), Scope(path=path, headers=headers)).status == 200
    [(environ, _)] = app.asked
    assert [value for value in environ.values() if value in {"1", "22"}] == ["22"]


def test_paths_and_queries_are_bytes_as_latin_1() -> None:
    app = App()
    assert ask(gateway(app), Scope(path="/ü", query_string="q=ü")).status == 200
    environ = app.asked[0][0]
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/Ã¼", "q=Ã¼")


def test_nobody_waits_for_a_short_body() -> None:
    app = App(read)
    taking = gateway(app)
    exchange = ask(taking, post(3))
    assert not app.asked
    exchange.come(b"a=b")
    assert exchange.text == b"a=b"
    assert app.asked[0][1] == get_ident()


@pytest.mark.parametrize(
    "scope",
    [
        Scope(query_string="q" * (LONG_QUERY + 1)),
        post(LONG_BODY + 1),
        post(3, ("content-type", "t" * (LONG_BODY + 1))),
    ],
)
def test_what_is_long_is_answered_apart_one_by_one(scope: Scope) -> None:
    """Reading it may be much work, for which nobody else is to wait."""

    def answer(environ: "WSGIEnvironment") -> bytes:
        if environ[AT_ONCE]:
            raise MustWait
        return b"later"

    app = App(answer)
    taking = gateway(app)
    for _ in range(2):
        exchange = ask(taking, scope, b"a=b", b"")
        assert exchange.text == b"later"
    (first, one), (_, later), (second, same), _ = app.asked
    assert first[AT_ONCE]
    assert second[AT_ONCE]
    assert one == same
    assert len({get_ident(), one, later}) == 3


def test_an_error_that_cannot_be_told_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise OSError

    monkeypatch.setattr("authserver.web.server.gateway.log.error", fail)
    assert ask(gateway(App(fail)), Scope()).status == 500


def test_a_short_body_is_there_for_whoever_waits() -> None:
    def answer(environ: "WSGIEnvironment") -> bytes:
        body = read(environ)
        if environ[AT_ONCE]:
            raise MustWait
        return body

    exchange = ask(gateway(App(answer)), post(3))
    exchange.come(b"a=b")
    assert exchange.text == b"a=b"


@pytest.mark.parametrize(
    "scope",
    [
        post(MAX_BYTES + 1),
        post("9" * 30),
        post("-1"),
        Scope("POST", headers=(("transfer-encoding", "chunked"),)),
        Scope("POST"),
    ],
)
def test_other_bodies_are_read_piece_by_piece_elsewhere(scope: Scope) -> None:
    app = App(lambda environ: bytes(environ["wsgi.input"].read()))
    assert ask(gateway(app), scope, b"a=", b"b", b"").text == b"a=b"
    assert app.asked[0][1] != get_ident()


def answers(error: type[Exception]) -> Callable[["WSGIEnvironment"], bytes]:
    """Answer with the name of the error that reading raises."""

    def answer(environ: "WSGIEnvironment") -> bytes:
        with pytest.raises(error) as raised:
            read(environ)
        return type(raised.value).__name__.encode()

    return answer


def test_a_late_short_body_is_given_up() -> None:
    taking = gateway(App(answers(Exception)), seconds=-1)
    exchange = ask(taking, post(3))
    taking.give_up_late()
    assert exchange.text == b"RequestTimeout"
    taking.give_up_late()
    assert not exchange.come(b"too late")


def test_a_body_that_is_in_time_is_not_given_up() -> None:
    taking = gateway(App(read))
    exchange = ask(taking, post(3))
    taking.give_up_late()
    exchange.come(b"a=b")
    assert exchange.text == b"a=b"


def test_a_late_piece_is_given_up() -> None:
    exchange = ask(gateway(App(answers(Exception)), seconds=0.01), post(MAX_BYTES + 1), b"a")
    assert exchange.text == b"RequestTimeout"


@pytest.mark.parametrize("length", [3, 100_000])
def test_a_body_that_is_cut_off_is_an_error(length: int) -> None:
    exchange = ask(gateway(App(answers(Exception))), post(length), b"a", CutOff())
    assert exchange.text == b"BadRequest"


def test_one_client_has_so_many_bodies_under_way_and_no_more() -> None:
    def answer(environ: "WSGIEnvironment") -> bytes:
        try:
            return read(environ)
        except Exception as error:  # noqa: BLE001
            return type(error).__name__.encode()

    taking = gateway(App(answer), places=Slots(2, 1))
    first, second = ask(taking, post(3)), ask(taking, post(3))
    assert second.text == b"NotReady"
    first.come(b"a=b")
    third = ask(taking, post(3))
    third.come(b"c=d")
    assert (first.text, third.text) == (b"a=b", b"c=d")
    assert taking.places.taken == 0


@pytest.mark.parametrize("end", [lambda e: e.come(b"a=b"), lambda e: e.come(CutOff()), None])
def test_a_body_that_came_or_was_lost_leaves_nothing_behind(
    end: Callable[[Exchange], object] | None,
) -> None:
    """The real future keeps its callback, and is not seen by Python's collector."""

    def answer(environ: "WSGIEnvironment") -> bytes:
        try:
            return read(environ)
        except (BadRequest, RequestTimeout) as error:
            return type(error).__name__.encode()

    taking = gateway(App(answer), seconds=-1)
    exchange = ask(taking, post(3))
    assert exchange.awaited is not None
    callback, gone = exchange.awaited.callback, weakref.ref(exchange.awaited)
    if end is not None:
        end(exchange)
    else:
        taking.give_up_late()
        exchange.awaited = None
    assert exchange.status == 200
    assert callback is not None
    assert gone() is None


def test_a_short_body_may_come_in_pieces() -> None:
    app = App(read)
    exchange = ask(gateway(app), post(5))
    for piece in (b"a=", b"b", b"cd"):
        assert not app.asked
        exchange.come(piece)
    assert exchange.text == b"a=bcd"


ODD = {
    "two hosts": Scope(host=("a", "b")),
    "the same host twice": Scope(host=("a", "a")),
    "no host": Scope(host=()),
    "an empty host": Scope(host=("",)),
    "a host that is not ASCII": Scope(host=("ü",)),
}


@pytest.mark.parametrize("path", ["/token", "/other"])
@pytest.mark.parametrize("scope", ODD.values(), ids=ODD)
def test_what_servers_read_differently_is_refused_and_ends_the_connection(
    scope: Scope, path: str
) -> None:
    app = App()
    again = Scope()
    again |= scope | {"path": path, "raw_path": path.encode()}
    exchange = ask(gateway(app), again, b"a=b", b"")
    assert exchange.status == 400
    assert ("Connection", "close") in exchange.headers
    assert app.asked == []


@pytest.mark.parametrize("path", ["/token", "/other"])
def test_http_1_0_needs_no_host(path: str) -> None:
    app = App()
    assert ask(gateway(app), Scope(path=path, host=(), http_version="1")).status == 200
    assert ask(gateway(app), Scope(path=path, host=("a", "b"), http_version="1")).status == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/token", "/other"])
def test_after_a_body_in_chunks_the_connection_ends(method: str, path: str) -> None:
    """Granian leaves out a Content-Length that came with it: another server may go by that."""
    scope = Scope(method, path, headers=(("transfer-encoding", "chunked"),))
    exchange = ask(gateway(App()), scope, b"a=b", b"")
    assert exchange.status == 200
    assert ("Connection", "close") in exchange.headers


@pytest.mark.parametrize(
    "path",
    [
        "/token/..",
        "/api/v1/registries/../../../token",
        "/api/v1/registries/..%2f..%2F..%2ftoken",
        "/api/v1/registries/%2e%2e/%2E./token",
        "/a/./b",
        "/..",
        ".",
        "/%74oken",
        "/%61pi/v1/me",
        "/api%2fv1/me",
        "/api/v1%2Fme",
        "/api/v1/users%2falice",
        "/api/v1/users/%7E",
        "/api/v1/%75sers",
        "/prefix%2Fapi/v1/registries/a",
    ],
)
def test_another_spelling_of_a_path_is_refused(path: str) -> None:
    app = App()
    exchange = ask(gateway(app, slashed=("/api/v1/registries/",)), Scope(path=path))
    assert exchange.status == 400
    assert app.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/token/...",
        "/a/.b/c./..d",
        "/.well-known/jwks.json",
        "/api/v1/users/a%40b",
        "/api/v1/users/a%20b%C3%BC",
        "/api/v1/registries/a%2Fb",
        "/token%0a",
        "/%zz",
    ],
)
def test_what_must_be_encoded_may_be(path: str) -> None:
    app = App()
    exchange = ask(gateway(app, slashed=("/api/v1/registries/",)), Scope(path=path))
    assert exchange.status == 200


def test_the_event_loop_calls_back_at_once() -> None:
    called: list[object] = []
    loop = EventLoop()
    loop.call_soon(called.append, 1, context=None)
    loop.call_soon_threadsafe(called.append, 2, context=None)
    assert called == [1, 2]
