"""No exchange outlives its answer: connections whose body nobody reads do not hang."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fetching import Answer, curl
from tests.e2e.lab import installation
from tests.e2e.nginx import certificate, configured, site
from tests.programs import free_port, require, running

pytestmark = pytest.mark.e2e

ANSWERED_WITHIN = "20"
"""Seconds; nginx gives a server of ours 30."""

LONG = "a=" + 9000 * "b"
STRANGERS = {
    "PUT": ("--request", "PUT", "/invitation"),
    "a line break": ("/token%0a",),
    "nothing there": ("/nothing",),
}


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Serve with one worker; give the port."""
    port = free_port()
    served = installation(tmp_path_factory.mktemp("served") / "data", port)
    with served.serving(port, "--workers", "1"):
        yield port


def everything(port: int, inside: int) -> str:
    """Return the configuration of an nginx that passes on whatever it gets."""
    return (
        f"upstream authserver {{ server 127.0.0.1:{inside}; keepalive 16; }}"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://authserver;"
        'proxy_http_version 1.1; proxy_set_header Connection ""; } }'
    )


@pytest.fixture(params=["shipped", "everything"])
def base(request: pytest.FixtureRequest, tmp_path: Path, inside: int) -> Iterator[tuple[str, ...]]:
    """Give what curl needs to ask through nginx; the last is the URL without a path."""
    require("nginx", "openssl", "curl")
    tmp_path.chmod(0o755)
    port = free_port()
    cert, key = certificate(tmp_path)
    if request.param == "shipped":
        nginx = configured(tmp_path, site(port, f"127.0.0.1:{inside}", inside, cert, key))
        url = f"https://localhost:{port}"
    else:
        nginx, url = configured(tmp_path, everything(port, inside)), f"http://127.0.0.1:{port}"
    with running(nginx, f"{url}/token", tmp_path / "nginx.log", certificate=cert):
        yield "--max-time", ANSWERED_WITHIN, "--cacert", str(cert), url


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_what_a_stranger_sends_through_nginx_hangs_nobody_elses_request(
    base: tuple[str, ...], stranger: tuple[str, ...]
) -> None:
    *how, url = base

    def ask(*args: str) -> Answer:
        *more, path = args
        return curl(*how, *more, url + path)

    for _ in range(4):
        # Another status is nginx's: it may find the connection closed while it still sends.
        refused = ask("--header", "Expect:", "--data", LONG, *stranger)
        assert refused.status in {404, 405, 502}
        assert ask("/token?service=registry").status == 200


@pytest.mark.parametrize("path", ["/invitation", "/token", "/nothing"])
def test_a_connection_that_is_to_be_closed_is_closed_though_its_body_was_not_read(
    inside: int, path: str
) -> None:
    request = (
        f"PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    )
    with socket.create_connection(("127.0.0.1", inside), timeout=20) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 405 "))
