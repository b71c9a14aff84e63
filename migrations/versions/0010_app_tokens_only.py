"""app tokens only: registries and accounts that take no password for a token"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TABLES = ("registry", "account")
_COLUMN = "app_tokens_only"


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(
            table, sa.Column(_COLUMN, sa.Boolean(), nullable=False, server_default=sa.false())
        )


def downgrade() -> None:
    # Without it they would take passwords again.
    for table in _TABLES:
        only = sa.select(sa.func.count()).select_from(sa.table(table)).where(sa.column(_COLUMN))
        if op.get_bind().scalar(only):
            raise RuntimeError(
                "the older schema takes passwords everywhere, and some registries or accounts "
                "take app tokens only: take that back first"
            )
    for table in _TABLES:
        op.drop_column(table, _COLUMN)
