"""Writing many rows of one table, by the driver itself.

SQLAlchemy's way to put values in their places takes longer than the database takes to store them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

AT_ONCE = 64
"""Rows in one statement: the driver keeps it, and each row of it takes half a kilobyte."""

Insert = Callable[[Iterable[Sequence[Any]]], None]


class Bulk:
    """Inserts rows into a table, each of them the values of ``columns`` in their order."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._table, self._columns = table, [table.columns[name] for name in columns]

    @contextmanager
    def into(self, connection: Connection) -> Iterator[Insert]:
        """Give what inserts rows, at least one at a time, until the block ends.

        Nothing else may be done with the connection meanwhile.

        Raises:
            DBAPIError: as if SQLAlchemy had inserted them.
        """
        dialect = connection.dialect
        quote = dialect.identifier_preparer.quote
        names = ", ".join(quote(column.name) for column in self._columns)
        into = f"{quote(self._table.name)} ({names})"
        if dialect.name == "postgresql":
            types = [_name(column.type, dialect) for column in self._columns]
            with _copying(connection, f"COPY {into} FROM STDIN (FORMAT BINARY)", types) as write:
                yield lambda rows: _each(write, self._stored(rows, dialect))
            return
        marks = f"({', '.join('?' for _ in self._columns)})"
        statement = f"INSERT INTO {into} VALUES {{}}"  # noqa: S608
        yield lambda rows: _executed(connection, statement, marks, self._stored(rows, dialect))

    def _stored(self, rows: Iterable[Sequence[Any]], dialect: Dialect) -> Iterator[tuple[Any, ...]]:
        by_column = map(list, zip(*rows, strict=True))
        return zip(
            *(
                values if (made := _storing(column.type, dialect)) is None else map(made, values)
                for column, values in zip(self._columns, by_column, strict=True)
            ),
            strict=True,
        )


def _each(write: Callable[[Sequence[Any]], None], rows: Iterable[Sequence[Any]]) -> None:
    for row in rows:
        write(row)


def _executed(
    connection: Connection, statement: str, marks: str, rows: Iterator[tuple[Any, ...]]
) -> None:
    # The driver gives the interpreter to another thread with each statement, and so for each row
    # if they have one each; meanwhile the write lock is held.
    while some := tuple(chain.from_iterable(islice(rows, AT_ONCE))):
        number = len(some) // marks.count("?")
        connection.exec_driver_sql(statement.format(", ".join([marks] * number)), some)


@contextmanager
def _copying(
    connection: Connection, statement: str, types: Sequence[str]
) -> Iterator[Callable[[Sequence[Any]], None]]:
    dialect, driver = connection.dialect, connection.connection
    base: type[Exception] = dialect.loaded_dbapi.Error
    try:
        cursor: Any = driver.cursor()
        with cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            yield copy.write_row
    except base as error:
        is_lost = dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, base, connection_invalidated=is_lost, dialect=dialect
        ) from error


def _name(type_: TypeEngine[Any], dialect: Dialect) -> str:
    """Return a type's name, without what limits it."""
    return type_.compile(dialect).lower().partition("(")[0]


def _storing(type_: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return what makes a value of a type what the driver takes; None if it takes it as it is."""
    return type_.dialect_impl(dialect).bind_processor(dialect)
