"""Registry entries: add, edit, list and remove the registries that tokens are issued for."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from authserver.core.errors import Refused
from authserver.core.names import service_name, the_registry
from authserver.core.urls import site
from authserver.db import delegations, lists, lookup, losses, rules
from authserver.db import refresh_tokens as sessions
from authserver.db.lists import Window
from authserver.db.models import DelegationRow, RegistryRow, RuleRow
from authserver.db.store import Change
from authserver.keys import registry_keys
from authserver.keys.compatibility import Trust, Version
from authserver.registry import last_checks

TTL_MIN, TTL_MAX = 60, 86400


@dataclass(frozen=True)
class Installation:
    """The registry behind an entry: its URL, its version, and what it verifies tokens by."""

    url: str | None = None
    version: Version | None = None
    trust: Trust = Trust.BUNDLE

    @classmethod
    def of(cls, row: RegistryRow) -> "Installation":
        version = None if row.version is None else Version(row.version)
        return cls(row.url, version, Trust(row.trust))

    def describe(self, row: RegistryRow) -> None:
        """Write it into an entry. Raises Refused if the URL is not http or https."""
        row.url = None if self.url is None else site(self.url)
        row.version, row.trust = self.version, self.trust


UNKNOWN = Installation()


def add(
    change: Change,
    service: str,
    token_ttl: int | None = None,
    *,
    refresh_tokens: bool = True,
    app_tokens_only: bool = False,
    challenge_anonymous: bool = False,
    installation: Installation = UNKNOWN,
) -> RegistryRow:
    """Add a registry entry; the authority's leaf signs its tokens.

    Raises:
        Refused: the service name is invalid or taken, the lifetime is out of range, or the URL is
            not http or https.
    """
    service = service_name(service)
    _require_ttl(token_ttl)
    same = select(RegistryRow).where(RegistryRow.service == service)
    if change.session.scalars(same).first() is not None:
        raise Refused(f"{the_registry(service)} is there already")
    row = RegistryRow(
        service=service,
        token_ttl=token_ttl,
        refresh_tokens=refresh_tokens,
        app_tokens_only=app_tokens_only,
        challenge_anonymous=challenge_anonymous,
        created_at=change.at,
    )
    installation.describe(row)
    change.session.add(row)
    change.session.flush()
    change.record("registry.add", f"registry:{service}", after=_terms(row))
    return row


def edit(
    change: Change,
    service: str,
    *,
    token_ttl: int | None = None,
    refresh_tokens: bool | None = None,
    app_tokens_only: bool | None = None,
    challenge_anonymous: bool | None = None,
    installation: Installation | None = None,
) -> RegistryRow:
    """Change a registry entry; an argument of None leaves its field as it is.

    Turning refresh tokens off ends the entry's sessions, and so does ``app_tokens_only``: they rest
    on passwords.

    Raises:
        NotFound: the entry does not exist.
        Refused: the lifetime is out of range, or the URL is not http or https.
    """
    row = lookup.registry(change.session, service)
    return replace(
        change,
        service,
        token_ttl=row.token_ttl if token_ttl is None else token_ttl,
        refresh_tokens=row.refresh_tokens if refresh_tokens is None else refresh_tokens,
        app_tokens_only=row.app_tokens_only if app_tokens_only is None else app_tokens_only,
        challenge_anonymous=(
            row.challenge_anonymous if challenge_anonymous is None else challenge_anonymous
        ),
        installation=installation,
    )


def replace(
    change: Change,
    service: str,
    *,
    token_ttl: int | None,
    refresh_tokens: bool,
    app_tokens_only: bool,
    challenge_anonymous: bool,
    installation: Installation | None = None,
) -> RegistryRow:
    """Change all fields of a registry entry; ``token_ttl`` None means the setting's lifetime.

    ``installation`` None keeps the present one. Raises what :func:`edit` raises.
    """
    row = lookup.registry(change.session, service)
    before = _terms(row)
    _require_ttl(token_ttl)
    row.token_ttl, row.refresh_tokens = token_ttl, refresh_tokens
    row.app_tokens_only = app_tokens_only
    row.challenge_anonymous = challenge_anonymous
    (installation or Installation.of(row)).describe(row)
    last_checks.require_url(change, row)
    if app_tokens_only or not refresh_tokens:
        sessions.end_on(change, row)
    change.record("registry.edit", f"registry:{service}", before=before, after=_terms(row))
    return row


def _require_ttl(token_ttl: int | None) -> None:
    if token_ttl is not None and not TTL_MIN <= token_ttl <= TTL_MAX:
        raise Refused(f"a token lives {TTL_MIN} to {TTL_MAX} seconds, not {token_ttl}")


def _terms(row: RegistryRow) -> dict[str, Any]:
    return {
        "token_ttl": row.token_ttl,
        "refresh_tokens": row.refresh_tokens,
        "app_tokens_only": row.app_tokens_only,
        "challenge_anonymous": row.challenge_anonymous,
        **asdict(Installation.of(row)),
    }


def remove(change: Change, service: str, *, force: bool = False) -> list[str]:
    """Remove a registry entry, with ``force`` also its rules; return what was removed, as text.

    Raises:
        NotFound: the entry does not exist.
        Refused: rules name the registry, or it is the last one in use, and ``force`` is not set.
    """
    row = lookup.registry(change.session, service)
    own_rules = rules.naming(change.session, RuleRow.registry_id == row.id)
    if own_rules and not force:
        raise Refused(
            f"{len(own_rules)} rules are on {the_registry(service)} and would be removed with it: "
            f"{rules.cite(own_rules)}; say --force"
        )
    if not force:
        losses.require_not_last(change.session, row, change.at)
    before = _terms(row) | losses.counts(losses.of(change.session, [row]))
    removed = [f"{rules.delete(change, rule)} was removed" for rule in own_rules]
    removed += delegations.end_all(change, DelegationRow.registry_id == row.id)
    sessions.end_on(change, row)
    registry_keys.delete_all(change, row)
    last_checks.forget(change, row)
    change.session.delete(row)
    change.record("registry.remove", f"registry:{service}", before=before)
    return removed


def longest_token(session: Session, default_ttl: int) -> timedelta:
    """Return the longest lifetime of the registry tokens that are issued now."""
    lifetimes = session.scalars(select(RegistryRow.token_ttl)).all()
    return timedelta(seconds=max((ttl or default_ttl for ttl in lifetimes), default=default_ttl))


def listed(session: Session, window: Window = lists.ALL) -> Sequence[RegistryRow]:
    """Return the registry entries, by service unless sorted."""
    query = lists.REGISTRIES.within(select(RegistryRow), window)
    both = (selectinload(RegistryRow.own_keys), joinedload(RegistryRow.last_check))
    return session.scalars(query.options(*both)).all()


def described(row: RegistryRow) -> dict[str, Any]:
    """Return the entry for ``--json``; ``token_ttl`` None means the setting's lifetime."""
    return {
        "service": row.service,
        **_terms(row),
        **registry_keys.terms(row),
        "confirmed_authority": row.confirmed_authority_id,
        "last_check": last_checks.summary(row.last_check),
        "created_at": row.created_at.isoformat(),
    }
