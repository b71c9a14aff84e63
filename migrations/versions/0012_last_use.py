"""last use: when a password and when any credential of an account was last used"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import op

from authserver.db.dialects.types import INT64, TIME

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_LOGIN, _USE = "last_login_at", "last_used_at"


def _table(name: str, numbers: Iterable[str], times: Iterable[str], *texts: str) -> sa.TableClause:
    ids: list[sa.ColumnClause[Any]] = [sa.column(number, INT64) for number in numbers]
    return sa.table(
        name,
        *ids,
        *(sa.column(time, TIME) for time in times),
        *(sa.column(text, sa.Text()) for text in texts),
    )


_ACCOUNTS = _table("account", ["id"], ["created_at", _LOGIN, _USE], "name")
_ACCOUNT = _ACCOUNTS.c
_APP = _table("app_token", ["account_id"], [_USE]).c
_REFRESH = _table("refresh_token", ["account_id"], ["created_at", _USE]).c
_RECORD = _table("token_record", [], ["at"], "account", "credential", "jwt_id").c


def upgrade() -> None:
    # Not in batch mode: a column that may be empty needs no new table.
    op.add_column("account", sa.Column(_LOGIN, TIME, nullable=True))
    op.add_column("account", sa.Column(_USE, TIME, nullable=True))
    # Otherwise every account would count as never used after the upgrade.
    by_record = (_RECORD.account == _ACCOUNT.name) & (_RECORD.at >= _ACCOUNT.created_at)
    by_password = _RECORD.credential == "password"
    recorded = sa.select(_ACCOUNT.id, sa.func.max(_RECORD.at)).where(
        by_record, _RECORD.jwt_id.is_not(None)
    )
    _store(_LOGIN, [recorded.where(by_password), _latest(_REFRESH.account_id, _REFRESH.created_at)])
    used = sa.func.coalesce(_REFRESH.last_used_at, _REFRESH.created_at)
    tokens = [_latest(_REFRESH.account_id, used), _latest(_APP.account_id, _APP.last_used_at)]
    _store(_USE, [recorded, *tokens])


def _latest(account: sa.ColumnClause[Any], at: sa.ColumnElement[Any]) -> sa.Select[Any, Any]:
    return sa.select(account, sa.func.max(at)).where(at.is_not(None))


def _store(column: str, queries: Iterable[sa.Select[Any, Any]]) -> None:
    latest: dict[int, Any] = {}
    for query in queries:
        for account, at in op.get_bind().execute(query.group_by(query.selected_columns[0])):
            latest[account] = max(at, latest.get(account, at))
    update = sa.update(_ACCOUNTS).where(_ACCOUNT.id == sa.bindparam("of"))
    rows = [{"of": account, "at": at} for account, at in latest.items()]
    if rows:
        op.get_bind().execute(update.values({column: sa.bindparam("at", type_=TIME)}), rows)


def downgrade() -> None:
    op.drop_column("account", _USE)
    op.drop_column("account", _LOGIN)
