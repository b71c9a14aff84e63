"""closed chains: what `audit restart` has closed, so that it can still be verified"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.types import INT64

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_closed_chain",
        sa.Column("id", INT64, nullable=False),
        sa.Column("restart_id", INT64, nullable=False),
        sa.Column("number", INT64, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("seq", INT64, nullable=False),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.Column("last_id", INT64, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_closed_chain")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("audit_closed_chain")
