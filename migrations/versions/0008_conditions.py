"""conditions of rules in one column, as JSON"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import RowMapping

from authserver.db.dialects.row_ids import NO_ID_TWICE, highest_ids_kept

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = "rule_id"
_TIMES = ("valid_from", "valid_until")
_FORMER = sa.table(
    "rule",
    sa.column("id", sa.BigInteger()),
    sa.column("networks", sa.Text()),
    *(sa.column(name, sa.DateTime(timezone=True)) for name in _TIMES),
)
_RULE = sa.table("rule", sa.column("id", sa.BigInteger()), sa.column("conditions", sa.Text()))


def upgrade() -> None:
    conditional = (
        (_FORMER.c.networks != "")
        | _FORMER.c.valid_from.is_not(None)
        | _FORMER.c.valid_until.is_not(None)
    )
    rules = op.get_bind().execute(sa.select(_FORMER).where(conditional)).mappings().all()
    with (
        highest_ids_kept(op.get_bind()),
        op.batch_alter_table("rule", table_kwargs=NO_ID_TWICE) as batch_op,
    ):
        batch_op.add_column(sa.Column("conditions", sa.Text(), nullable=False, server_default="{}"))
        for column in ("networks", *_TIMES):
            batch_op.drop_column(column)
    _update(_RULE, [{_ID: rule["id"], "conditions": _as_json(rule)} for rule in rules])


def downgrade() -> None:
    conditional = sa.select(_RULE).where(_RULE.c.conditions != "{}")
    rules = [_as_columns(rule) for rule in op.get_bind().execute(conditional).mappings()]
    with (
        highest_ids_kept(op.get_bind()),
        op.batch_alter_table("rule", table_kwargs=NO_ID_TWICE) as batch_op,
    ):
        batch_op.add_column(sa.Column("networks", sa.Text(), nullable=False, server_default=""))
        for name in _TIMES:
            batch_op.add_column(sa.Column(name, sa.DateTime(timezone=True), nullable=True))
        batch_op.drop_column("conditions")
    _update(_FORMER, rules)


def _update(table: sa.TableClause, rules: Sequence[dict[str, Any]]) -> None:
    if rules:
        values: dict[str, Any] = {name: sa.bindparam(name) for name in rules[0] if name != _ID}
        update = sa.update(table).where(table.c.id == sa.bindparam(_ID)).values(values)
        op.get_bind().execute(update, rules)


def _as_json(rule: RowMapping) -> str:
    times = {name: _in_utc(rule[name]).isoformat() for name in _TIMES if rule[name] is not None}
    networks = rule["networks"].splitlines()
    conditions = times | ({"networks": networks} if networks else {})
    return json.dumps(conditions, separators=(",", ":"), sort_keys=True)


def _in_utc(time: datetime) -> datetime:
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _as_columns(rule: RowMapping) -> dict[str, Any]:
    conditions = json.loads(rule["conditions"])
    # Without its condition the rule would grant more, or deny more.
    if lost := sorted(conditions.keys() - {"networks", *_TIMES}):
        raise RuntimeError(
            f"rule {rule['id']} has conditions that the older schema cannot hold "
            f"({', '.join(lost)}): rewrite or remove it first"
        )
    times = {
        name: datetime.fromisoformat(conditions[name]) if name in conditions else None
        for name in _TIMES
    }
    return {_ID: rule["id"], "networks": "\n".join(conditions.get("networks", ())), **times}
