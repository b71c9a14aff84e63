"""Accounts: users and robots."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from authserver.core.errors import Refused
from authserver.core.names import folded
from authserver.core.policy import AccountKind, Effect
from authserver.db import named, rules
from authserver.db.models import Account, Rule
from authserver.db.store import Change


def add_user(
    change: Change,
    name: str,
    password_hash: str | None,
    *,
    admin: bool = False,
    source: str | None = None,
) -> Account:
    """Add a user; without a hash it cannot log in until it is given a password.

    ``source`` says in the audit record where the user came from.

    Raises:
        Refused: the name is no name, or an account has it or one that differs in case only.
    """
    name = named.free_name(change.session, Account, name)
    row = Account(
        name=name,
        folded_name=folded(name),
        kind=AccountKind.USER,
        password_hash=password_hash,
        admin=admin,
        created_at=change.at,
    )
    change.session.add(row)
    change.session.flush()
    change.record(
        "user.add", f"user:{name}", after={"admin": admin} | ({"source": source} if source else {})
    )
    return row


def set_password(change: Change, name: str, password_hash: str) -> None:
    """Give a user a new password.

    Raises:
        NotFound: there is no such user.
    """
    row = named.account(change.session, name, AccountKind.USER)
    row.password_hash = password_hash
    change.record("user.passwd", f"user:{row.name}")


def rehash(change: Change, account_id: int, old: str, new: str) -> bool:
    """Replace the hash of an unchanged password; False if the password was changed meanwhile."""
    row = change.session.get(Account, account_id)
    if row is None or row.password_hash != old:
        return False
    row.password_hash = new
    change.record("user.rehash", f"{row.kind}:{row.name}")
    return True


def set_disabled(change: Change, name: str, *, disabled: bool, kind: str | None = None) -> bool:
    """Disable or enable an account; False if it was so already.

    Raises:
        NotFound: there is no such account.
    """
    row = named.account(change.session, name, kind)
    if (row.disabled_at is not None) == disabled:
        return False
    row.disabled_at = change.at if disabled else None
    change.record(f"{row.kind}.{'disable' if disabled else 'enable'}", f"{row.kind}:{row.name}")
    return True


def remove(change: Change, name: str, *, force: bool = False, kind: str | None = None) -> list[str]:
    """Remove an account and the rules that name it; return those rules.

    Raises:
        NotFound: there is no such account.
        Refused: a deny names it and ``force`` is not set.
    """
    row = named.account(change.session, name, kind)
    naming = rules.naming(change.session, Rule.account_id == row.id)
    denies = [rule for rule in naming if rule.effect == Effect.DENY]
    if denies and not force:
        raise Refused(
            f"rules deny {row.kind} {row.name} something: {rules.cite(denies)}; "
            "remove them first, or say --force to remove them with it"
        )
    before = described(row)
    removed = [rules.delete(change, rule) for rule in naming]
    row.groups.clear()
    change.session.flush()
    change.session.delete(row)
    change.record(f"{row.kind}.remove", f"{row.kind}:{row.name}", before=before)
    return removed


def listed(session: Session, kind: str | None = None) -> Sequence[Account]:
    query = select(Account).options(selectinload(Account.groups)).order_by(Account.folded_name)
    return session.scalars(query.where(Account.kind == kind) if kind else query).all()


def described(row: Account) -> dict[str, Any]:
    """Return the account for ``--json`` and for audit records; never its hash."""
    return {
        "name": row.name,
        "kind": row.kind,
        "admin": row.admin,
        "disabled": row.disabled_at is not None,
        "password": row.password_hash is not None,
        "groups": [group.name for group in row.groups],
        "created_at": row.created_at.isoformat(),
    }
