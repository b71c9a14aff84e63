"""The rate limit of a server that runs: a flood from one address, and what others notice."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection

import pytest

from authserver.web.server.front import BURST
from tests.e2e.fetching import fetch
from tests.e2e.lab import installation
from tests.programs import free_port

pytestmark = pytest.mark.e2e

ELSEWHERE = "127.0.0.7"
RATE = 5


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    made = installation(tmp_path_factory.mktemp("rate") / "data", port)
    made.env["AUTHSERVER_REQUESTS_PER_ADDRESS"] = str(RATE)
    with made.serving(port, "--workers", "1"):
        yield port


@pytest.mark.parametrize(("method", "path"), [("GET", "/token"), ("POST", "/token"), ("GET", "/x")])
def test_a_flood_from_one_address_is_answered_429_and_others_are_served(
    port: int, method: str, path: str
) -> None:
    statuses: Counter[int] = Counter()
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        while statuses[HTTPStatus.TOO_MANY_REQUESTS] < RATE * BURST:
            connection.request(method, path, body=b"x=y" if method == "POST" else None)
            answer = connection.getresponse()
            body = answer.read()
            statuses[answer.status] += 1
            assert statuses.total() < 50 * RATE * BURST, "this is never limited"
    assert answer.headers["Retry-After"] == "1"
    assert b"TOOMANYREQUESTS" in body
    assert fetch(f"http://127.0.0.1:{port}/livez").status == HTTPStatus.OK
    url = f"http://127.0.0.1:{port}/token?service=registry"
    assert fetch(url, source=ELSEWHERE).status == HTTPStatus.OK
