"""Reading audit records for checking them: whatever was done to a row, the others are read."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, String, Table, func, select, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from authserver.audit.links import Head, Kind
from authserver.db.chained import COLUMNS, FORMS
from authserver.db.models import AuditRecord, TokenRecord
from authserver.db.records import ALL, Filter

AT_ONCE = 1000
TABLES: dict[Kind, Any] = {Kind.CHANGE: AuditRecord, Kind.TOKEN: TokenRecord}

_STORED = "at_as_stored"
_UNREADABLE = (ValueError, TypeError, ArithmeticError, RecursionError, DBAPIError)


def count(session: Session, wanted: Filter = ALL) -> int:
    """Return how many records there are, of both kinds."""
    return sum(
        session.scalars(
            select(func.count()).select_from(table).where(*wanted.conditions(kind))
        ).one()
        for kind, table in TABLES.items()
    )


def rows(
    session: Session, kind: Kind, *conditions: ColumnElement[bool]
) -> Iterator[tuple[int, RowMapping | None]]:
    """Give the id of each row, in their order, and what it holds; None if that cannot be read."""
    table: Table = TABLES[kind].__table__
    query = select(table.c.id).where(*conditions).order_by(table.c.id).limit(AT_ONCE)
    ids = session.scalars(query).all()
    while ids:
        yield from _held(session, table, ids)
        ids = session.scalars(query.where(table.c.id > ids[-1])).all()


def _held(
    session: Session,
    table: Table,
    ids: Sequence[int],
) -> Iterator[tuple[int, RowMapping | None]]:
    stored = type_coerce(table.c.at, String).label(_STORED)
    query = select(table, stored).where(table.c.id.in_(ids)).order_by(table.c.id)
    try:
        held = session.execute(query).mappings().all()
    except _UNREADABLE:
        if len(ids) == 1:
            yield ids[0], None
            return
        for row_id in ids:
            yield from _held(session, table, [row_id])
        return
    yield from ((row["id"], row if _is_found_by_time(row) else None) for row in held)


def _is_found_by_time(row: RowMapping) -> bool:
    """Whether the time is in the form in which it is compared, which for SQLite is a text.

    The same time in another form would leave the HMAC as it is, and the record out of lists.
    """
    stored = row[_STORED]
    return not isinstance(stored, str) or stored == f"{row['at']:%Y-%m-%d %H:%M:%S.%f}"


def said(kind: Kind, row: RowMapping) -> str | None:
    """Return what a record says, as :meth:`Form.text`; None if it can say no such thing."""
    try:
        return FORMS[kind].text([row[name] for name in COLUMNS[kind]])
    except _UNREADABLE:
        return None


def place(row: RowMapping) -> Head | None:
    """Return a record's number and HMAC; None if it has none."""
    seq, mac = row["seq"], row["mac"]
    return Head(seq, mac) if isinstance(seq, int) and isinstance(mac, str) else None
