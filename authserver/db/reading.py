"""Reading audit records for checking them: whatever was done to a row, the others are read."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Table, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from authserver.audit import links
from authserver.audit.links import Head, Kind
from authserver.db.chained import COLUMNS
from authserver.db.models import AuditRecord, TokenRecord
from authserver.db.records import ALL, Filter

AT_ONCE = 1000
TABLES: dict[Kind, Any] = {Kind.CHANGE: AuditRecord, Kind.TOKEN: TokenRecord}

_UNREADABLE = (ValueError, TypeError, DBAPIError)


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
    query = select(table).where(table.c.id.in_(ids)).order_by(table.c.id)
    try:
        held = session.execute(query).mappings().all()
    except _UNREADABLE:
        if len(ids) == 1:
            yield ids[0], None
            return
        for row_id in ids:
            yield from _held(session, table, [row_id])
        return
    yield from ((row["id"], row) for row in held)


def said(kind: Kind, row: RowMapping) -> str | None:
    """Return what a record says, as :func:`links.text`; None if it can say no such thing."""
    try:
        return links.text({name: row[name] for name in COLUMNS[kind]})
    except _UNREADABLE:
        return None


def place(row: RowMapping) -> Head | None:
    """Return a record's number and HMAC; None if it has none."""
    seq, mac = row["seq"], row["mac"]
    return Head(seq, mac) if isinstance(seq, int) and isinstance(mac, str) else None
