"""A registry and our server behind nginx with TLS, used by Docker's engine and by podman."""

import json
import os
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import pytest

from tests.e2e.fetching import curl
from tests.e2e.lab import ADMIN, PASSWORD, installation, serving_registry
from tests.e2e.nginx import NGINX, certificate, configured, site
from tests.programs import Authserver, clean_environ, free_port, require, running, which
from tests.world import wait_until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
REGISTRIES = {"2": "docker-registry", "3": "registry-3.1.1"}

LOGIN_FAILED = {
    "docker": "unauthorized: incorrect user name or password",
    "podman": "invalid username/password",
}
PUSH_DENIED = "denied: requested access to the resource is denied"
PULL_DENIED = {
    "docker": "repository does not exist or may require 'docker login'",
    "podman": PUSH_DENIED,
}

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Front:
    """What clients see: one host name, served by nginx."""

    host: str
    certificate: Path
    authserver: Authserver
    place: Path

    def addresses(self, account: str) -> set[str]:
        """Return the addresses that token requests of ``account`` are recorded with."""
        listed = self.authserver.run(
            "audit", "list", "--kind", "token", "--account", account, "--json"
        )
        return {record["address"] for record in json.loads(listed.stdout)}


@pytest.fixture(scope="module", params=REGISTRIES, ids=lambda version: f"registry-{version}")
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    program = REGISTRIES[request.param]
    require(program, "nginx", "openssl")
    place = tmp_path_factory.mktemp("front")
    place.chmod(0o755)
    port, port_inside = free_port(), free_port()
    cert, key = certificate(place)
    authserver = installation(place / "data", port_inside)
    authserver.env["AUTHSERVER_PUBLIC_URL"] = f"https://localhost:{port}"
    authserver.env["AUTHSERVER_TRUSTED_PROXIES"] = f"{NGINX}/32"
    for user in ("pusher", "reader"):
        authserver.run("user", "add", user, "--password-stdin", stdin=f"{PASSWORD}\n")
    for rule in (
        ("user:pusher", "team/**", "push"),
        ("user:pusher", "other/**", "push"),
        ("user:pusher", "public/**", "push"),
        ("user:reader", "team/**", "pull"),
        ("anonymous", "public/**", "pull"),
    ):
        authserver.run("acl", "allow", *rule)
    section = authserver.run(
        "registry",
        "config",
        "registry",
        "--registry-version",
        request.param,
        "--output-dir",
        str(place / "trust"),
    ).stdout
    with (
        authserver.serving(port_inside, "--workers", "2"),
        serving_registry(place, section, program) as registry,
    ):
        nginx = configured(place, site(port, registry.host, port_inside, cert, key))
        url = f"https://localhost:{port}/v2/"
        with running(nginx, url, place / "nginx.log", certificate=cert):
            yield Front(f"localhost:{port}", cert, authserver, place)


class Client:
    """A client with a place of its own for what it stores."""

    name = ""

    def __init__(self, front: Front, home: Path) -> None:
        self.front = front
        self.home = home
        self.environ = clean_environ(HOME=str(home), SSL_CERT_FILE=str(front.certificate))

    def command(self, *args: str) -> list[str]:
        raise NotImplementedError

    def run(self, *args: str, stdin: str | bytes = "", check: bool = False) -> Done:
        done = subprocess.run(
            self.command(*args),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            env=self.environ,
            capture_output=True,
            timeout=120,
            check=False,
        )
        text = subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )
        assert not check or text.returncode == 0, text.stderr
        return text

    def reference(self, name: str) -> str:
        return f"{self.front.host}/{name}"

    def login(self, user: str, password: str = PASSWORD) -> Done:
        return self.run("login", self.front.host, "-u", user, "--password-stdin", stdin=password)

    def logout(self) -> None:
        self.run("logout", self.front.host)

    def make(self, name: str) -> None:
        """Make an image with one layer that nobody has seen."""
        marker = self.home / "marker"
        marker.write_bytes(os.urandom(64))
        tar = subprocess.run(
            ["tar", "-C", str(self.home), "-c", "marker"], capture_output=True, check=True
        )
        self.run("import", "-", self.reference(name), stdin=tar.stdout, check=True)

    def tag(self, name: str, other: str) -> None:
        self.run("tag", self.reference(name), self.reference(other), check=True)

    def push(self, name: str) -> Done:
        return self.run("push", self.reference(name))

    def pull(self, name: str) -> Done:
        self.run("rmi", "-f", self.reference(name))
        return self.run("pull", self.reference(name))


class Docker(Client):
    name = "docker"

    def __init__(self, front: Front, home: Path, socket: str) -> None:
        super().__init__(front, home)
        self.environ |= {"DOCKER_HOST": socket, "DOCKER_CONFIG": str(home / "docker")}

    def command(self, *args: str) -> list[str]:
        return ["docker", *args]


class Podman(Client):
    name = "podman"

    def __init__(self, front: Front, home: Path, run_root: Path) -> None:
        super().__init__(front, home)
        self.run_root = run_root

    def command(self, *args: str) -> list[str]:
        where = ["--root", str(self.home / "store"), "--runroot", str(self.run_root)]
        login = ["--authfile", str(self.home / "auth.json")]
        takes_login = args[0] in ("login", "logout", "push", "pull")
        return [
            "podman", *where, "--storage-driver", "vfs",
            args[0], *(login if takes_login else []), *args[1:],
        ]  # fmt: skip


