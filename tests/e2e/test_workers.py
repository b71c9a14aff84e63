"""Several worker processes: what changes is in force in each, and how they stop."""

import dataclasses
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

import jwt
import pytest

from authserver.audit.spool import Spool
from authserver.audit.token_event import TokenEvent
from tests.e2e.fetching import ask_for_token, fetch
from tests.e2e.lab import ADMIN, PASSWORD, account, installation
from tests.programs import (
    START_SECONDS,
    Authserver,
    Process,
    cpu_seconds,
    free_port,
    listening,
    started,
)
from tests.world import wait_until

pytestmark = pytest.mark.e2e

T = TypeVar("T")

# Each connection goes to either worker: that all go to one is as likely as 2^-19.
REQUESTS = 20
IN_FORCE_SECONDS = 1.0
# A worker that does not listen is killed after 30 s.
STOP_AT_MOST_SECONDS = 15


@dataclass(frozen=True)
class Served:
    """An installation and the server that runs over it."""

    authserver: Authserver
    process: Process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for_workers(self) -> None:
        """Wait until both workers serve, not only the one that was ready first."""
        assert wait_until(lambda: len(self.process.workers) == listening(self.port) == 2, 10)

    def status(self, name: str, password: str) -> int:
        return ask_for_token(f"{self.url}/token", auth=(name, password)).status

    def status_at_last(self, name: str, password: str) -> int:
        """Try again where the connection was waiting for a worker that has just been killed."""
        try:
            return self.status(name, password)
        except ConnectionResetError:
            return self.status(name, password)

    def granted(self, name: str, scope: str) -> frozenset[str]:
        answer = ask_for_token(f"{self.url}/token", scope, auth=account(name))
        assert answer.status == 200, answer.body
        access = jwt.decode(answer.json()["token"], options={"verify_signature": False})["access"]
        return frozenset(action for entry in access for action in entry["actions"])

    def change(self, *command: str, stdin: str | None = None) -> float:
        """Change something by command line; return when, on the monotonic clock, it was done."""
        self.authserver.run(*command, stdin=stdin)
        return time.monotonic()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, program: Sequence[str]) -> Authserver:
    made = installation(tmp_path_factory.mktemp("workers") / "data", free_port(), program)
    added = (("user", "add", user, "--password-stdin") for user in ("alice", "bob", "carol"))
    made.run_each(*added, stdin=f"{PASSWORD}\n")
    return made


@contextmanager
def _serving(authserver: Authserver, **settings: str) -> Iterator[Served]:
    port = free_port()
    configured = dataclasses.replace(authserver, env=authserver.env | settings)
    with configured.serving(port, "--workers", "2") as process:
        served = Served(configured, process, port)
        served.wait_for_workers()
        yield served


@pytest.fixture(scope="module")
def served(installed: Authserver) -> Iterator[Served]:
    with _serving(installed) as running:
        yield running


