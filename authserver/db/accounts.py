"""Accounts: users and robots, and whether a credential that was checked still holds."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session, joinedload, selectinload

from authserver.core.errors import Forbidden, Refused, Unauthorized
from authserver.core.names import folded, one_line
from authserver.core.subjects import AccountKind
from authserver.db import app_tokens, lookup, refresh_tokens, rules
from authserver.db.lookup import Window
from authserver.db.models import (
    AccountRow,
    AppTokenRow,
    InvitationRow,
    RefreshTokenRow,
    RuleRow,
    RuleSubjectRow,
)
from authserver.db.store import Change


def add_user(
    change: Change,
    name: str,
    password_hash: str | None,
    *,
    admin: bool = False,
    disabled: bool = False,
    source: str | None = None,
) -> AccountRow:
    """Add a user; without a hash it cannot log in until it is given a password.

    ``source`` says in the audit record where the user came from.

    Raises:
        Refused: the name is no name, or an account has it or one that differs in case only.
    """
    name = lookup.free_name(change.session, AccountRow, name)
    row = AccountRow(
        name=name,
        folded_name=folded(name),
        kind=AccountKind.USER,
        password_hash=password_hash,
        admin=admin,
        disabled_at=change.at if disabled else None,
        description="",
        outlives_owner=False,
        created_at=change.at,
    )
    change.session.add(row)
    change.session.flush()
    from_where = {"source": source} if source else {}
    change.record("user.add", f"user:{name}", after={"admin": admin} | _off(row) | from_where)
    return row


def add_robot(
    change: Change,
    name: str,
    *,
    owner: str | None = None,
    description: str = "",
    outlives_owner: bool = False,
    disabled: bool = False,
) -> AccountRow:
    """Add a robot: it has app tokens only, and is disabled with its owner unless it outlives it.

    Raises:
        NotFound: there is no such owner.
        Refused: the name is no name, or an account has it or one that differs in case only; or
            the description is no line of text.
    """
    row = AccountRow(
        name=lookup.free_name(change.session, AccountRow, name),
        folded_name=folded(name),
        kind=AccountKind.ROBOT,
        admin=False,
        disabled_at=change.at if disabled else None,
        owner=lookup.account(change.session, owner, AccountKind.USER) if owner else None,
        description=one_line(description, "a description"),
        outlives_owner=outlives_owner,
        created_at=change.at,
    )
    change.session.add(row)
    change.session.flush()
    change.record("robot.add", f"robot:{row.name}", after=_ownership(row) | _off(row))
    return row


def _off(row: AccountRow) -> dict[str, Any]:
    """Return what the record of a new account says of its being disabled."""
    return {"disabled": True} if row.disabled_at is not None else {}


def edit_robot(
    change: Change,
    name: str,
    *,
    owner: str | None = None,
    description: str | None = None,
    outlives_owner: bool | None = None,
) -> None:
    """Change what is not None of a robot. Raises what :func:`replace_robot` raises."""
    row = lookup.account(change.session, name, AccountKind.ROBOT)
    same = row.owner.name if row.owner else None
    replace_robot(
        change,
        name,
        owner=same if owner is None else owner,
        description=row.description if description is None else description,
        outlives_owner=row.outlives_owner if outlives_owner is None else outlives_owner,
    )


def replace_robot(
    change: Change, name: str, *, owner: str | None, description: str, outlives_owner: bool
) -> None:
    """Change all of a robot; ``owner`` None leaves it without one.

    Raises:
        NotFound: there is no such robot or owner.
        Refused: the description is no line of text.
    """
    row = lookup.account(change.session, name, AccountKind.ROBOT)
    before = _ownership(row)
    row.owner = None if owner is None else lookup.account(change.session, owner, AccountKind.USER)
    row.description = one_line(description, "a description")
    row.outlives_owner = outlives_owner
    change.record("robot.edit", f"robot:{row.name}", before=before, after=_ownership(row))


class AdminTokens(StrEnum):
    """What becomes of the app tokens with an admin ceiling when their user may administer."""

    KEEP = "keep"
    REVOKE = "revoke"


def set_admin(
    change: Change, name: str, *, admin: bool, admin_tokens: AdminTokens | None = None
) -> bool:
    """Let a user administer, or no longer; False if it was so already.

    Raises:
        NotFound: there is no such user.
        Refused: the user has app tokens that would administer from then on, and ``admin_tokens``
            does not say what becomes of them.
    """
    row = lookup.account(change.session, name, AccountKind.USER)
    if row.admin == admin:
        return False
    kept = _decided(change, row, admin_tokens) if admin else []
    row.admin = admin
    after = {"admin": admin} | ({"admin_tokens": kept} if kept else {})
    change.record("user.edit", f"user:{row.name}", before={"admin": not admin}, after=after)
    return True


def _decided(change: Change, row: AccountRow, admin_tokens: AdminTokens | None) -> list[int]:
    """Revoke or keep the app tokens of a new administrator; return the ids of those kept."""
    found = app_tokens.administering(change.session, row, change.at)
    if found and admin_tokens is None:
        edit = f"authserver user edit {row.name} --admin --admin-tokens"
        names = ", ".join(f"{token.id} ({token.name})" for token in found)
        raise Refused(
            f"{row.name} has app tokens that would administer from then on: {names}. To revoke "
            f"them: `{edit} revoke`; to let them: `{edit} keep`"
        )
    if admin_tokens is AdminTokens.KEEP:
        return [token.id for token in found]
    for token in found:
        app_tokens.revoke(change, token.id)
    return []


def has_administrator(session: Session, *which: ColumnElement[bool]) -> bool:
    """Whether anybody, among ``which``, can administer with a password."""
    found = select(AccountRow.id).where(
        AccountRow.admin,
        AccountRow.disabled_at.is_(None),
        AccountRow.password_hash.is_not(None),
        *which,
    )
    return session.scalars(found.limit(1)).first() is not None


def require_other_administrator(session: Session, row: AccountRow) -> None:
    """Check that somebody else can administer with a password.

    Raises:
        Refused: nobody can.
    """
    if not has_administrator(session, AccountRow.id != row.id):
        raise Refused(
            f"{row.name} is the last administrator that can log in: make another one first"
        )


def set_password(change: Change, name: str, password_hash: str) -> None:
    """Give a user a new password, which ends the user's sessions.

    Raises:
        NotFound: there is no such user.
    """
    row = lookup.account(change.session, name, AccountKind.USER)
    row.password_hash = password_hash
    change.record("user.passwd", f"user:{row.name}")
    refresh_tokens.end_all(change, row)
    change.session.execute(delete(InvitationRow).where(InvitationRow.account_id == row.id))


def rehash(change: Change, account_id: int, old: str, new: str) -> bool:
    """Replace the hash of an unchanged password; False if the password was changed meanwhile."""
    row = change.session.get(AccountRow, account_id)
    if row is None or row.password_hash != old:
        return False
    row.password_hash = new
    change.record("user.rehash", f"{row.kind}:{row.name}")
    return True


def set_disabled(change: Change, name: str, *, disabled: bool, kind: str | None = None) -> bool:
    """Disable or enable an account; False if it was so already.

    Disabling ends its logins for good: they do not come back when it is enabled again.

    Raises:
        NotFound: there is no such account.
    """
    row = lookup.account(change.session, name, kind)
    if (row.disabled_at is not None) == disabled:
        return False
    row.disabled_at = change.at if disabled else None
    change.record(f"{row.kind}.{'disable' if disabled else 'enable'}", f"{row.kind}:{row.name}")
    if disabled:
        refresh_tokens.end_all(change, row)
    return True


def remove(change: Change, name: str, *, force: bool = False, kind: str | None = None) -> list[str]:
    """Remove an account; return what became of the rules that named it.

    Raises:
        NotFound: there is no such account.
        Refused: it owns robots, or a deny names it and ``force`` is not set.
    """
    row = lookup.account(change.session, name, kind)
    named_in = RuleSubjectRow.account_id == row.id
    naming = rules.naming(change.session, named_in)
    rules.refuse_denies(naming, f"rules deny {row.kind} {row.name} something", force=force)
    if robots := _owned(change.session, row):
        names = ", ".join(robot.name for robot in robots)
        raise Refused(
            f"{row.name} owns the robots {names}: give them another owner with "
            "`authserver robot edit NAME --owner USER`, or remove them first"
        )
    before = described(row)
    removed = rules.unname(change, naming, named_in)
    change.session.execute(
        update(RuleRow).where(RuleRow.author_id == row.id).values(author_id=None)
    )
    row.groups.clear()
    for table in (AppTokenRow, RefreshTokenRow, InvitationRow):
        change.session.execute(delete(table).where(table.account_id == row.id))
    change.session.flush()
    change.session.delete(row)
    change.record(f"{row.kind}.remove", f"{row.kind}:{row.name}", before=before)
    return removed


def _owned(session: Session, owner: AccountRow) -> Sequence[AccountRow]:
    return session.scalars(select(AccountRow).where(AccountRow.owner_id == owner.id)).all()


def listed(
    session: Session, kind: str | None = None, window: Window = lookup.ALL
) -> Sequence[AccountRow]:
    """Return the accounts, of one kind if asked, by folded name."""
    query = select(AccountRow).options(
        selectinload(AccountRow.groups), joinedload(AccountRow.owner)
    )
    if kind is not None:
        query = query.where(AccountRow.kind == kind)
    return session.scalars(lookup.within(query, AccountRow.folded_name, window)).all()


def described(row: AccountRow) -> dict[str, Any]:
    """Return the account for ``--json`` and for audit records; never its hash."""
    common = {
        "name": row.name,
        "kind": row.kind,
        "disabled": row.disabled_at is not None,
        "groups": [group.name for group in row.groups],
        "created_at": row.created_at.isoformat(),
    }
    if row.kind == AccountKind.ROBOT:
        return common | _ownership(row)
    return common | {"admin": row.admin, "password": row.password_hash is not None}


def _ownership(row: AccountRow) -> dict[str, Any]:
    return {
        "owner": row.owner.name if row.owner else None,
        "owner_disabled": row.owner is not None and row.owner.disabled_at is not None,
        "outlives_owner": row.outlives_owner,
        "description": row.description,
    }


def require_account(session: Session, account_id: int) -> AccountRow:
    """Return an account that is there and enabled.

    Raises:
        Unauthorized: it was removed or disabled meanwhile, or its owner was.
    """
    row = session.get(AccountRow, account_id, options=[joinedload(AccountRow.owner)])
    if row is None:
        raise Unauthorized("the account was removed meanwhile")
    owner_disabled = row.owner is not None and row.owner.disabled_at is not None
    if row.disabled_at is not None or (owner_disabled and not row.outlives_owner):
        raise Unauthorized("the account was disabled meanwhile")
    return row


def require_app_token(session: Session, digest: str, now: datetime) -> None:
    """Check that the secret with this digest is good for a change.

    Raises:
        Unauthorized: the token was revoked or rotated meanwhile, or has expired.
        Forbidden: the token was rotated. While the grace lasts this secret gets registry tokens,
            but who found it must not rotate the owner's new one away.
    """
    either = or_(AppTokenRow.secret_hash == digest, AppTokenRow.previous_hash == digest)
    row = session.scalars(select(AppTokenRow).where(either)).one_or_none()
    if row is None:
        raise Unauthorized("the app token was revoked meanwhile")
    until = row.expires_at if row.secret_hash == digest else row.previous_until
    if until is not None and until <= now:
        raise Unauthorized("the app token has expired meanwhile")
    if row.secret_hash != digest:
        raise rotated()


def rotated() -> Forbidden:
    """Return what to raise where a secret that was rotated away would change something."""
    return Forbidden(
        "this app token was rotated, and its former secret changes nothing: use the new one"
    )
