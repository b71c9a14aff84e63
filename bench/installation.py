"""An installation as an operator makes it, filled with rules and accounts, and its server."""

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import bcrypt
from sqlalchemy import insert, inspect, select

from authserver.audit.recorder import trail_of
from authserver.core.rules import Effect, new_rule
from authserver.core.subjects import subjects
from authserver.db import accounts, app_tokens, models, rules
from authserver.db.app_tokens import Wanted
from authserver.db.store import Change, Store, open_store
from authserver.runtime.settings import Settings
from bench import machine
from tests.programs import Process, free_port

COST = 12
PASSWORD = "correct horse"  # noqa: S105 - of accounts that live as long as the bench
SERVICE = "registry"
START_SECONDS = 120.0
SETTLE_SECONDS = 30.0
LOOK_SECONDS = 0.1
MAX_IDLE = 0.5
"""Of a processor: a server that takes less of it is at rest, but for what it does by itself."""
MAX_BATCH = 10_000
PROGRAM = (sys.executable, "-m", "authserver")


@dataclass(frozen=True)
class Installation:
    """A data directory with accounts and rules in it, and the secrets to use them by."""

    data_dir: Path
    port: int
    app_token: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data_dir.parent / f"serve-{self.port}.log"

    @property
    def environ(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("AUTHSERVER_")}
        own = {
            "AUTHSERVER_DATA_DIR": str(self.data_dir),
            "AUTHSERVER_LOG_FORMAT": "json",
            # One machine is all clients here.
            "AUTHSERVER_REQUESTS_PER_ADDRESS": "0",
            "AUTHSERVER_CONNECTIONS_PER_ADDRESS": "0",
        }
        return {**kept, **own, **self.settings}

    def store(self) -> Store:
        url = self.settings.get("AUTHSERVER_DATABASE_URL")
        chosen = Settings(data_dir=self.data_dir, database_url=url)
        trail = trail_of(chosen.master_key_path)
        return open_store(chosen.store_url, lambda: datetime.now(UTC), chosen.pool, trail)

    def pull(self, name: str = "public/app") -> str:
        return f"service={SERVICE}&scope=repository:{name}:pull"

    def push(self, name: str = "team/app") -> str:
        return f"service={SERVICE}&scope=repository:{name}:pull,push"

    def basic(self, secret: str, name: str = "user0") -> dict[str, str]:
        return {"Authorization": "Basic " + b64encode(f"{name}:{secret}".encode()).decode()}


