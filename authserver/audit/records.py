"""Lists of audit records, of changes and of token requests, for people and for the API."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, false, func, literal, select
from sqlalchemy.orm import Session

from authserver.audit import KINDS
from authserver.audit.chain import RecordKind
from authserver.core.errors import NotFound
from authserver.db.dialects.unreadable_rows import AT_ONCE, held, unreadable
from authserver.db.models import AuditRecord, TokenRecord

_NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Before:
    """Where a list of the latest records begins: with what has lower ids, of each kind."""

    change: int = _NEWEST
    token: int = _NEWEST


@dataclass(frozen=True, slots=True)
class Record:
    """One record; ``fields`` is what ``--json`` prints."""

    id: int
    at: datetime
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records: those that all values fit that are not None.

    A value that only one kind of record has excludes the other kind. ``account`` is the account
    that a change is about or that asked for a token, ``repository`` one that was requested;
    ``until`` is excluded.
    """

    kind: str | None = None
    account: str | None = None
    registry: str | None = None
    repository: str | None = None
    outcome: str | None = None
    address: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self, kind: RecordKind) -> list[ColumnElement[bool]]:
        """Return the SQL conditions for records of this kind."""
        if self.kind not in (None, kind):
            return [false()]
        return self._changes() if kind is RecordKind.CHANGE else self._tokens()

    def _changes(self) -> list[ColumnElement[bool]]:
        if {self.registry, self.repository, self.outcome, self.address} != {None}:
            return [false()]
        conditions = self._period(AuditRecord)
        if self.account is not None:
            names = (f"user:{self.account}", f"robot:{self.account}")
            conditions.append(AuditRecord.target.in_(names))
        if self.action is not None:
            conditions.append(AuditRecord.action == self.action)
        return conditions

    def _tokens(self) -> list[ColumnElement[bool]]:
        if self.action is not None:
            return [false()]
        values = {
            TokenRecord.account: self.account,
            TokenRecord.service: self.registry,
            TokenRecord.outcome: self.outcome,
            TokenRecord.address: self.address,
        }
        conditions = [column == value for column, value in values.items() if value is not None]
        if self.repository is not None:
            # Unlike LIKE it tells cases apart on every engine, and knows no wildcards.
            scope = f" repository:{self.repository}:"
            requested = literal(" ") + TokenRecord.requested
            conditions.append(func.replace(requested, scope, "") != requested)
        return self._period(TokenRecord) + conditions

    def _period(self, table: type[AuditRecord | TokenRecord]) -> list[ColumnElement[bool]]:
        conditions = [] if self.since is None else [table.at >= self.since]
        return conditions if self.until is None else [*conditions, table.at < self.until]


ALL = Filter()

MAX_RULES = 200
"""At most so many rules are kept with a token record, those of the lowest ids."""


def listed(session: Session, wanted: Filter = ALL, limit: int = 100) -> list[dict[str, Any]]:
    """Return the latest records, oldest first."""
    rows = latest(session, wanted, limit)
    rows.reverse()
    # Stable: what happened at the same moment stays in the order in which it was written.
    rows.sort(key=lambda record: record.at)
    return [record.fields for record in rows]


def latest(
    session: Session, wanted: Filter = ALL, limit: int = 100, before: Before | None = None
) -> list[Record]:
    """Return the latest records, newest first, ``before`` a place in the list if asked.

    Raises:
        NotReady: somebody left in one of them what is no record; the message says in which.
    """
    before = before or Before()
    changes = select(AuditRecord.id).where(AuditRecord.id < before.change)
    tokens = select(TokenRecord.id).where(TokenRecord.id < before.token)
    merged = heapq.merge(
        _changes(session, wanted, changes.order_by(AuditRecord.id.desc()).limit(limit)),
        _tokens(session, wanted, tokens.order_by(TokenRecord.id.desc()).limit(limit)),
        key=lambda record: record.at,
        reverse=True,
    )
    return list(islice(merged, limit))


