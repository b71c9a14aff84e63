"""Reading the audit records of changes and the records of token requests."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.db.models import AuditRecord, TokenRecord

KINDS = ("change", "token")


def listed(
    session: Session, kind: str | None = None, account: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Return the latest records, oldest first; of one kind or about one account if asked."""
    found: list[dict[str, Any]] = []
    if kind in (None, "change"):
        found += _changes(session, account, limit)
    if kind in (None, "token"):
        found += _tokens(session, account, limit)
    # Stable: what happened at the same moment stays in the order in which it was written.
    found.reverse()
    found.sort(key=lambda record: str(record["at"]))
    return found[-limit:]


def _changes(session: Session, account: str | None, limit: int) -> list[dict[str, Any]]:
    query = select(AuditRecord).order_by(AuditRecord.id.desc()).limit(limit)
    if account is not None:
        query = query.where(AuditRecord.target.in_((f"user:{account}", f"robot:{account}")))
    return [
        {
            "kind": "change",
            "at": row.at.isoformat(timespec="milliseconds"),
            "actor": row.actor,
            "action": row.action,
            "target": row.target,
            "before": row.before,
            "after": row.after,
        }
        for row in session.scalars(query)
    ]


def _tokens(session: Session, account: str | None, limit: int) -> list[dict[str, Any]]:
    query = select(TokenRecord).order_by(TokenRecord.id.desc()).limit(limit)
    if account is not None:
        query = query.where(TokenRecord.account == account)
    return [
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
        }
        for row in session.scalars(query)
    ]
