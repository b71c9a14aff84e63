"""SQLite: the embedded store, one file with a write-ahead log beside it."""

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from authserver.core.errors import NotReady
from authserver.db.dialects.dialect import (
    BUSY,
    RESERVE_BYTES,
    WRITE,
    Reserve,
    Space,
    StoreDialect,
)
from authserver.runtime.settings import Pool

TRY_FOR = 5
"""Milliseconds for which SQLite tries to take the lock of a writer by itself: 3 times."""

# Without room for the index of its log, or beyond a quota, SQLite reports an error of input and
# output.
_FULL_CODES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}


class SQLite(StoreDialect):
    """SQLite, in WAL mode."""

    def open(self, url: URL, pool: Pool) -> Engine:  # noqa: ARG002 - a file needs no pool
        engine = create_engine(url, hide_parameters=True)
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine

    def file(self, url: URL) -> Path | None:
        return Path(url.database) if url.database else None

    def time(self, session: Session) -> datetime:
        # CURRENT_TIMESTAMP has whole seconds in SQLite.
        now = session.execute(select(func.strftime("%Y-%m-%d %H:%M:%f", "now"))).scalar_one()
        return datetime.fromisoformat(now).replace(tzinfo=UTC)

    def place(self, url: URL) -> str:
        return f"the store at {url.database}"

    def is_full(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlite_errorcode", None) in _FULL_CODES

    def remedy(self, error: DBAPIError, url: URL) -> str | None:
        if isinstance(error, OperationalError):
            if "locked" in str(error.orig):
                return f"{BUSY} ({self.place(url)})"
            why = _system_reason(Path(str(url.database)))
            return f"{self.place(url)} cannot be used: {why or error.orig}"
        # An error without a class of its own says that the file is damaged, or no database.
        if type(error.orig) is sqlite3.DatabaseError:
            return f"{self.place(url)} is damaged: {error.orig}; restore a backup"
        return None

    @contextmanager
    def migrating(self, connection: Connection, wait: float) -> Iterator[None]:  # noqa: ARG002
        """Check foreign keys at the end only: a table is changed by making it anew."""
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                yield
                if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                    raise NotReady(
                        f"the upgrade would leave {len(broken)} rows that name what is not there"
                    )
        finally:
            driver.execute("PRAGMA foreign_keys = ON")

    def highest_ids(self, connection: Connection) -> dict[str, int]:
        rows = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")
        return {name: highest for name, highest in rows if highest}

    def continue_ids(self, connection: Connection, table: str, highest: int) -> None:
        # A table without rows has no entry.
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        connection.exec_driver_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, highest))

    @contextmanager
    def highest_ids_kept(self, connection: Connection) -> Iterator[None]:
        highest = self.highest_ids(connection)
        yield
        for table, number in highest.items():
            self.continue_ids(connection, table, number)

    def damage(self, session: Session) -> str | None:
        faults = session.scalars(text("PRAGMA integrity_check")).all()
        if faults == ["ok"]:
            return None
        return f"{len(faults)} faults, the first: {faults[0]}; restore a backup"

    def broken_references(self, session: Session) -> str | None:
        rows = session.execute(text("PRAGMA foreign_key_check")).all()
        if not rows:
            return None
        return f"{len(rows)} rows name something that is gone, the first in {rows[0][0]}"

    def overwrite_deleted(self, engine: Engine) -> None:
        """Empty the log, unless somebody reads just now; pages are overwritten at once."""
        _checkpoint(engine, "TRUNCATE")

    def measure(self, session: Session, table: str, rows: int) -> Space:  # noqa: ARG002
        pages, unused, size = (
            session.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
        url = session.connection().engine.url
        disk = os.statvfs(str(url.database))
        return Space((pages - unused) * size, unused * size + disk.f_bavail * disk.f_frsize)

    def reclaim(self, engine: Engine, table: str) -> None:  # noqa: ARG002
        # The log keeps its size: where the disk is full that is space to write to.
        _checkpoint(engine, "RESTART")

    def reserve(self, engine: Engine) -> Reserve:
        file = Path(str(engine.url.database))
        return FileReserve(file.with_name(f"{file.name}.reserve"))


@dataclass(frozen=True)
class FileReserve:
    """A file beside an embedded store."""

    path: Path

    def keep(self, wanted: int = RESERVE_BYTES) -> None:
        """Make the file, or make it larger, but leave half of what is free."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                disk = os.fstatvfs(descriptor)
                wanted = min(wanted, (disk.f_bavail * disk.f_frsize + size) // 2)
                if wanted > size:
                    os.posix_fallocate(descriptor, 0, wanted)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise NotReady(f"the file {self.path} cannot be made: {error.strerror}") from None

    def release(self) -> int:
        """Remove the file."""
        try:
            size = self.path.stat().st_size
            self.path.unlink()
        except OSError:
            return 0
        return size


DIALECT = SQLite()


def _system_reason(file: Path) -> str | None:
    """Return why the system does not let this process write a store's file, if that is so.

    SQLite does not say it. Nothing is opened here: to close it would end SQLite's own locks.
    """
    try:
        mode = file.stat().st_mode
        if os.statvfs(file).f_flag & os.ST_RDONLY:
            return os.strerror(errno.EROFS)
    except OSError as error:
        return error.strerror
    if stat.S_ISDIR(mode):
        return os.strerror(errno.EISDIR)
    for path, access in ((file, os.R_OK | os.W_OK), (file.parent, os.W_OK | os.X_OK)):
        if not os.access(path, access):
            return f"{os.strerror(errno.EACCES)}: {path}"
    return None


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    # The driver's own implicit BEGIN comes too late and never covers DDL; we begin ourselves.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # The private half of a retired key must be gone, not only out of sight.
    connection.execute("PRAGMA secure_delete = ON")
    # The root file system of a container may be read-only, and its directory for temporary files.
    connection.execute("PRAGMA temp_store = MEMORY")
    # SQLite's own knows the case of ASCII letters only, and searches take any.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    return text and text.lower()


def _begin(connection: Connection) -> None:
    wait: float | None = connection.get_execution_options().get(WRITE)
    if wait is None:
        connection.exec_driver_sql("BEGIN")
        return
    deadline = monotonic() + wait
    # SQLite tries ever less often, at last every 0.1 s: the newest writer would always be first.
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


def _checkpoint(engine: Engine, how: str) -> None:
    """Write the log to the file (``PRAGMA wal_checkpoint``)."""
    with engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        statement = f"PRAGMA wal_checkpoint({how})"
        try:
            # Not within a transaction, which SQLAlchemy would begin.
            driver.execute(statement)
        except sqlite3.Error as error:
            raise DBAPIError.instance(statement, None, error, sqlite3.Error) from error
