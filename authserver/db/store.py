"""The store: reading sessions, changes, and the rows that nothing depends on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, event, make_url, select, update
from sqlalchemy.orm import Session

from authserver.core.errors import NotReady
from authserver.db import change_log
from authserver.db.dialects import dialect, dialect_of
from authserver.db.dialects.dialect import WRITE
from authserver.db.dialects.errors import named_errors
from authserver.db.models import AuditRecord, StoreStateRow
from authserver.runtime.settings import Pool

BUSY_TIMEOUT = 30.0
"""Seconds for which one writer waits for another."""

APPEND_WAITS = 0.25
UNRECORDED = "changes and token requests cannot be recorded without the master key"


def database_time(session: Session) -> datetime:
    """Return the time by the database's own clock, which all processes share."""
    return dialect_of(session.connection()).time(session)


def lock_version_at_once(session: Session) -> bool:
    """Lock the store's version as a change does, without a wait; False if a change holds it.

    On SQLite the transaction already has the only write lock.
    """
    version = select(StoreStateRow.version).with_for_update(skip_locked=True)
    return bool(session.scalars(version).all())


class Recorder(Protocol):
    """Writes audit records, in the transaction of what they are about."""

    def change(self, session: Session, record: AuditRecord) -> None:
        """Write the record of a change."""

    def settle(self, session: Session) -> None:
        """Finish the records of a transaction, before its commit."""

    def committed(self, session: Session) -> None:
        """Note that the transaction of ``session`` is committed."""

    def checkpoint(self, session: Session, at: datetime) -> str | None:
        """Seal all records; return what is wrong with them, or None."""

    def rewrap(self, session: Session, seal: Callable[[bytes, str], bytes]) -> None:
        """Encrypt the key of the records anew, by ``seal``, which takes the key and its name."""


class NoRecorder:
    """The recorder of a store that was opened without the master key, which can only be read."""

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


@contextmanager
def session_on(connection: Connection) -> Iterator[Session]:
    """Give a session in the transaction that ``connection`` has begun."""
    with Session(connection) as session:
        yield session


@dataclass
class Change:
    """One transaction that changes something; its audit records commit with it.

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
        """Write the audit record of a change, and make other processes read again.

        Raises:
            NotReady: without the master key there is no chain for the record.
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
        """Seal the audit chains, unless the change was rolled back; return what is wrong."""
        if not self.session.in_transaction():
            return None
        return self.trail.checkpoint(self.session, self.at)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Raise the version once at the end, by the number of records, for a large change."""
        self._counted = 0
        yield
        self.raise_version(self._counted)
        self._counted = None

    def raise_version(self, by: int) -> None:
        """Make other processes read the store again."""
        self.session.execute(update(StoreStateRow).values(version=StoreStateRow.version + by))


@dataclass(frozen=True)
class Store:
    """The database, this process's clock, the database's clock, and the recorder."""

    engine: Engine
    clock: Callable[[], datetime]
    trail: Recorder = field(default_factory=NoRecorder)
    time: Callable[[Session], datetime] = database_time

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one consistent state.

        Raises:
            NotReady: the store cannot be reached, or the database has no store.
        """
        self.require_there()
        engine = self.engine.execution_options(**dialect_of(self.engine).read_options)
        with named_errors(engine), Session(engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def change(self, actor: str, wait: float = BUSY_TIMEOUT) -> Iterator[Change]:
        """Give a change that commits at the end, or rolls back on an exception.

        Writers wait for each other, up to ``wait`` seconds. No other change can touch what a change
        has read before it commits.

        Raises:
            NotReady: the store cannot be reached, or another writer held it for too long.
        """
        self.require_there()
        engine = self.engine.execution_options(**{WRITE: wait})
        with self._writing(engine) as session:
            # All rows are read: SQLite keeps its state for a result that is not read to the end.
            session.execute(select(StoreStateRow.version).with_for_update()).all()
            at = self.time(session)
            with change_log.noted(session, at):
                yield Change(session, actor, at, self.trail)
                self.trail.settle(session)

    @contextmanager
    def append(self) -> Iterator[Session]:
        """Give a session for rows that nothing else depends on.

        It gives up after APPEND_WAITS seconds, since such rows can be written later.
        """
        self.require_there()
        engine = self.engine.execution_options(**{WRITE: APPEND_WAITS})
        with self._writing(engine) as session:
            yield session

    @contextmanager
    def _writing(self, engine: Engine) -> Iterator[Session]:
        with named_errors(engine), Session(engine, expire_on_commit=False) as session:
            event.listen(session, "after_commit", self.trail.committed)
            with session.begin():
                yield session

    def overwrite_deleted(self) -> None:
        """Keep nothing of what was deleted, as far as the database can.

        Raises:
            NotReady: the store cannot be used, or is full.
        """
        self.require_there()
        with named_errors(self.engine):
            dialect_of(self.engine).overwrite_deleted(self.engine)

    @property
    def file(self) -> Path | None:
        """Return the file of an embedded store."""
        return dialect_of(self.engine).file(self.engine.url)

    def require_there(self) -> None:
        """Check that the file of an embedded store is there.

        Raises:
            NotReady: it is not. SQLite goes on with a file that was deleted, and makes an empty
                one in its place.
        """
        if self.file is not None and not self.file.exists():
            raise NotReady(f"there is no store at {self.file}")


def open_store(
    url: str | URL,
    clock: Callable[[], datetime],
    pool: Pool | None = None,
    trail: Recorder | None = None,
) -> Store:
    """Return a store, which connects on first use. SQLite ignores ``pool``.

    Without a ``trail``, which knows the master key, nothing can be recorded, so nothing changed.

    Raises:
        NotReady: there is no driver for that database.
    """
    url = make_url(url)
    engine = dialect(url.get_backend_name()).open(url, pool or Pool())
    return Store(engine, clock, trail or NoRecorder())
