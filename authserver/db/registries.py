"""Registry entries."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core.errors import Refused
from authserver.core.names import service_name
from authserver.db import named, rules
from authserver.db.models import Registry, Rule
from authserver.db.store import Change

TTL_MIN, TTL_MAX = 60, 86400


def add(change: Change, service: str, token_ttl: int | None = None) -> Registry:
    """Add a registry entry.

    Raises:
        Refused: the service is no service string or is there already, or the life is out of range.
    """
    service = service_name(service)
    if token_ttl is not None and not TTL_MIN <= token_ttl <= TTL_MAX:
        raise Refused(f"a token lives {TTL_MIN} to {TTL_MAX} seconds, not {token_ttl}")
    same = select(Registry).where(Registry.service == service)
    if change.session.scalars(same).first() is not None:
        raise Refused(f"the registry {service} is there already")
    row = Registry(service=service, token_ttl=token_ttl, created_at=change.at)
    change.session.add(row)
    change.record("registry.add", f"registry:{service}", after={"token_ttl": token_ttl})
    return row


def remove(change: Change, service: str, *, force: bool = False) -> list[str]:
    """Remove a registry entry, with ``force`` also the rules on it; return those rules.

    Raises:
        NotFound: there is no such entry.
        Refused: rules are on it and ``force`` is not set.
    """
    row = named.registry(change.session, service)
    on_it = rules.naming(change.session, Rule.registry_id == row.id)
    if on_it and not force:
        raise Refused(
            f"{len(on_it)} rules are on the registry {service} and would be removed with it: "
            f"{rules.cite(on_it)}; say --force"
        )
    removed = [rules.delete(change, rule) for rule in on_it]
    change.session.delete(row)
    change.record("registry.remove", f"registry:{service}", before={"token_ttl": row.token_ttl})
    return removed


def listed(session: Session) -> Sequence[Registry]:
    return session.scalars(select(Registry).order_by(Registry.service)).all()
