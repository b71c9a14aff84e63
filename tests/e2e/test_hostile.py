"""Ten thousand hostile requests on raw sockets, and the server after them."""

import base64
import random
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from authserver.web.bodies import MAX_BYTES
from tests.e2e.fetching import ask_for_token
from tests.e2e.lab import ADMIN, installation
from tests.programs import free_port

pytestmark = pytest.mark.e2e

REQUESTS = 10_000
SEED = 20_261_124
MEMORY_MAY_GROW = 1.25
CUT_OFF = 10_000
CUT_OFF_MAY_GROW = 1.05

Make = Callable[[random.Random], bytes]


def noise(r: random.Random, size: int) -> bytes:
    return r.randbytes(r.randrange(1, size))


def visible(r: random.Random, size: int) -> bytes:
    """Return noise without what would end a line."""
    return re.sub(rb"[\r\n]", b"x", noise(r, size))


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((line, b"Host: localhost", b"Connection: close", *headers, b"", body))


def get(query: bytes, *headers: bytes) -> bytes:
    return request(b"GET /token?" + query + b" HTTP/1.1", *headers)


def authorization(value: bytes) -> bytes:
    return b"Authorization: " + value


def methods(r: random.Random) -> bytes:
    method = r.choice(
        [b"PUT", b"DELETE", b"TRACE", b"CONNECT", b"PATCH", b"get", b"G\x00T", b"X" * 99]
    )
    return request(method + b" /token HTTP/1.1")


def versions(r: random.Random) -> bytes:
    return request(
        b"GET /token HTTP/" + r.choice([b"0.9", b"1.0", b"1.2", b"2.0", b"9.9", b"x", b""])
    )


def bad_base64(r: random.Random) -> bytes:
    value = r.choice(
        [visible(r, 60), base64.b85encode(noise(r, 60)), base64.b64encode(noise(r, 60))]
    )
    return get(b"service=registry", authorization(b"Basic " + value))


def bad_passwords(r: random.Random) -> bytes:
    name = r.choice([b"admin", b"nobody", b"", b"<token>", visible(r, 20)])
    secret = r.choice([b"", b"x" * 5000, b"a\x00b", visible(r, 99), b"\xff\xfe"])
    return get(
        b"service=registry", authorization(b"Basic " + base64.b64encode(name + b":" + secret))
    )


def other_schemes(r: random.Random) -> bytes:
    value = r.choice(
        [b"Bearer x", b"Digest a=b", b"Negotiate", b"", b"Basic", b"basic ", b"\xffBasic"]
    )
    return get(b"service=registry", authorization(value))


def two_authorizations(r: random.Random) -> bytes:
    good = b"Basic " + base64.b64encode(":".join(ADMIN).encode())
    return get(
        b"service=registry", authorization(good), authorization(r.choice([good, b"Basic x"]))
    )


def scopes(r: random.Random) -> bytes:
    # The query is decoded; a percent sign begins what it likes.
    return get(
        b"service=registry&scope=" + re.sub(rb"[\x00-\x20&#\x7f-\xff]", b"%", visible(r, 300))
    )


def many_scopes(r: random.Random) -> bytes:
    return get(b"&".join([b"scope=repository:a/b:pull"] * r.choice([201, 1000, 2500])))


def five_thousand_scopes(r: random.Random) -> bytes:
    return get(b"&".join(b"scope=repository:r%d:pull" % n for n in range(5000 + r.randrange(5))))


def long_lines(r: random.Random) -> bytes:
    return get(b"service=" + b"a" * r.choice([9_000, 60_000, 70_000, 200_000]))


def many_headers(r: random.Random) -> bytes:
    return get(b"", *(b"X-%d: y" % n for n in range(r.choice([50, 150, 5000]))))


def large_headers(r: random.Random) -> bytes:
    return get(b"", b"X-Large: " + b"a" * r.choice([9_000, 100_000, 1_000_000]))


def large_bodies(r: random.Random) -> bytes:
    body = b"grant_type=password&password=" + b"a" * r.choice([70_000, 1_000_000])
    return request(b"POST /token HTTP/1.1", b"Content-Length: %d" % len(body), body=body)


def wrong_lengths(r: random.Random) -> bytes:
    length = r.choice([b"-1", b"99999999999999999999", b"x", b"5, 6", b"0x5"])
    return request(b"POST /token HTTP/1.1", b"Content-Length: " + length, body=b"hello")


