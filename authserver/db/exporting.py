"""Audit records as lines, in the form of their second copy: the store can be verified by them."""

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from authserver.audit.links import Head, Kind, Link
from authserver.db import checkpoints, reading
from authserver.db.chained import CHANGES
from authserver.db.records import Filter


def lines(session: Session, wanted: Filter) -> Iterator[str]:
    """Give the records, oldest first; an empty line stands for one that cannot be read."""
    names = checkpoints.names(session)
    by_kind = (_lines(session, wanted, kind, names) for kind in Kind)
    yield from (line for _, line in heapq.merge(*by_kind, key=lambda pair: pair[0]))


def _lines(
    session: Session, wanted: Filter, kind: Kind, names: dict[int, str]
) -> Iterator[tuple[datetime, str]]:
    last = datetime.min.replace(tzinfo=UTC)
    for _, row in reading.rows(session, kind, *wanted.conditions(kind)):
        said = None if row is None else reading.said(kind, row)
        if row is None or said is None:
            yield last, ""
            continue
        number = CHANGES if kind is Kind.CHANGE else row["chain_id"]
        # A record from before there were chains has no place in one.
        name = None if row["seq"] is None else names.get(number)
        last = max(last, row["at"])
        yield last, Link(name, Head(row["seq"] or 0, row["mac"] or ""), kind, said).line
