"""A Unix socket in the place of a port: who may connect, and whose address is recorded."""

import json
import signal
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.fetching import Answer, curl
from tests.e2e.lab import ADMIN, installation
from tests.programs import Authserver, Process, alive, free_port, require, running
from tests.world import wait_until

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Served:
    """A server on a Unix socket."""

    authserver: Authserver
    process: Process
    socket: Path

    def ask(self, *options: str, name: str = ADMIN[0]) -> Answer:
        return curl(
            *("--unix-socket", str(self.socket), "--user", f"{name}:{ADMIN[1]}", *options),
            "http://localhost/token?service=registry",
        )

    def recorded(self, client: str) -> list[str]:
        """Return the addresses that the records of a client's requests have."""
        found = self.authserver.run("audit", "list", "--kind", "token", "--json").stdout
        return [record["address"] for record in json.loads(found) if record["client"] == client]

    def address(self, client: str, *options: str) -> str:
        """Ask as ``client`` and return the address that is recorded."""
        assert self.ask("--user-agent", client, *options).status == 200
        assert wait_until(lambda: self.recorded(client), 10)
        return self.recorded(client)[0]


@contextmanager
def serving(authserver: Authserver, path: Path) -> Iterator[Served]:
    authserver.env["AUTHSERVER_UNIX_SOCKET"] = str(path)
    command = [*authserver.program, "serve", "--workers", "2"]
    log = path.parent / "authserver.log"
    with running(command, f"unix://{path}", log, authserver.environ) as process:
        yield Served(authserver, process, path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, program: Sequence[str]) -> Iterator[Served]:
    require("curl")
    place = tmp_path_factory.mktemp("unix")
    installed = installation(place / "data", free_port(), program)
    with serving(installed, place / "authserver.sock") as made:
        yield made


def test_tokens_are_served_and_health_is_asked_on_it(served: Served) -> None:
    assert served.ask().status == 200
    assert served.authserver.run("health").stdout == "ok\n"
    assert f"unix:{served.socket}" in served.process.output()


def test_its_permissions_are_the_ones_that_were_set(served: Served) -> None:
    assert stat.S_IMODE(served.socket.stat().st_mode) == 0o660


def test_the_address_is_the_one_that_the_proxy_wrote_last(served: Served) -> None:
    header = "X-Forwarded-For: 192.0.2.1, 198.51.100.7"
    assert served.address("told", "--header", header) == "198.51.100.7"


def test_without_the_header_the_address_is_unknown(served: Served) -> None:
    assert served.address("untold") == "unknown"
    assert served.address("garbled", "--header", "X-Forwarded-For: x") == "unknown"


def test_a_second_server_is_refused_and_the_socket_of_a_killed_one_is_replaced(
    tmp_path: Path, program: Sequence[str]
) -> None:
    made, path = installation(tmp_path / "data", free_port(), program), tmp_path / "a.sock"
    with serving(made, path) as first:
        second = made.run("serve", check=False)
        assert second.returncode == 1
        assert f"cannot listen on unix:{path}: Address already in use" in second.stderr
        assert first.ask().status == 200
        workers = first.process.workers
        first.process.stop(signal.SIGKILL)
        assert wait_until(lambda: not any(map(alive, workers)), 20)
    assert path.is_socket()
    with serving(made, path) as again:
        assert again.ask().status == 200
        again.process.stop()
        assert not path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path, data_dir: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("keep me")
    made = Authserver(data_dir, {"AUTHSERVER_UNIX_SOCKET": str(path)})
    done = made.run("serve", check=False)
    assert done.returncode == 1
    assert "it is there and no socket" in done.stderr
    assert path.read_text() == "keep me"


def test_a_directory_that_is_not_there_is_named(tmp_path: Path, data_dir: Path) -> None:
    path = tmp_path / "missing" / "a.sock"
    done = Authserver(data_dir, {"AUTHSERVER_UNIX_SOCKET": str(path)}).run("serve", check=False)
    assert done.returncode == 1
    assert f"cannot listen on unix:{path}: No such file or directory" in done.stderr
    assert "AUTHSERVER_UNIX_SOCKET" in done.stderr
