"""rules in full: several subjects and patterns, conditions, delegations"""

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.row_ids import NO_ID_TWICE, highest_ids_kept
from authserver.db.dialects.types import INT64

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "delegation",
        sa.Column("id", INT64, nullable=False),
        sa.Column("group_id", INT64, nullable=False),
        sa.Column("registry_id", INT64, nullable=False),
        sa.Column("pattern", sa.String(length=255), nullable=False),
        sa.Column("actions", sa.String(length=255), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["account_group.id"], name=op.f("fk_delegation_group_id")
        ),
        sa.ForeignKeyConstraint(
            ["registry_id"], ["registry.id"], name=op.f("fk_delegation_registry_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delegation")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_delegation_group_id"), "delegation", ["group_id"])
    op.create_index(op.f("ix_delegation_registry_id"), "delegation", ["registry_id"])
    op.create_table(
        "rule_subject",
        sa.Column("id", INT64, nullable=False),
        sa.Column("rule_id", INT64, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("account_id", INT64, nullable=True),
        sa.Column("group_id", INT64, nullable=True),
        sa.CheckConstraint(
            "(kind IN ('user', 'robot')) = (account_id IS NOT NULL)",
            name=op.f("ck_rule_subject_account"),
        ),
        sa.CheckConstraint(
            "(kind = 'group') = (group_id IS NOT NULL)", name=op.f("ck_rule_subject_group")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_rule_subject_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["account_group.id"], name=op.f("fk_rule_subject_group_id")
        ),
        sa.ForeignKeyConstraint(["rule_id"], ["rule.id"], name=op.f("fk_rule_subject_rule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule_subject")),
        sqlite_autoincrement=True,
    )
    for column in ("account_id", "group_id", "rule_id"):
        op.create_index(op.f(f"ix_rule_subject_{column}"), "rule_subject", [column])
    op.execute(
        "INSERT INTO rule_subject (rule_id, kind, account_id, group_id) "
        "SELECT id, subject_kind, account_id, group_id FROM rule ORDER BY id"
    )

    with highest_ids_kept(op.get_bind()):
        with op.batch_alter_table("rule", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.drop_constraint(batch_op.f("ck_rule_account"), type_="check")
            batch_op.drop_constraint(batch_op.f("ck_rule_group"), type_="check")
            batch_op.drop_constraint(batch_op.f("fk_rule_account_id"), type_="foreignkey")
            batch_op.drop_constraint(batch_op.f("fk_rule_group_id"), type_="foreignkey")
            batch_op.drop_index(batch_op.f("ix_rule_account_id"))
            batch_op.drop_index(batch_op.f("ix_rule_group_id"))
            batch_op.drop_column("subject_kind")
            batch_op.drop_column("account_id")
            batch_op.drop_column("group_id")
            # One pattern reads the same as a list of one.
            batch_op.alter_column("pattern", new_column_name="patterns", type_=sa.Text())
            batch_op.add_column(sa.Column("networks", sa.Text(), nullable=False, server_default=""))
            batch_op.add_column(sa.Column("valid_from", sa.DateTime(timezone=True), nullable=True))
            batch_op.add_column(sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True))
            batch_op.add_column(sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True))
            batch_op.add_column(sa.Column("author_id", INT64, nullable=True))
            batch_op.add_column(sa.Column("delegation_id", INT64, nullable=True))
            batch_op.add_column(sa.Column("edited_by", sa.String(length=255), nullable=True))
            batch_op.add_column(sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True))
            batch_op.create_index(batch_op.f("ix_rule_author_id"), ["author_id"])
            batch_op.create_index(batch_op.f("ix_rule_delegation_id"), ["delegation_id"])
            batch_op.create_foreign_key(
                batch_op.f("fk_rule_author_id"), "account", ["author_id"], ["id"]
            )
            batch_op.create_foreign_key(
                batch_op.f("fk_rule_delegation_id"), "delegation", ["delegation_id"], ["id"]
            )
        with op.batch_alter_table("token_record", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.add_column(sa.Column("rules", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    _refuse_what_would_be_lost()
    with highest_ids_kept(op.get_bind()):
        with op.batch_alter_table("token_record", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.drop_column("rules")
        with op.batch_alter_table("rule", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.drop_constraint(batch_op.f("fk_rule_delegation_id"), type_="foreignkey")
            batch_op.drop_constraint(batch_op.f("fk_rule_author_id"), type_="foreignkey")
            batch_op.drop_index(batch_op.f("ix_rule_delegation_id"))
            batch_op.drop_index(batch_op.f("ix_rule_author_id"))
            for column in (
                "edited_at",
                "edited_by",
                "delegation_id",
                "author_id",
                "disabled_at",
                "valid_until",
                "valid_from",
                "networks",
            ):
                batch_op.drop_column(column)
            batch_op.alter_column(
                "patterns", new_column_name="pattern", type_=sa.String(length=255)
            )
            batch_op.add_column(
                sa.Column("subject_kind", sa.String(length=16), nullable=False, server_default="")
            )
            batch_op.add_column(sa.Column("account_id", INT64, nullable=True))
            batch_op.add_column(sa.Column("group_id", INT64, nullable=True))
            batch_op.create_index(batch_op.f("ix_rule_account_id"), ["account_id"])
            batch_op.create_index(batch_op.f("ix_rule_group_id"), ["group_id"])
            batch_op.create_foreign_key(
                batch_op.f("fk_rule_account_id"), "account", ["account_id"], ["id"]
            )
            batch_op.create_foreign_key(
                batch_op.f("fk_rule_group_id"), "account_group", ["group_id"], ["id"]
            )
        op.execute(
            "UPDATE rule SET (subject_kind, account_id, group_id) = "
            "(SELECT kind, account_id, group_id FROM rule_subject "
            "WHERE rule_subject.rule_id = rule.id)"
        )
        with op.batch_alter_table("rule", table_kwargs=NO_ID_TWICE) as batch_op:
            batch_op.create_check_constraint(
                batch_op.f("ck_rule_account"),
                "(subject_kind IN ('user', 'robot')) = (account_id IS NOT NULL)",
            )
            batch_op.create_check_constraint(
                batch_op.f("ck_rule_group"), "(subject_kind = 'group') = (group_id IS NOT NULL)"
            )
    op.drop_table("rule_subject")
    op.drop_table("delegation")


def _refuse_what_would_be_lost() -> None:
    """Stop where the older form cannot say what a rule says: it would grant more, or less."""
    cannot = op.get_bind().scalar(
        sa.text(
            "SELECT count(*) FROM rule WHERE patterns LIKE :two "
            "OR networks <> '' OR valid_from IS NOT NULL OR valid_until IS NOT NULL "
            "OR disabled_at IS NOT NULL OR delegation_id IS NOT NULL "
            "OR (SELECT count(*) FROM rule_subject WHERE rule_id = rule.id) > 1"
        ),
        {"two": "%\n%"},
    )
    if cannot:
        raise RuntimeError(
            f"{cannot} rules have several subjects or patterns, conditions, a delegation, or are "
            "disabled, which the older schema cannot hold: rewrite or remove them first"
        )
