"""kill -9 of server and command line during writes: the store stays whole, nothing is lost."""

import json
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.fetching import ask_for_token
from tests.e2e.lab import ADMIN, installation
from tests.programs import Authserver, alive, free_port
from tests.world import PASSWORD, wait_until

pytestmark = pytest.mark.e2e

ROUNDS = 100
AT_ONCE = 4
SERVER_EVERY = 10


def killed(authserver: Authserver, name: str, after: float) -> str | None:
    """Add a user, kill the command after some seconds; return the name if it was acknowledged."""
    command = [*authserver.program, "user", "add", name, "--password-stdin"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=authserver.environ,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(f"{PASSWORD}\n".encode())
        process.stdin.close()
        try:
            return name if process.wait(after) == 0 else None
        except subprocess.TimeoutExpired:
            process.kill()
            return None


def typical_seconds(authserver: Authserver) -> float:
    begun = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        added = pool.map(lambda n: killed(authserver, f"first-{n}", 60), range(AT_ONCE))
        assert all(list(added))
    return time.monotonic() - begun


def kill_server(authserver: Authserver, port: int) -> None:
    """Serve, have logins rehash passwords, and kill the server and its workers meanwhile."""
    raised = Authserver(authserver.data_dir, {**authserver.env, "AUTHSERVER_BCRYPT_COST": "5"})
    with raised.serving(port, "--workers", "2") as server:
        workers = server.workers
        assert ask_for_token(f"http://127.0.0.1:{port}/token", auth=ADMIN).status == 200
        server.stop(signal.SIGKILL)
        # Workers do not outlive the server that was killed.
        assert wait_until(lambda: not any(map(alive, workers)), 30)


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    port = free_port()
    authserver = installation(tmp_path / "data", port)
    authserver.env["AUTHSERVER_AUDIT_LOG"] = str(tmp_path / "audit.jsonl")
    seconds = typical_seconds(authserver)
    r = random.Random(ROUNDS)
    acknowledged: set[str] = set()
    tried = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(ROUNDS // AT_ONCE):
            names = [f"user-{number}-{n}" for n in range(AT_ONCE)]
            waits = [seconds * r.uniform(0.6, 1.2) for _ in names]
            done = pool.map(lambda pair: killed(authserver, *pair), zip(names, waits, strict=True))
            ended = {name for name in done if name}
            acknowledged |= ended
            # However fast the machine is by now, half of them are to be killed.
            seconds *= 0.8 if len(ended) > AT_ONCE / 2 else 1.2
            tried += len(names)
            if number % SERVER_EVERY == 0:
                kill_server(authserver, port)
    assert tried == ROUNDS
    # Otherwise nothing was killed, or nothing written.
    assert 0 < len(acknowledged) < tried
    authserver.run("db", "check")
    authserver.run("audit", "verify", "--against", str(tmp_path / "audit.jsonl"))
    users = {user["name"] for user in json.loads(authserver.run("user", "list", "--json").stdout)}
    assert acknowledged <= users
    changes = json.loads(
        authserver.run("audit", "list", "--kind", "change", "--json", "--limit", "1000").stdout
    )
    added = [c["target"].removeprefix("user:") for c in changes if c["action"] == "user.add"]
    assert sorted(added) == sorted(users)
