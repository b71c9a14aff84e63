"""second factors: TOTP secrets, passkeys and recovery codes of users"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.types import INT64, TIME

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TABLE, _CODES, _COLUMN = "second_factor", "recovery_code", "second_factor"


def upgrade() -> None:
    op.add_column(
        "account", sa.Column(_COLUMN, sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_table(
        _TABLE,
        sa.Column("id", INT64, nullable=False),
        sa.Column("account_id", INT64, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=True),
        sa.Column("last_step", INT64, nullable=True),
        sa.Column("credential_id", sa.LargeBinary(), nullable=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=True),
        sa.Column("sign_count", INT64, nullable=False),
        sa.Column("transports", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.CheckConstraint(
            "(kind = 'totp') = (sealed_secret IS NOT NULL)", name=op.f("ck_second_factor_totp")
        ),
        sa.CheckConstraint(
            "(kind = 'totp') = (last_step IS NOT NULL)", name=op.f("ck_second_factor_step")
        ),
        sa.CheckConstraint(
            "(kind = 'passkey') = (credential_id IS NOT NULL)",
            name=op.f("ck_second_factor_passkey"),
        ),
        sa.CheckConstraint(
            "(kind = 'passkey') = (public_key IS NOT NULL)", name=op.f("ck_second_factor_key")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_second_factor_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_second_factor")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_second_factor_account_id_name")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_second_factor_credential_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_second_factor_account_id"), _TABLE, ["account_id"])
    op.create_table(
        _CODES,
        sa.Column("id", INT64, nullable=False),
        sa.Column("account_id", INT64, nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_recovery_code_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_code")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_recovery_code_code_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_recovery_code_account_id"), _CODES, ["account_id"])


def downgrade() -> None:
    # Without them the password alone would be enough again.
    if op.get_bind().scalar(sa.select(sa.func.count()).select_from(sa.table(_TABLE))):
        raise RuntimeError(
            "the older schema knows no second factors, and some users have one: remove them first "
            "with `authserver user second-factor reset`"
        )
    op.drop_table(_CODES)
    op.drop_table(_TABLE)
    op.drop_column("account", _COLUMN)
