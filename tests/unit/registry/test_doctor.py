"""The doctor against servers that are slow, broken or hostile, and without any."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from authserver.core.errors import Refused
from authserver.core.signatures import HeaderMode
from authserver.keys import keyring
from authserver.registry.doctor import challenge, config_file
from authserver.registry.doctor.client_walk import WalkAccount
from authserver.registry.doctor.examination import Options, examine
from authserver.registry.doctor.expected import Expected, OwnAuthority
from authserver.registry.doctor.http import MAX_BODY, Fetcher, HttpAnswer, Remote, Unreachable

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Give the URL of a server that treats each connection with ``answer``."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65536)
                    answer(connection)
                except OSError:
                    continue

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def drips(connection: socket.socket) -> None:
    """Send one byte at a time, for as long as anybody listens."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    connection.settimeout(0.05)
    while True:
        connection.sendall(b"a")
        try:
            if not connection.recv(1):
                return
        except TimeoutError:
            continue


def says(text: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(text)


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"a" * 65536)


def test_a_server_that_drips_is_cut() -> None:
    began = time.monotonic()
    with serving(drips) as url, pytest.raises(Unreachable, match="does not answer within"):
        Fetcher(request_seconds=0.5).fetch(url)
    assert time.monotonic() - began < 9


def test_an_examination_ends_however_slow_the_registry_is() -> None:
    with serving(drips) as url:
        report = examine(ours(url), url, Options(request_seconds=0.3, all_seconds=0.5))
    assert not report.healthy
    finding = report.of("registry.reachable")
    assert finding is not None
    assert "does not answer" in finding.why


def test_no_request_is_sent_when_the_time_is_over() -> None:
    fetcher = Fetcher(all_seconds=0)
    with pytest.raises(Unreachable, match="was not asked"):
        fetcher.fetch("http://127.0.0.1:9")


def test_a_body_without_end_is_cut() -> None:
    with serving(endless) as url:
        assert len(Fetcher().fetch(url).body) == MAX_BODY


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-x\r\n", b"", b"HTTP/1.1 x\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200],
)
def test_an_answer_that_is_not_http_is_reported(answer: bytes) -> None:
    with serving(says(answer)) as url, pytest.raises(Unreachable) as caught:
        Fetcher().fetch(url)
    assert caught.value.cure


def test_a_redirect_is_not_followed() -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with serving(says(redirect)) as url:
        assert Fetcher().fetch(url).status == 302


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "file:///etc/passwd",
        "http://",
        "ftp://a",
        "http://u:p@a",
        "http://[::1",
        "http://a:b",
        "http://a b/",
        "http://a\r\nX: y/",
        "http://\u00e9/",
        "gopher://a",
    ],
)
def test_only_plain_urls_are_asked(url: str) -> None:
    with pytest.raises(Refused):
        Remote.at(url, Fetcher())


# A registry that names a realm which is not ours


def ours(realm: str) -> Expected:
    authority = keyring.make_authority("authserver", datetime.now(UTC))
    leaf = keyring.make_leaf(authority, datetime.now(UTC))
    known = (OwnAuthority(1, authority),)
    return Expected(
        "registry", realm, "authserver", HeaderMode.X5C, leaf, known, lambda: datetime.now(UTC)
    )


@pytest.mark.parametrize("follow", [True, False])
def test_a_foreign_realm_is_asked_only_for_an_operator(follow: bool) -> None:
    asked: list[bytes] = []

    def inside(connection: socket.socket) -> None:
        asked.append(b"asked")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with serving(inside) as secret:
        head = f'WWW-Authenticate: Bearer realm="{secret}/x",service="registry"'
        refusal = f"HTTP/1.1 401 No\r\n{head}\r\nContent-Length: 0\r\n\r\n".encode()
        with serving(says(refusal)) as url:
            account = WalkAccount("alice", "secret")
            options = Options(account=account, repository="a", ask_foreign_realm=follow)
            report = examine(ours("http://127.0.0.1:9/token"), url, options)
    assert bool(asked) is follow
    assert not report.healthy
    assert "secret" not in str(report.as_json()).replace(secret, "")


# One that verifies nothing


class Credulous(BaseHTTPRequestHandler):
    """Asks for a token, and takes any."""

    def do_GET(self) -> None:
        shown = "Authorization" in self.headers
        self.send_response(200 if shown else 401)
        if not shown:
            self.send_header("WWW-Authenticate", 'Bearer realm="http://x/token",service="registry"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_server_that_accepts_any_token_trusts_no_authority() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Credulous) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        report = examine(ours("http://x/token"), url, Options())
        server.shutdown()
        thread.join()
    finding = report.of("token.forged")
    assert finding is not None
    assert finding.status == "failed"
    assert not report.authorities
    assert not report.modes


# Reading what it says


def answered(status: int = 401, **headers: str) -> HttpAnswer:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return HttpAnswer(status, message, b"")


@pytest.mark.parametrize(
    ("header", "realm", "service"),
    [
        ('Bearer realm="https://a/token",service="b"', "https://a/token", "b"),
        ('bearer service="b" , realm="x"', "x", "b"),
        (r'Bearer realm="a\"b",service="c"', 'a"b', "c"),
        ("Bearer", "", ""),
        ('Bearer realm="' + "a" * 100_000, "", ""),
    ],
)
def test_a_challenge_is_read(header: str, realm: str, service: str) -> None:
    found = challenge.parse(answered(WWW_Authenticate=header).headers)
    assert found is not None
    assert (found.realm, found.service) == (realm, service)


@pytest.mark.parametrize("header", ['Basic realm="x"', "", "Bearerx a"])
def test_only_bearer_challenges_are_read(header: str) -> None:
    assert challenge.parse(answered(WWW_Authenticate=header).headers) is None


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        ("Sun, 01 Mar 2026 00:01:00 GMT", timedelta(minutes=1)),
        ("Sat, 28 Feb 2026 23:59:00 GMT", timedelta(minutes=-1)),
        ("yesterday", None),
        ("", None),
    ],
)
def test_the_clock_is_read_from_the_date(date: str, ahead: timedelta | None) -> None:
    assert challenge.clock_difference(answered(Date=date), NOW) == ahead


@pytest.mark.parametrize(
    ("seconds", "status"), [(30, "passed"), (-30, "passed"), (31, "failed"), (-31, "failed")]
)
def test_clocks_may_differ_by_half_of_what_registries_allow(seconds: int, status: str) -> None:
    assert challenge.check_clock(timedelta(seconds=seconds)).status == status


@pytest.mark.parametrize("text", [b"a: [", b"\xff", b"- a", b"[" * 100_000, b"!!python/name:os"])
def test_an_invalid_registry_configuration_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "config.yml"
    path.write_bytes(text)
    with pytest.raises(Refused, match=r"config\.yml"):
        config_file.read(path)
