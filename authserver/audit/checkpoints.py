"""Checkpoints: they seal where all chains end, so that `audit verify` notices a cut."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from json import dumps
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from authserver.audit import record_rows
from authserver.audit.chain import AuditKey, ChainMark, Head, RecordKind, same
from authserver.audit.chain_walk import Walk
from authserver.audit.record_rows import CHANGES, CHANGES_NAME
from authserver.db.dialects.unreadable_rows import Sound, is_of_a_value, sound, unreadable
from authserver.db.models import AuditChain, AuditMark, AuditRecord, AuditState, TokenRecord

MAX_CHAINS = 2**32
"""More are never begun."""


class End(NamedTuple):
    """Where a chain ends: the number, the HMAC and the row of its last record."""

    seq: int
    mac: str
    record: int | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """What came of a checkpoint: its line for the second copy, and what could not be sealed."""

    line: str | None = None
    trouble: str | None = None


def lock(session: Session) -> AuditState | None:
    """Return the checkpoint, for one process at a time; None if it cannot be read."""
    session.execute(select(AuditState.id).with_for_update()).all()
    return state_of(session)


def lock_all(session: Session) -> None:
    """Wait for all that write records, and have others wait until the end of the transaction.

    A process that writes token requests holds the row of its chain, one that begins a chain the
    checkpoint.
    """
    session.execute(select(AuditState.id).with_for_update()).all()
    session.execute(select(AuditChain.id).order_by(AuditChain.id).with_for_update()).all()


def state_of(session: Session) -> AuditState | None:
    """Return the checkpoint; None if it cannot be read."""
    return sound(session, AuditState).rows.get(1)


def next_id(session: Session) -> int:
    """Return the number of a new chain; the caller holds the lock."""
    # Of a chain that was taken out the mark may be left; a number that was put in may be any.
    taken = {*session.scalars(select(AuditChain.id)), *session.scalars(select(AuditMark.chain_id))}
    number = max((number for number in taken if number < MAX_CHAINS), default=0) + 1
    while number in taken:
        number += 1
    return number


def add_chain(
    session: Session, key: AuditKey, number: int, name: str, after: int | None = None
) -> AuditChain:
    """Add a chain without records, and its mark. Its records have rows ``after`` that one."""
    genesis = key.genesis(name)
    chain = AuditChain(id=number, name=name, seq=genesis.seq, mac=genesis.mac)
    session.add(chain)
    session.flush()
    mark = AuditMark(chain_id=number)
    set_mark(mark, key, ChainMark(name, genesis, after, genesis))
    session.add(mark)
    session.flush()
    return chain


def take_ended(session: Session, besides: int) -> AuditChain | None:
    """Take a chain that ended and is sealed to its end; the caller holds the lock."""
    is_sealed = (AuditMark.sealed_seq == AuditChain.seq, AuditMark.sealed_mac == AuditChain.mac)
    query = select(AuditChain).join(AuditMark, AuditMark.chain_id == AuditChain.id)
    query = query.where(AuditChain.ended, AuditChain.id != besides, *is_sealed)
    chain = session.scalars(query.order_by(AuditChain.id).limit(1)).first()
    if chain is not None:
        chain.ended = False
    return chain


def set_mark(row: AuditMark, key: AuditKey, mark: ChainMark) -> None:
    row.sealed_seq, row.sealed_mac = mark.sealed.seq, mark.sealed.mac
    row.trimmed_seq, row.trimmed_mac = mark.trimmed.seq, mark.trimmed.mac
    row.sealed_record_id = mark.record
    row.mac = key.mark(mark)


def mark_of(row: AuditMark, name: str) -> ChainMark:
    return ChainMark(
        name,
        Head(row.sealed_seq, row.sealed_mac),
        row.sealed_record_id,
        Head(row.trimmed_seq, row.trimmed_mac),
    )


def names(session: Session) -> dict[int, str]:
    """Return the names of all chains that have one; the chain of changes always has."""
    readable = sound(session, AuditChain)
    names_ = {number: chain.name for number, chain in readable.rows.items()}
    return {CHANGES: CHANGES_NAME} | names_ | dict(_names_of(session, readable.others))


def _names_of(session: Session, others: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Give the names that can be read in rows that cannot."""
    for number in others:
        try:
            name = session.scalar(select(AuditChain.name).where(AuditChain.id == number))
        except DBAPIError as error:
            if not is_of_a_value(error):
                raise
            continue
        if isinstance(name, str):
            yield number, name


def ends(session: Session) -> dict[int, End]:
    """Return where the chains end whose rows can be read."""
    return {n: End(c.seq, c.mac, c.record_id) for n, c in chains(session).items()}


def chains(session: Session) -> Mapping[int, AuditChain]:
    """Return all chains that can be read, in the order of their numbers."""
    return sound(session, AuditChain).rows


def marks(session: Session) -> Mapping[int, AuditMark]:
    """Return the marks of all chains that can be read, in the order of their numbers."""
    return sound(session, AuditMark).rows


def sign(session: Session, key: AuditKey, at: datetime) -> AuditState:
    """Sign a new checkpoint over the marks as they are now.

    Raises:
        NotReady: the one before cannot be read.
    """
    state, rows = state_of(session), marks(session)
    if state is None:
        raise unreadable(AuditState.__tablename__, 1)
    state.number, state.at, state.chains = state.number + 1, at, len(rows)
    state.mac = key.checkpoint(state.number, at, [row.mac for row in rows.values()])
    session.flush()
    return state