@pytest.fixture(scope="module")
def engine(front: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Docker engine of our own, without a bridge; give its socket."""
    require("docker", "dockerd", "containerd", "runc")
    place = tmp_path_factory.mktemp("engine")
    # A path to a socket has at most 107 characters.
    socket = place / "s"
    command: Sequence[str] = [
        str(which("dockerd")), "--iptables=false", "--ip6tables=false", "--bridge=none",
        "--storage-driver=overlay2", "--data-root", str(place / "data"),
        "--exec-root", str(place / "exec"), "--pidfile", str(place / "pid"),
        "-H", f"unix://{socket}",
    ]  # fmt: skip
    environ = clean_environ(SSL_CERT_FILE=str(front.certificate))
    with running(list(command), f"unix://{socket}", place / "log", environ):
        yield f"unix://{socket}"


@pytest.fixture(params=["docker", "podman"])
def client(request: pytest.FixtureRequest, front: Front, tmp_path: Path) -> Iterator[Client]:
    require(*{"docker": ["docker"], "podman": ["podman", "runc"]}[request.param])
    if os.geteuid() != 0:
        pytest.skip("an engine needs root")
    if request.param == "docker":
        yield Docker(front, tmp_path, request.getfixturevalue("engine"))
        return
    # Podman takes at most 50 characters there.
    with TemporaryDirectory(prefix="podman-") as run_root:
        yield Podman(front, tmp_path, Path(run_root))


def test_a_pusher_pushes_mounts_and_pulls(front: Front, client: Client) -> None:
    name = f"team/{client.name}-app"
    assert client.login("pusher").returncode == 0
    client.make(name)
    pushed = client.push(name)
    assert pushed.returncode == 0, pushed.stderr
    client.tag(name, f"other/{client.name}-app")
    mounted = client.push(f"other/{client.name}-app")
    assert mounted.returncode == 0, mounted.stderr
    if client.name == "docker":
        assert f"Mounted from {name}" in mounted.stdout
    assert client.pull(name).returncode == 0


def test_a_push_beyond_the_rules_is_denied_and_leaves_nothing(front: Front, client: Client) -> None:
    client.login("pusher")
    client.make(f"forbidden/{client.name}")
    denied = client.push(f"forbidden/{client.name}")
    assert denied.returncode != 0
    assert PUSH_DENIED in denied.stderr
    assert not list(front.place.glob(f"storage/**/forbidden/{client.name}/_manifests"))


def test_a_reader_pulls_and_does_not_push(client: Client) -> None:
    name = f"team/{client.name}-read"
    client.login("pusher")
    client.make(name)
    assert client.push(name).returncode == 0
    client.logout()
    assert client.login("reader").returncode == 0
    assert client.pull(name).returncode == 0
    client.make(name)
    denied = client.push(name)
    assert denied.returncode != 0
    assert PUSH_DENIED in denied.stderr


def test_after_logout_only_what_is_public_can_be_pulled(client: Client) -> None:
    public, private = f"public/{client.name}", f"team/{client.name}-private"
    client.login("pusher")
    for name in (public, private):
        client.make(name)
        assert client.push(name).returncode == 0
    client.logout()
    assert client.pull(public).returncode == 0
    denied = client.pull(private)
    assert denied.returncode != 0
    assert PULL_DENIED[client.name] in denied.stderr


def test_a_wrong_password_is_told(client: Client) -> None:
    failed = client.login("pusher", "wrong")
    assert failed.returncode != 0
    assert LOGIN_FAILED[client.name] in failed.stderr


def test_records_have_the_clients_address_and_not_the_proxys(front: Front) -> None:
    realm = f"https://{front.host}/token?service=registry"
    given = ("--cacert", str(front.certificate), "--user", f"{ADMIN[0]}:{ADMIN[1]}")
    answer = curl(*given, "--interface", "127.0.0.5", "-H", "X-Forwarded-For: 203.0.113.9", realm)
    assert answer.status == 200
    assert wait_until(lambda: front.addresses(ADMIN[0]) == {"127.0.0.5"}, 5)


def test_nothing_but_the_two_is_served(front: Front) -> None:
    context = ssl.create_default_context(cafile=str(front.certificate))
    with urlopen(f"https://{front.host}/token", context=context, timeout=10) as response:
        assert response.status == 200
    assert curl("--cacert", str(front.certificate), f"https://{front.host}/readyz").status == 404


def test_too_many_token_requests_of_one_address_are_told_so_in_json(tmp_path: Path) -> None:
    require("nginx", "openssl", "curl")
    tmp_path.chmod(0o755)
    port, nobody = free_port(), free_port()
    cert, key = certificate(tmp_path)
    text = site(port, f"127.0.0.1:{nobody}", nobody, cert, key)
    for shipped, here in (("rate=10r/s", "rate=1r/m"), ("burst=200 delay=100", "burst=2 nodelay")):
        assert text.count(shipped) == 1
        text = text.replace(shipped, here)
    nginx = configured(tmp_path, text)
    base = f"https://localhost:{port}"
    trust = ("--cacert", str(cert))
    with running(nginx, f"{base}/v2/", tmp_path / "nginx.log", certificate=cert):
        # Nobody is behind it: what passes the limit is 502.
        paths = ("/token", "/auth/token/", "/invitation")
        assert [curl(*trust, base + path).status for path in paths] == [502] * 3
        refused = curl(*trust, f"{base}/token")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "10")
        assert refused.headers["Content-Type"] == "application/json"
        (error,) = refused.json()["errors"]
        assert error["message"] == refused.json()["details"]
        other = curl(*trust, "--interface", "127.0.0.5", f"{base}/token")
        assert other.status == 502, "each address has a limit of its own"
        assert curl(*trust, f"{base}/v2/").status == 502, "the registry has none"


def test_the_messages_that_a_denied_user_reads_are_in_the_documentation() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    for message in (*LOGIN_FAILED.values(), *PULL_DENIED.values(), PUSH_DENIED):
        assert message in page
