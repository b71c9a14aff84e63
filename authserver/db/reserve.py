"""Space that is kept, so that something can be deleted where a disk is full: that takes space too.

SQLite writes what it deletes to its log first. PostgreSQL's VACUUM, without which nothing can take
the place of deleted rows, notes down where they were.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, text

from authserver.core.errors import NotReady
from authserver.db.dialects.errors import named_errors
from authserver.db.dialects.postgresql import wait_at_most
from authserver.db.store import APPEND_WAITS, Store

BYTES = 16 << 20
PAGE_BYTES = 8192
ROW_BYTES = 8000
"""Of a row that takes a page."""

_TABLE = "authserver_reserve"
# What is compressed keeps no space.
_MAKE = f"""
    CREATE TABLE IF NOT EXISTS {_TABLE} (filler bytea NOT NULL);
    ALTER TABLE {_TABLE} ALTER COLUMN filler SET STORAGE PLAIN
"""
_FILL = "INSERT INTO authserver_reserve VALUES (:filler)"
# One more of the numbers in dialects/postgresql.py.
_KEEPING = 4_926_115_700_837_219_003


class Reserve(Protocol):
    """Keeps space until it is given back."""

    def keep(self, wanted: int = BYTES) -> None:
        """Take so many bytes, if less is taken.

        Raises:
            StoreFull: there is not so much space.
            NotReady: the store cannot be used, or lets nobody take space.
        """

    def release(self) -> int:
        """Give the space back; return how many bytes it was.

        Raises:
            NotReady: the store cannot be used.
        """


@dataclass(frozen=True)
class FileReserve:
    """A file beside an embedded store."""

    path: Path

    def keep(self, wanted: int = BYTES) -> None:
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


@dataclass(frozen=True)
class TableReserve:
    """A table of PostgreSQL that is no part of the schema: backups leave it out."""

    engine: Engine

    def keep(self, wanted: int = BYTES) -> None:
        """Fill the table, if nobody else does."""
        with self._alone() as connection:
            if not connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({_KEEPING})")):
                return
            connection.exec_driver_sql(_MAKE)
            if (missing := (wanted - _size(connection)) // PAGE_BYTES) > 0:
                rows = [{"filler": secrets.token_bytes(ROW_BYTES)} for _ in range(missing)]
                connection.execute(text(_FILL), rows)

    def release(self) -> int:
        """Remove the table: to empty it would take new files, and pages for them."""
        with self._alone() as connection:
            size = _size(connection)
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {_TABLE}")
        return size

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        with named_errors(), self.engine.begin() as connection:
            wait_at_most(connection, APPEND_WAITS)
            yield connection


def _size(connection: Connection) -> int:
    return connection.scalar(text(f"SELECT pg_relation_size(to_regclass('{_TABLE}'))")) or 0


def reserve_of(store: Store) -> Reserve:
    """Return the reserve of a store."""
    if store.file is None:
        return TableReserve(store.engine)
    return FileReserve(store.file.with_name(f"{store.file.name}.reserve"))
