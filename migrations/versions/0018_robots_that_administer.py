"""robots that administer: an app token with an admin ceiling now makes a robot an administrator

Until now that entry let a robot only manage its own tokens and write as a delegate, which is the
entry ``self`` from now on.
"""

from collections.abc import Collection

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_TOKEN = sa.table(
    "app_token", sa.column("id"), sa.column("account_id"), sa.column("ceiling", sa.JSON)
)
_ACCOUNT = sa.table(
    "account", sa.column("id"), sa.column("kind"), sa.column("admin"), sa.column("auditor")
)
_ROBOT = _ACCOUNT.c.kind == "robot"
_OPENED_NOTHING = sa.or_(
    _ROBOT, sa.and_(_ACCOUNT.c.admin.is_(sa.false()), _ACCOUNT.c.auditor.is_(sa.false()))
)


def upgrade() -> None:
    _replace({"admin"}, "self", _ROBOT)


def downgrade() -> None:
    # An older version reads these entries as malformed scopes, and would not start. There the entry
    # admin of a robot or a plain user opens just their own; that of others would open more.
    _replace({"self"}, "admin", _OPENED_NOTHING)
    _replace({"self", "auditor"}, None, sa.true())


def _replace(old: Collection[str], new: str | None, accounts: sa.ColumnElement[bool]) -> None:
    """Replace entries of ceilings. One that becomes empty stays a ceiling, which covers nothing."""
    tokens = (
        sa.select(_TOKEN.c.id, _TOKEN.c.ceiling)
        .join_from(_TOKEN, _ACCOUNT, _TOKEN.c.account_id == _ACCOUNT.c.id)
        .where(accounts, _TOKEN.c.ceiling.is_not(None))
    )
    for number, ceiling in op.get_bind().execute(tokens).all():
        if ceiling is not None and not set(old).isdisjoint(ceiling):
            entries = [new if entry in old else entry for entry in ceiling]
            left = [*dict.fromkeys(entry for entry in entries if entry is not None)]
            op.execute(sa.update(_TOKEN).where(_TOKEN.c.id == number).values(ceiling=left))
