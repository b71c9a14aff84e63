"""The tables of second factors. None holds a secret that can be read without the master key."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from authserver.db.models.base import Base, TextLines


class SecondFactorRow(Base):
    """A TOTP secret or a passkey of a user.

    ``sealed_secret`` is encrypted under the master key. ``last_step`` is the 30 seconds of the last
    accepted code. ``sign_count`` is the last one that the passkey sent, 0 if it does not count.
    """

    __tablename__ = "second_factor"
    __table_args__ = (
        CheckConstraint("(kind = 'totp') = (sealed_secret IS NOT NULL)", name="totp"),
        CheckConstraint("(kind = 'totp') = (last_step IS NOT NULL)", name="step"),
        CheckConstraint("(kind = 'passkey') = (credential_id IS NOT NULL)", name="passkey"),
        CheckConstraint("(kind = 'passkey') = (public_key IS NOT NULL)", name="key"),
        UniqueConstraint("account_id", "name", name="uq_second_factor_account_id_name"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(64))
    sealed_secret: Mapped[bytes | None]
    last_step: Mapped[int | None]
    credential_id: Mapped[bytes | None] = mapped_column(unique=True)
    public_key: Mapped[bytes | None]
    sign_count: Mapped[int]
    transports: Mapped[list[str]] = mapped_column(TextLines)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class RecoveryCodeRow(Base):
    """A code in the place of a second factor, good once: it is deleted when it is used."""

    __tablename__ = "recovery_code"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
