"""The store: its engine, reading sessions, and changes."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from authserver.core.errors import NotReady
from authserver.db import change_log
from authserver.db.dialects import postgresql
from authserver.db.dialects.errors import named_errors
from authserver.db.models import AuditRecord, StoreStateRow
from authserver.runtime import extras
from authserver.runtime.settings import Pool

BUSY_TIMEOUT = 30.0
"""Seconds for which one writer waits for another."""

APPEND_WAITS = 0.25
UNRECORDED = "changes and token requests cannot be recorded without the master key"

TRY_FOR = 5
"""Milliseconds for which SQLite tries to take the lock of a writer by itself: 3 times."""

# An engine's option: that a transaction will write, and how many seconds it may wait to begin.
_WRITE = "authserver_write"


def database_time(session: Session) -> datetime:
    """Return the time by the database's own clock, which all processes share."""
    if session.get_bind().dialect.name == "sqlite":
        # CURRENT_TIMESTAMP has whole seconds there.
        text = session.execute(select(func.strftime("%Y-%m-%d %H:%M:%f", "now"))).scalar_one()
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    return session.execute(select(func.current_timestamp())).scalar_one().astimezone(UTC)


class Recorder(Protocol):
    """Writes audit records, in the transaction of what they are about."""

    def change(self, session: Session, record: AuditRecord) -> None:
        """Write the record of a change."""

    def settle(self, session: Session) -> None:
        """Finish what was recorded; to be done before the commit."""

    def committed(self, session: Session) -> None:
        """Take note that what was written with ``session`` is committed."""

    def checkpoint(self, session: Session, at: datetime) -> str | None:
        """Seal all records; return what is wrong with them, if so."""

    def rewrap(self, session: Session, seal: Callable[[bytes, str], bytes]) -> None:
        """Have ``seal`` encrypt the key of the records; it is given the key and its name."""


class NoRecorder:
    """What a store has that was opened without the master key: it can be read only."""

    def change(self, session: Session, record: AuditRecord) -> None:  # noqa: ARG002
        raise NotReady(UNRECORDED)

    def settle(self, session: Session) -> None:
        """Do nothing: nothing was recorded."""

    def committed(self, session: Session) -> None:
        """Do nothing: nothing was recorded."""

    def checkpoint(self, session: Session, at: datetime) -> str | None:  # noqa: ARG002
        raise NotReady(UNRECORDED)

    def rewrap(self, session: Session, seal: Callable[[bytes, str], bytes]) -> None:  # noqa: ARG002
        raise NotReady(UNRECORDED)


@dataclass
class Change:
    """One transaction that changes something. What it does and what it records commit together.

    ``at`` is the time by the store's clock.
    """

    session: Session
    actor: str
    at: datetime
    trail: Recorder
    _counted: int | None = None

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
        if self._counted is None:
            self.raise_version(1)
        else:
            self._counted += 1

    def seal(self) -> str | None:
        """Seal the audit chains, unless all was taken back; return what is wrong with them."""
        if not self.session.in_transaction():
            return None
        return self.trail.checkpoint(self.session, self.at)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Raise the version once at the end, by as much as was recorded: for much at once."""
        self._counted = 0
        yield
        self.raise_version(self._counted)
        self._counted = None

    def raise_version(self, by: int) -> None:
        """Tell other processes to look again."""
        self.session.execute(update(StoreStateRow).values(version=StoreStateRow.version + by))


@dataclass(frozen=True)
class Store:
    """The database, this process's clock, the one that the database has, and its audit chains."""

    engine: Engine
    clock: Callable[[], datetime]
    trail: Recorder = field(default_factory=NoRecorder)
    time: Callable[[Session], datetime] = database_time

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one consistent state.

        Raises:
            NotReady: the store cannot be reached, or is none.
        """
        self._require_there()
        engine = self.engine
        if engine.dialect.name != "sqlite":
            engine = engine.execution_options(**postgresql.ONE_STATE)
        with named_errors(), Session(engine, expire_on_commit=False) as session:
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
        with self._writing(engine) as session:
            # Read, for SQLite keeps the state of a result that is not, and with it the connection.
            session.execute(select(StoreStateRow.version).with_for_update()).all()
            at = self.time(session)
            with change_log.noted(session, at):
                yield Change(session, actor, at, self.trail)
                self.trail.settle(session)

    @contextmanager
    def append(self) -> Iterator[Session]:
        """Give a session for rows that nothing else depends on.

        It gives up soon where another writes: whoever appends can try again later.
        """
        self._require_there()
        engine = self.engine.execution_options(**{_WRITE: APPEND_WAITS})
        with self._writing(engine) as session:
            yield session

    @contextmanager
    def _writing(self, engine: Engine) -> Iterator[Session]:
        with named_errors(), Session(engine, expire_on_commit=False) as session:
            event.listen(session, "after_commit", self.trail.committed)
            with session.begin():
                yield session

    def overwrite_deleted(self) -> None:
        """Have an embedded store keep nothing of what was deleted.

        Its pages are overwritten at once; its log is emptied here, unless somebody reads just now.
        """
        if self.file is not None:
            self.checkpoint("TRUNCATE")

    def checkpoint(self, how: str) -> None:
        """Have an embedded store's log go to its file (SQLite, ``PRAGMA wal_checkpoint``).

        Raises:
            NotReady: the store cannot be used, or is full.
        """
        self._require_there()
        with named_errors(), self.engine.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            statement = f"PRAGMA wal_checkpoint({how})"
            try:
                # Not within a transaction, which SQLAlchemy would begin.
                driver.execute(statement)
            except sqlite3.Error as error:
                raise DBAPIError.instance(statement, None, error, sqlite3.Error) from error

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


def open_store(
    url: str | URL,
    clock: Callable[[], datetime],
    pool: Pool | None = None,
    trail: Recorder | None = None,
) -> Store:
    """Return a store over an engine; connects on first use. SQLite heeds no ``pool``.

    Without a ``trail``, which knows the master key, nothing can be recorded, so nothing be changed.

    Raises:
        NotReady: there is no driver for that database.
    """
    url = make_url(url)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return Store(engine, clock, trail or NoRecorder())
    try:
        engine = postgresql.open_engine(url, pool or Pool())
    except ImportError:
        raise NotReady(
            f"PostgreSQL has no driver here: {extras.how_to_install('postgresql')}"
        ) from None
    event.listen(engine, "begin", _begin_postgresql)
    return Store(engine, clock, trail or NoRecorder())


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver's own implicit BEGIN comes too late and never covers DDL; we begin ourselves.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # The private half of a retired key must be gone, not only out of sight.
    connection.execute("PRAGMA secure_delete = ON")
    # The root file system of a container may be read-only, /tmp with it.
    connection.execute("PRAGMA temp_store = MEMORY")


def _begin_sqlite(connection: Connection) -> None:
    wait: float | None = connection.get_execution_options().get(_WRITE)
    if wait is None:
        connection.exec_driver_sql("BEGIN")
        return
    deadline = monotonic() + wait
    # SQLite tries ever less often, at last every 0.1 s: who has just come would always be first.
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {TRY_FOR}")
    while not _begun(connection, deadline):
        pass
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(wait * 1000)}")


def _begun(connection: Connection, deadline: float) -> bool:
    """Begin to write, unless another does for so long that it should be tried anew."""
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:
        is_busy = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
        if not is_busy or monotonic() > deadline:
            raise
        return False
    return True


def _begin_postgresql(connection: Connection) -> None:
    wait: float | None = connection.get_execution_options().get(_WRITE)
    if wait is not None:
        postgresql.wait_at_most(connection, wait)
