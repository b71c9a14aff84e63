"""Accounts: users and robots."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session, joinedload, selectinload

from authserver.core.commands import program, shell_command
from authserver.core.errors import Refused
from authserver.core.names import folded, one_line
from authserver.core.subjects import AccountKind, AdminTokens, Role
from authserver.db import (
    app_tokens,
    lists,
    logins,
    lookup,
    losses,
    refresh_tokens,
    rules,
)
from authserver.db.lists import Window
from authserver.db.models import (
    AccountRow,
    AppTokenRow,
    ConsoleSessionRow,
    InvitationRow,
    RecoveryCodeRow,
    RefreshTokenRow,
    RuleRow,
    RuleSubjectRow,
    SecondFactorRow,
)
from authserver.db.store import Change


def add_user(
    change: Change,
    name: str,
    password_hash: str | None,
    *,
    admin: bool = False,
    auditor: bool = False,
    app_tokens_only: bool = False,
    disabled: bool = False,
    source: str | None = None,
) -> AccountRow:
    """Add a user; without a hash it cannot log in until it is given a password.

    ``source`` is for the audit record: where the user came from.

    Raises:
        Refused: the name is malformed, or an account has it in this or another case.
    """
    name = lookup.free_name(change.session, AccountRow, name)
    row = AccountRow(
        name=name,
        folded_name=folded(name),
        kind=AccountKind.USER,
        password_hash=password_hash,
        admin=admin,
        auditor=auditor,
        app_tokens_only=app_tokens_only,
        disabled_at=change.at if disabled else None,
        description="",
        outlives_owner=False,
        created_at=change.at,
    )
    change.session.add(row)
    change.session.flush()
    from_where = {"source": source} if source else {}
    given = {"auditor": auditor, "app_tokens_only": app_tokens_only}
    after = {"admin": admin} | {k: v for k, v in given.items() if v} | _off(row) | from_where
    change.record("user.add", f"user:{name}", after=after)
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
    """Add a robot. It has app tokens only, and is disabled with its owner unless it outlives them.

    Raises:
        NotFound: there is no such owner.
        Refused: the name is malformed, or an account has it in this or another case; or the
            description is not one line.
    """
    row = AccountRow(
        name=lookup.free_name(change.session, AccountRow, name),
        folded_name=folded(name),
        kind=AccountKind.ROBOT,
        admin=False,
        auditor=False,
        app_tokens_only=False,
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
    """Return, for the record of a new account, whether it is disabled."""
    return {"disabled": True} if row.disabled_at is not None else {}


def edit_robot(
    change: Change,
    name: str,
    *,
    owner: str | None = None,
    description: str | None = None,
    outlives_owner: bool | None = None,
) -> None:
    """Change the arguments of a robot that are not None. Raises as :func:`replace_robot`."""
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
    """Replace all of a robot; with ``owner`` None it has no owner.

    Raises:
        NotFound: there is no such robot or owner.
        Refused: the description is not one line.
    """
    row = lookup.account(change.session, name, AccountKind.ROBOT)
    before = _ownership(row)
    row.owner = None if owner is None else lookup.account(change.session, owner, AccountKind.USER)
    row.description = one_line(description, "a description")
    row.outlives_owner = outlives_owner
    change.record("robot.edit", f"robot:{row.name}", before=before, after=_ownership(row))


def rename(change: Change, name: str, new_name: str, *, kind: str | None = None) -> bool:
    """Give an account another name; False if it has that name already.

    Rules, memberships, tokens, sessions, robots and an invitation stay with the account.

    Raises:
        NotFound: there is no such account.
        Refused: the new name is malformed, or another account has it in this or another case.
    """
    row = lookup.account(change.session, name, kind)
    return lookup.rename(change, row, row.kind, new_name)


def set_role(
    change: Change,
    name: str,
    *,
    admin: bool | None = None,
    auditor: bool | None = None,
    admin_tokens: AdminTokens | None = None,
    force: bool = False,
) -> bool:
    """Change the marks that are not None of a user; False if they were so already.

    Raises:
        NotFound: there is no such user.
        Refused: the user has app tokens that would rise as well, and ``admin_tokens`` is None; or
            it is the last administrator, and ``force`` is not set.
    """
    row = lookup.account(change.session, name, AccountKind.USER)
    asked, old = {"admin": admin, "auditor": auditor}, {"admin": row.admin, "auditor": row.auditor}
    new = {mark: to for mark, to in asked.items() if to not in (None, old[mark])}
    if not new:
        return False
    to = Role.of(**old | new)
    if to is not Role.ADMINISTRATOR and not force:
        require_other_administrator(change.session, row)
    after: dict[str, object] = {**new}
    if to > row.role:
        # Somebody else's mail may have the link, and it would set an administrator's password.
        after |= _decided(change, row, to, admin_tokens) | logins.end_invitation(change, row)
    for mark, marked in new.items():
        setattr(row, mark, marked)
    change.record("user.edit", f"user:{row.name}", before={m: old[m] for m in new}, after=after)
    return True


def set_app_tokens_only(change: Change, name: str, *, only: bool) -> bool:
    """Have a user's password get registry tokens no more, or again; False if it was so already.

    The user's sessions end: they rest on the password.

    Raises:
        NotFound: there is no such user.
    """
    row = lookup.account(change.session, name, AccountKind.USER)
    if row.app_tokens_only == only:
        return False
    row.app_tokens_only = only
    before, after = {"app_tokens_only": not only}, {"app_tokens_only": only}
    change.record("user.edit", f"user:{row.name}", before=before, after=after)
    if only:
        refresh_tokens.end_all(change, row)
    return True


def _decided(
    change: Change, row: AccountRow, to: Role, choice: AdminTokens | None
) -> dict[str, Any]:
    """Revoke or keep the app tokens that rise with their account; record those kept."""
    tokens = app_tokens.beyond_role(change.session, row, change.at)
    if tokens and choice is None:
        mark = "--admin" if to is Role.ADMINISTRATOR else "--auditor"
        edit = ("user", "edit", mark, "--admin-tokens")
        revoke = shell_command(*edit, "revoke", operand=row.name)
        keep = shell_command(*edit, "keep", operand=row.name)
        names = ", ".join(f"{token.id} ({token.name})" for token in tokens)
        raise Refused(
            f"{row.name} has app tokens that would {to.what} from then on: {names}. To revoke "
            f"them: `{revoke}`; to let them: `{keep}`"
        )
    if tokens and choice is AdminTokens.KEEP:
        return {"admin_tokens": [token.id for token in tokens]}
    for token in tokens:
        app_tokens.revoke(change, token.id)
    return {}


def has_administrator(session: Session, *which: ColumnElement[bool]) -> bool:
    """Whether an account, among ``which``, can administer with a password."""
    query = select(AccountRow.id).where(
        AccountRow.admin,
        AccountRow.disabled_at.is_(None),
        AccountRow.password_hash.is_not(None),
        *which,
    )
    return session.scalars(query.limit(1)).first() is not None


def require_other_administrator(session: Session, row: AccountRow) -> None:
    """Check that an account is not the last administrator: another can log in with a password.

    Raises:
        Refused: it is the last one.
    """
    administers = row.admin and row.disabled_at is None and row.password_hash is not None
    if administers and not has_administrator(session, AccountRow.id != row.id):
        raise Refused(
            f"{row.name} is the last administrator that can log in: make another one first. "
            "Only the command line does it all the same, with --force"
        )


def set_password(change: Change, name: str, password_hash: str) -> None:
    """Give a user a new password. Every login ends: with docker, and in the console.

    Raises:
        NotFound: there is no such user.
    """
    row = lookup.account(change.session, name, AccountKind.USER)
    row.password_hash = password_hash
    change.record(
        "user.passwd", f"user:{row.name}", after=logins.end_invitation(change, row) or None
    )
    logins.end_all(change, row)


def rehash(change: Change, account_id: int, old: str, new: str) -> bool:
    """Replace the hash of an unchanged password; False if the password was changed meanwhile."""
    row = change.session.get(AccountRow, account_id)
    if row is None or row.password_hash != old:
        return False
    row.password_hash = new
    change.record("user.rehash", f"{row.kind}:{row.name}")
    return True


def set_disabled(
    change: Change, name: str, *, disabled: bool, kind: str | None = None, force: bool = False
) -> bool:
    """Disable or enable an account; False if it was so already.

    Disabling ends its logins and its invitation for good, also if it is enabled again.

    Raises:
        NotFound: there is no such account.
        Refused: it is the last administrator, and ``force`` is not set.
    """
    row = lookup.account(change.session, name, kind)
    if (row.disabled_at is not None) == disabled:
        return False
    if disabled and not force:
        require_other_administrator(change.session, row)
    row.disabled_at = change.at if disabled else None
    after = logins.end_invitation(change, row) if disabled else {}
    verb = "disable" if disabled else "enable"
    change.record(f"{row.kind}.{verb}", f"{row.kind}:{row.name}", after=after or None)
    if disabled:
        logins.end_all(change, row)
    return True


def remove(change: Change, name: str, *, force: bool = False, kind: str | None = None) -> list[str]:
    """Remove an account; return, in words, what happened to the rules that named it.

    Raises:
        NotFound: there is no such account.
        Refused: the account owns robots; or a deny names it or it is the last administrator, and
            ``force`` is not set.
    """
    row = lookup.account(change.session, name, kind)
    if not force:
        require_other_administrator(change.session, row)
    named_in = RuleSubjectRow.account_id == row.id
    naming = rules.naming(change.session, named_in)
    rules.refuse_denies(naming, f"rules deny {row.kind} {row.name} something", force=force)
    if robots := _owned(change.session, row):
        names = ", ".join(robot.name for robot in robots)
        raise Refused(
            f"{row.name} owns the robots {names}: give them another owner with "
            f"`{program()} robot edit NAME --owner USER`, or remove them first"
        )
    before = losses.counts(losses.of(change.session, [row])) | described(row)
    removed = rules.unname(change, naming, named_in)
    change.session.execute(
        update(RuleRow).where(RuleRow.author_id == row.id).values(author_id=None)
    )
    row.groups.clear()
    for table in (
        *(AppTokenRow, RefreshTokenRow, ConsoleSessionRow, InvitationRow),
        *(SecondFactorRow, RecoveryCodeRow),
    ):
        change.session.execute(delete(table).where(table.account_id == row.id))
    change.session.flush()
    change.session.delete(row)
    change.record(f"{row.kind}.remove", f"{row.kind}:{row.name}", before=before)
    return removed


def _owned(session: Session, owner: AccountRow) -> Sequence[AccountRow]:
    return session.scalars(select(AccountRow).where(AccountRow.owner_id == owner.id)).all()


def listed(
    session: Session, kind: str | None = None, window: Window = lists.ALL
) -> Sequence[AccountRow]:
    """Return the accounts, of one kind if asked, by folded name unless sorted."""
    query = select(AccountRow).options(
        selectinload(AccountRow.groups), joinedload(AccountRow.owner)
    )
    if kind is not None:
        query = query.where(AccountRow.kind == kind)
    return session.scalars(lists.USERS.within(query, window)).all()


def described(row: AccountRow) -> dict[str, Any]:
    """Return the account for ``--json`` and for audit records; never its hash."""
    common = {
        "name": row.name,
        "kind": row.kind,
        "disabled": row.disabled_at is not None,
        "groups": [group.name for group in row.groups],
        "created_at": row.created_at.isoformat(),
        "last_used_at": row.last_used_at and row.last_used_at.isoformat(),
    }
    if row.kind == AccountKind.ROBOT:
        return common | _ownership(row)
    login = row.last_login_at and row.last_login_at.isoformat()
    return common | {
        "admin": row.admin,
        "auditor": row.auditor,
        "password": row.password_hash is not None,
        "app_tokens_only": row.app_tokens_only,
        "second_factor": row.second_factor,
        "last_login_at": login,
    }


def _ownership(row: AccountRow) -> dict[str, Any]:
    return {
        "owner": row.owner.name if row.owner else None,
        "owner_disabled": row.owner is not None and row.owner.disabled_at is not None,
        "outlives_owner": row.outlives_owner,
        "description": row.description,
    }
