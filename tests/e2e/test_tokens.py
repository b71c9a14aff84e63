"""People log in once and machines never use a person's password: with the real clients."""

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import kubernetes_validate
import pytest
import yaml

from authserver.auth.passwords import hash_password
from authserver.core import secret_tokens
from authserver.core.secret_tokens import Prefix
from tests.e2e.clients import Client, Crane, Ctr, Docker, Skopeo, docker_engine, ready
from tests.e2e.fetching import Answer, ask_for_token, curl, fetch
from tests.e2e.lab import ADMIN, PASSWORD, Registry, installation, serving_registry
from tests.e2e.record import refresh
from tests.programs import Authserver, Process, free_port, listening, require
from tests.world import basic, wait_until

pytestmark = pytest.mark.e2e

# Each connection goes to either worker: that all go to one is as likely as 2^-19.
REQUESTS = 20
IN_FORCE_SECONDS = 1.0

USERS = 40
CEILING = "repository:team/**:pull"
CHANGED = "changed horse"
LOG_IN_AGAIN = (
    "unauthorized: this login has ended or is for another registry; run docker login again"
)
NOT_GOOD = "incorrect user name or password"


@dataclass(frozen=True)
class Office:
    """An installation with two workers and two registries, one of which keeps no logins.

    Every secret that it gave away is in ``secrets``, and so is every password.
    """

    authserver: Authserver
    server: Process
    port: int
    registry: Registry
    closed: Registry
    users: Iterator[str]
    secrets: list[str] = field(default_factory=lambda: [PASSWORD, ADMIN[1], CHANGED])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    def run(self, *command: str, stdin: str = "") -> str:
        return self.authserver.run(*command, stdin=stdin).stdout

    def user(self) -> tuple[str, str]:
        """Return how a user logs in of whom no test has heard, who may do all on team and other."""
        return next(self.users), PASSWORD

    def robot(self, *, owner: str) -> tuple[str, str]:
        """Add a robot that may do the same; return how it logs in."""
        name = f"robot-of-{owner}"
        self.run("robot", "add", name, "--owner", owner)
        return name, self.token(name)

    def token(self, account: str, *more: str) -> str:
        """Return a new app token; ``more`` is how it is limited."""
        return str(self.made(account, *more)["token"])

    def made(self, account: str, *more: str) -> dict[str, Any]:
        made = self.run("token", "create", account, "--name", "test", "--json", *more)
        found: dict[str, Any] = json.loads(made)
        self.secrets.append(found["token"])
        return found

    def sessions(self, account: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("session", "list", account, "--json"))
        return found

    def log_in(self, login: tuple[str, str]) -> str:
        """Return a refresh token, as `docker login` gets it."""
        query = "service=registry&offline_token=true"
        answer = fetch(f"{self.url}?{query}", headers={"Authorization": basic(*login)})
        secret = str(answer.json()["refresh_token"])
        self.secrets.append(secret)
        return secret

    def status(self, login: tuple[str, str]) -> int:
        return ask_for_token(self.url, auth=login).status

    def refresh_status(self, secret: str) -> int:
        return refresh(self.url, secret).status

    def wait_until_refused(self, client: Client) -> None:
        """Wait until no worker takes what the client stored."""
        kept = client.stored()
        name, _, password = base64.b64decode(kept["auth"]).decode().partition(":")
        ask: Callable[[], int] = lambda: (  # noqa: E731
            self.refresh_status(kept["identitytoken"])
            if "identitytoken" in kept
            else self.status((name, password))
        )
        assert wait_until(lambda: all(ask() == 401 for _ in range(REQUESTS)), 5)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """The office, with an image in team/app and one in other/app."""
    require("docker-registry", "skopeo")
    place = tmp_path_factory.mktemp("office")
    port = free_port()
    authserver = installation(place / "data", port)
    authserver.run("registry", "add", "closed", "--no-refresh-tokens")
    users = [f"user{number}" for number in range(USERS)]
    hashed = hash_password(PASSWORD, 4)
    (place / "htpasswd").write_text("".join(f"{user}:{hashed}\n" for user in users))
    authserver.run("import", "htpasswd", str(place / "htpasswd"))
    for pattern in ("team/**", "other/**"):
        authserver.run("acl", "allow", "authenticated", pattern, "all")
    sections = {}
    for service in ("registry", "closed"):
        (place / service).mkdir()
        printed = authserver.run(
            "registry", "config", service, "--output-dir", str(place / "trust")
        )
        sections[service] = printed.stdout
    with (
        authserver.serving(port, "--workers", "2") as server,
        serving_registry(place / "registry", sections["registry"]) as registry,
        serving_registry(place / "closed", sections["closed"]) as closed,
    ):
        assert wait_until(lambda: listening(port) == 2, 10)
        for host in (registry.host, closed.host):
            admin = Skopeo(host, place / host)
            admin.keep_password(ADMIN)
            for name in ("team/app", "other/app"):
                admin.make(name)
                assert admin.push(name).returncode == 0
        yield Office(authserver, server, port, registry, closed, iter(users))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require("docker")
    with docker_engine(tmp_path_factory.mktemp("engine") / "place") as socket:
        yield socket


