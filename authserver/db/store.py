"""The store: its engine, reading sessions, and changes."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select, update
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from authserver.core.errors import NotReady
from authserver.db.models import AuditRecord, StoreState
from authserver.db.trail import Trail

BUSY_TIMEOUT = 30.0
"""Seconds for which one writer waits for another."""

APPEND_WAITS = 0.25

# An engine's option: that a transaction will write, and how many seconds it may wait to begin.
_WRITE = "authserver_write"


@dataclass
class Change:
    """One transaction that changes something. What it does and what it records commit together."""

    session: Session
    actor: str
    at: datetime
    trail: Trail

    def record(
        self,
        action: str,
        target: str,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        """Write the audit record of what was done, and tell other processes to look again.

        Raises:
            NotReady: it has no place in a chain without the master key.
        """
        self.trail.change(
            self.session,
            AuditRecord(
                at=self.at,
                actor=self.actor,
                action=action,
                target=target,
                before=before,
                after=after,
            ),
        )
        self.session.execute(update(StoreState).values(version=StoreState.version + 1))


@dataclass(frozen=True)
class Store:
    """The database, the clock by which it is changed, and the chains of its audit records."""

    engine: Engine
    clock: Callable[[], datetime]
    trail: Trail = field(default_factory=Trail)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one consistent state.

        Raises:
            NotReady: the store cannot be reached, or is none.
        """
        self._require_there()
        with named_errors(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def change(self, actor: str, wait: float = BUSY_TIMEOUT) -> Iterator[Change]:
        """Give a change that commits at the end, or rolls back if anything was raised.

        Writers wait for each other, up to ``wait`` seconds: what a change has read cannot be
        changed by another before it commits.

        Raises:
            NotReady: the store cannot be reached, or another writer held it for too long.
        """
        self._require_there()
        engine = self.engine.execution_options(**{_WRITE: wait})
        with named_errors(), Session(engine, expire_on_commit=False) as session:
            with session.begin():
                session.execute(select(StoreState.version).with_for_update())
                yield Change(session, actor, self.clock(), self.trail)
            self.trail.committed(session)

    @contextmanager
    def append(self) -> Iterator[Session]:
        """Give a session for rows that nothing else depends on.

        It gives up soon where another writes: whoever appends can try again later.
        """
        self._require_there()
        engine = self.engine.execution_options(**{_WRITE: APPEND_WAITS})
        with named_errors(), Session(engine) as session:
            with session.begin():
                yield session
            self.trail.committed(session)

    @property
    def file(self) -> Path | None:
        """Return the file of an embedded store."""
        if self.engine.dialect.name != "sqlite" or not self.engine.url.database:
            return None
        return Path(self.engine.url.database)

    def _require_there(self) -> None:
        # SQLite goes on with a file that was deleted, and makes an empty one in its place.
        if self.file is not None and not self.file.exists():
            raise NotReady(f"there is no store at {self.file}")


@contextmanager
def named_errors() -> Iterator[None]:
    """Raise NotReady, with what an operator can do, where the database driver gave up."""
    try:
        yield
    except OperationalError as error:
        if "locked" in str(error.orig):
            raise NotReady("another writer holds the store: try again") from error
        raise NotReady(f"the store cannot be used: {error.orig}") from error
    except DBAPIError as error:
        # What has no class of its own there says that the file is damaged, or no database.
        if type(error.orig) is sqlite3.DatabaseError:
            raise NotReady(f"the store is damaged: {error.orig}; restore a backup") from error
        raise


def open_store(url: str | URL, clock: Callable[[], datetime], trail: Trail | None = None) -> Store:
    """Return a store over an engine; connects on first use.

    Without a ``trail``, which knows the master key, nothing can be recorded, so nothing be changed.

    Raises:
        NotReady: there is no driver for that database.
    """
    url = make_url(url)
    try:
        engine = create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite")
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise NotReady(f"the database {url.drivername} has no driver here: {error}") from None
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return Store(engine, clock, trail or Trail())


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver's own implicit BEGIN comes too late and never covers DDL; we begin ourselves.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # The root file system of a container may be read-only, /tmp with it.
    connection.execute("PRAGMA temp_store = MEMORY")


def _begin_sqlite(connection: Connection) -> None:
    wait: float | None = connection.get_execution_options().get(_WRITE)
    if wait is None:
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(wait * 1000)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")
