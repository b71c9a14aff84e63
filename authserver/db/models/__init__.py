"""The tables."""

from authserver.db.models.base import Base
from authserver.db.models.records import (
    AuditChain,
    AuditClosedChain,
    AuditMark,
    AuditRecord,
    AuditState,
    TokenRecord,
)
from authserver.db.models.second_factors import RecoveryCodeRow, SecondFactorRow
from authserver.db.models.state import (
    AccountRow,
    AlterationRow,
    AppTokenRow,
    AuthorityRow,
    ConsoleSessionRow,
    DelegationRow,
    GroupRow,
    InvitationRow,
    LockoutRow,
    MembershipRow,
    RefreshTokenRow,
    RegistryRow,
    RuleRow,
    RuleSubjectRow,
    SigningKeyRow,
    StoreStateRow,
)

__all__ = [
    "AccountRow",
    "AlterationRow",
    "AppTokenRow",
    "AuditChain",
    "AuditClosedChain",
    "AuditMark",
    "AuditRecord",
    "AuditState",
    "AuthorityRow",
    "Base",
    "ConsoleSessionRow",
    "DelegationRow",
    "GroupRow",
    "InvitationRow",
    "LockoutRow",
    "MembershipRow",
    "RecoveryCodeRow",
    "RefreshTokenRow",
    "RegistryRow",
    "RuleRow",
    "RuleSubjectRow",
    "SecondFactorRow",
    "SigningKeyRow",
    "StoreStateRow",
    "TokenRecord",
]
