"""Guessing passwords of a server that runs: its workers count together, and so do replicas."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import programs
from tests.e2e.fetching import Answer, ask_for_token, curl, fetch
from tests.e2e.lab import ADMIN, PASSWORD, Lab, installation
from tests.e2e.redis_server import redis
from tests.programs import Authserver, Process, free_port, listening
from tests.world import wait_until

pytestmark = pytest.mark.e2e

ALLOWED = 10
ELSEWHERE = "127.0.0.7"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Authserver:
    return installation(tmp_path_factory.mktemp("guessing") / "data", free_port())


@contextmanager
def serving(authserver: Authserver, workers: int, **settings: str) -> Iterator[tuple[str, Process]]:
    port = free_port()
    configured = dataclasses.replace(authserver, env=authserver.env | settings)
    with configured.serving(port, "--workers", str(workers)) as process:
        there = lambda: len(process.workers) == listening(port) == workers  # noqa: E731
        assert wait_until(there, 10)
        yield f"http://127.0.0.1:{port}", process


def log_in(url: str, password: str, name: str = ADMIN[0]) -> Answer:
    """Log in over a connection of its own, which goes to either worker."""
    return ask_for_token(f"{url}/token", auth=(name, password))


def log_in_from_elsewhere(url: str) -> int:
    credentials = ("--user", f"{ADMIN[0]}:{ADMIN[1]}")
    # The name ends at the first colon, and the password has another.
    return curl("--interface", ELSEWHERE, *credentials, f"{url}/token").status


def test_all_workers_count_together(installed: Authserver) -> None:
    with serving(installed, 4) as (url, _):
        statuses = [log_in(url, f"wrong {n}").status for n in range(3 * ALLOWED)]
        assert statuses == [401] * ALLOWED + [429] * 2 * ALLOWED
        answer = log_in(url, "another")
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert answer.json()["errors"][0]["code"] == "TOOMANYREQUESTS"
        assert log_in_from_elsewhere(url) == 200
        assert fetch(f"{url}/readyz").status == 200


def test_replicas_count_together_and_alone_when_redis_is_gone(
    installed: Authserver, tmp_path: Path
) -> None:
    with (
        redis(tmp_path) as (url, store),
        serving(installed, 1, AUTHSERVER_LIMITS_URL=url) as (one, process),
        serving(installed, 1, AUTHSERVER_LIMITS_URL=url) as (other, _),
    ):
        for number in range(ALLOWED):
            assert log_in((one, other)[number % 2], f"wrong {number}").status == 401
        for replica in (one, other):
            assert log_in(replica, "another").status == 429
            assert log_in_from_elsewhere(replica) == 200
        assert "alone" not in process.output()

        store.stop()
        statuses = [log_in(one, f"wrong {n}", "ghost").status for n in range(ALLOWED + 2)]
        assert statuses == [401] * ALLOWED + [429] * 2
        assert log_in(other, ADMIN[1]).status == 200
        assert log_in_from_elsewhere(one) == 200
        assert fetch(f"{one}/readyz").status == 200
        assert process.output().count("counted by this server alone") == 1


def test_a_client_that_is_tried_again_and_again_is_told_the_same_each_time(lab: Lab) -> None:
    """The same wrong password is one guess, however often a client shows it."""
    programs.require("skopeo")
    for _ in range(ALLOWED + 2):
        done = lab.on("list-tags", "team/app", ("cleaner", "an old one"))
        assert "incorrect user name or password" in done.stderr
    done = lab.on("list-tags", "team/app", ("cleaner", PASSWORD))
    assert "incorrect" not in done.stderr


def test_clients_tell_that_too_many_logins_failed(lab: Lab) -> None:
    programs.require("docker", "skopeo")
    for number in range(ALLOWED):
        assert ask_for_token(lab.realm, auth=("ghost", f"wrong {number}")).status == 401
    told = ask_for_token(lab.realm, auth=("ghost", "another")).json()["details"]
    assert "too many failed logins" in told
    login = ("login", "--username", "ghost", "--password-stdin", lab.registry.host)
    assert told in lab.docker(*login, stdin="another").stderr
    done = lab.on("list-tags", "team/app", ("ghost", "another"))
    assert "too many requests to registry" in done.stderr
