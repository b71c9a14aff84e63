"""audit chains: HMACs over audit records, checkpoints over all chains"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.types import INT64

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_PLACE: dict[str, sa.types.TypeEngine[Any]] = {
    "seq": INT64,
    "mac": sa.String(length=64),
}
_ADDED = {"audit_record": _PLACE, "token_record": {"chain_id": INT64, **_PLACE}}


def upgrade() -> None:
    op.create_table(
        "audit_state",
        sa.Column("id", INT64, autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("number", INT64, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("chains", INT64, nullable=False),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_state_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_state")),
    )
    op.create_table(
        "audit_chain",
        sa.Column("id", INT64, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("seq", INT64, nullable=False),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.Column("record_id", INT64, nullable=True),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_chain")),
        sa.UniqueConstraint("name", name=op.f("uq_audit_chain_name")),
    )
    op.create_table(
        "audit_mark",
        sa.Column("chain_id", INT64, autoincrement=False, nullable=False),
        sa.Column("sealed_seq", INT64, nullable=False),
        sa.Column("sealed_mac", sa.String(length=64), nullable=False),
        sa.Column("sealed_record_id", INT64, nullable=True),
        sa.Column("trimmed_seq", INT64, nullable=False),
        sa.Column("trimmed_mac", sa.String(length=64), nullable=False),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["chain_id"], ["audit_chain.id"], name=op.f("fk_audit_mark_chain_id")
        ),
        sa.PrimaryKeyConstraint("chain_id", name=op.f("pk_audit_mark")),
    )
    # Not in batch mode: a column that may be empty needs no new table, and these are long.
    for table, columns in _ADDED.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for table, columns in _ADDED.items():
        for name in columns:
            op.drop_column(table, name)
    op.drop_table("audit_mark")
    op.drop_table("audit_chain")
    op.drop_table("audit_state")
