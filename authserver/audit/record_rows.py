"""Audit records as rows: which columns their HMACs cover, and how verification reads them.

A row that cannot be read does not stop it: the others are read.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Table, func, select
from sqlalchemy.orm import Session

from authserver.audit.chain import Form, Head, RecordKind
from authserver.audit.records import ALL, Filter
from authserver.db.dialects.unreadable_rows import AT_ONCE, UNREADABLE, held
from authserver.db.models import AuditRecord, TokenRecord

TABLES: dict[RecordKind, Any] = {RecordKind.CHANGE: AuditRecord, RecordKind.TOKEN: TokenRecord}

CHANGES = 1
"""The chain of all changes."""

CHANGES_NAME = "changes"

COLUMNS: Mapping[RecordKind, Sequence[str]] = {
    kind: [
        c.name for c in table.__table__.columns if c.name not in {"id", "chain_id", "seq", "mac"}
    ]
    for kind, table in ((RecordKind.CHANGE, AuditRecord), (RecordKind.TOKEN, TokenRecord))
}
"""What of a record is covered by its HMAC."""

FORMS: Mapping[RecordKind, Form] = {kind: Form(columns) for kind, columns in COLUMNS.items()}
TOKEN_COLUMNS = COLUMNS[RecordKind.TOKEN]

TokenRow = tuple[tuple[Any, ...], str]
"""A token record before it has a place in a chain: its columns' values, and its text."""


def count(session: Session, wanted: Filter = ALL) -> int:
    """Return how many records there are, of both kinds."""
    return sum(
        session.scalars(
            select(func.count()).select_from(table).where(*wanted.conditions(kind))
        ).one()
        for kind, table in TABLES.items()
    )


def rows(
    session: Session, kind: RecordKind, *conditions: ColumnElement[bool]
) -> Iterator[tuple[int, RowMapping | None]]:
    """Give the id of each row, in their order, and what it holds; None if that cannot be read."""
    table: Table = TABLES[kind].__table__
    query = select(table.c.id).where(*conditions).order_by(table.c.id).limit(AT_ONCE)
    ids = session.scalars(query).all()
    while ids:
        yield from held(session, table, ids)
        ids = session.scalars(query.where(table.c.id > ids[-1])).all()


def text_of(kind: RecordKind, row: RowMapping) -> str | None:
    """Return the text of a record, as :meth:`Form.text`; None if the row holds no record."""
    try:
        return FORMS[kind].text([row[name] for name in COLUMNS[kind]])
    except UNREADABLE:
        return None


def place(row: RowMapping) -> Head | None:
    """Return a record's number and HMAC; None if it has none."""
    seq, mac = row["seq"], row["mac"]
    return Head(seq, mac) if isinstance(seq, int) and isinstance(mac, str) else None
