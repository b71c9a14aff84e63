"""Rows of the audit tables, whose values somebody with write access may have damaged."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    RowMapping,
    String,
    Table,
    inspect,
    select,
    type_coerce,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from authserver.core.commands import program
from authserver.core.errors import NotReady
from authserver.db.models import Base

AT_ONCE = 1000
MAX_NUMBER = 2**62
"""What counts goes up from the highest, which must not lead out of 64 bits."""

UNREADABLE = (ValueError, TypeError, ArithmeticError, RecursionError, DBAPIError)
"""The errors of reading a value that does not fit its column."""

_STORED = "at_as_stored"

_Model = TypeVar("_Model", bound=Base)


def unreadable(table: str, row_id: int) -> NotReady:
    """Return what to raise where a row must be read and cannot be."""
    return NotReady(
        f"row {row_id} of {table} holds a value that cannot be read: run `{program()} audit verify`"
    )


def held(
    session: Session, table: Table, ids: Sequence[int]
) -> Iterator[tuple[int, RowMapping | None]]:
    """Give what each of these rows holds, in the order of ids; None if it cannot be read.

    A row that is gone is left out.
    """
    (key,) = table.primary_key
    stored = [type_coerce(table.c.at, String).label(_STORED)] if "at" in table.c else []
    query = select(table, *stored).where(key.in_(ids)).order_by(key)
    try:
        found = session.execute(query).mappings().all()
    except UNREADABLE as error:
        if not is_of_a_value(error):
            raise
        if len(ids) == 1:
            yield ids[0], None
            return
        for row_id in ids:
            yield from held(session, table, [row_id])
        return
    yield from ((row[key.name], row if _fits(table, row) else None) for row in found)


def is_of_a_value(error: Exception) -> bool:
    """Whether it is a value that could not be read, and not the store."""
    if not isinstance(error, DBAPIError):
        return True
    # A text that is not UTF-8 has no error of its own in SQLite.
    is_value = isinstance(error, DataError | IntegrityError)
    return is_value or "Could not decode" in str(error.orig)


def _fits(table: Table, row: RowMapping) -> bool:
    """Whether each value is of its column's type: SQLite takes any."""
    for name, meant in _meant(table):
        value = row[name]
        if not isinstance(value, meant) or (isinstance(value, int) and value > MAX_NUMBER):
            return False
    return _is_found_by_time(row)


@cache
def _meant(table: Table) -> Sequence[tuple[str, Any]]:
    """Return what the values of each column are; looking it up takes longer than comparing."""
    return [
        (c.name, c.type.python_type | None if c.nullable else c.type.python_type) for c in table.c
    ]


def _is_found_by_time(row: RowMapping) -> bool:
    """Whether the time is in the form in which it is compared, which for SQLite is a text.

    The same time in another form would leave the HMAC as it is, and the record out of lists.
    """
    stored = row.get(_STORED)
    return not isinstance(stored, str) or stored == f"{row['at']:%Y-%m-%d %H:%M:%S.%f}"


@dataclass(frozen=True, slots=True)
class Sound(Generic[_Model]):
    """The rows of a table that can be read, by their keys, and the keys of the others."""

    rows: Mapping[int, _Model]
    others: Sequence[int]


def sound(session: Session, model: type[_Model]) -> Sound[_Model]:
    """Return the rows of a short table, in the order of their keys."""
    table: Any = model.__table__
    (key,) = inspect(model).primary_key
    # Reading tables, not objects, does it not by itself.
    session.flush()
    ids = session.scalars(select(key).order_by(key)).all()
    read = list(held(session, table, ids)) if ids else []
    good = [row_id for row_id, row in read if row is not None]
    query = select(model).where(key.in_(good)).order_by(key)
    rows = session.scalars(query.execution_options(populate_existing=True)).all()
    others = [row_id for row_id, row in read if row is None]
    return Sound(dict(zip(good, rows, strict=True)), others)
