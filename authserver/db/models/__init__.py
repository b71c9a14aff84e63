"""The tables."""

from authserver.db.models.base import Base
from authserver.db.models.records import AuditChain, AuditMark, AuditRecord, AuditState, TokenRecord
from authserver.db.models.state import (
    Account,
    Alteration,
    AppToken,
    Authority,
    Delegation,
    Group,
    Invitation,
    Membership,
    RefreshToken,
    Registry,
    Rule,
    RuleSubject,
    SigningKey,
    StoreState,
)

__all__ = [
    "Account",
    "Alteration",
    "AppToken",
    "AuditChain",
    "AuditMark",
    "AuditRecord",
    "AuditState",
    "Authority",
    "Base",
    "Delegation",
    "Group",
    "Invitation",
    "Membership",
    "RefreshToken",
    "Registry",
    "Rule",
    "RuleSubject",
    "SigningKey",
    "StoreState",
    "TokenRecord",
]
