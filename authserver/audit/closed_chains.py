"""Chains of audit records that `audit restart` has closed, and the records of these restarts.

A closed chain raises no alarm. The record of the restart says which chains are closed. It is the
first in the new chain of changes: its HMAC follows from the start of a chain whose name the record
itself contains. Without the key of the chains nobody can write such a record.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from json import dumps
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from authserver.audit import checkpoints, record_rows
from authserver.audit.chain import AuditKey, RecordKind, same
from authserver.audit.record_rows import CHANGES
from authserver.db.dialects.unreadable_rows import held, sound
from authserver.db.models import AuditClosedChain

RESTART = "audit.restart"
"""The change that closes all chains and begins new ones."""


NONE_CLOSED: Mapping[RecordKind, int] = dict.fromkeys(RecordKind, -(2**64))
"""Below the id of any row: somebody may put in one with an id below 0."""


@dataclass(frozen=True, slots=True)
class Restart:
    """The record of a restart.

    ``chain`` is the chain of changes that begins with it, ``faults`` how many faults of each kind
    there were, ``last_ids`` the last row of each kind that is in a closed chain, ``closed`` the
    :func:`digest` of the chains that it closed.
    """

    record: int
    at: datetime
    actor: str
    reason: str
    chain: str
    faults: Mapping[str, int]
    last_ids: Mapping[RecordKind, int]
    closed: str


def restarts(session: Session, key: AuditKey) -> list[Restart]:
    """Return the restarts whose records were written with ``key``, oldest first.

    A record that was altered is left out: what it has closed raises an alarm again.
    """
    ids = sorted({row.restart_id for row in sound(session, AuditClosedChain).rows.values()})
    table = record_rows.TABLES[RecordKind.CHANGE].__table__
    rows = held(session, table, ids) if ids else ()
    return [
        restart
        for row_id, row in rows
        if row is not None and (restart := _restart(key, row_id, row)) is not None
    ]


def current(session: Session, key: AuditKey) -> Restart | None:
    """Return the restart that began the chains of today; None if there was none."""
    name = checkpoints.names(session)[CHANGES]
    return next((restart for restart in restarts(session, key) if restart.chain == name), None)


def last_closed(session: Session, key: AuditKey) -> Mapping[RecordKind, int]:
    """Return the last row of each kind that is in a closed chain."""
    restart = current(session, key)
    return NONE_CLOSED if restart is None else restart.last_ids


def _restart(key: AuditKey, row_id: int, row: RowMapping) -> Restart | None:
    place, text = record_rows.place(row), record_rows.text_of(RecordKind.CHANGE, row)
    after: Any = row["after"]
    chain = after.get("chain") if isinstance(after, dict) else None
    if place is None or text is None or not isinstance(chain, str) or row["action"] != RESTART:
        return None
    first = key.link(chain, key.genesis(chain), RecordKind.CHANGE, text)
    if place.seq != 1 or not same(place.mac, first.head.mac):
        return None
    # The id of its own row is not covered by the HMAC, and need not be: the rest of the chain
    # follows it. Where it is moved up, records of the open chain are missing.
    last_ids = {RecordKind.CHANGE: row_id - 1, RecordKind.TOKEN: int(after["last_token"])}
    return Restart(
        row_id,
        row["at"],
        row["actor"],
        after["reason"],
        chain,
        after["faults"],
        last_ids,
        after["closed"],
    )


def digest(rows: Iterable[AuditClosedChain]) -> str:
    """Return a digest of closed chains, which the record of their restart holds."""
    chains = sorted([row.number, row.name, row.seq, row.mac, row.last_id] for row in rows)
    return sha256(dumps(chains).encode()).hexdigest()


class ClosedChains:
    """The closed chains, by their number and by the rows that they may have."""

    def __init__(self, session: Session) -> None:
        rows = sound(session, AuditClosedChain).rows.values()
        self.rows: Sequence[AuditClosedChain] = sorted(rows, key=lambda row: row.last_id)
        self._last, self._last_lost = dict(NONE_CLOSED), dict(NONE_CLOSED)
        self._by_number: dict[int, list[AuditClosedChain]] = {}
        for row in self.rows:
            self._last[kind_of(row)] = row.last_id
            if row.name:
                self._by_number.setdefault(row.number, []).append(row)
            else:
                self._last_lost[kind_of(row)] = row.last_id

    def unlike(self, restarts: Iterable[Restart]) -> Iterator[str]:
        """Give what is not as the records of these restarts say."""
        closed = {restart.record: restart.closed for restart in restarts}
        for record in sorted({row.restart_id for row in self.rows} | closed.keys()):
            if closed.get(record) != digest(row for row in self.rows if row.restart_id == record):
                yield f"the list of the chains that row {record} closed was altered"

    def has(self, kind: RecordKind, row_id: int) -> bool:
        """Whether a record was there when chains were closed."""
        return row_id <= self._last[kind]

    def find(self, kind: RecordKind, number: int | None, row_id: int) -> AuditClosedChain | None:
        """Return the closed chain of a record, None if it can be verified by none.

        A number is used again after each restart: the first chain with that number that fits.
        """
        if row_id <= self._last_lost[kind]:
            return None
        rows = self._by_number.get(CHANGES if kind is RecordKind.CHANGE else number or 0, ())
        return next((row for row in rows if row_id <= row.last_id), None)


def kind_of(row: AuditClosedChain) -> RecordKind:
    """Return which records are in a closed chain."""
    return RecordKind.CHANGE if row.number == CHANGES else RecordKind.TOKEN
