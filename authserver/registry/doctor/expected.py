"""What a registry should trust: our realm, issuer and keys for one registry entry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core.signatures import HeaderMode
from authserver.db import lookup
from authserver.db.models import AuthorityRow
from authserver.keys import keyring, registry_keys, signing_keys
from authserver.keys import rows as key_rows
from authserver.keys.header_modes import key_id
from authserver.keys.jose import KeyPair
from authserver.keys.private_keys import Safe
from authserver.registry.distribution.trust import ListedKey, RegistryTrust


@dataclass(frozen=True)
class OwnAuthority:
    """One of our authorities and its id in the store."""

    id: int
    pair: KeyPair

    def leaf(self, now: datetime) -> KeyPair:
        """Return a new leaf under the authority; nothing stores it."""
        return keyring.make_leaf(self.pair, now)


@dataclass(frozen=True)
class Expected:
    """What tokens for one registry entry are made of. The active authority comes first.

    ``others`` has our other certificates that the bundle may hold. With an own key the entry's
    tokens are signed by a key that no authority certifies.
    """

    service: str
    realm: str
    issuer: str
    mode: HeaderMode
    key: KeyPair = field(repr=False)
    authorities: tuple[OwnAuthority, ...]
    clock: Callable[[], datetime]
    others: tuple[x509.Certificate, ...] = ()
    has_own_key: bool = False

    def certificates(self) -> list[x509.Certificate]:
        """Return all our certificates that the registry's bundle may hold."""
        authorities = (authority.pair.certificate for authority in self.authorities)
        return [self.key.certificate, *authorities, *self.others]

    @property
    def authority(self) -> OwnAuthority:
        return self.authorities[0]

    @property
    def anchor(self) -> x509.Certificate:
        """Return the certificate that the registry's bundle must hold."""
        return self.key.certificate if self.has_own_key else self.authority.pair.certificate

    def trust(self) -> RegistryTrust:
        """Return the trust of a registry that is configured as `registry config` prints."""
        bundle = (self.anchor, *(authority.pair.certificate for authority in self.authorities))
        public = self.key.private.public_key()
        listed = tuple(ListedKey(key_id(public, mode), public) for mode in HeaderMode)
        return RegistryTrust(bundle, listed, self.issuer, frozenset({self.service}))


def load(
    session: Session,
    safe: Safe,
    service: str,
    realm: str,
    clock: Callable[[], datetime],
) -> Expected:
    """Return our side of the registry entry ``service``.

    Raises:
        NotFound: the entry does not exist.
        NotReady: there is no key yet, or the master key does not open it.
    """
    entry = lookup.registry(session, service)
    own = registry_keys.active(session, entry)
    successor = registry_keys.waiting(session, entry)
    active = key_rows.active_authority(session)
    current = session.scalars(select(AuthorityRow).where(AuthorityRow.retired_at.is_(None)))
    rows = sorted(current, key=lambda row: (row is not active, -row.id))
    return Expected(
        service=entry.service,
        realm=realm,
        issuer=signing_keys.issuer(session),
        mode=registry_keys.header_mode(session, entry),
        key=safe.open(own) if own else signing_keys.load_leaf(session, safe),
        authorities=tuple(OwnAuthority(row.id, safe.open(row)) for row in rows),
        clock=clock,
        others=(key_rows.certificate(successor),) if successor else (),
        has_own_key=own is not None,
    )
