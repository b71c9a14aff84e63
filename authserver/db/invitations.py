"""Invitations: a code with which a user sets a password, once: a first one, or another one."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core import secret_tokens
from authserver.core.commands import shell_command
from authserver.core.errors import NotFound, Refused
from authserver.core.secret_tokens import Prefix
from authserver.core.subjects import AccountKind
from authserver.db import accounts, logins, lookup
from authserver.db.models import AccountRow, InvitationRow
from authserver.db.store import Change, Store

LIFETIME = timedelta(hours=72)


class Reset(StrEnum):
    """Whether a password that is there ends when the new one is set, or at once."""

    LATER = "later"
    NOW = "now"


def invite(
    change: Change,
    name: str,
    random: Callable[[int], bytes],
    reset: Reset | None = None,
    *,
    force: bool = False,
) -> tuple[AccountRow, str]:
    """Invite a user, adding the account if need be; return the account and the code.

    An earlier invitation of the same user ends. With ``reset`` the user must be there, and may
    have a password: that one and its sessions end as it says.

    Raises:
        NotFound: there is no such user to reset.
        Refused: the name is malformed, the user is disabled, or has a password without ``reset``;
            or the last administrator's password would end at once, and ``force`` is not set.
    """
    session = change.session
    if reset is None and lookup.similar(session, AccountRow, name) is None:
        accounts.add_user(change, name, None)
    account = lookup.account(session, name, AccountKind.USER)
    if account.password_hash is not None and reset is None:
        again = shell_command("user", "invite", "--reset", operand=account.name)
        raise Refused(f"{account.name} has a password; a link to set another one: {again}")
    if account.disabled_at is not None:
        enable = shell_command("user", "enable", operand=account.name)
        raise Refused(f"{account.name} is disabled: {enable}")
    logins.end_invitation(change, account)
    resets = reset if account.password_hash is not None else None
    if resets is Reset.NOW:
        if not force:
            accounts.require_other_administrator(session, account)
        account.password_hash = None
        logins.end_all(change, account)
    code = secret_tokens.make(Prefix.INVITATION, random)
    session.add(
        InvitationRow(
            account_id=account.id,
            secret_hash=secret_tokens.digest(code),
            created_at=change.at,
            expires_at=change.at + LIFETIME,
        )
    )
    after = {"reset": resets} if resets else None
    change.record("user.invite", f"user:{account.name}", after=after)
    return account, code


def redeem(change: Change, code: str, password_hash: str) -> AccountRow:
    """Set the invited user's password; the code is used up.

    Raises:
        NotFound: the code is unknown, used, or has expired, or its user is disabled.
    """
    row = _open(change.session, change.at, code)
    account = change.session.get_one(AccountRow, row.account_id)
    logins.end_invitation(change, account)
    accounts.set_password(change, account.name, password_hash)
    return account


def accept(store: Store, code: str, password: str, hash_new: Callable[[str, str], str]) -> str:
    """Set the invited user's password and return the user's name; the code is used up.

    ``hash_new`` checks and hashes a password for an account's name: after a first check of the
    code, which strangers do not pass, and before the change.

    Raises:
        NotFound: the code is unknown, used, or has expired, or its user is disabled.
        Refused: the password is refused; the code stays good.
    """
    with store.read() as session:
        name = require_open(session, store.clock(), code)
    hashed = hash_new(password, name)
    with store.change("invitation") as change:
        return redeem(change, code, hashed).name


def require_open(session: Session, now: datetime, code: str) -> str:
    """Check a code before a password is hashed; return its user. Raises as :func:`redeem`."""
    row = _open(session, now, code)
    return session.get_one(AccountRow, row.account_id).name


def open_until(session: Session, now: datetime) -> dict[int, datetime]:
    """Return when each open invitation expires, by the account's id."""
    rows = session.scalars(select(InvitationRow).where(InvitationRow.expires_at > now))
    return {row.account_id: row.expires_at for row in rows}


def listed(
    session: Session, now: datetime, after: int = 0, limit: int | None = None
) -> Sequence[tuple[InvitationRow, AccountRow]]:
    """Return the open invitations with their users, by id, from behind ``after``."""
    query = (
        select(InvitationRow, AccountRow)
        .join(AccountRow, AccountRow.id == InvitationRow.account_id)
        .where(InvitationRow.expires_at > now, InvitationRow.id > after)
        .order_by(InvitationRow.id)
        .limit(limit)
    )
    return [(invitation, account) for invitation, account in session.execute(query)]


def described(of: tuple[InvitationRow, AccountRow]) -> dict[str, Any]:
    """Return the invitation for ``--json``; never its code or hash."""
    invitation, account = of
    return {
        "user": account.name,
        "reset": account.password_hash is not None,
        "created_at": invitation.created_at.isoformat(),
        "expires_at": invitation.expires_at.isoformat(),
    }


def end(change: Change, name: str) -> str:
    """End the invitation of a user, whose link is no longer good; return the user's name.

    Raises:
        NotFound: there is no such user, or no open invitation of that user.
    """
    account = lookup.account(change.session, name, AccountKind.USER)
    until = open_until(change.session, change.at).get(account.id)
    if until is None:
        listing = shell_command("user", "invitations")
        raise NotFound(f"the user {account.name} has no open invitation; see `{listing}`")
    logins.end_invitation(change, account)
    change.record("user.uninvite", f"user:{account.name}", before={"until": until.isoformat()})
    return account.name


def _open(session: Session, now: datetime, code: str) -> InvitationRow:
    query = select(InvitationRow).where(InvitationRow.secret_hash == secret_tokens.digest(code))
    row = session.scalars(query).one_or_none()
    account = session.get(AccountRow, row.account_id) if row else None
    if row is None or row.expires_at <= now or account is None or account.disabled_at:
        raise NotFound("this invitation is unknown, was used, or has expired: ask for a new one")
    return row
