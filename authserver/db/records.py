"""Reading the audit records of changes and the records of token requests."""

import heapq
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.db.models import AuditRecord, TokenRecord

KINDS = ("change", "token")
_NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Before:
    """Where a list of the latest records begins: with what has lower ids, of each kind."""

    change: int = _NEWEST
    token: int = _NEWEST


@dataclass(frozen=True, slots=True)
class Record:
    """One record; ``told`` is what ``--json`` says of it."""

    id: int
    at: datetime
    told: dict[str, Any]


MAX_RULES = 200
"""At most so many rules are kept with a token record, those of the lowest ids."""


def listed(
    session: Session, kind: str | None = None, account: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Return the latest records, oldest first; of one kind or about one account if asked."""
    found = latest(session, kind, account, limit)
    found.reverse()
    # Stable: what happened at the same moment stays in the order in which it was written.
    found.sort(key=lambda record: record.at)
    return [record.told for record in found]


def latest(
    session: Session,
    kind: str | None = None,
    account: str | None = None,
    limit: int = 100,
    before: Before | None = None,
) -> list[Record]:
    """Return the latest records, newest first, ``before`` a place in the list if asked."""
    before = before or Before()
    changes = _changes(session, account, limit, before) if kind in (None, "change") else []
    tokens = _tokens(session, account, limit, before) if kind in (None, "token") else []
    merged = heapq.merge(changes, tokens, key=lambda record: record.at, reverse=True)
    return list(islice(merged, limit))


def after(found: list[Record], before: Before) -> Before:
    """Return where the list goes on after ``found``, which began at ``before``."""
    ids = {kind: [r.id for r in found if r.told["kind"] == kind] for kind in KINDS}
    return Before(
        min(ids["change"], default=before.change), min(ids["token"], default=before.token)
    )


def _changes(session: Session, account: str | None, limit: int, before: Before) -> list[Record]:
    query = select(AuditRecord).where(AuditRecord.id < before.change)
    if account is not None:
        query = query.where(AuditRecord.target.in_((f"user:{account}", f"robot:{account}")))
    return [
        Record(
            row.id,
            row.at,
            {
                "kind": "change",
                "at": row.at.isoformat(timespec="milliseconds"),
                "actor": row.actor,
                "action": row.action,
                "target": row.target,
                "before": row.before,
                "after": row.after,
            },
        )
        for row in session.scalars(query.order_by(AuditRecord.id.desc()).limit(limit))
    ]


def _tokens(session: Session, account: str | None, limit: int, before: Before) -> list[Record]:
    query = select(TokenRecord).where(TokenRecord.id < before.token)
    if account is not None:
        query = query.where(TokenRecord.account == account)
    return [
        Record(
            row.id,
            row.at,
            {
                "kind": "token",
                "at": row.at.isoformat(timespec="milliseconds"),
                "outcome": row.outcome,
                "account": row.account,
                "credential": row.credential,
                "address": row.address,
                "client": row.client,
                "registry": row.service,
                "requested": row.requested,
                "granted": row.granted,
                "jti": row.jwt_id,
                "reason": row.reason,
                "rules": [int(rule_id) for rule_id in row.rules.split()],
                "request_id": row.request_id,
            },
        )
        for row in session.scalars(query.order_by(TokenRecord.id.desc()).limit(limit))
    ]