@pytest.fixture
def docker(office: Office, engine: str, tmp_path: Path) -> Docker:
    """Docker as it is when nobody has logged in."""
    client = Docker(office.registry.host, tmp_path / "docker-home")
    client.environ["DOCKER_HOST"] = engine
    return client


@pytest.fixture(params=[Docker, Skopeo, Crane], ids=lambda kind: kind.name)
def client(request: pytest.FixtureRequest, office: Office, tmp_path: Path) -> Client:
    """Each of three clients that has logged in nowhere."""
    kind: type[Client] = request.param
    require(*kind.programs)
    if kind is Docker:
        docker: Docker = request.getfixturevalue("docker")
        return docker
    return kind(office.registry.host, tmp_path / "home")


def _logged_in(docker: Docker, login: tuple[str, str]) -> None:
    done = docker.login(login)
    assert done.returncode == 0, done.stderr


def _works(client: Client, name: str) -> None:
    """Push a new image and pull it."""
    client.make(name)
    pushed = client.push(name)
    assert pushed.returncode == 0, pushed.stderr
    pulled = client.pull(name)
    assert pulled.returncode == 0, pulled.stderr


def _is_refused(client: Client, name: str, why: str) -> None:
    refused = client.pull(name)
    assert refused.returncode != 0
    assert why in refused.stderr


# docker login


def test_docker_forgets_the_password_and_goes_on(office: Office, docker: Docker) -> None:
    name, password = office.user()
    _logged_in(docker, (name, password))
    kept = docker.stored()
    office.secrets.append(kept["identitytoken"])
    assert kept.keys() == {"auth", "identitytoken"}
    assert base64.b64decode(kept["auth"]) == f"{name}:".encode()
    _works(docker, f"team/{name}")
    written = [path for path in docker.home.rglob("*") if path.is_file()]
    assert docker.config in written
    assert [path for path in written if PASSWORD.encode() in path.read_bytes()] == []
    (session,) = office.sessions(name)
    assert session["registry"] == "registry"
    assert "docker" in session["created_client"]


def test_a_revoked_session_has_to_log_in_again(office: Office, docker: Docker) -> None:
    login = office.user()
    _logged_in(docker, login)
    assert docker.pull("team/app").returncode == 0
    (session,) = office.sessions(login[0])
    office.run("session", "revoke", str(session["id"]))
    office.wait_until_refused(docker)
    _is_refused(docker, "team/app", LOG_IN_AGAIN)
    _logged_in(docker, login)
    assert docker.pull("team/app").returncode == 0


def test_a_new_password_ends_the_login(office: Office, docker: Docker) -> None:
    name, password = office.user()
    _logged_in(docker, (name, password))
    office.run("user", "passwd", name, "--password-stdin", stdin=f"{CHANGED}\n")
    office.wait_until_refused(docker)
    _is_refused(docker, "team/app", LOG_IN_AGAIN)
    assert office.sessions(name) == []
    _logged_in(docker, (name, CHANGED))
    assert docker.pull("team/app").returncode == 0


def test_a_disabled_account_is_out_and_its_login_does_not_come_back(
    office: Office, docker: Docker
) -> None:
    login = office.user()
    _logged_in(docker, login)
    office.run("user", "disable", login[0])
    office.wait_until_refused(docker)
    _is_refused(docker, "team/app", LOG_IN_AGAIN)
    office.run("user", "enable", login[0])
    assert wait_until(lambda: all(office.status(login) == 200 for _ in range(REQUESTS)), 5)
    _is_refused(docker, "team/app", LOG_IN_AGAIN)
    _logged_in(docker, login)
    assert docker.pull("team/app").returncode == 0


def test_a_login_at_a_registry_without_refresh_tokens_keeps_the_password(
    office: Office, docker: Docker
) -> None:
    docker.host = office.closed.host
    login = office.user()
    _logged_in(docker, login)
    assert docker.stored() == {"auth": base64.b64encode(":".join(login).encode()).decode()}
    assert office.sessions(login[0]) == []
    _works(docker, f"team/{login[0]}")


# App tokens


def test_a_ceiling_lets_through_what_it_names_and_no_more(office: Office, client: Client) -> None:
    owner = office.user()
    client.keep_password(owner)
    for name in (f"team/{client.name}", f"other/{client.name}"):
        _works(client, name)
    client.keep_password((owner[0], office.token(owner[0], "--scope", CEILING)))
    pulled = client.pull(f"team/{client.name}")
    assert pulled.returncode == 0, pulled.stderr
    assert client.pull(f"other/{client.name}").returncode != 0
    client.make(f"team/{client.name}")
    before = office.registry.stored()
    assert client.push(f"team/{client.name}").returncode != 0
    assert office.registry.stored() == before


