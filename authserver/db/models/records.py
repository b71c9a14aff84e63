"""The tables of audit records and of the chains that they are in."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from authserver.db.models.base import Base


class AuditRecord(Base):
    """The record of a change, written in the change's own transaction."""

    __tablename__ = "audit_record"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str]
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(Text)
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    seq: Mapped[int | None]
    mac: Mapped[str | None] = mapped_column(String(64))


class TokenRecord(Base):
    """A token request and its outcome; written in batches, off the request's path.

    It stands for as many ``requests`` that were in vain, None for one.
    """

    __tablename__ = "token_record"
    __table_args__ = (Index("ix_token_record_at", "at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    request_id: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(16))
    account: Mapped[str] = mapped_column(String(160))
    credential: Mapped[str]
    address: Mapped[str] = mapped_column(String(64))
    client: Mapped[str]
    service: Mapped[str]
    requested: Mapped[str] = mapped_column(Text)
    granted: Mapped[str] = mapped_column(Text)
    jwt_id: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    rules: Mapped[str] = mapped_column(Text)
    requests: Mapped[int | None]
    chain_id: Mapped[int | None]
    seq: Mapped[int | None]
    mac: Mapped[str | None] = mapped_column(String(64))


class AuditState(Base):
    """The one row about all chains: their key, sealed by the master key, and the checkpoint.

    ``chains`` is how many there were when the checkpoint was made.
    """

    __tablename__ = "audit_state"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[bytes]
    number: Mapped[int]
    at: Mapped[datetime]
    chains: Mapped[int]
    mac: Mapped[str] = mapped_column(String(64))


class AuditChain(Base):
    """Where a chain ends: the number, the HMAC and the row of its last record.

    The first is the chain of the changes, the others are of one process each and its token
    requests. They are numbered without gaps, so that one that is missing has a number. A chain has
    ``ended`` if its process ended in good order: another may go on with it.
    """

    __tablename__ = "audit_chain"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(unique=True)
    seq: Mapped[int]
    mac: Mapped[str] = mapped_column(String(64))
    record_id: Mapped[int | None]
    ended: Mapped[bool] = mapped_column(default=False)


class AuditMark(Base):
    """What is sealed of a chain, and up to where it was pruned.

    It is no part of the chain's row: a process that writes waits for none that seals.
    """

    __tablename__ = "audit_mark"

    chain_id: Mapped[int] = mapped_column(
        ForeignKey("audit_chain.id"), primary_key=True, autoincrement=False
    )
    sealed_seq: Mapped[int]
    sealed_mac: Mapped[str] = mapped_column(String(64))
    sealed_record_id: Mapped[int | None]
    trimmed_seq: Mapped[int]
    trimmed_mac: Mapped[str] = mapped_column(String(64))
    mac: Mapped[str] = mapped_column(String(64))


class AuditClosedChain(Base):
    """A chain that ``audit restart`` has closed: what it takes to verify its records once more.

    ``restart_id`` is the row of the restart's record, ``number`` the id that the chain had,
    ``name`` empty where its key was lost. ``seq`` and ``mac`` are of its last record, ``last_id``
    the highest id in the table of its records when it was closed: a later chain may have the same
    number. They raise no alarm. The record of the restart has a digest of them, so `audit verify`
    lists a forged one.
    """

    __tablename__ = "audit_closed_chain"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    restart_id: Mapped[int]
    number: Mapped[int]
    name: Mapped[str]
    seq: Mapped[int]
    mac: Mapped[str] = mapped_column(String(64))
    last_id: Mapped[int]
