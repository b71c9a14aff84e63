"""the first schema"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.types import INT64, sorted_text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", INT64, nullable=False),
        sa.Column("name", sorted_text(128), nullable=False),
        sa.Column("folded_name", sorted_text(512), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("folded_name", name=op.f("uq_account_folded_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "account_group",
        sa.Column("id", INT64, nullable=False),
        sa.Column("name", sorted_text(128), nullable=False),
        sa.Column("folded_name", sorted_text(512), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_group")),
        sa.UniqueConstraint("folded_name", name=op.f("uq_account_group_folded_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_record",
        sa.Column("id", INT64, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("before", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("after", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_record")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("audit_record", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_record_at"), ["at"], unique=False)

    op.create_table(
        "authority",
        sa.Column("id", INT64, nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authority")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "registry",
        sa.Column("id", INT64, nullable=False),
        sa.Column("service", sorted_text(255), nullable=False),
        sa.Column("token_ttl", INT64, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry")),
        sa.UniqueConstraint("service", name=op.f("uq_registry_service")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "store_state",
        sa.Column("id", INT64, nullable=False),
        sa.Column("version", INT64, nullable=False),
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("master_key_id", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_store_state_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store_state")),
    )
    op.create_table(
        "token_record",
        sa.Column("id", INT64, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("account", sa.String(length=160), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=255), nullable=False),
        sa.Column("service", sa.String(length=255), nullable=False),
        sa.Column("requested", sa.Text(), nullable=False),
        sa.Column("granted", sa.Text(), nullable=False),
        sa.Column("jwt_id", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_record")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("token_record", schema=None) as batch_op:
        batch_op.create_index("ix_token_record_at", ["at"], unique=False)

    op.create_table(
        "membership",
        sa.Column("group_id", INT64, nullable=False),
        sa.Column("account_id", INT64, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_membership_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["account_group.id"], name=op.f("fk_membership_group_id")
        ),
        sa.PrimaryKeyConstraint("group_id", "account_id", name=op.f("pk_membership")),
    )
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_membership_account_id"), ["account_id"], unique=False)

    op.create_table(
        "rule",
        sa.Column("id", INT64, nullable=False),
        sa.Column("effect", sa.String(length=8), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("account_id", INT64, nullable=True),
        sa.Column("group_id", INT64, nullable=True),
        sa.Column("registry_id", INT64, nullable=True),
        sa.Column("resource_type", sa.String(length=32), nullable=False),
        sa.Column("pattern", sa.String(length=255), nullable=False),
        sa.Column("actions", sa.String(length=255), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(subject_kind = 'group') = (group_id IS NOT NULL)", name=op.f("ck_rule_group")
        ),
        sa.CheckConstraint(
            "(subject_kind IN ('user', 'robot')) = (account_id IS NOT NULL)",
            name=op.f("ck_rule_account"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_rule_account_id")),
        sa.ForeignKeyConstraint(["group_id"], ["account_group.id"], name=op.f("fk_rule_group_id")),
        sa.ForeignKeyConstraint(["registry_id"], ["registry.id"], name=op.f("fk_rule_registry_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("rule", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_rule_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_rule_group_id"), ["group_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_rule_registry_id"), ["registry_id"], unique=False)

    op.create_table(
        "signing_key",
        sa.Column("id", INT64, nullable=False),
        sa.Column("authority_id", INT64, nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["authority_id"], ["authority.id"], name=op.f("fk_signing_key_authority_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_key")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("signing_key")
    with op.batch_alter_table("rule", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_rule_registry_id"))
        batch_op.drop_index(batch_op.f("ix_rule_group_id"))
        batch_op.drop_index(batch_op.f("ix_rule_account_id"))

    op.drop_table("rule")
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_membership_account_id"))

    op.drop_table("membership")
    with op.batch_alter_table("token_record", schema=None) as batch_op:
        batch_op.drop_index("ix_token_record_at")

    op.drop_table("token_record")
    op.drop_table("store_state")
    op.drop_table("registry")
    op.drop_table("authority")
    with op.batch_alter_table("audit_record", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_record_at"))

    op.drop_table("audit_record")
    op.drop_table("account_group")
    op.drop_table("account")