def trouble(session: Session, key: AuditKey, state: AuditState | None) -> str | None:
    """Return why the checkpoint does not hold for the chains that there are, if so."""
    return next(troubles(session, key, state), None)


def troubles(session: Session, key: AuditKey, state: AuditState | None) -> Iterator[str]:
    """Give all that is wrong with the chains' rows, their marks and the checkpoint."""
    chains_, marks_ = sound(session, AuditChain), sound(session, AuditMark)
    faults = [*_of_rows(chains_, marks_), *_of_marks(key, chains_.rows, marks_.rows)]
    if state is None:
        faults.append(f"the checkpoint, row 1 of {AuditState.__tablename__}, cannot be read")
    else:
        faults += _missing(state, {*chains_.rows, *chains_.others}, {*marks_.rows, *marks_.others})
    yield from faults
    if state is not None and not faults:
        macs = [row.mac for row in marks_.rows.values()]
        mac = key.checkpoint(state.number, state.at, macs)
        if state.chains != len(macs) or not same(state.mac, mac):
            yield f"checkpoint {state.number} was altered, or a mark that it covers"


def _of_rows(chains_: Sound[AuditChain], marks_: Sound[AuditMark]) -> Iterator[str]:
    for model, others in ((AuditChain, chains_.others), (AuditMark, marks_.others)):
        for row_id in others:
            yield f"row {row_id} of {model.__tablename__} cannot be read"
    # Chains have numbers from 1 on, so that one that is missing is noticed.
    for number in (*chains_.rows, *marks_.rows):
        if number < CHANGES:
            yield f"a chain or a mark was put in with the number {number}"


def _of_marks(
    key: AuditKey, chains_: Mapping[int, AuditChain], marks_: Mapping[int, AuditMark]
) -> Iterator[str]:
    for number, row in marks_.items():
        if number in chains_ and not holds(key, row, chains_[number].name):
            yield f"the mark of the chain {chains_[number].name} was altered"


def _missing(state: AuditState, chain_ids: set[int], mark_ids: set[int]) -> Iterator[str]:
    # Nothing vouches for the number of chains but that there are as many marks.
    ids, before = sorted(chain_ids & mark_ids), 0
    for number in [*ids, max(state.chains, *chain_ids, *mark_ids, 0) + 1]:
        if number == before + 2:
            yield f"chain {number - 1} is missing"
        elif number > before + 1:
            yield f"chains {before + 1} to {number - 1} are missing"
        before = number


def holds(key: AuditKey, row: AuditMark, name: str) -> bool:
    """Whether a mark is as it was written, for the chain of that name."""
    return same(row.mac, key.mark(mark_of(row, name)))


def seal(session: Session, key: AuditKey, at: datetime) -> Sealed:
    """Seal the heads of all chains that went on since the last checkpoint.

    What does not go on from what was sealed before stays as it is: it is evidence.
    """
    state = lock(session)
    wrong = trouble(session, key, state)
    if state is None or wrong:
        return Sealed(trouble=wrong)
    rows, longer = marks(session), []
    for chain in chains(session).values():
        row = rows[chain.id]
        if (row.sealed_seq, row.sealed_mac) == (chain.seq, chain.mac):
            continue
        if not _goes_on(session, key, chain, row):
            wrong = wrong or f"the chain {chain.name} does not go on from record {row.sealed_seq}"
            continue
        head = Head(chain.seq, chain.mac)
        set_mark(row, key, ChainMark(chain.name, head, chain.record_id, mark_of(row, "").trimmed))
        longer.append(chain)
    if not longer:
        return Sealed(trouble=wrong)
    state_after = sign(session, key, max(at, state.at))
    return Sealed(line(state_after, longer), wrong)


def _goes_on(session: Session, key: AuditKey, chain: AuditChain, mark: AuditMark) -> bool:
    """Whether what was sealed is still there, and the chain has become longer since."""
    if chain.seq <= mark.sealed_seq:
        return False
    if chain.id == CHANGES and not _follows(session, key, chain, mark):
        return False
    if mark.trimmed_seq >= mark.sealed_seq:
        return True
    table = AuditRecord if chain.id == CHANGES else TokenRecord
    query = select(table.seq, table.mac).where(table.id == mark.sealed_record_id)
    return session.execute(query).one_or_none() == (mark.sealed_seq, mark.sealed_mac)


def _follows(session: Session, key: AuditKey, chain: AuditChain, mark: AuditMark) -> bool:
    """Whether each change since the sealed one follows from the one before it.

    Any process writes changes, and takes the end of their chain from the store, where somebody may
    have set it back. A process that writes token requests knows where its own chain ends.
    """
    sealed = Head(mark.sealed_seq, mark.sealed_mac)
    walk = Walk(key, chain.name, RecordKind.CHANGE, sealed, sealed)
    since = (AuditRecord.seq.is_not(None), AuditRecord.id > (mark.sealed_record_id or 0))
    for row_id, row in record_rows.rows(session, RecordKind.CHANGE, *since):
        place = None if row is None else record_rows.place(row)
        text = None if row is None else record_rows.text_of(RecordKind.CHANGE, row)
        if place is None or text is None:
            return False
        walk.step(place, text, row_id)
    return not list(walk.end(Head(chain.seq, chain.mac)))


def line(state: AuditState, moved: Sequence[AuditChain]) -> str:
    """Return a checkpoint as the second copy has it."""
    heads: Mapping[str, int] = {chain.name: chain.seq for chain in moved}
    at = state.at.isoformat()
    return dumps({"checkpoint": state.number, "at": at, "mac": state.mac, "heads": heads})
