"""A PostgreSQL of our own: started for the tests, stopped by its own process id."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL

from tests.programs import Process, clean_environ, free_port, require, started, which
from tests.world import wait_until

USER = "postgres"
ROOM = 2**30
PASSWORD = "pg:secret/word"

# Texts are not in the order of their code points, as on most machines and unlike in SQLite.
_INITDB = (
    "--username=owner",
    "--encoding=UTF8",
    "--auth-local=trust",
    "--auth-host=scram-sha-256",
    "--no-sync",
    "--locale=C.UTF-8",
    "--locale-provider=icu",
    "--icu-locale=en",
)

# What a test cluster need not do: outlive the machine.
_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "listen_addresses": "127.0.0.1",
    "timezone": "Pacific/Apia",
}


DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
"""As everybody else has it: what was acknowledged outlives a crash."""


def programs() -> Path:
    """Return the directory of PostgreSQL's own programs; on Debian it is not on the path."""
    return Path(str(which("initdb"))).parent


@dataclass
class Cluster:
    """A running PostgreSQL. Over its socket everybody is let in, over TCP with PASSWORD only."""

    home: Path
    port: int
    _connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def url(self, database: str, *, by_tcp: bool = False, password: str = PASSWORD) -> URL:
        """Return the URL of a database, over the socket unless asked."""
        parts: dict[str, Any] = {"username": "owner", "port": self.port, "database": database}
        if by_tcp:
            parts |= {"host": "127.0.0.1", "password": password}
        else:
            parts["query"] = {"host": str(self.home)}
        return URL.create("postgresql+psycopg", **parts)

    def create(self, database: str, template: str = "template1") -> None:
        """Make a database, as a copy of another; whoever is connected to that one is cut."""
        self.end_connections(template)
        self.do("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", database, template)

    def drop(self, database: str) -> None:
        self.do("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    def close(self, database: str) -> None:
        """Let nobody connect any more, and cut who is connected."""
        self.do("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", database)
        self.end_connections(database)

    def open(self, database: str) -> None:
        """Let everybody connect again."""
        self.do("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", database)

    def end_connections(self, database: str) -> None:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        self._admin().execute(ended, (database,))

    def do(self, statement: str, *names: str) -> None:
        """Run a statement as the cluster's owner, its ``{}`` filled with names."""
        self._admin().execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _admin(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = self.connect("postgres")
        return self._connection

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            dbname=database,
            user="owner",
            host=str(self.home),
            port=self.port,
            autocommit=True,
        )


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a PostgreSQL that has nothing in it until the block ends."""
    with stopped_cluster() as made, running(made):
        yield made


@contextmanager
def stopped_cluster() -> Iterator[Cluster]:
    """Make a PostgreSQL that does not run yet, and remove it when the block ends."""
    require("initdb")
    # Not under pytest's directories: PostgreSQL's user may not enter them.
    home = Path(tempfile.mkdtemp(prefix="authserver-postgresql-", dir=_place()))
    try:
        (home / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (home, home / "password"):
                shutil.chown(path, USER, USER)
        subprocess.run(
            _command("initdb", "-D", f"{home}/data", f"--pwfile={home}/password", *_INITDB),
            check=True,
            capture_output=True,
            cwd="/",
        )
        made = Cluster(home, free_port())
        yield made
        made.disconnect()
    finally:
        shutil.rmtree(home)


@contextmanager
def running(made: Cluster, **chosen: str) -> Iterator[Process]:
    """Run a PostgreSQL until the block ends; connections are cut then.

    ``chosen`` are settings in place of those for tests.
    """
    place = ["-D", f"{made.home}/data", "-k", str(made.home), "-p", str(made.port)]
    options = [f"--{name}={value}" for name, value in (_OPTIONS | chosen).items()]
    command = _command("postgres", *place, *options)
    with started(command, made.home / "log", clean_environ(), cwd=made.home) as process:
        try:
            if not wait_until(lambda: process.inner.poll() is not None or _answers(made), 30):
                pytest.fail(f"PostgreSQL does not answer: {process.output()}")
            if process.inner.poll() is not None:
                pytest.fail(f"PostgreSQL ended: {process.output()}")
            yield process
        finally:
            process.stop(signal.SIGINT)


def _place() -> Path | None:
    """Return a directory in memory if there is room; None is the usual place.

    On a disk a new database takes ten times as long, and every test has one.
    """
    memory = Path("/dev/shm")
    there = memory.is_dir() and os.access(memory, os.W_OK)
    return memory if there and shutil.disk_usage(memory).free > ROOM else None


def _answers(made: Cluster) -> bool:
    try:
        made.connect("postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def _command(program: str, *args: str) -> list[str]:
    """Return a command that runs as whom PostgreSQL may run as: it refuses root."""
    drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    return [*(drop if os.geteuid() == 0 else []), f"{programs()}/{program}", *args]
