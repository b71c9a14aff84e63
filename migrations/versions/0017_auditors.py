"""auditors: users who read all that an administrator reads, and change nothing"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "account", sa.Column("auditor", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    # An older version knows no auditor: those who only read then read nothing.
    op.drop_column("account", "auditor")
