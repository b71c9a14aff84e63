"""Deleting old token records, so that their chains keep an end that can be verified."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import cast

import structlog
from sqlalchemy import RowMapping, Table, delete, select
from sqlalchemy.orm import Session

from authserver.audit.links import AuditKey, Head, Kind, Mark
from authserver.audit.walking import Walk
from authserver.db import checkpoints, reading
from authserver.db.chained import CHANGES
from authserver.db.models import AuditChain, AuditMark, TokenRecord
from authserver.db.store import Change, Store

AT_ONCE = 1000
"""How many records are verified and deleted in one transaction, which others wait for."""

# A clock that was wrong for a while must not have records kept until then.
FUTURE = timedelta(days=1)

_TABLE = cast("Table", TokenRecord.__table__)

log = structlog.get_logger()


class Broken(Exception):
    """Records that are to be pruned are not as they were written; the message says which."""


def prune(store: Store, cutoff: datetime, most: int) -> int:
    """Delete the oldest token records: from before ``cutoff``, or more than ``most``.

    They are verified before. If they were altered they stay, as evidence, and the log says so.
    Return how many were deleted, AT_ONCE at most: there may be more.
    """
    try:
        return _prune(store, cutoff, most)
    except Broken as broken:
        log.error(
            "old token records are kept, for they were altered: run `authserver audit verify`",
            error=str(broken),
        )
        return 0


def _prune(store: Store, cutoff: datetime, most: int) -> int:
    now = store.clock()
    with store.append() as session:
        # Before reading: another process may be pruning the same.
        checkpoints.lock(session)
        rows = _oldest(session, cutoff, now + FUTURE, most)
        if not rows:
            return 0
        if chained := [row for row in rows if row["chain_id"] is not None]:
            _trim(session, store.trail.key(session), chained, now)
        # Not more than was verified, whatever has been written meanwhile.
        session.execute(delete(_TABLE).where(_TABLE.c.id.in_([row["id"] for row in rows])))
        return len(rows)


def _oldest(
    session: Session, cutoff: datetime, future: datetime, most: int
) -> Sequence[RowMapping]:
    """Return records from the first on, up to one that is to be kept: what is left has one end."""
    first = islice(reading.rows(session, Kind.TOKEN), AT_ONCE)
    return list(_due(first, cutoff, future, _sealed(session) - most))


def _due(
    rows: Iterable[tuple[int, RowMapping | None]],
    cutoff: datetime,
    future: datetime,
    too_many: int,
) -> Iterator[RowMapping]:
    for row_id, row in rows:
        if row is None:
            raise Broken(f"row {row_id} of {_TABLE.name} cannot be read")
        if too_many <= 0 and cutoff <= row["at"] <= future:
            return
        too_many -= row["chain_id"] is not None
        yield row


def _sealed(session: Session) -> int:
    """Return how many sealed token records there are, as the marks say.

    Rows can be put in, and be given other numbers; by these somebody could have all else deleted.
    """
    found = checkpoints.marks(session).items()
    return sum(mark.sealed_seq - mark.trimmed_seq for chain, mark in found if chain != CHANGES)


def _trim(session: Session, key: AuditKey, rows: Sequence[RowMapping], now: datetime) -> None:
    """Verify records, and note in their chains' marks that they are pruned.

    Raises:
        Broken: they are not as they were written.
    """
    state = checkpoints.lock(session)
    trouble = checkpoints.trouble(session, key, state)
    if state is None or trouble:
        raise Broken(trouble)
    marks = checkpoints.marks(session)
    for number, name, walk in _walked(session, key, marks, rows):
        head = walk.head
        sealed = walk.sealed if walk.sealed.seq > head.seq else head
        record = marks[number].sealed_record_id if sealed is walk.sealed else None
        checkpoints.set_mark(marks[number], key, Mark(name, sealed, record, head))
    checkpoints.sign(session, key, max(now, state.at))


def are_left_out(session: Session) -> bool:
    """Whether there are no token records where there were some: a backup was made without them."""
    there = select(TokenRecord.id).limit(1)
    chained = select(AuditChain.id).join(AuditMark, AuditMark.chain_id == AuditChain.id)
    were = chained.where(AuditChain.id != CHANGES, AuditChain.seq > AuditMark.trimmed_seq).limit(1)
    return session.scalar(there) is None and session.scalar(were) is not None


def leave_out(change: Change) -> None:
    """Note in the marks that all token records are gone; not where a mark was altered before."""
    session, key = change.session, change.trail.key(change.session)
    if checkpoints.trouble(session, key, checkpoints.lock(session)):
        return
    marks = checkpoints.marks(session)
    for chain in session.scalars(select(AuditChain).where(AuditChain.id != CHANGES)):
        head = Head(chain.seq, chain.mac)
        checkpoints.set_mark(marks[chain.id], key, Mark(chain.name, head, None, head))
    checkpoints.sign(session, key, change.at)


def _walked(
    session: Session, key: AuditKey, marks: Mapping[int, AuditMark], rows: Sequence[RowMapping]
) -> Iterator[tuple[int, str, Walk]]:
    names = checkpoints.names(session)
    walks: dict[int, Walk] = {}
    for row in rows:
        number, place = row["chain_id"] or 0, reading.place(row)
        said = reading.said(Kind.TOKEN, row)
        if number not in names or place is None or said is None:
            raise Broken(f"row {row['id']} of {_TABLE.name} is in no chain")
        if number not in walks:
            mark = checkpoints.mark_of(marks[number], names[number])
            walks[number] = Walk(key, mark.chain, Kind.TOKEN, mark.trimmed, mark.sealed)
        walks[number].step(place, said, row["id"])
    for number, walk in walks.items():
        if fault := next(iter([*walk.faults, *walk.gaps]), None):
            raise Broken(str(fault))
        yield number, walk.chain, walk
