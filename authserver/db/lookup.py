"""Rows by the names that people use."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from authserver.core.errors import NotFound, Refused
from authserver.core.names import account_name, folded
from authserver.db.models import AccountRow, GroupRow, RegistryRow
from authserver.db.store import Change

_Named = TypeVar("_Named", AccountRow, GroupRow)

_TABLES = (AccountRow, GroupRow, RegistryRow)
_REMEMBERED = "authserver_remembered"


def account(session: Session, name: str, kind: str | None = None) -> AccountRow:
    """Return the account of exactly that name, of that kind if one is given.

    Raises:
        NotFound: no account has it; the message says if only the case or the kind differs.
    """
    row = _exactly(session, AccountRow, name, kind or "account")
    if kind not in (None, row.kind):
        raise NotFound(f"there is no {kind} {name!r}; {row.name} is a {row.kind}")
    return row


def group(session: Session, name: str) -> GroupRow:
    """Return the group of exactly that name.

    Raises:
        NotFound: no group has it; the message says if only the case differs.
    """
    return _exactly(session, GroupRow, name, "group")


def registry(session: Session, service: str) -> RegistryRow:
    """Return the registry entry of that service.

    Raises:
        NotFound: no registry has it.
    """
    row = _entry(session, service) if service.isprintable() else None
    if row is None:
        services = session.scalars(select(RegistryRow.service).order_by(RegistryRow.service))
        known = ", ".join(services) or "none"
        raise NotFound(f"there is no registry {service!r}; known: {known}")
    return row


def _entry(session: Session, service: str) -> RegistryRow | None:
    if (remembered := session.info.get(_REMEMBERED)) is not None:
        found: RegistryRow | None = remembered.get((RegistryRow, service))
        return found
    return session.scalars(select(RegistryRow).where(RegistryRow.service == service)).one_or_none()


def free_name(
    session: Session, table: type[_Named], text: str, *, besides: _Named | None = None
) -> str:
    """Return a new name in NFC; ``besides`` is the row that is to have it, for a rename.

    Raises:
        Refused: the name is malformed, or taken in this or another case.
    """
    name = account_name(text)
    taken = similar(session, table, name)
    if taken is not None and taken is not besides:
        kind = getattr(taken, "kind", "group")
        hint = "" if taken.name == name else ": names must differ in more than case"
        raise Refused(f"there is already a {kind} {taken.name}{hint}")
    return name


def rename(change: Change, row: _Named, kind: str, new_name: str) -> bool:
    """Give an account or a group another name; False if it has that name already.

    Raises:
        Refused: as :func:`free_name`.
    """
    new_name = free_name(change.session, type(row), new_name, besides=row)
    if new_name == row.name:
        return False
    before, target = {"name": row.name}, f"{kind}:{row.name}"
    row.name, row.folded_name = new_name, folded(new_name)
    change.session.flush()
    change.record(f"{kind}.rename", target, before=before, after={"name": new_name})
    return True


def _exactly(session: Session, table: type[_Named], name: str, kind: str) -> _Named:
    row = similar(session, table, name)
    if row is None:
        raise NotFound(f"there is no {kind} {name!r}")
    if row.name != account_name(name):
        raise NotFound(f"there is no {kind} {name!r}, but there is {row.name}: case matters")
    return row


def similar(session: Session, table: type[_Named], name: str) -> _Named | None:
    """Return the row with that name in this or another case."""
    if not name.isprintable():
        # No name has such characters, and a query with a NUL is an error in PostgreSQL.
        return None
    if (remembered := session.info.get(_REMEMBERED)) is not None:
        found: _Named | None = remembered.get((table, folded(name)))
        return found
    return session.scalars(select(table).where(table.folded_name == folded(name))).one_or_none()


@contextmanager
def remembered(session: Session) -> Iterator[None]:
    """Read all names once and look them up in memory, for a change that names many.

    Rows that are added or removed meanwhile are followed; names do not change.
    """
    rows: Iterator[Any] = (row for table in _TABLES for row in session.scalars(select(table)))
    by_name = {_key(row): row for row in rows}

    def added(_: Session, row: object) -> None:
        if isinstance(row, _TABLES):
            by_name[_key(row)] = row

    def removed(_: Session, row: object) -> None:
        if isinstance(row, _TABLES):
            by_name.pop(_key(row), None)

    event.listen(session, "transient_to_pending", added)
    event.listen(session, "persistent_to_deleted", removed)
    session.info[_REMEMBERED] = by_name
    try:
        yield
    finally:
        del session.info[_REMEMBERED]
        event.remove(session, "transient_to_pending", added)
        event.remove(session, "persistent_to_deleted", removed)


def _key(row: AccountRow | GroupRow | RegistryRow) -> tuple[type, Any]:
    return type(row), row.service if isinstance(row, RegistryRow) else row.folded_name
