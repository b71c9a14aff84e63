"""lockouts: which addresses and accounts are locked out, for operators to see and to lift"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.types import INT64, TIME

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lockout",
        sa.Column("id", INT64, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=160), nullable=False),
        sa.Column("began_at", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("lifted_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lockout")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("lockout")
