"""Our public keys in the two forms that registries read: a certificate bundle and a JWKS."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from authserver.db.models import RegistryRow, SigningKeyRow
from authserver.keys import authorities, header_modes, jose, signing_keys
from authserver.keys import rows as key_rows
from authserver.keys.compatibility import Trust
from authserver.keys.rows import certificate
from authserver.registry import entries

KEPT = timedelta(seconds=entries.TTL_MAX) + timedelta(hours=1)
"""How long a retired key stays published: tokens that it signed may still be valid."""


@dataclass(frozen=True, slots=True)
class PublishedKeys:
    """A certificate bundle (PEM) and a JWKS (RFC 7517)."""

    bundle: str
    jwks: str


def by_registry(session: Session, now: datetime) -> Mapping[str | None, PublishedKeys]:
    """Return the published keys by service, and under None those of all registries."""
    bundle, rows = _authorities(session, now), _published(session, now)
    by_id: defaultdict[int | None, list[SigningKeyRow]] = defaultdict(list)
    for row in rows:
        by_id[row.registry_id].append(row)
    leaves = PublishedKeys(bundle, _jwks(by_id[None]))
    published: dict[str | None, PublishedKeys] = {None: PublishedKeys(bundle, _jwks(rows))}
    for registry_id, service in session.execute(select(RegistryRow.id, RegistryRow.service)):
        own = by_id.get(registry_id)
        published[service] = _with_own(own, bundle) if own else leaves
    return published


def everything(session: Session, now: datetime) -> PublishedKeys:
    """Return the authorities as a bundle, and all signing keys as a JWKS."""
    return PublishedKeys(_authorities(session, now), _jwks(_published(session, now)))


def trusted(session: Session, now: datetime) -> PublishedKeys:
    """Return all keys that our registries trust: an own key is where its registry reads it."""
    bundle = _authorities(session, now)
    listed: list[SigningKeyRow] = []
    for registry in entries.listed(session):
        own = _published(session, now, SigningKeyRow.registry_id == registry.id)
        if registry.trust != Trust.JWKS:
            bundle += "".join(row.certificate for row in own)
        if registry.trust != Trust.BUNDLE:
            listed += own
    return PublishedKeys(bundle, _jwks(listed))


def for_registry(session: Session, registry: RegistryRow, now: datetime) -> PublishedKeys:
    """Return the keys that one registry should trust.

    A registry with own keys gets these. Its bundle has the authority as well, so that the entry
    can go back to it. The JWKS of any other registry has the leaves, which change every month.
    """
    bundle = _authorities(session, now)
    if own := _published(session, now, SigningKeyRow.registry_id == registry.id):
        return _with_own(own, bundle)
    return PublishedKeys(
        bundle, _jwks(_published(session, now, SigningKeyRow.registry_id.is_(None)))
    )


def _with_own(own: Sequence[SigningKeyRow], bundle: str) -> PublishedKeys:
    return PublishedKeys("".join(row.certificate for row in own) + bundle, _jwks(own))


def algorithms(session: Session, registry: RegistryRow, now: datetime) -> list[str]:
    """Return the JWS algorithms of the keys that sign for a registry now or next."""
    own = _published(session, now, SigningKeyRow.registry_id == registry.id)
    signing = [row for row in own if row.retired_at is None]
    if not any(row.activated_at for row in signing):
        signing += [leaf for leaf in (signing_keys.signing(session),) if leaf]
    return sorted({jose.algorithm(jose.public_key(certificate(row))) for row in signing})


def _authorities(session: Session, now: datetime) -> str:
    return "".join(row.certificate for row in authorities.in_bundle(session, now))


def _published(
    session: Session, now: datetime, *conditions: ColumnElement[bool]
) -> Sequence[SigningKeyRow]:
    retired = SigningKeyRow.retired_at
    current = (SigningKeyRow.revoked.is_(False), or_(retired.is_(None), retired > now - KEPT))
    return session.scalars(
        select(SigningKeyRow).where(*current, *conditions).order_by(SigningKeyRow.id.desc())
    ).all()


def _jwks(rows: Sequence[SigningKeyRow]) -> str:
    return json.dumps({"keys": list(_jwk_entries(rows))}, indent=2) + "\n"


def _jwk_entries(rows: Sequence[SigningKeyRow]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield from header_modes.public_jwks(jose.public_key(key_rows.certificate(row)))
