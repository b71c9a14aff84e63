"""The admin API on a listener of its own in a real server: addresses, sockets, mutual TLS."""

import os
import signal
import socket
import ssl
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.fetching import curl, fetch
from tests.e2e.lab import ADMIN, KNOWN_GRANIAN, installation
from tests.programs import Authserver, Process, children, free_port, require, running
from tests.world import basic, wait_until

pytestmark = pytest.mark.e2e

ME = "/api/v1/me"
AUTH = {"Authorization": basic(*ADMIN)}
REPLACED_SECONDS = 60


@dataclass
class Served:
    """A server with an administration of its own."""

    authserver: Authserver
    port: int
    place: str
    process: Process | None = None

    @property
    def public(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def status(self) -> int | None:
        """Ask who is asking; return the status, None if nobody answers."""
        try:
            return fetch(f"http://{self.place}{ME}", headers=AUTH, seconds=5).status
        except OSError:
            return None

    @property
    def workers(self) -> set[int]:
        """Return the workers of this listener, which has its own where Granian is another one."""
        assert self.process is not None
        own = self.process.workers
        return {worker for pid in own for worker in children(pid)} or set(own)

    @property
    def ended(self) -> int:
        assert self.process is not None
        return self.process.stop()

    def says(self, text: str) -> bool:
        assert self.process is not None
        return text in self.process.output()


@contextmanager
def serving(place: Path, listen: str, program: Sequence[str], **env: str) -> Iterator[Served]:
    port = free_port()
    made = installation(place / "data", port, program)
    made.env |= {"AUTHSERVER_ADMIN_LISTEN": listen, **env}
    with made.serving(port, "--workers", "2") as process:
        yield Served(made, port, listen, process)


@pytest.fixture(scope="module")
def on_port(tmp_path_factory: pytest.TempPathFactory, program: Sequence[str]) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("port")
    with serving(place, f"127.0.0.1:{free_port()}", program) as made:
        yield made


def test_the_api_is_there_and_no_more_on_the_public_listener(on_port: Served) -> None:
    assert fetch(f"{on_port.public}{ME}", headers=AUTH).status == 404
    assert fetch(f"{on_port.public}/token?service=registry", headers=AUTH).status == 200
    there = fetch(f"http://{on_port.place}{ME}", headers=AUTH)
    assert (there.status, there.json()["name"]) == (200, ADMIN[0])
    assert fetch(f"http://{on_port.place}/token", headers=AUTH).status == 404
    assert on_port.says(f"http://{on_port.place}")


def test_without_the_setting_the_public_listener_has_the_api(tmp_path: Path) -> None:
    port = free_port()
    with installation(tmp_path / "data", port).serving(port, "--workers", "1"):
        assert fetch(f"http://127.0.0.1:{port}{ME}", headers=AUTH).status == 200


def test_a_request_in_flight_is_answered_before_the_server_ends(
    tmp_path: Path, program: Sequence[str]
) -> None:
    with serving(tmp_path, f"127.0.0.1:{free_port()}", program) as served:
        host, _, port = served.place.rpartition(":")
        head = (
            "PUT /api/v1/robots/ci HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {AUTH['Authorization']}\r\n"
            "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head.encode())
            # The body is being waited for.
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")
            assert served.process is not None
            served.process.inner.send_signal(signal.SIGTERM)
            assert wait_until(lambda: _refused(served.port), 20)
            connection.sendall(b"{}")
            assert connection.recv(1000).startswith(b"HTTP/1.1 201")
        assert served.ended == 0


def _refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_worker_that_is_replaced_has_it_too(tmp_path: Path) -> None:
    with serving(tmp_path, f"127.0.0.1:{free_port()}", KNOWN_GRANIAN) as served:
        process = served.process
        assert process is not None
        killed, stays = process.workers
        os.kill(killed, signal.SIGKILL)
        assert wait_until(lambda: len({*process.workers} - {killed}) == 2, 20)
        assert wait_until(lambda: served.status() == 200, 20)
        [new] = {*process.workers} - {killed, stays}
        os.kill(stays, signal.SIGSTOP)
        try:
            assert wait_until(lambda: served.status() == 200, 20), new
        finally:
            os.kill(stays, signal.SIGCONT)


def test_it_may_be_a_unix_socket(tmp_path: Path, program: Sequence[str]) -> None:
    require("curl")
    path = tmp_path / "admin.sock"
    with serving(tmp_path, f"unix:{path}", program, AUTHSERVER_UNIX_SOCKET_MODE="600") as served:
        options = ("--unix-socket", str(path), "--user", ":".join(ADMIN))
        assert curl(*options, f"http://localhost{ME}").status == 200
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert fetch(f"{served.public}{ME}", headers=AUTH).status == 404
        assert served.ended == 0
        assert not path.exists()


@pytest.mark.parametrize("form", ["127.0.0.1:{port}", "0.0.0.0:{port}"])
def test_the_public_listeners_place_is_not_taken_twice(
    tmp_path: Path, data_dir: Path, form: str
) -> None:
    port = free_port()
    environ = {"AUTHSERVER_ADMIN_LISTEN": form.format(port=port)}
    done = Authserver(data_dir, environ).run("serve", "--port", str(port), check=False)
    assert done.returncode == 1
    assert f"cannot listen on {form.format(port=port)}: Address already in use" in done.stderr
    assert "AUTHSERVER_ADMIN_LISTEN" in done.stderr


# Mutual TLS.


@dataclass
class Mutual:
    """A server whose administration wants certificates of ``clients``."""

    served: Served
    servers: Authority
    clients: Authority
    place: Path
    made: int = field(default=0)

    def certificate(self, authority: Authority) -> tuple[Path, Path]:
        self.made += 1
        files = self.place / f"client-{self.made}.pem", self.place / f"client-{self.made}.key"
        authority.certify(*files)
        return files

    def ask(self, authority: Authority | None) -> int:
        """Ask with a certificate from ``authority``; return the status."""
        context = ssl.create_default_context(cafile=self.servers.file)
        if authority is not None:
            context.load_cert_chain(*self.certificate(authority))
        connection = HTTPSConnection(self.served.place, timeout=20, context=context)
        try:
            connection.request("GET", ME, headers=AUTH)
            return connection.getresponse().status
        finally:
            connection.close()

    def refuses(self, authority: Authority | None) -> bool:
        try:
            self.ask(authority)
        except (ssl.SSLError, ConnectionResetError):
            return True
        return False


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, program: Sequence[str]) -> Iterator[Mutual]:
    place = tmp_path_factory.mktemp("mutual")
    servers, clients = Authority.make(place / "servers"), Authority.make(place / "clients")
    files = place / "tls.pem", place / "tls.key"
    servers.certify(*files)
    with serving(
        place,
        f"127.0.0.1:{free_port()}",
        program,
        AUTHSERVER_ADMIN_TLS_CERTIFICATE_FILE=str(files[0]),
        AUTHSERVER_ADMIN_TLS_KEY_FILE=str(files[1]),
        AUTHSERVER_ADMIN_CLIENT_CA_FILE=str(clients.file),
    ) as served:
        yield Mutual(served, servers, clients, place)


def test_only_clients_with_a_certificate_of_the_authority_get_in(mutual: Mutual) -> None:
    assert mutual.ask(mutual.clients) == 200
    assert mutual.refuses(None)
    assert mutual.refuses(mutual.servers)
    assert mutual.refuses(Authority.make(mutual.place / "foreign"))


def test_the_public_listener_stays_as_it_is(mutual: Mutual) -> None:
    url = f"{mutual.served.public}/token?service=registry"
    assert fetch(url, headers=AUTH).status == 200


def test_other_authorities_are_taken_while_serving(mutual: Mutual) -> None:
    old = mutual.clients
    assert mutual.ask(old) == 200
    mutual.clients.file.write_text("no certificate")
    assert wait_until(lambda: mutual.served.says("stays the old one"), 30)
    assert mutual.ask(old) == 200
    mutual.clients = Authority.make(mutual.place / "successors")
    old.file.write_bytes(mutual.clients.file.read_bytes())
    before = mutual.served.workers
    assert wait_until(lambda: not before & mutual.served.workers, REPLACED_SECONDS)
    assert mutual.ask(mutual.clients) == 200
    assert mutual.refuses(old)


def test_the_public_listeners_certificate_is_the_default(tmp_path: Path) -> None:
    authority, port = Authority.make(tmp_path), free_port()
    files = tmp_path / "tls.pem", tmp_path / "tls.key"
    authority.certify(*files)
    made = installation(tmp_path / "data", port)
    place = f"127.0.0.1:{free_port()}"
    made.env |= {
        "AUTHSERVER_TLS_CERTIFICATE_FILE": str(files[0]),
        "AUTHSERVER_TLS_KEY_FILE": str(files[1]),
        "AUTHSERVER_ADMIN_LISTEN": place,
    }
    url, log = f"https://localhost:{port}/readyz", tmp_path / "log"
    command = made.serve_command(port, "--workers", "1")
    with running(command, url, log, made.environ, certificate=authority.file) as process:
        context = ssl.create_default_context(cafile=authority.file)
        connection = HTTPSConnection(place, timeout=20, context=context)
        connection.request("GET", ME, headers=AUTH)
        assert connection.getresponse().status == 200
        connection.close()
        assert f"https://{place}" in process.output()