def test_an_app_token_never_gets_a_refresh_token(office: Office, docker: Docker) -> None:
    name, _ = office.user()
    token = office.token(name, "--scope", CEILING)
    _logged_in(docker, (name, token))
    assert docker.stored() == {"auth": base64.b64encode(f"{name}:{token}".encode()).decode()}
    assert office.sessions(name) == []
    assert docker.pull("team/app").returncode == 0
    _is_refused(docker, "other/app", "denied")


def test_an_app_token_is_a_password_for_containerd_too(office: Office, tmp_path: Path) -> None:
    """Which asks by POST, and by GET if that fails."""
    name, _ = office.user()
    token = office.token(name, "--scope", CEILING)
    posted = _post_password(office, name, token, access_type="offline")
    assert (posted.status, "refresh_token" in posted.json()) == (200, False)
    with ready(Ctr, office.registry.host, tmp_path / "home") as ctr:
        ctr.keep_password((name, token))
        pulled = ctr.pull("team/app")
        assert pulled.returncode == 0, pulled.stderr
        assert ctr.pull("other/app").returncode != 0


def _post_password(office: Office, name: str, password: str, **more: str) -> Answer:
    form = {"grant_type": "password", "client_id": "test", "service": "registry", **more}
    body = urlencode(form | {"username": name, "password": password}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return fetch(office.url, "POST", headers=headers, body=body)


def test_a_revoked_app_token_is_unauthorized(office: Office, client: Client) -> None:
    name, _ = office.user()
    made = office.made(name)
    client.keep_password((name, made["token"]))
    assert client.pull("team/app").returncode == 0
    office.run("token", "revoke", str(made["id"]))
    office.wait_until_refused(client)
    _is_refused(client, "team/app", NOT_GOOD)


def test_a_token_is_good_from_its_networks_only(office: Office, client: Client) -> None:
    name, _ = office.user()
    token = office.token(name, "--from", "127.0.0.5/32", "--from", "192.0.2.0/24")
    client.keep_password((name, token))
    _is_refused(client, "team/app", NOT_GOOD)
    url = f"{office.url}?service=registry"
    known = ("--user", f"{name}:{token}", "--interface")
    assert curl(*known, "127.0.0.5", url).status == 200
    assert curl(*known, "127.0.0.6", url).status == 401


def test_both_secrets_are_good_during_the_grace(office: Office, client: Client) -> None:
    name, _ = office.user()
    made = office.made(name)
    shown = [made["token"]]
    for _ in range(2):
        rotated = office.run("token", "rotate", str(made["id"]), "--grace", "1h")
        shown.append(rotated.strip())
    office.secrets.extend(shown)
    first, second, third = shown
    for secret in (third, second):
        client.keep_password((name, secret))
        pulled = client.pull("team/app")
        assert pulled.returncode == 0, pulled.stderr
    client.keep_password((name, first))
    office.wait_until_refused(client)
    _is_refused(client, "team/app", NOT_GOOD)


def test_the_printed_docker_config_is_used_as_it_is(office: Office, client: Client) -> None:
    name, _ = office.user()
    printed = _formatted(office, name, "docker-config")
    client.config.write_text(printed)
    _works(client, f"team/{name}")


def test_the_printed_secret_is_one_for_kubernetes(office: Office, tmp_path: Path) -> None:
    name, _ = office.user()
    printed = _formatted(office, name, "kubernetes")
    secret = yaml.safe_load(printed)
    assert secret == json.loads(printed)
    kubernetes_validate.validate(secret, "1.33", strict=True)
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    client = Skopeo(office.registry.host, tmp_path / "home")
    client.config.write_text(secret["stringData"][".dockerconfigjson"])
    office.secrets.append(_password(client))
    pulled = client.pull("team/app")
    assert pulled.returncode == 0, pulled.stderr


def _formatted(office: Office, account: str, form: str) -> str:
    host = office.registry.host
    return office.run(
        "token", "create", account, "--name", form, "--format", form, "--registry-host", host
    )


def _password(client: Client) -> str:
    return base64.b64decode(client.stored()["auth"]).decode().partition(":")[2]


# Robots


def test_a_robot_logs_in_by_its_token_and_pushes(office: Office, docker: Docker) -> None:
    owner, _ = office.user()
    robot = office.robot(owner=owner)
    _logged_in(docker, robot)
    assert docker.stored().keys() == {"auth"}
    _works(docker, f"team/{owner}")


def test_a_robot_of_a_disabled_owner_is_refused(office: Office, client: Client) -> None:
    owner, _ = office.user()
    client.keep_password(office.robot(owner=owner))
    assert client.pull("team/app").returncode == 0
    office.run("user", "disable", owner)
    office.wait_until_refused(client)
    _is_refused(client, "team/app", NOT_GOOD)


# Two workers


def _in_each_worker_a_second_after(done: float, ask: Callable[[], int]) -> set[int]:
    """Return what the workers answer from one second after ``done``; they answer until then too."""

    def over() -> bool:
        ask()
        return time.monotonic() >= done + IN_FORCE_SECONDS

    assert wait_until(over, IN_FORCE_SECONDS + 5)
    return {ask() for _ in range(REQUESTS)}


def test_a_revoked_app_token_is_out_on_both_workers_within_a_second(office: Office) -> None:
    name, _ = office.user()
    made = office.made(name)

    def ask() -> int:
        return office.status((name, made["token"]))

    assert {ask() for _ in range(REQUESTS)} == {200}
    office.run("token", "revoke", str(made["id"]))
    assert _in_each_worker_a_second_after(time.monotonic(), ask) == {401}


def test_a_revoked_session_is_out_on_both_workers_within_a_second(office: Office) -> None:
    login = office.user()
    secret = office.log_in(login)

    def ask() -> int:
        return office.refresh_status(secret)

    assert {ask() for _ in range(REQUESTS)} == {200}
    office.run("session", "revoke", "--account", login[0], "--yes")
    assert _in_each_worker_a_second_after(time.monotonic(), ask) == {401}


# What must not be readable anywhere


def test_a_secret_would_be_found() -> None:
    for name in ("a", "bo", "eve"):
        shown = basic(name, "the secret itself").encode()
        assert any(form in shown for form in _forms("the secret itself"))


def test_no_secret_is_found_afterwards(office: Office) -> None:
    """In the store, the log, the records, and what `ps` shows."""
    _use_every_credential(office)
    forms = [form for secret in set(office.secrets) for form in _forms(secret)]
    assert len(forms) > 20
    records = office.run("audit", "list", "--json", "--limit", "100000")
    files = [path for path in office.authserver.data_dir.rglob("*") if path.is_file()]
    processes = [office.server.inner.pid, *office.server.workers]
    shown = {
        **{path.name: path.read_bytes() for path in files},
        "log": office.server.log.read_bytes(),
        "records": records.encode(),
        **{f"ps {pid}": Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes},
    }
    assert {"authserver.db", "authserver.db-wal"} <= shown.keys()
    assert b"unknown or revoked app token" in shown["log"]
    assert b"token.rotate" in shown["records"]
    assert [where for where, text in shown.items() if any(form in text for form in forms)] == []


def _use_every_credential(office: Office) -> None:
    """Show what is good, what was good and what never was, in every place there is for it."""
    login = office.user()
    user, _ = login
    made = office.made(user, "--scope", CEILING)
    rotated = office.run("token", "rotate", str(made["id"])).strip()
    revoked = office.log_in(login)
    office.run("session", "revoke", "--account", user, "--yes")
    kept = office.log_in(login)
    mistyped = f"{rotated[:-1]}{'a' if rotated[-1] != 'a' else 'b'}"
    unknown = secret_tokens.make(Prefix.APP, secrets.token_bytes)
    invited = re.findall(r"authserver_invite_\w+", office.run("user", "invite", "guest"))
    assert len(invited) == 1
    office.secrets.extend([rotated, mistyped, unknown, *invited])
    for secret in (made["token"], rotated, mistyped, unknown, kept, revoked, *invited):
        # Refusals of other tests count for another address: records tell these one by one.
        for name in (user, "", secret):
            ask_for_token(office.url, auth=(name, secret), source="127.0.0.7")
        for scope in ("", "repository:other/app:pull"):
            refresh(office.url, secret, scope)
    reasons = [r["reason"] for r in _token_records(office) if r["account"] == user]
    for reason in ("unknown or revoked app token", "mistyped app token", "a refresh token in"):
        assert any(reason in told for told in reasons), reasons


def _token_records(office: Office) -> list[dict[str, Any]]:
    """Return the records of token requests, when the last of them was written."""
    last = next(office.users)
    ask_for_token(office.url, auth=(last, "a wrong one"), source="127.0.0.8")
    found: list[dict[str, Any]] = []

    def written() -> bool:
        listed = office.run("audit", "list", "--kind", "token", "--json", "--limit", "10000")
        found[:] = json.loads(listed)
        return any(record["account"] == last for record in found)

    assert wait_until(written, 10, every=0.2)
    return found


def _forms(secret: str) -> Iterator[bytes]:
    """Give a secret as it is, and as it is within the base64 of something longer."""
    yield secret.encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode())
        yield encoded[4 if offset else 0 : -4]
