"""Audit records as lines, in the form of the second copy: `audit verify --against` takes them."""

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from authserver.audit import checkpoints, record_rows
from authserver.audit.chain import Head, Link, RecordKind
from authserver.audit.closed_chains import ClosedChains
from authserver.audit.record_rows import CHANGES
from authserver.audit.records import Filter


def lines(session: Session, wanted: Filter, unread: list[str] | None = None) -> Iterator[str]:
    """Give the records, oldest first; an empty line stands for one that cannot be read.

    Their rows are added to ``unread``.
    """
    names, unread = ChainNames(session), [] if unread is None else unread
    by_kind = (_lines(session, wanted, kind, names, unread) for kind in RecordKind)
    yield from (line for _, line in heapq.merge(*by_kind, key=lambda pair: pair[0]))


class ChainNames:
    """The names of all chains: numbers of closed ones are used again."""

    def __init__(self, session: Session) -> None:
        self._open, self._closed = checkpoints.names(session), ClosedChains(session)

    def of(self, kind: RecordKind, row_id: int, number: int | None) -> str | None:
        """Return the name of the chain that a record is in."""
        if self._closed.has(kind, row_id):
            closed = self._closed.find(kind, number, row_id)
            return None if closed is None else closed.name
        return self._open.get(CHANGES if kind is RecordKind.CHANGE else number or 0)


def _lines(
    session: Session, wanted: Filter, kind: RecordKind, names: ChainNames, unread: list[str]
) -> Iterator[tuple[datetime, str]]:
    last = datetime.min.replace(tzinfo=UTC)
    for row_id, row in record_rows.rows(session, kind, *wanted.conditions(kind)):
        text = None if row is None else record_rows.text_of(kind, row)
        if row is None or text is None:
            unread.append(f"row {row_id} of {record_rows.TABLES[kind].__tablename__}")
            yield last, ""
            continue
        # A record from before there were chains has no place in one.
        name = None if row["seq"] is None else names.of(kind, row_id, row.get("chain_id"))
        last = max(last, row["at"])
        yield last, Link(name, Head(row["seq"] or 0, row["mac"] or ""), kind, text).line
