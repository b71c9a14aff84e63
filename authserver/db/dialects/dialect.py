"""What the rest of ``db`` asks of a database engine; each engine has a file beside this one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Protocol

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from authserver.runtime.settings import Pool

WRITE = "authserver_write"
"""The option of an engine whose transactions write: how many seconds each may wait to begin."""

BUSY = "another writer holds the store: try again"

AT_ONCE = 64
"""Rows in one INSERT: the driver keeps the statement, half a kilobyte a row."""

RESERVE_BYTES = 16 << 20

Insert = Callable[[Iterable[Sequence[Any]]], None]


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes: what records of token requests take, and what is free, None if that is not known.

    An embedded store cannot tell records from the rest: ``used`` is all of it. What is free within
    its file counts as ``free``.
    """

    used: int
    free: int | None


class Reserve(Protocol):
    """Space that is kept, so that something can be deleted where a disk is full.

    Deleting takes space too. SQLite writes what it deletes to its log first. PostgreSQL's VACUUM,
    without which nothing can take the place of deleted rows, notes down where they were.
    """

    def keep(self, wanted: int = RESERVE_BYTES) -> None:
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


class StoreDialect(ABC):
    """One database engine: how it is opened, and all that it does in its own way."""

    read_options: ClassVar[Mapping[str, Any]] = {}
    """The options of a transaction that sees one state and writes nothing."""

    @abstractmethod
    def open(self, url: URL, pool: Pool) -> Engine:
        """Return an engine that heeds the option :data:`WRITE`; connects on first use.

        Raises:
            NotReady: the driver is not installed.
        """

    def file(self, url: URL) -> Path | None:  # noqa: ARG002 - for an embedded store
        """Return the file of an embedded store."""
        return None

    @abstractmethod
    def time(self, session: Session) -> datetime:
        """Return the time by the database's own clock."""

    @abstractmethod
    def place(self, url: URL) -> str:
        """Return the store with its place, for a message: never with a password."""

    @abstractmethod
    def is_full(self, error: DBAPIError) -> bool:
        """Whether the store took nothing more."""

    @abstractmethod
    def remedy(self, error: DBAPIError, url: URL) -> str | None:
        """Return what an operator can do; None if the error is a fault of this program.

        After waiting for another writer the text begins with :data:`BUSY`.
        """

    @abstractmethod
    def migrating(self, connection: Connection, wait: float) -> AbstractContextManager[None]:
        """Give a transaction in which the schema may be changed, after at most ``wait`` seconds.

        Raises:
            NotReady: at the end a row would name another that is not there.
        """

    def lock_set_up(self, connection: Connection) -> None:  # noqa: B027 - optional
        """Take the set-up lock until the transaction ends; an embedded store needs none."""

    @abstractmethod
    def highest_ids(self, connection: Connection) -> dict[str, int]:
        """Return the highest id that each table ever gave out, also of rows that are gone."""

    @abstractmethod
    def continue_ids(self, connection: Connection, table: str, highest: int) -> None:
        """Make a table's next row get a higher id than ``highest``."""

    @contextmanager
    def highest_ids_kept(self, connection: Connection) -> Iterator[None]:  # noqa: ARG002
        """Remember the highest ids of tables that a migration makes anew."""
        yield

    @contextmanager
    def inserting(
        self,
        connection: Connection,
        into: str,
        types: Sequence[str],
    ) -> Iterator[Insert]:
        """Give a function that inserts rows of driver values; ``into`` is ``table (columns)``."""
        mark = {"qmark": "?", "format": "%s"}[connection.dialect.paramstyle]
        marks = f"({', '.join(mark for _ in types)})"
        statement = f"INSERT INTO {into} VALUES {{}}"  # noqa: S608

        def insert(rows: Iterable[Sequence[Any]]) -> None:
            # The driver gives the interpreter to another thread with each statement, and so for
            # each row if they have one each; meanwhile the write lock is held.
            remaining = iter(rows)
            while some := list(islice(remaining, AT_ONCE)):
                filled = statement.format(", ".join([marks] * len(some)))
                connection.exec_driver_sql(filled, tuple(chain.from_iterable(some)))

        yield insert

    def damage(self, session: Session) -> str | None:  # noqa: ARG002 - for an embedded store
        """Return what is wrong with the database's own structures."""
        return None

    def broken_references(self, session: Session) -> str | None:  # noqa: ARG002
        """Return which foreign keys name rows that are gone."""
        return None

    def overwrite_deleted(self, engine: Engine) -> None:  # noqa: B027 - optional
        """Keep nothing of what was deleted, as far as the engine can."""

    @abstractmethod
    def measure(self, session: Session, table: str, rows: int) -> Space:
        """Return the space of a store that has so many ``rows`` in ``table``."""

    @abstractmethod
    def reclaim(self, engine: Engine, table: str) -> None:
        """Make the space that deleted rows of ``table`` took usable again."""

    @abstractmethod
    def reserve(self, engine: Engine) -> Reserve:
        """Return the reserve of a store."""
