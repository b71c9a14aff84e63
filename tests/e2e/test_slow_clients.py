"""Clients that take their time: they are hung up on, and hold nobody else up."""

import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from authserver.web.server.gateway import ARRIVING_EACH, THREADS
from tests.e2e.fetching import ask_for_token, curl
from tests.e2e.lab import ADMIN, installation
from tests.programs import free_port, require

pytestmark = pytest.mark.e2e

POST = b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"

SLOW = {
    "says nothing": b"",
    "stays in the request line": b"GET /tok",
    "stays in the headers": b"GET /token HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "stays connected after an answer": b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "stays in the body": POST + b"Content-Length: 100\r\n\r\ngrant_type=",
    "stays in a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe",
}
TRICKLE_EVERY = 0.2
HANGS_UP_SECONDS = 60.0


def seconds_until_hung_up(port: int, sent: bytes) -> float:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=HANGS_UP_SECONDS) as connection:
        connection.sendall(sent)
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass
    return time.monotonic() - begun


def seconds_while_trickling(port: int) -> float:
    """Send a body byte by byte until nobody takes it any more."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=HANGS_UP_SECONDS) as connection:
        connection.sendall(POST + b"Content-Length: 60000\r\n\r\n")
        try:
            while time.monotonic() - begun < HANGS_UP_SECONDS:
                connection.sendall(b"a")
                time.sleep(TRICKLE_EVERY)
        except OSError:
            pass
    return time.monotonic() - begun


def seconds_while_reading_nothing(port: int) -> float:
    """Send requests until nobody takes them any more; read no answer."""
    begun = time.monotonic()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(HANGS_UP_SECONDS)
        connection.bind(("127.0.0.3", 0))
        connection.connect(("127.0.0.1", port))
        try:
            while time.monotonic() - begun < HANGS_UP_SECONDS:
                connection.sendall(100 * b"GET /bundle.pem HTTP/1.1\r\nHost: x\r\n\r\n")
        except OSError:
            pass
    return time.monotonic() - begun


def log_in_from_elsewhere(port: int, *more: str) -> int:
    """POST from another address than the slow clients have; return the status."""
    form = f"grant_type=password&username={ADMIN[0]}&client_id=c&service=registry"
    answer = curl(
        *more, "--interface", "127.0.0.7", "--data", form,
        "--data-urlencode", f"password={ADMIN[1]}", f"http://127.0.0.1:{port}/token",
    )  # fmt: skip
    return answer.status


def test_slow_clients_are_hung_up_on_and_hold_nobody_up(
    tmp_path: Path, program: Sequence[str]
) -> None:
    port = free_port()
    authserver = installation(tmp_path / "data", port, program)
    authserver.env["AUTHSERVER_CONNECTIONS_PER_ADDRESS"] = "0"
    with authserver.serving(port, "--workers", "1"):
        # More of each kind than there are threads to be held, or places to be taken.
        many = max(THREADS, ARRIVING_EACH) + 1
        clients = [sent for sent in SLOW.values() for _ in range(many)]
        with ThreadPoolExecutor(len(clients) + 4) as pool:
            trickling = [pool.submit(seconds_while_trickling, port) for _ in range(2)]
            unread = [pool.submit(seconds_while_reading_nothing, port) for _ in range(2)]
            waiting = [pool.submit(seconds_until_hung_up, port, sent) for sent in clients]
            realm = f"http://127.0.0.1:{port}/token"
            assert ask_for_token(realm, auth=ADMIN).status == 200
            assert log_in_from_elsewhere(port) == 200
            assert any(not client.done() for client in waiting)
            slow = [*waiting, *trickling, *unread]
            assert max(client.result() for client in slow) < HANGS_UP_SECONDS
            assert log_in_from_elsewhere(port) == 200


def test_one_address_does_not_take_all_connections_though_there_are_few_descriptors(
    tmp_path: Path, program: Sequence[str]
) -> None:
    require("prlimit", "curl")
    port = free_port()
    authserver = installation(tmp_path / "data", port, program)
    authserver.program = ("prlimit", "--nofile=256:256", *authserver.program)
    with ExitStack() as held, authserver.serving(port, "--workers", "1") as server:
        (worker,) = server.workers
        for _ in range(300):
            client = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.3", 0))
            held.enter_context(client)
        # Those that say nothing are hung up on later than that.
        assert log_in_from_elsewhere(port, "--max-time", "8") == 200
        assert len(list(Path(f"/proc/{worker}/fd").iterdir())) < 256
        assert "too many connections from an address" in server.output()
