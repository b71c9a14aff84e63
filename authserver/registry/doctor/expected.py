"""What a registry is held against: our realm, issuer and keys for one registry entry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.db import lookup
from authserver.db.models import Authority
from authserver.keys import keyring, registry_keys, signing_keys
from authserver.keys import rows as key_rows
from authserver.keys.jose import HeaderMode, key_id
from authserver.keys.keyring import KeyPair
from authserver.keys.private_keys import Safe
from authserver.registry.distribution.trust import ListedKey, RegistryTrust


@dataclass(frozen=True)
class OwnAuthority:
    """One of our authorities, with its id in the store."""

    id: int
    pair: KeyPair

    def leaf(self, now: datetime) -> KeyPair:
        """Return a signing key under it that is kept nowhere."""
        return keyring.make_leaf(self.pair, now)


@dataclass(frozen=True)
class Expected:
    """What tokens for one registry entry are made of. The active authority comes first.

    ``others`` has our further certificates that its bundle may rightly hold. With an own key the
    entry's tokens are signed by a key that is under no authority.
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
        """Return every certificate of ours that the registry may rightly have."""
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
        """Return what a registry trusts that is set up as we say."""
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
    """Return what is ours for the registry entry ``service``.

    Raises:
        NotFound: there is no such entry.
        NotReady: the keys do not open, or there are none.
    """
    entry = lookup.registry(session, service)
    own = registry_keys.active(session, entry)
    waits = registry_keys.waiting(session, entry)
    active = key_rows.active_authority(session)
    kept = session.scalars(select(Authority).where(Authority.retired_at.is_(None)))
    rows = sorted(kept, key=lambda row: (row is not active, -row.id))
    return Expected(
        service=entry.service,
        realm=realm,
        issuer=signing_keys.issuer(session),
        mode=registry_keys.header_mode(session, entry),
        key=safe.open(own) if own else signing_keys.load_leaf(session, safe),
        authorities=tuple(OwnAuthority(row.id, safe.open(row)) for row in rows),
        clock=clock,
        others=(key_rows.certificate(waits),) if waits else (),
        has_own_key=own is not None,
    )
