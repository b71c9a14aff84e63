"""PostgreSQL: the store for more than one machine, by psycopg 3."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
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
    Insert,
    Reserve,
    Space,
    StoreDialect,
)
from authserver.db.dialects.errors import named_errors
from authserver.runtime import extras
from authserver.runtime.settings import Pool

# Seconds. A transaction that hangs would hold up every change, a query that hangs a worker.
STATEMENT_ENDS = 60
IDLE_ENDS = 60
# A connection is made anew after that, so that a pool spreads over what is behind one name.
RECYCLED = 1800

UPGRADE_WAITS = 600.0
"""Seconds for which one upgrade waits for another."""

RESERVE_WAITS = 0.25
"""Seconds for which the reserve waits for a lock."""

RECLAIM_ENDS = 30
"""Seconds after which VACUUM is given up: another request may wait for it."""

SAMPLED_PAGES = 50
ROW_TAKES = 64
"""Bytes of a row and of its entries in two indexes, beside its values."""

PAGE_BYTES = 8192
PAGE_ROW_BYTES = 8000
"""Of a row that takes a page."""

# Advisory locks are numbers that all who use a database agree on. These were drawn.
_UPGRADING = 4_926_115_700_837_219_001
_SETTING_UP = 4_926_115_700_837_219_002
_KEEPING = 4_926_115_700_837_219_003

# SQLSTATE (appendix A of PostgreSQL's manual), and what an operator can do about it.
_REMEDIES = {
    "25006": "the database takes no writes: is it a standby?",
    "40001": BUSY,
    "40P01": BUSY,
    "42501": "the database role lacks a right: make it the owner of the database",
    "42703": "the store's schema does not fit: run `authserver db upgrade`",
    "42P01": "the store's schema does not fit: run `authserver db upgrade`",
    "55P03": BUSY,
    "57014": "the store took too long to answer",
}
_FULL_STATE = "53100"

# Materialized: else it is the planner's choice which tables are asked for their sequence, and of
# one without the column that is an error.
_HIGHEST_IDS = text("""
    WITH numbered AS MATERIALIZED (
        SELECT table_name FROM information_schema.columns
        WHERE table_schema = current_schema() AND column_name = 'id'
    )
    SELECT table_name, pg_sequence_last_value(
        pg_get_serial_sequence(quote_ident(table_name), 'id')::regclass)
    FROM numbered
    WHERE pg_get_serial_sequence(quote_ident(table_name), 'id') IS NOT NULL
""")

_RESERVE = "authserver_reserve"
# What is compressed keeps no space.
_MAKE_RESERVE = f"""
    CREATE TABLE IF NOT EXISTS {_RESERVE} (filler bytea NOT NULL);
    ALTER TABLE {_RESERVE} ALTER COLUMN filler SET STORAGE PLAIN
