"""`audit restart`: closes all chains of audit records as they are, and begins new ones."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from secrets import token_hex

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from authserver.audit import checkpoints
from authserver.audit.chain import AuditKey, Head, RecordKind
from authserver.audit.chain_walk import Fault
from authserver.audit.closed_chains import RESTART, digest, kind_of
from authserver.audit.record_rows import CHANGES, CHANGES_NAME, TABLES
from authserver.audit.recorder import Trail
from authserver.core.errors import ChainsLost, Refused
from authserver.db.dialects import dialect_of
from authserver.db.dialects.unreadable_rows import MAX_NUMBER
from authserver.db.models import AuditClosedChain
from authserver.db.store import Change

MAX_REASON = 1000
HIGHEST_ID = MAX_NUMBER // 2
"""A row up to this leaves room for all that will ever be recorded."""
MAX_COUNTS = 50
"""How many kinds of faults a record counts apart: a syslog daemon may cut a long line."""
MAX_WHAT = 200
OTHERS = "others"


def require_reason(reason: str) -> None:
    """Check that a reason says something.

    Raises:
        Refused: it is empty or too long.
    """
    if not reason.strip() or len(reason) > MAX_REASON:
        raise Refused(f"say why, in at most {MAX_REASON} characters")


def counts(faults: Iterable[Fault]) -> Mapping[str, int]:
    """Return how many records have each kind of fault, the first MAX_COUNTS kinds apart."""
    numbers: Counter[str] = Counter()
    for fault in faults:
        what = fault.what[:MAX_WHAT]
        numbers[what if what in numbers or len(numbers) < MAX_COUNTS else OTHERS] += fault.records
    return dict(numbers)


def restart(change: Change, faults: Mapping[str, int], reason: str) -> None:
    """Close all chains as they are, record who did that and why, and begin new ones.

    ``faults`` are the numbers of :func:`counts`. Where the chains or their key are lost, the new
    ones get a new key, and what the closed ones hold can never be verified again.

    Raises:
        Refused: the reason is empty or too long, or a row has a number from which no new row can
            go on.
        NotReady: there is no master key.
    """
    require_reason(reason)
    session, trail = change.session, Trail.of(change)
    checkpoints.lock_all(session)
    try:
        closed = list(_closed(session, trail.key(session)))
    except ChainsLost:
        session.execute(delete(AuditClosedChain))
        closed = [AuditClosedChain(number=n, name="", seq=0, mac="") for n in (0, CHANGES)]
    last_ids = {kind: _go_on_after_all(session, kind) for kind in RecordKind}
    name = f"{CHANGES_NAME}-{token_hex(4)}"
    trail.restart(session, change.at, name, last_ids[RecordKind.CHANGE])
    after = {
        "reason": reason,
        "chain": name,
        "last_token": last_ids[RecordKind.TOKEN],
        "faults": dict(faults),
    }
    for row in closed:
        row.last_id = last_ids[kind_of(row)]
    after["closed"] = digest(closed)
    change.record(RESTART, "audit records", after=after)
    trail.checkpoint(session, change.at)
    restart_id = checkpoints.ends(session)[CHANGES].record or 0
    for row in closed:
        row.restart_id = restart_id
    session.add_all(closed)
    session.flush()


def _closed(session: Session, key: AuditKey) -> Iterator[AuditClosedChain]:
    """Give the chains that there are, each with the last record that it is known to have had."""
    chains, marks = checkpoints.chains(session), checkpoints.marks(session)
    for number, name in checkpoints.names(session).items():
        heads = [key.genesis(name)]
        if number in marks and checkpoints.holds(key, marks[number], name):
            heads.append(Head(marks[number].sealed_seq, marks[number].sealed_mac))
        if number in chains and chains[number].seq <= MAX_NUMBER:
            heads.append(Head(chains[number].seq, chains[number].mac))
        seq, mac = max(heads, key=lambda head: head.seq)
        yield AuditClosedChain(number=number, name=name, seq=seq, mac=mac)


def _go_on_after_all(session: Session, kind: RecordKind) -> int:
    """Have new rows get higher ids than all that there are; return the highest of these.

    Somebody may have put in a row with a far higher id than the database gives out.
    """
    table = TABLES[kind]
    last = session.scalar(select(func.max(table.id))) or 0
    if last > HIGHEST_ID:
        raise Refused(
            f"row {last} of {table.__tablename__} has a number that leaves no room for new "
            "records: delete that row, or restore a backup"
        )
    connection, name = session.connection(), table.__tablename__
    highest = dialect_of(connection).highest_ids(connection).get(name, 0)
    # Where such a row was deleted, the database still goes on from its number.
    if last > highest or highest > HIGHEST_ID:
        dialect_of(connection).continue_ids(connection, name, max(last, 1))
    return int(last)
