"""The store: its engine, reading sessions, and changes."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, select, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from authserver.core.errors import NotReady
from authserver.db.models import AuditRecord, StoreState

BUSY_TIMEOUT = 30.0
"""Seconds for which one writer waits for another."""

_WRITE = "authserver_write"


@dataclass
class Change:
    """One transaction that changes something. What it does and what it records commit together."""

    session: Session
    actor: str
    at: datetime

    def record(
        self,
        action: str,
        target: str,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        """Write the audit record of what was done, and tell other processes to look again."""
        self.session.add(
            AuditRecord(
                at=self.at,
                actor=self.actor,
                action=action,
                target=target,
                before=before,
                after=after,
            )
        )
        self.session.execute(update(StoreState).values(version=StoreState.version + 1))


@dataclass(frozen=True)
class Store:
    """The database, and the clock by which it is changed."""

    engine: Engine
    clock: Callable[[], datetime]

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one consistent state."""
        with _named_errors(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def change(self, actor: str) -> Iterator[Change]:
        """Give a change that commits at the end, or rolls back if anything was raised.

        Writers wait for each other, up to :data:`BUSY_TIMEOUT` seconds: what a change has read
        cannot be changed by another before it commits.

        Raises:
            NotReady: the store cannot be reached, or another writer held it for too long.
        """
        engine = self.engine.execution_options(**{_WRITE: True})
        with _named_errors(), Session(engine, expire_on_commit=False) as session, session.begin():
            session.execute(select(StoreState.version).with_for_update())
            yield Change(session, actor, self.clock())

    @contextmanager
    def append(self) -> Iterator[Session]:
        """Give a session for rows that nothing else depends on: no lock but the engine's own."""
        engine = self.engine.execution_options(**{_WRITE: True})
        with _named_errors(), Session(engine) as session, session.begin():
            yield session


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if "locked" in str(error.orig):
            raise NotReady(
                f"another writer held the store for more than {BUSY_TIMEOUT:.0f} s: try again"
            ) from error
        raise NotReady(f"the store cannot be used: {error.orig}") from error
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.DatabaseError) and "malformed" in str(error.orig):
            raise NotReady(f"the store is damaged: {error.orig}; restore a backup") from error
        raise


def open_store(url: str, clock: Callable[[], datetime]) -> Store:
    """Return a store over an engine; connects on first use."""
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = create_engine(url, pool_pre_ping=True)
    return Store(engine, clock)


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver's own implicit BEGIN comes too late and never covers DDL; we begin ourselves.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # The root file system of a container may be read-only, /tmp with it.
    connection.execute("PRAGMA temp_store = MEMORY")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