def made(
    data_dir: Path,
    number_of_rules: int,
    number_of_accounts: int,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Installation:
    """Set up an installation; of its rules one lets everybody pull, and user0 may push to team.

    ``more`` are settings beside those that all have: metrics are served.
    """
    metrics = {"AUTHSERVER_METRICS_LISTEN": f"127.0.0.1:{free_port()}"}
    installation = Installation(data_dir, free_port(), settings={**metrics, **more})
    command = [*PROGRAM, "init", "--registry", "registry"]
    subprocess.run(command, env=installation.environ, check=True, capture_output=True)
    store = installation.store()
    with store.change("bench") as change:
        ids = _add_accounts(change, number_of_accounts)
        _add_rules(change, number_of_rules, ids)
    with store.change("bench") as change:
        for about, pattern, actions in (
            ("anonymous", "public/*", "pull"),
            ("user:user0", "team/**", "push"),
        ):
            rules.add(change, new_rule(Effect.ALLOW, subjects(about), [pattern], actions))
        wanted = Wanted("bench", timedelta(days=1), ("repository:**:all",))
        _, secret = app_tokens.create(change, "user0", wanted, secrets.token_bytes)
    store.engine.dispose()
    return replace(installation, app_token=secret)


def log_in(installation: Installation) -> str:
    """Return a refresh token, as docker login keeps it, from the server that runs."""
    url = f"{installation.url}/token?service={SERVICE}&offline_token=true"
    asked = urllib.request.Request(url, headers=installation.basic(PASSWORD))  # noqa: S310
    with urllib.request.urlopen(asked, timeout=START_SECONDS) as answer:  # noqa: S310
        token: str = json.load(answer)["refresh_token"]
        return token


def _add_accounts(change: Change, number: int) -> list[int]:
    """Add user0, user1 and so on, with one password; return their ids."""
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode()
    first = accounts.add_user(change, "user0", stored)
    names = [f"user{n}" for n in range(1, number)]
    _copy(change, first, [{"name": name, "folded_name": name} for name in names])
    row = models.AccountRow
    return list(change.session.scalars(select(row.id).where(row.id >= first.id).order_by(row.id)))


def _add_rules(change: Change, number: int, about: Sequence[int]) -> None:
    """Add rules as a large installation has them: of one account each, on what is its own."""
    said = new_rule(Effect.ALLOW, subjects("user:user0"), [_pattern(0)], "pull,push")
    first = rules.add(change, said)
    _copy(change, first, [{"patterns": [_pattern(n)]} for n in range(1, number)])
    others = select(models.RuleRow.id).where(models.RuleRow.id > first.id)
    subject = first.subjects[0]
    ids = enumerate(change.session.scalars(others.order_by(models.RuleRow.id)), 1)
    _copy(
        change,
        subject,
        [{"rule_id": each, "account_id": about[n % len(about)]} for n, each in ids],
    )


def _pattern(number: int) -> str:
    return f"team{number % 1000}/app{number}/**"


def _copy(change: Change, row: models.Base, differing: Sequence[Mapping[str, Any]]) -> None:
    """Add copies of a row, each with other values in a few columns; the store numbers them.

    The server's own functions made the row, so that a later column has its value here too.
    """
    columns = inspect(type(row)).column_attrs.keys()
    same = {name: getattr(row, name) for name in columns if name != "id"}
    for start in range(0, len(differing), MAX_BATCH):
        batch = [{**same, **each} for each in differing[start : start + MAX_BATCH]]
        change.session.execute(insert(type(row)), batch)


@dataclass(frozen=True)
class Server:
    """A running server."""

    installation: Installation
    process: "subprocess.Popen[bytes]"
    seconds: float
    """From the start to the first token."""
    beside: Process | None = None
    """Its database's server, if it has one."""

    @property
    def workers(self) -> list[int]:
        """Return the processes that answer requests: the children that serve."""
        stats = Path("/proc").glob("[0-9]*/stat")
        pids = [int(stat.parent.name) for stat in stats]
        return [pid for pid in pids if _parent(pid) == self.process.pid]

    @property
    def pids(self) -> list[int]:
        others = [] if self.beside is None else [self.beside.inner.pid, *self.beside.workers]
        return [self.process.pid, *self.workers, *others]

    def worked(self) -> float:
        """Return the processor seconds that the workers took so far."""
        return sum(map(machine.cpu_seconds, self.workers))

    def settle(self) -> None:
        """Wait until nothing is left to do of what was asked: a bcrypt goes on without its client.

        Raises:
            SystemExit: the server does not come to rest.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        before, now = -1.0, self.worked()
        while now - before > LOOK_SECONDS * MAX_IDLE:
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.installation.url} is still busy")
            time.sleep(LOOK_SECONDS)
            before, now = now, self.worked()

    def resident(self) -> int:
        """Return the resident memory of the largest worker, in bytes."""
        return max(map(machine.resident_bytes, self.workers))


@contextmanager
def serving(installation: Installation, *more: str) -> Iterator[Server]:
    """Serve until the block ends, with ``more`` arguments, or as `serve` chooses itself.

    Raises:
        SystemExit: it gives no token.
    """
    began = time.monotonic()
    with installation.log.open("wb") as log:
        process = subprocess.Popen(
            [*PROGRAM, "serve", "--port", str(installation.port), *more],
            env=installation.environ,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(installation, process, began + START_SECONDS)
        yield Server(installation, process, time.monotonic() - began)
    finally:
        process.terminate()
        process.wait()


def _wait(installation: Installation, process: "subprocess.Popen[bytes]", deadline: float) -> None:
    url = f"{installation.url}/token?{installation.pull()}"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own server
        except OSError:
            time.sleep(0.005)
        else:
            return
    raise SystemExit(f"no token at {url}; see {installation.data_dir.parent}")


def _parent(pid: int) -> int:
    try:
        return int(machine.stat_fields(pid)[1])
    except OSError:  # it has ended
        return 0
