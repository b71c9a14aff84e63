"""The disk is full: who has an account gets tokens throughout, and the store recovers by itself."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.disks import MIB, Disk, small_disk
from tests.e2e.lab import installation
from tests.programs import Authserver, Process, free_port, running
from tests.world import basic, wait_until

pytestmark = pytest.mark.e2e

CLIENTS = 4
REQUESTS = 2000
"""Of each client: their records take more than is left on the disk."""


@pytest.fixture
def disk() -> Iterator[Disk]:
    with small_disk(64) as made:
        yield made


def requests(port: int, headers: dict[str, str], number: int, status: int) -> None:
    """Ask for so many tokens, one after the other; each must have this status."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for _ in range(number):
            connection.request("GET", "/token?service=registry", headers=headers)
            response = connection.getresponse()
            body = response.read()
            assert response.status == status, body


def at_once(port: int, headers: dict[str, str]) -> None:
    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = [clients.submit(requests, port, headers, REQUESTS, 200) for _ in range(CLIENTS)]
        for one in asked:
            one.result()


@contextmanager
def serving(installed: Authserver, port: int, log: Path) -> Iterator[Process]:
    """Serve with two workers, and a log that is not on the full disk."""
    command = installed.serve_command(port, "--workers", "2")
    ready = f"http://127.0.0.1:{port}/readyz"
    with running(command, ready, log, installed.environ) as process:
        yield process


def test_tokens_are_issued_while_the_disk_is_full_and_their_records_kept(
    disk: Disk, tmp_path: Path
) -> None:
    port = free_port()
    data_dir = disk.path / "data"
    installed = installation(data_dir, port)
    installed.env["AUTHSERVER_REQUESTS_PER_ADDRESS"] = "0"
    made = installed.run("token", "create", "admin", "--name", "ci", "--json")
    token = basic("admin", json.loads(made.stdout)["token"])
    kept = data_dir / "authserver.db.reserve"
    with serving(installed, port, tmp_path / "log") as server:
        assert wait_until(lambda: kept.exists() and kept.stat().st_size > MIB, 10)
        disk.fill(leaving=MIB)
        at_once(port, {"Authorization": token})
        assert "the store is full" in server.output()
        disk.fill()
        at_once(port, {"Authorization": token})
    assert number(installed) > 1000
    # It starts where there is no space at all.
    disk.fill()
    with serving(installed, port, tmp_path / "log"):
        requests(port, {"Authorization": token}, 100, 200)
    assert json.loads(installed.run("audit", "verify", "--json").stdout)["ok"]


def number(installed: Authserver) -> int:
    """Return how many requests of the token's account have a record, the latest among them."""
    found = installed.run("audit", "list", "--kind", "token", "--limit", "100000", "--json")
    return len(json.loads(found.stdout))
