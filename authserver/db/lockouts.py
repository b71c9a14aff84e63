"""Lockouts that servers have noted: listing and lifting them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from authserver.core.addresses import household
from authserver.core.commands import program
from authserver.core.errors import NotFound
from authserver.db.models import LockoutRow
from authserver.db.store import Change

MAX_LOCKOUTS = 1000
"""How many are noted: an attacker with very many addresses must not fill the store."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A lockout to note."""

    key: str
    address: str
    account: str
    until: datetime


def note(session: Session, at: datetime, begun: Sequence[Noted]) -> None:
    """Note lockouts that began, and forget those that are over. Beyond MAX_LOCKOUTS none is noted.

    Servers that count for themselves may note the same one; it is there once.
    """
    session.execute(delete(LockoutRow).where(LockoutRow.until <= at))
    room = MAX_LOCKOUTS - session.scalars(select(func.count()).select_from(LockoutRow)).one()
    for each in begun:
        same = select(LockoutRow).where(LockoutRow.key == each.key, LockoutRow.lifted_at.is_(None))
        if (row := session.scalars(same).first()) is not None:
            row.until = max(row.until, each.until)
        elif room > 0:
            room -= 1
            session.add(LockoutRow(**asdict(each), began_at=at))
            session.flush()


def lifted(session: Session) -> Mapping[int, LockoutRow]:
    """Return the lifted lockouts that would not be over by themselves, by id."""
    rows = session.scalars(select(LockoutRow).where(LockoutRow.lifted_at.is_not(None)))
    return {row.id: row for row in rows}


def listed(session: Session, now: datetime) -> Sequence[LockoutRow]:
    """Return the lockouts that are in force, by id."""
    query = select(LockoutRow).where(LockoutRow.until > now, LockoutRow.lifted_at.is_(None))
    return session.scalars(query.order_by(LockoutRow.id)).all()


def get(session: Session, lockout_id: int) -> LockoutRow:
    """Return a lockout.

    Raises:
        NotFound: no lockout in force has that id.
    """
    row = session.get(LockoutRow, lockout_id)
    if row is None or row.lifted_at is not None:
        raise NotFound(f"there is no lockout {lockout_id}; see `{program()} lockout list`")
    return row


def lift(change: Change, row: LockoutRow) -> None:
    """Have every server end a lockout, within a second. The wrong passwords are forgotten."""
    change.record("lockout.lift", f"lockout:{row.id}", before=described(row))
    row.lifted_at = change.at
    change.session.flush()


def lift_all(change: Change, address: str, account: str | None = None) -> list[LockoutRow]:
    """Lift the lockouts of an address (of IPv6 its /64), of one account there if it is named.

    Raises:
        NotFound: there is none.
    """
    rows = [
        row
        for row in listed(change.session, change.at)
        if row.address == household(address) and account in (None, row.account)
    ]
    if not rows:
        of = "" if account is None else f" of {account}"
        raise NotFound(f"no lockout{of} at {address}; see `{program()} lockout list`")
    for row in rows:
        lift(change, row)
    return rows


def described(row: LockoutRow) -> dict[str, Any]:
    """Return the lockout for ``--json`` and for audit records."""
    return {
        "id": row.id,
        "address": row.address,
        "account": row.account or None,
        "why": why(row),
        "began_at": row.began_at.isoformat(),
        "until": row.until.isoformat(),
    }


def why(row: LockoutRow) -> str:
    """Return the reason in words."""
    if row.account:
        return "too many wrong passwords for this account from this address"
    return "too many wrong passwords from this address, for whichever account"
