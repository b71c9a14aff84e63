"""The tables of an installation's state: accounts, registries, rules, keys."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from authserver.core.conditions import Conditions
from authserver.core.subjects import Role
from authserver.db.dialects.types import sorted_text
from authserver.db.models.base import Base, StoredConditions, TextLines


class StoreStateRow(Base):
    """The only row about the store itself; each change raises ``version``."""

    __tablename__ = "store_state"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]
    issuer: Mapped[str]
    master_key_id: Mapped[str]
    created_at: Mapped[datetime]


class AlterationRow(Base):
    """A row that a change wrote, which other processes must read again.

    Only the latest are kept. ``row_id`` None means any row of the table ``noun``.
    """

    __tablename__ = "alteration"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    noun: Mapped[str] = mapped_column(String(32))
    row_id: Mapped[int | None]


class AuthorityRow(Base):
    """A long-lived certificate authority, whose certificate is in the registries' bundle.

    It waits until it is activated. Without ``private_key`` and not retired, its key is in a file.
    """

    __tablename__ = "authority"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    certificate: Mapped[str] = mapped_column(Text)
    private_key: Mapped[bytes | None]
    created_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    not_after: Mapped[datetime]


class SigningKeyRow(Base):
    """A short-lived leaf under an authority, or a registry's own key without an authority.

    It waits until it is activated, which is when the registry knows it. Without ``private_key``
    and not retired, its key is in a file.
    """

    __tablename__ = "signing_key"
    __table_args__ = (
        CheckConstraint("(authority_id IS NULL) = (registry_id IS NOT NULL)", name="of_one"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    authority_id: Mapped[int | None] = mapped_column(ForeignKey("authority.id"))
    registry_id: Mapped[int | None] = mapped_column(ForeignKey("registry.id"), index=True)
    header_mode: Mapped[str] = mapped_column(String(16))
    certificate: Mapped[str] = mapped_column(Text)
    private_key: Mapped[bytes | None]
    created_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    revoked: Mapped[bool]
    not_after: Mapped[datetime]
    for_registry: Mapped["RegistryRow | None"] = relationship()


class RegistryRow(Base):
    """A protected registry, known by its ``service`` string.

    Clients reach it at ``url``. ``confirmed_authority_id`` is the newest authority that somebody
    confirmed to be in its bundle. ``own_keys`` are those that sign or wait.
    """

    __tablename__ = "registry"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    service: Mapped[str] = mapped_column(sorted_text(255), unique=True)
    token_ttl: Mapped[int | None]
    refresh_tokens: Mapped[bool]
    app_tokens_only: Mapped[bool]
    challenge_anonymous: Mapped[bool]
    url: Mapped[str | None] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(String(8))
    trust: Mapped[str] = mapped_column(String(8))
    confirmed_authority_id: Mapped[int | None] = mapped_column(ForeignKey("authority.id"))
    created_at: Mapped[datetime]
    own_keys: Mapped[list[SigningKeyRow]] = relationship(
        primaryjoin="and_(SigningKeyRow.registry_id == RegistryRow.id, "
        "SigningKeyRow.retired_at.is_(None))",
        order_by=SigningKeyRow.id,
        viewonly=True,
    )
    last_check: Mapped["RegistryCheckRow | None"] = relationship(viewonly=True)


class RegistryCheckRow(Base):
    """The last check of a registry: at which URL, how it ended, and the findings that failed.

    It has a table of its own: servers read their keys again when a registry's row changes.
    """

    __tablename__ = "registry_check"

    registry_id: Mapped[int] = mapped_column(
        ForeignKey("registry.id"), primary_key=True, autoincrement=False
    )
    at: Mapped[datetime]
    by: Mapped[str]
    url: Mapped[str] = mapped_column(Text)
    failed: Mapped[int]
    findings: Mapped[list[dict[str, str]]]


class AccountRow(Base):
    """A user or a robot.

    ``last_login_at`` is when its password was last good, ``last_used_at`` any credential of it,
    also one that is gone. With ``second_factor`` it has one, and its password alone is not enough.
    """

    __tablename__ = "account"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sorted_text(128))
    folded_name: Mapped[str] = mapped_column(sorted_text(512), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str | None]
    admin: Mapped[bool]
    auditor: Mapped[bool]
    app_tokens_only: Mapped[bool]
    second_factor: Mapped[bool] = mapped_column(default=False)
    disabled_at: Mapped[datetime | None]
    description: Mapped[str] = mapped_column(Text)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"), index=True)
    outlives_owner: Mapped[bool]
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    owner: Mapped["AccountRow | None"] = relationship(remote_side="AccountRow.id")
    groups: Mapped[list["GroupRow"]] = relationship(
        secondary="membership", back_populates="members", order_by="GroupRow.name"
    )

    @property
    def role(self) -> Role:
        """What a user's marks open; those of a robot are never set."""
        return Role.of(admin=self.admin, auditor=self.auditor)