def one(session: Session, kind: RecordKind, row_id: int) -> Record:
    """Return a record of a kind by its id.

    Raises:
        NotFound: there is no such record, or not any more.
        NotReady: as :func:`latest`.
    """
    if kind is RecordKind.CHANGE:
        found = _changes(session, ALL, select(AuditRecord.id).where(AuditRecord.id == row_id))
    else:
        found = _tokens(session, ALL, select(TokenRecord.id).where(TokenRecord.id == row_id))
    if not found:
        raise NotFound(f"there is no {kind} record {row_id}, or not any more")
    return found[0]


def newer(session: Session, wanted: Filter, change: int, token: int) -> list[Record]:
    """Return the records with higher ids than these, of each kind, oldest first.

    Raises:
        NotReady: as :func:`latest`.
    """
    changes = select(AuditRecord.id).where(AuditRecord.id > change)
    tokens = select(TokenRecord.id).where(TokenRecord.id > token)
    rows = [
        *_changes(session, wanted, changes.order_by(AuditRecord.id)),
        *_tokens(session, wanted, tokens.order_by(TokenRecord.id)),
    ]
    return sorted(rows, key=lambda record: record.at)


def newest(session: Session) -> dict[str, int]:
    """Return the highest id of each kind, 0 for a kind without records."""
    highest = {
        RecordKind.CHANGE: func.max(AuditRecord.id),
        RecordKind.TOKEN: func.max(TokenRecord.id),
    }
    return {k.value: session.scalars(select(top)).one() or 0 for k, top in highest.items()}


def after(page: list[Record], before: Before) -> Before:
    """Return where the list goes on after ``found``, which began at ``before``."""
    ids = {kind: [r.id for r in page if r.fields["kind"] == kind] for kind in KINDS}
    return Before(
        min(ids["change"], default=before.change), min(ids["token"], default=before.token)
    )


def _changes(session: Session, wanted: Filter, query: Select[int]) -> list[Record]:
    query = query.where(*wanted.conditions(RecordKind.CHANGE))
    return [_change(row) for row in _read(session, AuditRecord, query)]


def _tokens(session: Session, values: Filter, query: Select[int]) -> list[Record]:
    query = query.where(*values.conditions(RecordKind.TOKEN))
    return [_token(row) for row in _read(session, TokenRecord, query)]


def _read(
    session: Session, model: type[AuditRecord | TokenRecord], query: Select[int]
) -> Iterator[RowMapping]:
    """Give the rows whose ids a query finds, in its order."""
    table: Any = model.__table__
    ids = session.scalars(query).all()
    for begin in range(0, len(ids), AT_ONCE):
        rows = dict(held(session, table, ids[begin : begin + AT_ONCE]))
        for row_id in ids[begin : begin + AT_ONCE]:
            if (row := rows[row_id]) is None:
                raise unreadable(model.__tablename__, row_id)
            yield row


def _change(row: RowMapping) -> Record:
    fields = {
        "kind": "change",
        "id": row["id"],
        "at": row["at"].isoformat(timespec="milliseconds"),
        "actor": row["actor"],
        "action": row["action"],
        "target": row["target"],
        "before": row["before"],
        "after": row["after"],
    }
    return Record(row["id"], row["at"], fields)


def _token(row: RowMapping) -> Record:
    fields = {
        "kind": "token",
        "id": row["id"],
        "at": row["at"].isoformat(timespec="milliseconds"),
        "outcome": row["outcome"],
        "account": row["account"],
        "credential": row["credential"],
        "address": row["address"],
        "client": row["client"],
        "registry": row["service"],
        "requested": row["requested"],
        "granted": row["granted"],
        "jti": row["jwt_id"],
        "reason": row["reason"],
        "rules": _rules(row),
        "requests": row["requests"] or 1,
        "request_id": row["request_id"],
    }
    return Record(row["id"], row["at"], fields)


def _rules(row: RowMapping) -> list[int]:
    try:
        return [int(rule_id) for rule_id in row["rules"].split()]
    except ValueError:
        raise unreadable(TokenRecord.__tablename__, row["id"]) from None
