"""What only the real server can show: raw bytes on the wire, and what it writes to its log."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import stores
from tests.programs import Authserver, Process, free_port
from tests.world import ADMIN, PASSWORD, basic

GOOD = basic(ADMIN, PASSWORD).encode()
SESAME = "open-sesame"


@dataclass
class Wire:
    """A server with one worker, spoken to in bytes."""

    port: int
    process: Process

    def send(self, *headers: bytes, line: bytes = b"GET /token?service=registry") -> str:
        request = [
            line + b" HTTP/1.1",
            b"Host: localhost",
            b"Connection: close",
            *headers,
        ]
        return self.say(b"\r\n".join([*request, b"", b""]))

    def say(self, sent: bytes) -> str:
        """Return all that is answered until the server hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


@pytest.fixture(scope="module")
def wire(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    data_dir = tmp_path_factory.mktemp("served") / "data"
    stores.copied(template, data_dir)
    port = free_port()
    with Authserver(data_dir).serving(port, "--workers", "1") as process:
        yield Wire(port, process)


def status(answer: str) -> int:
    return int(answer.split(" ", 2)[1])


def body(answer: str) -> str:
    return answer.partition("\r\n\r\n")[2]


REFUSED = {
    "empty": [b"Authorization:"],
    "blank": [b"Authorization: "],
    "Latin-1": [b"Authorization: Basic \xe9\xe8"],
    "UTF-8": ["Authorization: Basic é".encode()],
    "twice": [b"Authorization: " + GOOD] * 2,
    "good, then bad": [b"Authorization: " + GOOD, b"Authorization: Basic x"],
    "bad, then good": [b"Authorization: Basic x", b"Authorization: " + GOOD],
    "good, then empty": [b"Authorization: " + GOOD, b"Authorization:"],
    "good, then not ASCII": [b"Authorization: " + GOOD, b"Authorization: \xe9"],
    "not ASCII, then good": [b"Authorization: \xe9", b"Authorization: " + GOOD],
    "empty, then good": [b"Authorization:", b"Authorization: " + GOOD],
    "wrong password": [b"Authorization: " + basic(ADMIN, "wrong").encode()],
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED.keys())
def test_a_header_that_is_there_and_not_good_is_never_anonymous(
    wire: Wire, headers: list[bytes]
) -> None:
    answer = wire.send(*headers)
    assert status(answer) == 401
    assert "eyJ" not in answer
    assert body(answer) == body(wire.send(b"Authorization: Bearer x"))


FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
POST = b"POST /token HTTP/1.1\r\nHost: localhost\r\n" + FORM
LENGTH = b"Content-Length: 3\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
AMBIGUOUS = {
    "two hosts": b"GET /token HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two hosts of which one is not ASCII": b"GET /token HTTP/1.1\r\nHost: a\r\nHost: \xe9\r\n\r\n",
    "no host": b"GET /token HTTP/1.1\r\n\r\n",
    "no host elsewhere": b"GET /readyz HTTP/1.1\r\n\r\n",
    "two lengths": POST + LENGTH + b"Content-Length: 4\r\n\r\na=bc",
    "chunks that are not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_servers_read_differently_is_refused_and_nothing_after_it_is_read(
    wire: Wire, sent: bytes
) -> None:
    answer = wire.say(sent + SMUGGLED)
    assert status(answer) == 400
    assert answer.count("HTTP/1.1 ") == 1


@pytest.mark.parametrize("length", [CHUNKS, LENGTH + CHUNKS, CHUNKS + LENGTH])
def test_nothing_after_chunks_is_read(wire: Wire, length: bytes) -> None:
    answer = wire.say(POST + length + b"\r\n3\r\na=b\r\n0\r\n\r\n" + SMUGGLED)
    assert status(answer) == 400
    assert "grant_type" in body(answer)
    assert answer.count("HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "path",
    [
        b"/api/v1/registries/..%2f..%2f..%2ftoken",
        b"/api/v1/registries/../../../token",
        b"/api%2fv1/me",
        b"/%61pi/v1/me",
        b"/%74oken",
    ],
)
def test_a_path_has_one_spelling(wire: Wire, path: bytes) -> None:
    answer = wire.send(b"Authorization: " + GOOD, line=b"GET " + path)
    assert status(answer) == 400
    (error,) = json.loads(body(answer))["errors"]
    assert error["code"] == "BAD_REQUEST"
    assert "x-request-id: " in answer.lower()


def test_a_registry_may_have_an_encoded_slash(wire: Wire) -> None:
    path = b"/api/v1/registries/a%2Fb"
    answer = wire.send(b"Authorization: " + GOOD, line=b"GET " + path)
    assert status(answer) == 404
    assert "a/b" in body(answer)


def test_a_good_header_gets_a_token_whatever_the_headers_name_looks_like(wire: Wire) -> None:
    for name in (b"Authorization: ", b"authorization:", b"AUTHORIZATION:   "):
        assert status(wire.send(name + GOOD)) == 200


def test_12_kib_of_encoded_scopes_get_through(wire: Wire) -> None:
    scope = b"%61" * 12 * 1024
    assert status(wire.send(line=b"GET /token?scope=" + scope)) == 200
    assert status(wire.send(line=b"GET /token?scope=" + scope + b"a")) == 400


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS", b"PUT", b"FOO"])
def test_another_method_is_not_allowed_on_the_wire_either(wire: Wire, method: bytes) -> None:
    answer = wire.send(line=method + b" /token/")
    assert status(answer) == 405
    assert "\r\nallow: get, post\r\n" in answer.lower()


def test_the_log_and_the_records_say_why_and_hold_no_secret(data_dir: Path) -> None:
    installation, port = Authserver(data_dir, {"AUTHSERVER_LOG_FORMAT": "json"}), free_port()
    with installation.serving(port, "--workers", "1") as process:
        wire = Wire(port, process)
        for auth in ((ADMIN, SESAME), (SESAME, "x")):
            wire.send(b"Authorization: " + basic(*auth).encode())
        wire.send(b"Authorization: Bearer " + SESAME.encode())
        wire.send(b"Authorization: " + GOOD, line=b"GET /token?scope=repository:a:fly")
    lines = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
    reasons = {line["request_id"]: line["reason"] for line in lines if "reason" in line}
    assert [reason.partition(":")[0] for reason in reasons.values()] == [
        "wrong password",
        "unknown account",
        "malformed credentials",
        "repository",
    ]
    found = installation.run("audit", "list", "--kind", "token", "--json").stdout
    assert {r["request_id"]: r["reason"] for r in json.loads(found) if r["reason"]} == reasons
    for secret in (SESAME, PASSWORD, GOOD.decode()[6:]):
        assert secret not in process.output()
        assert secret not in found
