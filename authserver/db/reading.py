"""Reading audit records for checking them: whatever was done to a row, the others are read."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Table, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from authserver.audit import links
from authserver.audit.links import Kind
from authserver.db.models import AuditRecord, TokenRecord
from authserver.db.records import ALL, Filter
from authserver.db.trail import COLUMNS

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
    last = -(2**63)
    query = select(table.c.id).where(*conditions).order_by(table.c.id).limit(AT_ONCE)
    while ids := session.scalars(query.where(table.c.id > last)).all():
        yield from _held(session, table, ids)
        last = ids[-1]


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
