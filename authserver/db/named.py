"""Finding what a name names."""

from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core.errors import NotFound, Refused
from authserver.core.names import account_name, folded
from authserver.db.models import Account, Group, Registry

_Named = TypeVar("_Named", Account, Group)


def account(session: Session, name: str, kind: str | None = None) -> Account:
    """Return the account of exactly that name, of that kind if one is given.

    Raises:
        NotFound: there is none; the message says if only the case or the kind differs.
    """
    row = _exactly(session, Account, name, kind or "account")
    if kind not in (None, row.kind):
        raise NotFound(f"there is no {kind} {name!r}; {row.name} is a {row.kind}")
    return row


def group(session: Session, name: str) -> Group:
    """Return the group of exactly that name.

    Raises:
        NotFound: there is none; the message says if only the case differs.
    """
    return _exactly(session, Group, name, "group")


def registry(session: Session, service: str) -> Registry:
    """Return the registry entry of that service.

    Raises:
        NotFound: there is none.
    """
    same = select(Registry).where(Registry.service == service)
    row = session.scalars(same).one_or_none() if service.isprintable() else None
    if row is None:
        known = session.scalars(select(Registry.service).order_by(Registry.service))
        raise NotFound(f"there is no registry {service!r}; known: {', '.join(known) or 'none'}")
    return row


def free_name(session: Session, table: type[_Named], text: str) -> str:
    """Return a new name in NFC.

    Raises:
        Refused: it is no name, or is taken, also by one that differs in case only.
    """
    name = account_name(text)
    taken = similar(session, table, name)
    if taken is not None:
        kind = getattr(taken, "kind", "group")
        hint = "" if taken.name == name else ": names must differ in more than case"
        raise Refused(f"there is already a {kind} {taken.name}{hint}")
    return name


def _exactly(session: Session, table: type[_Named], name: str, kind: str) -> _Named:
    row = similar(session, table, name)
    if row is None:
        raise NotFound(f"there is no {kind} {name!r}")
    if row.name != account_name(name):
        raise NotFound(f"there is no {kind} {name!r}, but there is {row.name}: case matters")
    return row


def similar(session: Session, table: type[_Named], name: str) -> _Named | None:
    """Return what has that name, or one that differs from it in case only."""
    if not name.isprintable():
        return None  # no name is like that, and PostgreSQL cannot be asked for a NUL
    return session.scalars(select(table).where(table.folded_name == folded(name))).one_or_none()
