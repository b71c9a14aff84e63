"""Writing many rows of one table, by the driver itself.

SQLAlchemy's way to put values in their places takes longer than the database takes to store them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine


class Bulk:
    """Inserts rows into a table, each of them the values of ``columns`` in their order."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._table, self._columns = table, [table.columns[name] for name in columns]

    def insert(self, connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
        """Insert the rows; there must be one at least.

        Raises:
            DBAPIError: as if SQLAlchemy had inserted them.
        """
        dialect = connection.dialect
        by_column = map(list, zip(*rows, strict=True))
        stored = [
            values if (made := _storing(column.type, dialect)) is None else map(made, values)
            for column, values in zip(self._columns, by_column, strict=True)
        ]
        ready = zip(*stored, strict=True)
        quote = dialect.identifier_preparer.quote
        names = ", ".join(quote(column.name) for column in self._columns)
        into = f"{quote(self._table.name)} ({names})"
        if dialect.name == "postgresql":
            _copy(connection, f"COPY {into} FROM STDIN", ready)
            return
        marks = ", ".join("?" for _ in self._columns)
        connection.exec_driver_sql(f"INSERT INTO {into} VALUES ({marks})", list(ready))  # noqa: S608


def _copy(connection: Connection, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    dialect, driver = connection.dialect, connection.connection
    base: type[Exception] = dialect.loaded_dbapi.Error
    try:
        cursor: Any = driver.cursor()
        with cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except base as error:
        is_lost = dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, base, connection_invalidated=is_lost, dialect=dialect
        ) from error


def _storing(type_: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return what makes a value of a type what the driver takes; None if it takes it as it is."""
    return type_.dialect_impl(dialect).bind_processor(dialect)
