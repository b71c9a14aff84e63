"""Faults of audit records that an operator has accepted: changes that say which, and why."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.audit import record_rows
from authserver.audit.chain import AuditKey, Head, Kind, same
from authserver.audit.chain_walk import Fault
from authserver.audit.record_rows import CHANGES_NAME
from authserver.db.dialects.unreadable_rows import held
from authserver.db.models import AuditRecord

ACCEPT = "audit.accept"
"""The change that accepts faults."""

_FIELDS = ("chain", "what", "first", "last", "row", "evidence")


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What one change has accepted: who, when, why, and the faults as they were shown."""

    record: int
    at: datetime
    actor: str
    reason: str
    faults: tuple[Fault, ...]


def told(fault: Fault) -> dict[str, Any]:
    """Return a fault as an acceptance has it."""
    found = {name: getattr(fault, name) for name in _FIELDS}
    return {name: value for name, value in found.items() if value is not None}


def read(session: Session, key: AuditKey) -> list[Acceptance]:
    """Return the acceptances that were written by us, oldest first.

    One that was altered, put in, or taken from its place says nothing.
    """
    found = record_rows.rows(session, Kind.CHANGE, AuditRecord.action == ACCEPT)
    return [
        Acceptance(row_id, row["at"], row["actor"], row["after"]["reason"], tuple(_faults(row)))
        for row_id, row in found
        if row is not None and _is_ours(session, key, row_id, row)
    ]


def places(accepted: Iterable[Acceptance]) -> list[tuple[str, int, int]]:
    """Return which records were accepted, as chain, first and last: a log may know more of them."""
    found = [fault for one in accepted for fault in one.faults]
    return [(f.chain, f.first, f.last or f.first) for f in found if f.first is not None]


def kind(fault: Fault) -> Kind:
    """Return the kind of the records that a fault is in."""
    is_change = fault.chain == CHANGES_NAME or fault.what.startswith(f"the {Kind.CHANGE} ")
    return Kind.CHANGE if is_change else Kind.TOKEN


def evidence(accepted: Iterable[Acceptance]) -> frozenset[str]:
    """Return by what the accepted faults are known."""
    return frozenset(
        fault.evidence for one in accepted for fault in one.faults if fault.evidence is not None
    )


def _faults(row: Any) -> Iterator[Fault]:  # noqa: ANN401 - a row of whatever the query has
    for fault in row["after"]["faults"]:
        yield Fault(**fault)


def _before(session: Session, row_id: int) -> Head | None:
    query = select(AuditRecord.id).where(AuditRecord.id < row_id).order_by(AuditRecord.id.desc())
    last = session.scalars(query.limit(1)).all()
    for _, row in held(session, record_rows.TABLES[Kind.CHANGE].__table__, last):
        return None if row is None else record_rows.place(row)
    return None


def _is_ours(session: Session, key: AuditKey, row_id: int, row: Any) -> bool:  # noqa: ANN401
    """Whether its HMAC follows from that of the record before: nobody else can make one."""
    place, said = record_rows.place(row), record_rows.said(Kind.CHANGE, row)
    before = _before(session, row_id)
    if place is None or said is None or before is None:
        return False
    heads = (
        Head(place.seq - 1, before.mac),
        key.resumed(CHANGES_NAME, before.mac, place.seq - 1),
    )
    made = (key.link(CHANGES_NAME, head, Kind.CHANGE, said) for head in heads)
    return any(same(link.head.mac, place.mac) for link in made)
