"""Which records are in chains, and what of them is covered by their HMACs."""

from collections.abc import Mapping, Sequence
from typing import Any

from authserver.audit.chain import Form, Kind
from authserver.db.models import AuditRecord, TokenRecord

CHANGES = 1
"""The chain of all changes."""

CHANGES_NAME = "changes"

COLUMNS: Mapping[Kind, Sequence[str]] = {
    kind: [
        c.name for c in table.__table__.columns if c.name not in {"id", "chain_id", "seq", "mac"}
    ]
    for kind, table in ((Kind.CHANGE, AuditRecord), (Kind.TOKEN, TokenRecord))
}
"""What of a record is covered by its HMAC."""

FORMS: Mapping[Kind, Form] = {kind: Form(columns) for kind, columns in COLUMNS.items()}
TOKEN_COLUMNS = COLUMNS[Kind.TOKEN]

TokenRow = tuple[tuple[Any, ...], str]
"""A token record before it has a place in a chain: its columns' values, and its text."""
