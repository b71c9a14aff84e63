"""The first chains of audit records. One migration begins them; later, lost chains are an alarm."""

from typing import Any

from sqlalchemy import func, select

from authserver.audit.chain import RecordKind
from authserver.audit.recorder import BEGIN, Trail
from authserver.db.models import AuditRecord, StoreStateRow, TokenRecord
from authserver.db.store import Change


def begin_first_trail(change: Change) -> None:
    """Begin the chains of audit records, unless the store had some: that is an alarm, and stays.

    Raises:
        NotReady: there is no master key.
    """
    named = change.session.get_one(StoreStateRow, 1).master_key_id
    if named != Trail.of(change).master(change.session).id:
        begin_trail(change)


def begin_trail(change: Change) -> None:
    """Begin the chains of audit records in a store that has records already: they stay outside.

    Raises:
        ChainsLost: there are chains, whose key was taken away.
        NotReady: there is no master key.
    """
    state = change.session.get_one(StoreStateRow, 1)
    state.master_key_id = Trail.of(change).master(change.session).id
    tables: dict[RecordKind, Any] = {RecordKind.CHANGE: AuditRecord, RecordKind.TOKEN: TokenRecord}
    before = {
        kind.value: change.session.scalars(select(func.max(table.id))).one() or 0
        for kind, table in tables.items()
    }
    Trail.of(change).begin(change.session, change.at)
    change.record(BEGIN, "store", after={"before": before})
    change.trail.checkpoint(change.session, change.at)
