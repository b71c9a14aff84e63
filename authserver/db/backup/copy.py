"""Copying a whole store from SQLite to PostgreSQL, and comparing the two row by row."""

from collections.abc import Callable
from datetime import datetime
from itertools import zip_longest

from alembic import command
from sqlalchemy import Connection, Row, Select, Table, func, insert, inspect, select
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from authserver.core.errors import NotReady, Refused
from authserver.db import schema
from authserver.db.dialects import dialect_of
from authserver.db.dialects.unreadable_rows import is_of_a_value
from authserver.db.models import Base
from authserver.db.store import Change, Store

_STREAMED = {"yield_per": 1000}

Progress = Callable[[str, int, int], None]
"""Is told a table, how many of its rows are done, and how many it has."""


def move(
    source: Connection, target: Store, actor: str, at: datetime, progress: Progress
) -> dict[str, int]:
    """Copy all that is in a store at head into an empty one; return each table's rows.

    It is one transaction: whatever cuts it off, nothing is left there.

    Raises:
        Refused: the database is not empty.
        NotReady: a row cannot be kept there, or did not arrive as it is.
    """
    with schema.migrating(target.engine) as connection:
        _require_empty(connection)
        command.upgrade(schema.config(connection), "head")
        highest = dialect_of(source).highest_ids(source)
        counts = {}
        for table in Base.metadata.sorted_tables:
            counts[table.name] = _copy(table, source, connection, progress)
            _compare(table, source, connection)
            if table.name in highest:
                dialect_of(connection).continue_ids(connection, table.name, highest[table.name])
        with Session(connection) as session:
            change = Change(session, actor, at, target.trail)
            change.record("store.copy", "store", after=counts)
            change.seal()
    target.trail.committed(session)
    return counts


def _require_empty(target: Connection) -> None:
    there = set(inspect(target).get_table_names())
    for table in Base.metadata.sorted_tables:
        if table.name in there and _count(table, target):
            raise Refused(
                f"the database {target.engine.url.database} is not empty: {table.name} has rows; "
                "copy into a new database"
            )


def _count(table: Table, connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _copy(table: Table, source: Connection, target: Connection, progress: Progress) -> int:
    total, done = _count(table, source), 0
    progress(table.name, done, total)
    found = source.execute(_named_first(table), execution_options=_STREAMED).mappings()
    try:
        for rows in found.partitions():
            target.execute(insert(table), [dict(row) for row in rows])
            done += len(rows)
            progress(table.name, done, total)
    except (ValueError, TypeError, StatementError) as error:
        if not is_of_a_value(error):
            raise
        said = str(getattr(error, "orig", error)).partition("\n")[0]
        raise NotReady(f"a row of {table.name} cannot be kept there: {said}") from error
    return total


def _named_first(table: Table) -> Select[tuple[object, ...]]:
    """Read a table so that no row comes before one of its own table that it names."""
    to_itself = [key.parent for key in table.foreign_keys if key.column.table is table]
    return select(table).order_by(
        *(column.is_not(None) for column in to_itself), *table.primary_key
    )


def _compare(table: Table, source: Connection, target: Connection) -> None:
    ordered = select(table).order_by(*table.primary_key)
    with (
        source.execute(ordered, execution_options=_STREAMED) as sent,
        target.execute(ordered, execution_options=_STREAMED) as arrived,
    ):
        for there, here in zip_longest(sent, arrived):
            if there != here:
                raise NotReady(
                    f"a row of {table.name} did not arrive as it is; nothing was copied: "
                    f"{_key(table, there if here is None else here)}"
                )


def _key(table: Table, row: Row[tuple[object, ...]]) -> str:
    named = zip(table.columns, row, strict=True)
    return ", ".join(f"{column.name} {value}" for column, value in named if column.primary_key)
