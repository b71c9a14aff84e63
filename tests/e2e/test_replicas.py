"""Three servers over one PostgreSQL: who sets it up, what changes, and when it is gone a while."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import jwt
import pytest

from tests import postgres
from tests.e2e.fetching import fetch
from tests.e2e.lab import ADMIN, PASSWORD
from tests.e2e.replicas import REPLICAS, STARTS, Replica, machines
from tests.postgres import Cluster
from tests.world import basic, wait_until

pytestmark = pytest.mark.e2e

T = TypeVar("T")

IN_FORCE_SECONDS = 1.0
RECOVERY_SECONDS = 15.0


@dataclass(frozen=True)
class Replicas:
    """All servers, and the database that they share."""

    all: list[Replica]
    cluster: Cluster
    _database: ExitStack

    def start_database(self) -> None:
        self._database.enter_context(postgres.running(self.cluster))

    def stop_database(self) -> None:
        """Stop it; whoever is connected is cut."""
        self.cluster.disconnect()
        self._database.close()

    def each(self, ask: Callable[[Replica], T]) -> set[T]:
        return {ask(replica) for replica in self.all}

    def all_say(self, text: str) -> bool:
        return self.each(lambda replica: replica.says(text)) == {True}

    def records(self) -> set[str]:
        """Return the ``jti`` of every token that is in the records."""
        listed = (
            self.all[0]
            .authserver.run("audit", "list", "--kind", "token", "--limit", "10000", "--json")
            .stdout
        )
        return {record["jti"] for record in json.loads(listed)}

    def change(self, *command: str) -> float:
        """Change something on the first machine; return when, by the monotonic clock, it was."""
        self.all[0].authserver.run(*command, stdin=f"{PASSWORD}\n")
        return time.monotonic()

    def assert_in_force(self, done: float, ask: Callable[[Replica], T], wanted: T) -> None:
        """Check that all answer so a second after ``done``; they are asked until then too."""
        while time.monotonic() < done + IN_FORCE_SECONDS:
            self.each(ask)
        assert self.each(ask) == {wanted}


def jwt_id(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Servers that were started at the same time over an empty database."""
    with postgres.stopped_cluster() as cluster, ExitStack() as database, ExitStack() as servers:
        database.enter_context(postgres.running(cluster))
        cluster.create("replicas")
        url = cluster.url("replicas", by_tcp=True).render_as_string(hide_password=False)
        made = machines(tmp_path_factory.mktemp("replicas"), url)
        made[-1].authserver.env["AUTHSERVER_MAX_STALENESS"] = "0"

        def start(replica: Replica) -> None:
            serving = replica.authserver.serving(replica.port, *STARTS)
            replica.process = servers.enter_context(serving)

        with ThreadPoolExecutor(REPLICAS) as pool:
            list(pool.map(start, made))
        running = Replicas(made, cluster, database)
        running.change("user", "add", "alice", "--password-stdin")
        running.change("user", "add", "bob", "--password-stdin")
        yield running


def test_one_of_those_that_start_at_once_sets_up(replicas: Replicas) -> None:
    listed = replicas.all[0].authserver.run("audit", "list", "--kind", "change", "--json").stdout
    assert listed.count('"store.init"') == 1
    assert listed.count('"authority.add"') == 1
    assert replicas.each(lambda replica: replica.ask(*ADMIN).status) == {200}
    assert replicas.each(lambda replica: (replica.authserver.data_dir / "master.key").exists()) == {
        False
    }


def test_a_changed_rule_is_in_force_everywhere_within_a_second(replicas: Replicas) -> None:
    assert replicas.each(lambda replica: replica.granted("alice")) == {""}
    done = replicas.change("acl", "allow", "user:alice", "team/**", "push")
    replicas.assert_in_force(done, lambda replica: replica.granted("alice"), "pull,push")
    done = replicas.change("acl", "deny", "authenticated", "team/app", "push")
    replicas.assert_in_force(done, lambda replica: replica.granted("alice"), "pull")


def test_a_disabled_account_is_out_everywhere_within_a_second(replicas: Replicas) -> None:
    assert replicas.each(lambda replica: replica.ask("bob").status) == {200}
    done = replicas.change("user", "disable", "bob")
    replicas.assert_in_force(done, lambda replica: replica.ask("bob").status, 401)


def test_a_login_on_one_goes_on_on_the_others(replicas: Replicas) -> None:
    """No request needs the server that answered the one before it."""
    first, *others = replicas.all
    url = f"{first.url}/token?service=registry&offline_token=true"
    answer = fetch(url, headers={"Authorization": basic("alice", PASSWORD)})
    assert answer.status == 200
    token = answer.json()["refresh_token"]
    form = f"grant_type=refresh_token&client_id=x&service=registry&refresh_token={token}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    def good(replica: Replica) -> bool:
        asked = fetch(f"{replica.url}/token", "POST", headers=headers, body=form.encode())
        return asked.status == 200

    assert wait_until(lambda: all(map(good, others)), IN_FORCE_SECONDS)


def test_servers_outlive_a_restart_of_the_database(replicas: Replicas) -> None:
    """Tokens go on meanwhile, but where that is turned off; afterwards all is as ever."""
    *going_on, strict = replicas.all
    assert replicas.each(lambda replica: replica.ask("alice").status) == {200}
    replicas.stop_database()
    assert wait_until(lambda: replicas.all_say("cannot keep up with the store"), RECOVERY_SECONDS)
    # Readiness is answered from memory, which follows with the next look at the store.
    assert wait_until(lambda: strict.ready() == (503, "failing"), RECOVERY_SECONDS)
    assert strict.ask("alice").status == 503
    for replica in going_on:
        assert replica.ready() == (200, "stale")
        assert replica.ask("alice").status == 200
        assert replica.ask("carol").status == 503
    spooled = "records of token requests go to the spool"
    assert wait_until(lambda: replicas.all_say(spooled), RECOVERY_SECONDS)
    issued = going_on[0].ask("alice").json()["token"]
    replicas.start_database()
    assert wait_until(lambda: replicas.each(Replica.ready) == {(200, "ok")}, RECOVERY_SECONDS)
    assert wait_until(lambda: replicas.all_say("were written back"), RECOVERY_SECONDS)
    assert wait_until(lambda: jwt_id(issued) in replicas.records(), RECOVERY_SECONDS)
    done = replicas.change("acl", "disable", "4")
    replicas.assert_in_force(done, lambda replica: replica.granted("alice"), "pull,push")
    assert replicas.all_say("the store can be used again")
    assert not any(replica.says("Traceback") for replica in replicas.all)
    assert not any(replica.says(postgres.PASSWORD) for replica in replicas.all)
