"""What a registry is held against: our realm, issuer and keys for one registry entry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver import keyring
from authserver.db import keys, named
from authserver.db.models import Authority
from authserver.distribution.trust import Trust
from authserver.headers import HeaderMode
from authserver.keyring import KeyPair
from authserver.sealing import MasterKey


@dataclass(frozen=True)
class OwnAuthority:
    """One of our authorities, with its id in the store."""

    id: int
    pair: KeyPair

    def leaf(self, now: datetime) -> KeyPair:
        """Return a signing key under it that is kept nowhere."""
        return keyring.make_leaf(self.pair, now)


@dataclass(frozen=True)
class Ours:
    """What tokens for one registry entry are made of. The active authority comes first.

    ``others`` has our further certificates that its bundle may rightly hold.
    """

    service: str
    realm: str
    issuer: str
    mode: HeaderMode
    key: KeyPair = field(repr=False)
    authorities: tuple[OwnAuthority, ...]
    clock: Callable[[], datetime]
    others: tuple[x509.Certificate, ...] = ()

    def certificates(self) -> list[x509.Certificate]:
        """Return every certificate of ours that the registry may rightly have."""
        authorities = (authority.pair.certificate for authority in self.authorities)
        return [self.key.certificate, *authorities, *self.others]

    @property
    def authority(self) -> OwnAuthority:
        return self.authorities[0]

    def trust(self) -> Trust:
        """Return what a registry trusts that is set up as we say."""
        bundle = tuple(authority.pair.certificate for authority in self.authorities)
        return Trust(bundle, (), self.issuer, frozenset({self.service}))


def load(
    session: Session,
    master: MasterKey,
    service: str,
    realm: str,
    clock: Callable[[], datetime],
) -> Ours:
    """Return what is ours for the registry entry ``service``.

    Raises:
        NotFound: there is no such entry.
        NotReady: the keys do not open with ``master``, or there are none.
    """
    entry = named.registry(session, service)
    rows = session.scalars(select(Authority).order_by(Authority.id.desc()))
    authorities = [OwnAuthority(row.id, keys.open_key(master, row)) for row in rows]
    return Ours(
        service=entry.service,
        realm=realm,
        issuer=keys.issuer(session),
        mode=HeaderMode.X5C,
        key=keys.load_leaf(session, master),
        authorities=tuple(authorities),
        clock=clock,
    )
