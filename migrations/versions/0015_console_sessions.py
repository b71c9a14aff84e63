"""console sessions: logins to the console, with what a second step has to know"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.types import INT64, TIME

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "console_session",
        sa.Column("id", INT64, nullable=False),
        sa.Column("account_id", INT64, nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_address", sa.String(length=64), nullable=False),
        sa.Column("created_client", sa.String(length=255), nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("proved_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("pending", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_console_session_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_console_session")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_console_session_secret_hash")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("console_session") as batch:
        batch.create_index(op.f("ix_console_session_account_id"), ["account_id"], unique=False)


def downgrade() -> None:
    op.drop_table("console_session")
