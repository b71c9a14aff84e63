"""Writing many rows of one table, by the driver itself.

SQLAlchemy's way to put values in their places takes longer than the database takes to store them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.types import TypeEngine

from authserver.db.dialects import dialect_of
from authserver.db.dialects.dialect import Insert


class Bulk:
    """Inserts rows into a table, each of them the values of ``columns`` in their order."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._table, self._columns = table, [table.columns[name] for name in columns]

    @contextmanager
    def into(self, connection: Connection) -> Iterator[Insert]:
        """Give a function that inserts rows, at least one at a time, until the block ends.

        Nothing else may be done with the connection meanwhile.

        Raises:
            DBAPIError: as if SQLAlchemy had inserted them.
        """
        dialect = connection.dialect
        quote = dialect.identifier_preparer.quote
        names = ", ".join(quote(column.name) for column in self._columns)
        types = [_type_name(column.type, dialect) for column in self._columns]
        into = f"{quote(self._table.name)} ({names})"
        with dialect_of(connection).inserting(connection, into, types) as insert:
            yield lambda rows: insert(self._stored(rows, dialect))

    def _stored(self, rows: Iterable[Sequence[Any]], dialect: Dialect) -> Iterator[tuple[Any, ...]]:
        by_column = map(list, zip(*rows, strict=True))
        return zip(
            *(
                values
                if (convert := _storing(column.type, dialect)) is None
                else map(convert, values)
                for column, values in zip(self._columns, by_column, strict=True)
            ),
            strict=True,
        )


def _type_name(type_: TypeEngine[Any], dialect: Dialect) -> str:
    """Return a type's name, without what limits it."""
    return type_.compile(dialect).lower().partition("(")[0]


def _storing(type_: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return what makes a value of a type what the driver takes; None if it takes it as it is."""
    return type_.dialect_impl(dialect).bind_processor(dialect)