"""


class PostgreSQL(StoreDialect):
    """PostgreSQL, at READ COMMITTED for changes."""

    read_options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}  # noqa: RUF012

    def open(self, url: URL, pool: Pool) -> Engine:
        try:
            engine = create_engine(
                url.set(query=_options(pool) | dict(url.query)),
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,
                pool_size=pool.size,
                max_overflow=0,
                pool_timeout=pool.timeout,
                pool_recycle=RECYCLED,
                hide_parameters=True,
            )
        except ImportError:
            raise NotReady(
                f"PostgreSQL has no driver here: {extras.how_to_install('postgresql')}"
            ) from None
        event.listen(engine, "connect", _set_utc)
        event.listen(engine, "begin", _begin)
        return engine

    def time(self, session: Session) -> datetime:
        now: datetime = session.execute(select(func.current_timestamp())).scalar_one()
        return now.astimezone(UTC)

    def place(self, url: URL) -> str:
        # A socket's directory is in the query.
        host = url.host or url.query.get("host", "the default socket")
        return f"the store in the database {url.database} at {host}"

    def is_full(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) == _FULL_STATE

    def remedy(self, error: DBAPIError, url: URL) -> str | None:
        state: str | None = getattr(error.orig, "sqlstate", None)
        # The first line: what follows may hold rows, or where else it was tried.
        message = str(error.orig).partition("\n")[0]
        if state in _REMEDIES:
            return f"{_REMEDIES[state]} ({self.place(url)}: {message})"
        if state is None and not error.connection_invalidated and error.statement is None:
            return f"the store cannot be reached: {message}; see AUTHSERVER_DATABASE_URL"
        return (
            f"{self.place(url)} cannot be used: {message}"
            if isinstance(error, OperationalError)
            else None
        )

    @contextmanager
    def migrating(self, connection: Connection, wait: float) -> Iterator[None]:
        """Wait for another upgrade; then, for each table, at most ``wait`` seconds."""
        with connection.begin():
            _lock(connection, _UPGRADING)
            _wait_at_most(connection, wait)
            yield

    def lock_set_up(self, connection: Connection) -> None:
        _lock(connection, _SETTING_UP)

    def highest_ids(self, connection: Connection) -> dict[str, int]:
        return {name: highest for name, highest in connection.execute(_HIGHEST_IDS) if highest}

    def continue_ids(self, connection: Connection, table: str, highest: int) -> None:
        connection.scalar(func.setval(func.pg_get_serial_sequence(table, "id"), highest))

    @contextmanager
    def inserting(
        self, connection: Connection, into: str, types: Sequence[str]
    ) -> Iterator[Insert]:
        """Copy the rows in: an INSERT takes longer to parse than the rows take to store."""
        statement = f"COPY {into} FROM STDIN (FORMAT BINARY)"
        dialect, driver = connection.dialect, connection.connection
        base: type[Exception] = dialect.loaded_dbapi.Error
        try:
            cursor: Any = driver.cursor()
            with cursor, cursor.copy(statement) as copy:
                copy.set_types(types)

                def insert(rows: Iterable[Sequence[Any]]) -> None:
                    for row in rows:
                        copy.write_row(row)

                yield insert
        except base as error:
            is_lost = dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
            if is_lost:
                connection.invalidate(error)
            raise DBAPIError.instance(
                statement, None, error, base, connection_invalidated=is_lost, dialect=dialect
            ) from error

    def measure(self, session: Session, table: str, rows: int) -> Space:
        """Sample rows: of a table's size much may be free."""
        pages = session.scalar(
            text("SELECT relpages FROM pg_class WHERE oid = to_regclass(:table)"), {"table": table}
        )
        percent = min(100.0, 100.0 * SAMPLED_PAGES / max(1, pages or 0))
        sample = text(
            f"SELECT avg(pg_column_size(record.*)) FROM {table} AS record "  # noqa: S608
            "TABLESAMPLE SYSTEM (:percent)"
        )
        average = float(session.scalar(sample, {"percent": percent}) or 0) + ROW_TAKES
        return Space(round(rows * average), None)

    def reclaim(self, engine: Engine, table: str) -> None:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(f"SET statement_timeout = '{RECLAIM_ENDS}s'")
            try:
                connection.exec_driver_sql(f"VACUUM {table}")
            finally:
                connection.exec_driver_sql("RESET statement_timeout")

    def reserve(self, engine: Engine) -> Reserve:
        return TableReserve(engine)


@dataclass(frozen=True)
class TableReserve:
    """A table that is no part of the schema: backups leave it out."""

    engine: Engine

    def keep(self, wanted: int = RESERVE_BYTES) -> None:
        """Fill the table, unless another process does."""
        with self._alone() as connection:
            if not connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({_KEEPING})")):
                return
            connection.exec_driver_sql(_MAKE_RESERVE)
            if (missing := (wanted - _reserved(connection)) // PAGE_BYTES) > 0:
                rows = [{"filler": secrets.token_bytes(PAGE_ROW_BYTES)} for _ in range(missing)]
                connection.execute(text(f"INSERT INTO {_RESERVE} VALUES (:filler)"), rows)  # noqa: S608

    def release(self) -> int:
        """Remove the table: to empty it would take new files, and pages for them."""
        with self._alone() as connection:
            size = _reserved(connection)
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {_RESERVE}")
        return size

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        with named_errors(self.engine), self.engine.begin() as connection:
            _wait_at_most(connection, RESERVE_WAITS)
            yield connection


DIALECT = PostgreSQL()


def _options(pool: Pool) -> dict[str, str]:
    """Return libpq's parameters, below those that the URL has."""
    return {
        "application_name": "authserver",
        "connect_timeout": str(pool.connect_timeout),
        # A peer that is gone without a word is noticed within about ten seconds.
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "10000",
        "options": f"-c statement_timeout={STATEMENT_ENDS}s "
        f"-c idle_in_transaction_session_timeout={IDLE_ENDS}s",
    }


def _set_utc(connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's own
    """Set the session's zone to UTC: in another zone a time near year 1 or 9999 may not exist.

    Among the options, a URL or a pooler could leave it out.
    """
    connection.execute("SET TIME ZONE 'UTC'")
    connection.commit()


def _begin(connection: Connection) -> None:
    wait: float | None = connection.get_execution_options().get(WRITE)
    if wait is not None:
        _wait_at_most(connection, wait)


def _wait_at_most(connection: Connection, seconds: float) -> None:
    """End this transaction's waiting for each lock after ``seconds``."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, int(seconds * 1000))}")


def _lock(connection: Connection, number: int) -> None:
    """Take an advisory lock until the transaction ends; no other time limit holds meanwhile."""
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    _wait_at_most(connection, UPGRADE_WAITS)
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def _reserved(connection: Connection) -> int:
    return connection.scalar(text(f"SELECT pg_relation_size(to_regclass('{_RESERVE}'))")) or 0
