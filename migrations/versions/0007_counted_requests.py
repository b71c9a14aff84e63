"""counted requests: a record of a token request may stand for many"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.types import INT64

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in batch mode: a column that may be empty needs no new table, and this one is long.
    op.add_column("token_record", sa.Column("requests", INT64, nullable=True))


def downgrade() -> None:
    op.drop_column("token_record", "requests")
