"""Retention: deletes old token records, and seals where their chains begin from then on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import cast

import structlog
from sqlalchemy import RowMapping, Table, delete, func, select
from sqlalchemy.orm import Session

from authserver.audit import checkpoints, closed_chains, record_rows
from authserver.audit.chain import AuditKey, ChainMark, Head, RecordKind
from authserver.audit.chain_walk import Walk
from authserver.audit.record_rows import CHANGES
from authserver.audit.recorder import Trail
from authserver.core.commands import program
from authserver.core.errors import Refused
from authserver.db.models import AuditChain, AuditMark, TokenRecord
from authserver.db.store import Change, Store

AT_ONCE = 1000
"""How many records are verified and deleted in one transaction, which others wait for."""
MAX_COUNTED = 2_500_000
"""More records of closed chains are not counted: servers keep fewer of all."""

# A clock that was wrong for a while must not have records kept until then.
FUTURE = timedelta(days=1)

Found = tuple[int, RowMapping | None]
"""The id of a row, and what it holds; None if that cannot be read."""

_TABLE = cast("Table", TokenRecord.__table__)

log = structlog.get_logger()


class Broken(Exception):
    """Records that are to be pruned are not as they were written; the message says which."""


def prune(store: Store, cutoff: datetime, most: int) -> int:
    """Delete the oldest token records: from before ``cutoff``, or more than ``most``.

    Those of open chains are verified before. If they were altered they stay, as evidence, and the
    log says so. Those of closed chains cannot be verified; they go by their age alone. Return how
    many were deleted, AT_ONCE at most: there may be more.
    """
    now = store.clock()
    try:
        with store.append() as session:
            return _prune_in(session, Trail.of(store).key(session), (cutoff, now), most)
    except Broken as broken:
        log.error(
            f"old token records are kept, for they were altered: run `{program()} audit verify`",
            error=str(broken),
        )
    return 0


def prune_by_hand(change: Change, cutoff: datetime, most: int) -> int:
    """Delete the first records that :func:`prune` would, in a change that records it.

    Raises:
        Refused: they were altered.
    """
    session, key = change.session, Trail.of(change).key(change.session)
    try:
        return _prune_in(session, key, (cutoff, change.at), most)
    except Broken as broken:
        raise Refused(
            f"the oldest records were altered, {broken}: run `{program()} audit verify`"
        ) from None


def _prune_in(session: Session, key: AuditKey, period: tuple[datetime, datetime], most: int) -> int:
    cutoff, now = period
    # Before reading: another process may be pruning the same.
    checkpoints.lock(session)
    last_closed = closed_chains.last_closed(session, key)[RecordKind.TOKEN]
    rows = _oldest(session, (cutoff, now + FUTURE), most, last_closed)
    if not rows:
        return 0
    # Since a restart each record is in a chain; one that is in none was put in.
    restarted = last_closed > closed_chains.NONE_CLOSED[RecordKind.TOKEN]
    chained = [
        (row_id, row)
        for row_id, row in rows
        if row_id > last_closed and (restarted or row is None or row["chain_id"] is not None)
    ]
    if chained or rows[0][0] <= last_closed:
        _trim(session, key, chained, now)
    # Not more than was verified, whatever has been written meanwhile.
    ids = [row_id for row_id, _ in rows]
    session.execute(delete(_TABLE).where(_TABLE.c.id.in_(ids)))
    return len(rows)


def due(session: Session, cutoff: datetime, most: int) -> int:
    """Return how many token records are from before ``cutoff`` or too many, whichever is more."""
    number = select(func.count()).select_from(_TABLE)
    old, total = number.where(_TABLE.c.at < cutoff), session.scalar(number) or 0
    return max(session.scalar(old) or 0, total - most)


def _oldest(
    session: Session, period: tuple[datetime, datetime], most: int, last_closed: int
) -> Sequence[Found]:
    """Return records from the first on, up to one that is to be kept: what is left has one end."""
    first = islice(record_rows.rows(session, RecordKind.TOKEN), AT_ONCE)
    too_many = _Excess(_closed(session, last_closed), sealed(session) - most, last_closed)
    return list(_due(first, period, too_many))


@dataclass
class _Excess:
    """How many records are too many: ``closed`` ones there are, and ``open`` ones beyond the most.

    Records of closed chains go first. Somebody can put some in, and by these no record of an open
    chain may go.
    """

    closed: int
    open: int
    last_closed: int

    def has(self, row_id: int) -> bool:
        """Whether a record goes because there are too many."""
        return self.open + (self.closed if row_id <= self.last_closed else 0) > 0

    def take(self, row_id: int, row: RowMapping) -> None:
        """Count a record that goes."""
        if row_id <= self.last_closed:
            self.closed -= 1
        else:
            self.open -= row["chain_id"] is not None


def _due(
    rows: Iterable[Found], period: tuple[datetime, datetime], too_many: _Excess
) -> Iterator[Found]:
    since, future = period
    # When a row that cannot be read was written, the next one says.
    unread: list[Found] = []
    for row_id, row in rows:
        if row is None:
            unread.append((row_id, None))
            continue
        if not too_many.has(row_id) and since <= row["at"] <= future:
            return
        too_many.take(row_id, row)
        yield from unread
        unread.clear()
        yield row_id, row


def kept(session: Session, key: AuditKey) -> int:
    """Return about how many token records there are, in open chains and in closed ones."""
    last_closed = closed_chains.last_closed(session, key)[RecordKind.TOKEN]
    return _closed(session, last_closed) + sealed(session)


def _closed(session: Session, last_closed: int) -> int:
    """Return about how many records of closed chains there are, at most MAX_COUNTED.

    Counting them takes long, so they are counted only where their ids suggest very many: somebody
    may have put in one with a far higher id.
    """
    lowest = session.scalar(select(func.min(_TABLE.c.id))) if last_closed > 0 else None
    at_most = 0 if lowest is None else max(0, last_closed - max(lowest, 1) + 1)
    if at_most <= MAX_COUNTED:
        return at_most
    some = select(_TABLE.c.id).where(_TABLE.c.id <= last_closed).limit(MAX_COUNTED).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def sealed(session: Session) -> int:
    """Return how many sealed token records there are, as the marks say.

    Rows can be put in, and be given other numbers; by these somebody could have all else deleted.
    """
    marks = checkpoints.marks(session).items()
    return sum(mark.sealed_seq - mark.trimmed_seq for chain, mark in marks if chain != CHANGES)


def _trim(session: Session, key: AuditKey, rows: Sequence[Found], now: datetime) -> None:
    """Verify records of open chains, and note in their chains' marks that they are pruned.

    Raises:
        Broken: they, or what seals the chains, are not as they were written.
    """
    state = checkpoints.lock(session)
    trouble = checkpoints.trouble(session, key, state)
    if state is None or trouble:
        raise Broken(trouble)
    marks = checkpoints.marks(session)
    for number, walk in _walked(session, key, marks, rows).items():
        head = _head(walk)
        sealed = walk.sealed if walk.sealed.seq > head.seq else head
        record = marks[number].sealed_record_id if sealed is walk.sealed else None
        checkpoints.set_mark(marks[number], key, ChainMark(walk.chain, sealed, record, head))
    if rows:
        checkpoints.sign(session, key, max(now, state.at))


def are_left_out(session: Session) -> bool:
    """Whether there are no token records where there were some: a backup was made without them."""
    one = select(TokenRecord.id).limit(1)
    chained = select(AuditChain.id).join(AuditMark, AuditMark.chain_id == AuditChain.id)
    were = chained.where(AuditChain.id != CHANGES, AuditChain.seq > AuditMark.trimmed_seq).limit(1)
    return session.scalar(one) is None and session.scalar(were) is not None


def leave_out(change: Change) -> None:
    """Note in the marks that all token records are gone; not where a mark was altered before."""
    session, key = change.session, Trail.of(change).key(change.session)
    if checkpoints.trouble(session, key, checkpoints.lock(session)):
        return
    marks = checkpoints.marks(session)
    for chain in session.scalars(select(AuditChain).where(AuditChain.id != CHANGES)):
        head = Head(chain.seq, chain.mac)
        checkpoints.set_mark(marks[chain.id], key, ChainMark(chain.name, head, None, head))
    checkpoints.sign(session, key, change.at)


def _walked(
    session: Session, key: AuditKey, marks: Mapping[int, AuditMark], rows: Sequence[Found]
) -> Mapping[int, Walk]:
    names = checkpoints.names(session)
    walks: dict[int, Walk] = {}
    for row_id, row in rows:
        number = 0 if row is None else row["chain_id"] or 0
        place = None if row is None else record_rows.place(row)
        text = None if row is None else record_rows.text_of(RecordKind.TOKEN, row)
        if number not in names or place is None or text is None:
            raise Broken(f"row {row_id} of {_TABLE.name} is in no chain, or cannot be read")
        if number not in walks:
            mark = checkpoints.mark_of(marks[number], names[number])
            walks[number] = Walk(key, mark.chain, RecordKind.TOKEN, mark.trimmed, mark.sealed)
        walks[number].step(place, text, row_id)
    return walks


def _head(walk: Walk) -> Head:
    """Return where a chain is pruned up to.

    Raises:
        Broken: it was altered before.
    """
    for fault in (*walk.faults, *walk.gaps):
        raise Broken(str(fault))
    if walk.settled is None:
        raise Broken(f"it takes more to tell where the chain {walk.chain} stands")
    return walk.settled