def test_all_that_workers_left_in_the_spool_is_stored_by_the_next(
    installed: Authserver, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    for number in range(5):
        left = Spool(spool, 1 << 20)
        left.open()
        left.keep([TokenEvent(f"left-{number}", "192.0.2.1", "docker", at=datetime.now(UTC))])
        # As if its process had ended.
        (file,) = left._files
        os.close(file.descriptor)
    with _serving(installed, AUTHSERVER_SPOOL_DIR=str(spool)):
        assert wait_until(lambda: not list(spool.iterdir()), 30)
    records = json.loads(installed.run("audit", "list", "--kind", "token", "--json").stdout)
    found = {record["request_id"] for record in records}
    assert found >= {f"left-{number}" for number in range(5)}


def _in_each_worker(ask: Callable[[], T]) -> set[T]:
    return {ask() for _ in range(REQUESTS)}


def _in_each_worker_a_second_after(done: float, ask: Callable[[], T]) -> set[T]:
    """Return what the workers answer from one second after ``done``; they answer until then too."""

    def over() -> bool:
        ask()
        return time.monotonic() >= done + IN_FORCE_SECONDS

    assert wait_until(over, IN_FORCE_SECONDS + 5)
    return _in_each_worker(ask)


def test_a_disabled_account_is_out_within_a_second(served: Served) -> None:
    def ask() -> int:
        return served.status("alice", PASSWORD)

    assert _in_each_worker(ask) == {200}
    done = served.change("user", "disable", "alice")
    assert _in_each_worker_a_second_after(done, ask) == {401}
    done = served.change("user", "enable", "alice")
    assert _in_each_worker_a_second_after(done, ask) == {200}


def test_a_changed_rule_is_in_force_within_a_second(served: Served) -> None:
    def ask() -> frozenset[str]:
        return served.granted("bob", "repository:team/app:pull,push,delete")

    assert _in_each_worker(ask) == {frozenset()}
    done = served.change("acl", "allow", "user:bob", "team/**", "all")
    assert _in_each_worker_a_second_after(done, ask) == {frozenset({"pull", "push", "delete"})}
    done = served.change("acl", "deny", "authenticated", "team/app", "push")
    assert _in_each_worker_a_second_after(done, ask) == {frozenset({"pull", "delete"})}


def test_a_changed_password_is_in_force_within_a_second(served: Served) -> None:
    def ask() -> tuple[int, int]:
        return served.status("carol", PASSWORD), served.status("carol", "another one")

    assert _in_each_worker(ask) == {(200, 401)}
    done = served.change("user", "passwd", "carol", "--password-stdin", stdin="another one\n")
    assert _in_each_worker_a_second_after(done, ask) == {(401, 200)}


def test_a_second_server_on_the_same_port_is_refused(served: Served, tmp_path: Path) -> None:
    command = served.authserver.serve_command(served.port)
    with started(command, tmp_path / "second.log", served.authserver.environ) as second:
        assert second.inner.wait(START_SECONDS) == 1
        assert f"cannot listen on 127.0.0.1:{served.port}" in second.output()
    assert _in_each_worker(lambda: fetch(f"{served.url}/readyz").status) == {200}


def _policies(served: Served) -> list[set[int]]:
    tasks = [Path(f"/proc/{pid}/task").iterdir() for pid in served.process.workers]
    return [{os.sched_getscheduler(int(thread.name)) for thread in threads} for threads in tasks]


def test_threads_of_workers_do_not_interrupt_each_other(served: Served) -> None:
    assert all(os.SCHED_BATCH in policies for policies in _policies(served))


def _being_checked(
    served: Served, pool: ThreadPoolExecutor, seconds: Callable[[list[int]], float]
) -> Future[int]:
    """Have a wrong password checked; return once that shows in the ``seconds`` of workers."""
    workers = served.process.workers
    before = seconds(workers)
    answer = pool.submit(served.status, "alice", "a wrong one")
    assert wait_until(lambda: seconds(workers) > before + 0.1, 10)
    return answer


def _weighty_seconds(worker: int) -> float:
    """Return the most that a thread with the nice value 0 has worked so far."""
    seconds = [0.0]
    for thread in Path(f"/proc/{worker}/task").iterdir():
        with suppress(OSError):  # it has ended
            if os.getpriority(os.PRIO_PROCESS, int(thread.name)) == 0:
                nanoseconds = int((thread / "schedstat").read_text().split()[0])
                seconds.append(nanoseconds / 1e9)
    return max(seconds)


def test_threads_that_hash_weigh_more_than_those_that_answer(installed: Authserver) -> None:
    with (
        _serving(installed, AUTHSERVER_BCRYPT_COST="13") as served,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = _being_checked(served, pool, lambda pids: max(map(_weighty_seconds, pids)))
        assert answer.result() == 401


def test_systemd_may_forbid_to_ask_for_that(installed: Authserver) -> None:
    with _serving(installed, INVOCATION_ID="0" * 32) as served:
        assert _policies(served) == [{os.SCHED_OTHER}] * 2


def test_another_policy_is_left_as_it_is(installed: Authserver) -> None:
    idle = dataclasses.replace(installed, program=("chrt", "--idle", "0", *installed.program))
    with _serving(idle) as served:
        assert _policies(served) == [{os.SCHED_IDLE}] * 2


def test_a_killed_worker_is_replaced_and_service_goes_on(installed: Authserver) -> None:
    with _serving(installed) as served:
        killed, left = served.process.workers
        os.kill(killed, signal.SIGKILL)
        assert wait_until(lambda: killed not in served.process.workers, 5)
        assert _in_each_worker(lambda: served.status_at_last(*ADMIN)) == {200}
        served.wait_for_workers()
        assert left in served.process.workers
        assert _in_each_worker(lambda: served.status(*ADMIN)) == {200}
        assert served.process.stop() == 0


def test_a_request_in_flight_finishes_when_the_server_stops(installed: Authserver) -> None:
    with (
        _serving(installed, AUTHSERVER_BCRYPT_COST="13") as served,
        ThreadPoolExecutor(1) as pool,
    ):
        workers = served.process.workers
        answer = _being_checked(served, pool, lambda pids: sum(map(cpu_seconds, pids)))
        assert not answer.done()
        assert served.process.stop() == 0
        assert answer.result() == 401
        _assert_gone(workers, served)


def test_a_body_that_is_half_sent_is_taken_however_often_a_worker_is_told_to_stop(
    installed: Authserver,
) -> None:
    """Ctrl-C in a terminal is a signal to each process, and then another from the first."""
    form = urlencode({"grant_type": "password", "username": ADMIN[0], "password": ADMIN[1]})
    body = f"{form}&client_id=test&service=registry".encode()
    head = (
        "POST /token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with (
        _serving(installed) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection,
    ):
        connection.sendall(head.encode())
        assert b" 100 " in connection.recv(1000)
        connection.sendall(body[:5])
        workers = served.process.workers
        for number in 5 * (signal.SIGINT, signal.SIGTERM):
            for pid in workers:
                # One that waited for nothing is gone after the first.
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            assert wait_until(lambda: not any(map(told, workers)), 5)
        connection.sendall(body[5:])
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        begun = time.monotonic()
        assert served.process.stop() == 0
        assert time.monotonic() - begun < STOP_AT_MOST_SECONDS


def told(pid: int) -> bool:
    """Whether a signal waits for a process to take notice of it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return any(int(mask, 16) for mask in re.findall(r"(?:Sig|Shd)Pnd:\s+(\w+)", status))


def test_a_connection_that_is_kept_open_does_not_hold_the_server_up(installed: Authserver) -> None:
    with _serving(installed) as served:
        workers = served.process.workers
        connection = HTTPConnection("127.0.0.1", served.port, timeout=10)
        connection.request("GET", "/livez")
        assert connection.getresponse().read()
        begun = time.monotonic()
        assert served.process.stop() == 0
        assert time.monotonic() - begun < 10
        connection.close()
        _assert_gone(workers, served)


def _assert_gone(workers: list[int], served: Served) -> None:
    assert len(workers) == 2
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    with pytest.raises(ConnectionRefusedError):
        fetch(f"{served.url}/livez")


@pytest.mark.parametrize("when", ["starting", "respawning"])
def test_a_worker_that_is_starting_does_not_hold_the_stop_up(
    installed: Authserver, tmp_path: Path, when: str
) -> None:
    port = free_port()
    command = installed.serve_command(port, "--workers", "2")
    with started(command, tmp_path / "log", installed.environ) as server:
        assert wait_until(lambda: " serving " in server.output(), START_SECONDS)
        if when == "respawning":
            assert wait_until(lambda: listening(port) == 2, START_SECONDS)
            first = server.workers
            os.kill(first[0], signal.SIGKILL)
            new = lambda: set(server.workers) - set(first)  # noqa: E731
            assert wait_until(new, START_SECONDS, every=0.001)
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < STOP_AT_MOST_SECONDS
