"""Writing many rows of one table, by the driver itself.

SQLAlchemy's way to put values in their places takes longer than the database takes to store them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.types import TypeEngine

_MARKS = {"qmark": "?", "pyformat": "%s"}


class Bulk:
    """Inserts rows into a table, each of them the values of ``columns`` in their order."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._table, self._columns = table, [table.columns[name] for name in columns]

    def insert(self, connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
        """Insert the rows; there must be one at least."""
        dialect = connection.dialect
        by_column = map(list, zip(*rows, strict=True))
        stored = [
            values if (made := _storing(column.type, dialect)) is None else map(made, values)
            for column, values in zip(self._columns, by_column, strict=True)
        ]
        connection.exec_driver_sql(self._statement(dialect), list(zip(*stored, strict=True)))

    def _statement(self, dialect: Dialect) -> str:
        quote = dialect.identifier_preparer.quote
        names = ", ".join(quote(column.name) for column in self._columns)
        marks = ", ".join([_MARKS[dialect.paramstyle]] * len(self._columns))
        return f"INSERT INTO {quote(self._table.name)} ({names}) VALUES ({marks})"  # noqa: S608


def _storing(type_: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return what makes a value of a type what the driver takes; None if it takes it as it is."""
    return type_.dialect_impl(dialect).bind_processor(dialect)
