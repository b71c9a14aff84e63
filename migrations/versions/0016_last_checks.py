"""last checks: how the last examination of each registry ended, for operators to see"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.types import INT64, TIME

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "registry_check",
        sa.Column("registry_id", INT64, autoincrement=False, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("failed", INT64, nullable=False),
        sa.Column("findings", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["registry_id"], ["registry.id"], name=op.f("fk_registry_check_registry_id")
        ),
        sa.PrimaryKeyConstraint("registry_id", name=op.f("pk_registry_check")),
    )


def downgrade() -> None:
    op.drop_table("registry_check")
