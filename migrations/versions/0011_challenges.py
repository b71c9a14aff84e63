"""challenges: registries that ask anonymous clients for a password"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "registry",
        sa.Column("challenge_anonymous", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    # Clients that are not granted all that they ask for get a token again, for what is granted.
    op.drop_column("registry", "challenge_anonymous")