def chunk_tricks(r: random.Random) -> bytes:
    body = r.choice(
        [b"zz\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"-5\r\nx", b"5;" + b"a" * 999, b"FFFFFFFFF\r\n"]
    )
    return request(b"POST /token HTTP/1.1", b"Transfer-Encoding: chunked", body=body)


def smuggling(r: random.Random) -> bytes:
    both = (
        b"Content-Length: 4",
        b"Transfer-Encoding: " + r.choice([b"chunked", b"xchunked", b"chunked, x"]),
    )
    return request(b"POST /token HTTP/1.1", *both, body=b"0\r\n\r\nGET /token HTTP/1.1\r\n\r\n")


def paths(r: random.Random) -> bytes:
    path = r.choice(
        [b"/../etc/passwd", b"//token", b"/token%00", b"/token/..", b"*", b"http://x/token"]
    )
    return request(b"GET " + path + b" HTTP/1.1")


def nonsense(r: random.Random) -> bytes:
    return noise(r, 400) + b"\r\n\r\n"


def nul_and_line_folds(r: random.Random) -> bytes:
    return get(b"", r.choice([b"X: a\x00b", b"X: a\r\n b", b"X : a", b": a", b"X", b"\x00: a"]))


KINDS: tuple[tuple[Make, int], ...] = (
    (methods, 10), (versions, 5), (bad_base64, 12), (bad_passwords, 12), (other_schemes, 8),
    (two_authorizations, 5), (scopes, 15), (many_scopes, 3), (five_thousand_scopes, 1),
    (long_lines, 3), (many_headers, 2), (large_headers, 1), (large_bodies, 1), (wrong_lengths, 5),
    (chunk_tricks, 4), (smuggling, 4), (paths, 6), (nonsense, 6), (nul_and_line_folds, 5),
)  # fmt: skip

FORM = b"Content-Type: application/x-www-form-urlencoded"

UNFINISHED = (versions, wrong_lengths, chunk_tricks, smuggling, nonsense, nul_and_line_folds)
"""A server may wait for the rest of these, so we say that there is none."""

CREDENTIALS = (bad_base64, bad_passwords, other_schemes, two_authorizations)


def hostile(count: int) -> Iterator[tuple[Make, bytes]]:
    r = random.Random(SEED)
    makes, weights = zip(*KINDS, strict=True)
    for make in r.choices(makes, weights, k=count):
        yield make, make(r)


def exchange(port: int, sent: bytes, *, finished: bool) -> bytes:
    """Send bytes and return all that comes back; say that there are no more if unfinished."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(sent)
            if not finished:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
        except (ConnectionError, OSError):
            pass  # It has hung up on us, as it may.
    return bytes(received)


def resident(pids: list[int]) -> int:
    """Return the resident memory of some processes in KiB."""
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) for text in status)


def test_hostile_requests_get_no_token_and_do_no_harm(
    tmp_path: Path, program: Sequence[str]
) -> None:
    port = free_port()
    authserver = installation(tmp_path / "data", port, program)
    statuses: Counter[bytes] = Counter()
    with authserver.serving(port, "--workers", "2") as server:
        workers = server.workers
        for number, (make, sent) in enumerate(hostile(REQUESTS)):
            answer = exchange(port, sent, finished=make not in UNFINISHED)
            status = answer[9:12]
            statuses[status] += 1
            assert not status.startswith(b"5"), (make.__name__, sent[:300], answer[:300])
            if make in CREDENTIALS:
                assert b'"token"' not in answer, (make.__name__, sent[:300])
            if number == REQUESTS // 5:
                settled = resident(workers)
        assert resident(workers) < settled * MEMORY_MAY_GROW
        assert server.workers == workers
        assert ask_for_token(f"http://127.0.0.1:{port}/token", auth=ADMIN).status == 200
    assert "Traceback" not in server.output()
    assert "unexpected error" not in server.output()
    assert {b"200", b"400", b"401", b"405"} <= statuses.keys()
    # Most of it must have come as far as the application.
    assert statuses[b"401"] + statuses[b"200"] + statuses[b"405"] > REQUESTS / 4, statuses


def test_bodies_that_are_cut_off_are_refused_and_leave_nothing(
    tmp_path: Path, program: Sequence[str]
) -> None:
    port = free_port()
    authserver = installation(tmp_path / "data", port, program)
    authserver.env["AUTHSERVER_REQUESTS_PER_ADDRESS"] = "0"  # all come from here
    form = b"grant_type=refresh_token&client_id=c&service=registry&refresh_token=x"
    chunked = b"%x\r\n%s\r\n" % (len(form), form)
    whole = (
        (b"Content-Length: %d" % len(form), form),
        (b"Transfer-Encoding: chunked", chunked + b"0\r\n\r\n"),
    )
    cut = (
        (b"Content-Length: %d" % (len(form) + 1), form),
        (b"Content-Length: %d" % (MAX_BYTES + 1), form),
        (b"Transfer-Encoding: chunked", chunked),
        (b"Transfer-Encoding: chunked", chunked + b"x\r\n"),
    )

    def post(length: bytes, body: bytes) -> bytes:
        sent = request(b"POST /token HTTP/1.1", FORM, length, body=body)
        return exchange(port, sent, finished=(length, body) in whole)[9:12]

    with authserver.serving(port, "--workers", "1") as server:
        assert [post(*one) for one in whole] == [b"401"] * len(whole)
        assert [post(*one) for one in cut] == [b"400"] * len(cut)
        for number in range(CUT_OFF):
            assert post(*cut[number % len(cut)]) == b"400"
            if number == CUT_OFF // 5:
                settled = resident(server.workers)
        assert resident(server.workers) < settled * CUT_OFF_MAY_GROW
