"""A copy of the store's policy in memory. A plan is carried out there, and the copy is dropped.

A transaction on the store itself would hold the lock of its writers for as long as the steps take,
seven seconds for 5,000 new accounts, and PostgreSQL does not give back the ids that it used. The
copy needs no lock, no master key and no right to write.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, StaticPool, create_engine, insert, select
from sqlalchemy.orm import Session

from authserver.db import losses
from authserver.db.models import (
    AccountRow,
    AppTokenRow,
    AuditRecord,
    Base,
    DelegationRow,
    GroupRow,
    InvitationRow,
    MembershipRow,
    RefreshTokenRow,
    RegistryRow,
    RuleRow,
    RuleSubjectRow,
)
from authserver.db.store import Change, NoRecorder, database_time

# App tokens keep some users from becoming administrators; a plan tells which of them go, and which
# logins and invitations.
_TABLES = (
    RegistryRow,
    AccountRow,
    AppTokenRow,
    RefreshTokenRow,
    InvitationRow,
    GroupRow,
    MembershipRow,
    DelegationRow,
    RuleRow,
    RuleSubjectRow,
)


_CREDENTIALS = (AppTokenRow, RefreshTokenRow, InvitationRow)

_AT_ONCE = 500

_Rows = dict[type[Base], list[dict[str, Any]]]


def _read(
    session: Session, table: type[Base], *conditions: ColumnElement[bool]
) -> Iterator[dict[str, Any]]:
    for row in session.execute(select(*table.__table__.c).where(*conditions)).mappings():
        yield dict(row) | _without_secrets(table, row)


def _without_secrets(table: type[Base], row: RowMapping) -> dict[str, Any]:
    """Return what takes the place of hashes: a plan asks only whether there is a password."""
    if table is AccountRow:
        return {"password_hash": None if row["password_hash"] is None else ""}
    if table is AppTokenRow:
        # Unique, as the digest is.
        return {"secret_hash": str(row["id"]), "previous_hash": None}
    if table in (RefreshTokenRow, InvitationRow):
        return {"secret_hash": str(row["id"])}
    return {}


class _Unrecorded(NoRecorder):
    def change(self, session: Session, record: AuditRecord) -> None:
        """Do nothing: what is done to a copy has not happened."""


@dataclass(frozen=True)
class StoreCopy:
    """The rows of a policy at one moment, by table; nothing at all by default.

    ``in_use`` are the registries that were asked for tokens lately.
    """

    at: datetime
    rows: Mapping[type[Base], Sequence[dict[str, Any]]] = field(default_factory=dict)
    in_use: frozenset[str] = frozenset()

    @classmethod
    def of(cls, session: Session) -> "StoreCopy":
        """Read the policy of a store."""
        read: _Rows = {table: [*_read(session, table)] for table in _TABLES}
        at = database_time(session)
        return cls(at, read, losses.in_use(session, at))

    @classmethod
    def of_rules(cls, session: Session, rule_ids: Collection[int]) -> "StoreCopy":
        """Read some rules of a store, and what rules can name."""
        keys: Mapping[type[Base], Any] = {
            RuleRow: RuleRow.id,
            RuleSubjectRow: RuleSubjectRow.rule_id,
        }
        wanted = sorted(rule_ids)
        read: _Rows = {
            table: [*_read(session, table)] if table not in keys else []
            for table in _TABLES
            if table not in _CREDENTIALS
        }
        for begin in range(0, len(wanted), _AT_ONCE):
            for table, key in keys.items():
                some = key.in_(wanted[begin : begin + _AT_ONCE])
                read[table] += _read(session, table, some)
        return cls(database_time(session), read)

    @contextmanager
    def opened(self) -> Iterator[Change]:
        """Give a change of an SQLite store in memory that holds this policy and nothing else."""
        engine = create_engine("sqlite://", poolclass=StaticPool, hide_parameters=True)
        Base.metadata.create_all(engine)
        try:
            with Session(engine, expire_on_commit=False) as session:
                for table, rows in self.rows.items():
                    if rows:
                        session.execute(insert(table), rows)
                yield Change(session, "plan", self.at, _Unrecorded())
        finally:
            engine.dispose()
