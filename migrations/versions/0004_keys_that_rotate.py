"""keys that rotate"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.row_ids import NO_ID_TWICE, highest_ids_kept
from authserver.db.dialects.types import INT64

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with highest_ids_kept(op.get_bind()):
        with op.batch_alter_table("authority", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.add_column(
                sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True)
            )
            batch_op.add_column(sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))
            batch_op.alter_column("private_key", existing_type=sa.LargeBinary(), nullable=True)
        op.execute("UPDATE authority SET activated_at = created_at")

        with op.batch_alter_table("signing_key", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.add_column(sa.Column("registry_id", INT64, nullable=True))
            batch_op.add_column(
                sa.Column("header_mode", sa.String(length=16), nullable=False, server_default="x5c")
            )
            batch_op.add_column(
                sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True)
            )
            batch_op.add_column(sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))
            batch_op.add_column(
                sa.Column("revoked", sa.Boolean(), nullable=False, server_default=sa.false())
            )
            batch_op.alter_column("authority_id", existing_type=INT64, nullable=True)
            batch_op.alter_column("private_key", existing_type=sa.LargeBinary(), nullable=True)
            batch_op.create_index(
                batch_op.f("ix_signing_key_registry_id"), ["registry_id"], unique=False
            )
            batch_op.create_foreign_key(
                batch_op.f("fk_signing_key_registry_id"), "registry", ["registry_id"], ["id"]
            )
            batch_op.create_check_constraint(
                batch_op.f("ck_signing_key_of_one"),
                "(authority_id IS NULL) = (registry_id IS NOT NULL)",
            )
        op.execute("UPDATE signing_key SET activated_at = created_at")
        # Only the newest one signed.
        op.execute(
            "UPDATE signing_key SET private_key = NULL, "
            "retired_at = (SELECT max(created_at) FROM signing_key) "
            "WHERE id < (SELECT max(id) FROM signing_key)"
        )

        with op.batch_alter_table("registry", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.add_column(sa.Column("url", sa.Text(), nullable=True))
            batch_op.add_column(sa.Column("version", sa.String(length=8), nullable=True))
            batch_op.add_column(
                sa.Column("trust", sa.String(length=8), nullable=False, server_default="bundle")
            )
            batch_op.add_column(sa.Column("confirmed_authority_id", INT64, nullable=True))
            batch_op.create_foreign_key(
                batch_op.f("fk_registry_confirmed_authority_id"),
                "authority",
                ["confirmed_authority_id"],
                ["id"],
            )


def downgrade() -> None:
    # The revision before knows no key that waits, is retired, in a file or of one registry.
    op.execute(
        "DELETE FROM signing_key WHERE registry_id IS NOT NULL OR retired_at IS NOT NULL "
        "OR private_key IS NULL"
    )
    with highest_ids_kept(op.get_bind()):
        with op.batch_alter_table("registry", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.drop_constraint(
                batch_op.f("fk_registry_confirmed_authority_id"), type_="foreignkey"
            )
            batch_op.drop_column("confirmed_authority_id")
            batch_op.drop_column("trust")
            batch_op.drop_column("version")
            batch_op.drop_column("url")

        with op.batch_alter_table("signing_key", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.drop_constraint(batch_op.f("ck_signing_key_of_one"), type_="check")
            batch_op.drop_constraint(batch_op.f("fk_signing_key_registry_id"), type_="foreignkey")
            batch_op.drop_index(batch_op.f("ix_signing_key_registry_id"))
            batch_op.alter_column("private_key", existing_type=sa.LargeBinary(), nullable=False)
            batch_op.alter_column("authority_id", existing_type=INT64, nullable=False)
            batch_op.drop_column("revoked")
            batch_op.drop_column("retired_at")
            batch_op.drop_column("activated_at")
            batch_op.drop_column("header_mode")
            batch_op.drop_column("registry_id")

        op.execute("DELETE FROM authority WHERE id NOT IN (SELECT authority_id FROM signing_key)")
        op.execute("UPDATE authority SET private_key = '' WHERE private_key IS NULL")
        with op.batch_alter_table("authority", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.alter_column("private_key", existing_type=sa.LargeBinary(), nullable=False)
            batch_op.drop_column("retired_at")
            batch_op.drop_column("activated_at")
