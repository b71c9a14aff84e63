"""Which rows the latest changes have written, so that nobody has to read all of them again.

What a session writes is noted by itself: each object that it flushes, and for any other
statement that writes the whole table. Notes are made under the lock of the store's version, so
their ids ascend in the order of the changes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, event, func, insert, inspect, select
from sqlalchemy.orm import ORMExecuteState, Session

from authserver.db.models import (
    AlterationRow,
    AuditChain,
    AuditClosedChain,
    AuditMark,
    AuditRecord,
    AuditState,
    Base,
    GroupRow,
    RuleSubjectRow,
    StoreStateRow,
)

MAX_FOLLOWED = 1000
"""Rows that a reader takes one by one; where more were written, it reads everything."""

KEPT = 10_000

Row = tuple[str, int | None]
"""A table's name and a row's id; None is any row."""

_UNNOTED = frozenset(
    table.__tablename__
    for table in (
        AlterationRow,
        AuditRecord,
        AuditChain,
        AuditClosedChain,
        AuditMark,
        AuditState,
    )
)


@dataclass(frozen=True, slots=True)
class ChangeMark:
    """The latest alteration that a reader knows of. A store that was put back has another one."""

    id: int
    at: datetime


@contextmanager
def noted(session: Session, at: datetime) -> Iterator[None]:
    """Note what the session writes in this block."""
    written: dict[Row, None] = {}

    def flushed(session: Session, _: object) -> None:
        for row in (*session.new, *session.dirty, *session.deleted):
            written.update(dict.fromkeys(_rows(row)))

    def executed(state: ORMExecuteState) -> None:
        mapper = state.bind_mapper
        if not state.is_select and mapper is not None:
            table = mapper.class_.__tablename__
            # Its version alone goes up by statement, with each change.
            if table not in _UNNOTED and table != StoreStateRow.__tablename__:
                written[table, None] = None

    event.listen(session, "after_flush", flushed)
    event.listen(session, "do_orm_execute", executed)
    transaction = session.get_transaction()
    yield
    # A dry run takes back what it did.
    if transaction is not None and transaction.is_active:
        session.flush()
        note(session, at, written)


def note(session: Session, at: datetime, rows: Iterable[Row]) -> None:
    """Note rows that were written otherwise; the store's version must have gone up before."""
    notes = list(_summed_up(rows))
    if notes:
        session.execute(
            insert(AlterationRow), [{"at": at, "noun": noun, "row_id": row} for noun, row in notes]
        )


def _summed_up(rows: Iterable[Row]) -> Iterator[Row]:
    rows = list(rows)
    often = {noun for noun, number in Counter(noun for noun, _ in rows).items() if number > KEPT}
    yield from ((noun, None) for noun in often)
    yield from (row for row in rows if row[0] not in often)


def _rows(written: Base) -> Iterator[Row]:
    table = written.__tablename__
    if table in _UNNOTED:
        return
    if isinstance(written, RuleSubjectRow):
        yield "rule", written.rule_id
        return
    if isinstance(written, GroupRow):
        members = inspect(written).attrs.members.history
        yield from (("account", member.id) for member in (*members.added, *members.deleted))
    yield table, getattr(written, "id", None)


def latest(session: Session) -> ChangeMark | None:
    """Return the latest alteration, None where there was none yet."""
    last = select(AlterationRow.id, AlterationRow.at).order_by(AlterationRow.id.desc()).limit(1)
    row = session.execute(last).one_or_none()
    return row and ChangeMark(row.id, row.at)


def since(session: Session, mark: ChangeMark | None) -> Mapping[str, set[int | None]] | None:
    """Return which rows of which tables were written since then; None where it cannot be told."""
    later = select(AlterationRow.id, AlterationRow.at, AlterationRow.noun, AlterationRow.row_id)
    if mark is not None:
        later = later.where(AlterationRow.id >= mark.id)
    rows = session.execute(later.order_by(AlterationRow.id).limit(MAX_FOLLOWED + 2)).all()
    first = 0
    if mark is not None:
        if not rows or ChangeMark(rows[0].id, rows[0].at) != mark:
            return None
        first = 1
    # A version that went up without any note is no change that could be followed.
    if not 0 < len(rows) - first <= MAX_FOLLOWED:
        return None
    written: defaultdict[str, set[int | None]] = defaultdict(set)
    for row in rows[first:]:
        written[row.noun].add(row.row_id)
    return written


def prune(session: Session) -> None:
    """Forget all but the latest alterations."""
    last = session.scalars(select(func.max(AlterationRow.id))).one() or 0
    session.execute(delete(AlterationRow).where(AlterationRow.id <= last - KEPT))
