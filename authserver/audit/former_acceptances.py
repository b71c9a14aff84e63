"""Faults that were accepted under a version that had `audit accept`; only an upgrade reads them.

Such a store is brought over: its chains are closed and begun anew, as `audit restart` does it,
unless more is wrong with them than was accepted. Then the alarm stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.orm import Session

from authserver.audit import record_rows, restart
from authserver.audit.chain import AuditKey, Head, RecordKind, same
from authserver.audit.chain_walk import Fault
from authserver.audit.record_rows import CHANGES_NAME
from authserver.audit.recorder import Trail
from authserver.audit.verify import Verification
from authserver.core.errors import ChainsLost
from authserver.db.dialects.unreadable_rows import held
from authserver.db.models import AuditRecord
from authserver.db.store import Change

ACCEPT = "audit.accept"
"""The change that accepted faults."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The record of a change that accepted faults."""

    reason: str
    faults: tuple[Fault, ...]


def bring_over(change: Change) -> None:
    """Close chains with faults that were accepted, and begin new ones, in an upgrade's transaction.

    Raises:
        NotReady: there is no master key.
    """
    session = change.session
    accepts = select(AuditRecord.id).where(AuditRecord.action == ACCEPT).limit(1)
    if session.scalar(accepts) is None:
        return
    try:
        key = Trail.of(change).key(session)
    except ChainsLost:
        # It is an alarm, which no upgrade ends.
        return
    acceptances = read(session, key)
    faults = Verification(session, key, None, lambda *_: None).run().faults
    accepted = [fault for acceptance in acceptances for fault in acceptance.faults]
    if acceptances and all(_is_among(fault, accepted) for fault in faults):
        reason = f"accepted before this version: {acceptances[-1].reason}"
        restart.restart(change, restart.counts(faults), reason[: restart.MAX_REASON])


def _is_among(fault: Fault, accepted: Sequence[Fault]) -> bool:
    return any(_covers(one, fault) for one in accepted)


def _covers(accepted: Fault, fault: Fault) -> bool:
    if accepted.what != fault.what or accepted.chain != fault.chain:
        return False
    if accepted.first is None or fault.first is None:
        return accepted.first is fault.first is None and accepted.row == fault.row
    # A part of what was missing may have been pruned meanwhile.
    last, end = accepted.last or accepted.first, fault.last or fault.first
    return accepted.first <= fault.first and end <= last


def read(session: Session, key: AuditKey) -> list[Acceptance]:
    """Return the acceptances that were written with ``key``, oldest first.

    A record that was altered, put in, or taken from its place accepts nothing.
    """
    rows = record_rows.rows(session, RecordKind.CHANGE, AuditRecord.action == ACCEPT)
    return [
        Acceptance(row["after"]["reason"], tuple(_faults(row["after"]["faults"])))
        for row_id, row in rows
        if row is not None and _is_ours(session, key, row_id, row)
    ]


def _faults(recorded: list[dict[str, Any]]) -> Iterator[Fault]:
    for values in recorded:
        # Those versions had an HMAC over what they found as well.
        yield Fault(**{name: value for name, value in values.items() if name != "evidence"})


def _before(session: Session, row_id: int) -> Head | None:
    query = select(AuditRecord.id).where(AuditRecord.id < row_id).order_by(AuditRecord.id.desc())
    last = session.scalars(query.limit(1)).all()
    for _, row in held(session, record_rows.TABLES[RecordKind.CHANGE].__table__, last):
        return None if row is None else record_rows.place(row)
    return None


def _is_ours(session: Session, key: AuditKey, row_id: int, row: RowMapping) -> bool:
    """Whether its HMAC follows from that of the record before: nobody else can make one."""
    place, text = record_rows.place(row), record_rows.text_of(RecordKind.CHANGE, row)
    before = _before(session, row_id)
    if place is None or text is None or before is None:
        return False
    heads = (
        Head(place.seq - 1, before.mac),
        key.resumed(CHANGES_NAME, before.mac, place.seq - 1),
    )
    return any(
        same(key.link(CHANGES_NAME, head, RecordKind.CHANGE, text).head.mac, place.mac)
        for head in heads
    )
