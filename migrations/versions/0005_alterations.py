"""which rows the latest changes have written"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.types import INT64

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alteration",
        sa.Column("id", INT64, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("noun", sa.String(length=32), nullable=False),
        sa.Column("row_id", INT64, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alteration")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("alteration")
