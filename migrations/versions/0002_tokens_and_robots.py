"""tokens and robots"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.row_ids import NO_ID_TWICE, highest_ids_kept
from authserver.db.dialects.types import INT64

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "app_token",
        sa.Column("id", INT64, nullable=False),
        sa.Column("account_id", INT64, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ceiling", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("networks", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_address", sa.String(length=64), nullable=True),
        sa.Column("last_used_client", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_app_token_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_token")),
        sa.UniqueConstraint("account_id", "name", name="uq_app_token_account_id_name"),
        sa.UniqueConstraint("previous_hash", name=op.f("uq_app_token_previous_hash")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_app_token_secret_hash")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("app_token", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_app_token_account_id"), ["account_id"], unique=False)

    op.create_table(
        "invitation",
        sa.Column("id", INT64, nullable=False),
        sa.Column("account_id", INT64, nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_invitation_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("account_id", name=op.f("uq_invitation_account_id")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_invitation_secret_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "refresh_token",
        sa.Column("id", INT64, nullable=False),
        sa.Column("account_id", INT64, nullable=False),
        sa.Column("registry_id", INT64, nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_address", sa.String(length=64), nullable=False),
        sa.Column("created_client", sa.String(length=255), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_address", sa.String(length=64), nullable=True),
        sa.Column("last_used_client", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_refresh_token_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["registry_id"], ["registry.id"], name=op.f("fk_refresh_token_registry_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_token")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_refresh_token_secret_hash")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("refresh_token", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_refresh_token_account_id"), ["account_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_refresh_token_expires_at"), ["expires_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_refresh_token_registry_id"), ["registry_id"], unique=False
        )

    with highest_ids_kept(op.get_bind()):
        with op.batch_alter_table("account", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.add_column(
                sa.Column("description", sa.Text(), nullable=False, server_default="")
            )
            batch_op.add_column(sa.Column("owner_id", INT64, nullable=True))
            batch_op.add_column(
                sa.Column("outlives_owner", sa.Boolean(), nullable=False, server_default=sa.false())
            )
            batch_op.create_index(batch_op.f("ix_account_owner_id"), ["owner_id"], unique=False)
            batch_op.create_foreign_key(
                batch_op.f("fk_account_owner_id"), "account", ["owner_id"], ["id"]
            )

        with op.batch_alter_table("registry", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.add_column(
                sa.Column("refresh_tokens", sa.Boolean(), nullable=False, server_default=sa.true())
            )

        with op.batch_alter_table("token_record", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.add_column(
                sa.Column("credential", sa.String(length=255), nullable=False, server_default="")
            )


def downgrade() -> None:
    with highest_ids_kept(op.get_bind()):
        with op.batch_alter_table("token_record", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.drop_column("credential")

        with op.batch_alter_table("registry", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.drop_column("refresh_tokens")

        with op.batch_alter_table("account", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.drop_constraint(batch_op.f("fk_account_owner_id"), type_="foreignkey")
            batch_op.drop_index(batch_op.f("ix_account_owner_id"))
            batch_op.drop_column("outlives_owner")
            batch_op.drop_column("owner_id")
            batch_op.drop_column("description")

    with op.batch_alter_table("refresh_token", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_refresh_token_registry_id"))
        batch_op.drop_index(batch_op.f("ix_refresh_token_expires_at"))
        batch_op.drop_index(batch_op.f("ix_refresh_token_account_id"))

    op.drop_table("refresh_token")
    op.drop_table("invitation")
    with op.batch_alter_table("app_token", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_app_token_account_id"))

    op.drop_table("app_token")