class GroupRow(Base):
    """A named set of accounts."""

    __tablename__ = "account_group"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sorted_text(128))
    folded_name: Mapped[str] = mapped_column(sorted_text(512), unique=True)
    created_at: Mapped[datetime]
    members: Mapped[list[AccountRow]] = relationship(
        secondary="membership", back_populates="groups", order_by="AccountRow.name"
    )


class AppTokenRow(Base):
    """A secret that stands for an account, or for less than it. Only its hash is stored.

    After a rotation ``previous_hash`` is good too, until ``previous_until``.
    """

    __tablename__ = "app_token"
    __table_args__ = (
        UniqueConstraint("account_id", "name", name="uq_app_token_account_id_name"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    previous_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    previous_until: Mapped[datetime | None]
    ceiling: Mapped[list[str] | None]
    networks: Mapped[list[str] | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    last_used_address: Mapped[str | None] = mapped_column(String(64))
    last_used_client: Mapped[str | None]
    account: Mapped[AccountRow] = relationship()


class RefreshTokenRow(Base):
    """A docker login on one registry, which needs no password again. Only its hash is stored."""

    __tablename__ = "refresh_token"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    registry_id: Mapped[int] = mapped_column(ForeignKey("registry.id"), index=True)
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    created_address: Mapped[str] = mapped_column(String(64))
    created_client: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    last_used_at: Mapped[datetime | None]
    last_used_address: Mapped[str | None] = mapped_column(String(64))
    last_used_client: Mapped[str | None]
    account: Mapped[AccountRow] = relationship()
    for_registry: Mapped[RegistryRow] = relationship()


class ConsoleSessionRow(Base):
    """A login to the console. Only the hash of what its cookie holds is stored.

    ``stage`` is a :class:`Stage`. ``seen_at`` is its last use, ``proved_at`` when the password or a
    second factor was last shown. ``pending`` is what the next step of a second factor has to know.
    """

    __tablename__ = "console_session"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    stage: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    created_address: Mapped[str] = mapped_column(String(64))
    created_client: Mapped[str]
    seen_at: Mapped[datetime]
    proved_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    pending: Mapped[bytes | None]
    account: Mapped[AccountRow] = relationship()


class LockoutRow(Base):
    """A lockout of an address (of IPv6 a /64), or of one name there. A server notes it.

    ``key`` is the HMAC that the wrong passwords are counted under. ``account`` is empty for all
    names; a name that no account has is hashed, as in records. Servers end a lifted one.
    """

    __tablename__ = "lockout"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    account: Mapped[str] = mapped_column(String(160))
    began_at: Mapped[datetime]
    until: Mapped[datetime]
    lifted_at: Mapped[datetime | None]


class InvitationRow(Base):
    """A code with which a user sets a password, once."""

    __tablename__ = "invitation"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), unique=True)
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class MembershipRow(Base):
    __tablename__ = "membership"

    group_id: Mapped[int] = mapped_column(ForeignKey("account_group.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, index=True)


class RuleRow(Base):
    """One ACL rule. ``registry_id`` None means every registry.

    Foreign keys restrict: nothing that a rule names can be deleted by a side effect.
    """

    __tablename__ = "rule"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    effect: Mapped[str] = mapped_column(String(8))
    registry_id: Mapped[int | None] = mapped_column(ForeignKey("registry.id"), index=True)
    resource_type: Mapped[str] = mapped_column(String(32))
    patterns: Mapped[list[str]] = mapped_column(TextLines)
    actions: Mapped[str]
    conditions: Mapped[Conditions] = mapped_column(StoredConditions)
    disabled_at: Mapped[datetime | None]
    comment: Mapped[str] = mapped_column(Text)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"), index=True)
    delegation_id: Mapped[int | None] = mapped_column(ForeignKey("delegation.id"), index=True)
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    edited_by: Mapped[str | None]
    edited_at: Mapped[datetime | None]
    subjects: Mapped[list["RuleSubjectRow"]] = relationship(
        cascade="all, delete-orphan", order_by="RuleSubjectRow.id"
    )
    for_registry: Mapped[RegistryRow | None] = relationship()


class RuleSubjectRow(Base):
    """One subject of a rule."""

    __tablename__ = "rule_subject"
    __table_args__ = (
        CheckConstraint("(kind IN ('user', 'robot')) = (account_id IS NOT NULL)", name="account"),
        CheckConstraint("(kind = 'group') = (group_id IS NOT NULL)", name="group"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    rule_id: Mapped[int] = mapped_column(ForeignKey("rule.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"), index=True)
    group_id: Mapped[int | None] = mapped_column(ForeignKey("account_group.id"), index=True)
    account: Mapped[AccountRow | None] = relationship()
    group: Mapped[GroupRow | None] = relationship()


class DelegationRow(Base):
    """A permission for a group's members to write allows within a pattern on one registry."""

    __tablename__ = "delegation"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("account_group.id"), index=True)
    registry_id: Mapped[int] = mapped_column(ForeignKey("registry.id"), index=True)
    pattern: Mapped[str]
    actions: Mapped[str]
    comment: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    group: Mapped[GroupRow] = relationship()
    for_registry: Mapped[RegistryRow] = relationship()
