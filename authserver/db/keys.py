"""The authority and the signing keys in the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from authserver import keyring
from authserver.core.errors import NotReady
from authserver.db.models import Authority, SigningKey, StoreState
from authserver.db.store import Change
from authserver.keyring import KeyPair
from authserver.sealing import MasterKey


@dataclass(frozen=True)
class Listed:
    """A key as an operator sees it: never its private half."""

    role: str
    id: int
    key_id: str
    subject: str
    not_before: datetime
    not_after: datetime
    signs: bool


def add_authority(change: Change, master: MasterKey, issuer: str) -> Authority:
    """Make and store a new authority."""
    pair = keyring.make_authority(issuer, change.at)
    row = Authority(
        certificate=pair.certificate_pem(),
        private_key=b"",
        created_at=change.at,
        not_after=pair.certificate.not_valid_after_utc,
    )
    _seal(change, master, row, pair)
    change.record("authority.add", f"authority:{row.id}", after=_described(pair))
    return row


def add_leaf(change: Change, master: MasterKey) -> SigningKey:
    """Make and store a new signing key under the newest authority.

    Raises:
        NotReady: there is no authority, it has ended, or its private key does not open.
    """
    authority = change.session.scalars(select(Authority).order_by(Authority.id.desc())).first()
    if authority is None or authority.not_after <= change.at:
        raise NotReady("there is no valid authority to certify a signing key")
    pair = keyring.make_leaf(open_key(master, authority), change.at)
    row = SigningKey(
        authority_id=authority.id,
        certificate=pair.certificate_pem(),
        private_key=b"",
        created_at=change.at,
        not_after=pair.certificate.not_valid_after_utc,
    )
    _seal(change, master, row, pair)
    change.record("key.add", f"key:{row.id}", after=_described(pair))
    return row


def renew_leaf(change: Change, master: MasterKey) -> bool:
    """Add a signing key if the newest one is due; whoever comes second finds that it is not."""
    newest = _newest(change.session)
    if newest is not None:
        ends = change.session.scalars(select(func.max(Authority.not_after))).one()
        # One that ends with its authority is followed by none: it could not live any longer.
        if newest.not_after >= ends or not keyring.due(_certificate(newest), change.at):
            return False
    add_leaf(change, master)
    return True


def authority_ends(session: Session) -> datetime:
    """Return when the authority ends that certifies signing keys.

    Raises:
        NotReady: there is none.
    """
    newest = session.scalars(select(Authority.not_after).order_by(Authority.id.desc())).first()
    if newest is None:
        raise NotReady("the store has no authority: run `authserver init`")
    return newest


def load_leaf(session: Session, master: MasterKey) -> KeyPair:
    """Return the newest signing key.

    Raises:
        NotReady: there is none, or it does not open with ``master``.
    """
    newest = _newest(session)
    if newest is None:
        raise NotReady("the store has no signing key: run `authserver init`")
    return open_key(master, newest)


def require_initialised(session: Session) -> None:
    """Check that ``authserver init`` has run to its end.

    Raises:
        NotReady: it has not.
    """
    if session.get(StoreState, 1) is None:
        raise NotReady("the store is not set up: run `authserver init`")


def issuer(session: Session) -> str:
    """Return the issuer of all registry tokens, fixed when the store was set up."""
    return session.scalars(select(StoreState.issuer)).one()


def require_master_key(session: Session, master: MasterKey) -> None:
    """Check that ``master`` is the key that this store's private keys are sealed with.

    Raises:
        NotReady: it is another one.
    """
    wanted = session.scalars(select(StoreState.master_key_id)).one()
    if master.id != wanted:
        raise NotReady(
            f"the master key {master.id} is not the one of this store ({wanted}): "
            "bring the master key file that belongs to it"
        )


def open_all(session: Session, master: MasterKey) -> int:
    """Open every private key and return how many there are. Raises NotReady as :func:`open_key`."""
    rows = _all(session)
    for row in rows:
        open_key(master, row)
    return len(rows)


def bundle(session: Session, now: datetime) -> str:
    """Return the certificates for a registry's ``rootcertbundle``: PEM, one or more."""
    rows = session.scalars(select(Authority).order_by(Authority.id))
    return "".join(row.certificate for row in rows if row.not_after > now)


def listed(session: Session) -> list[Listed]:
    """Return every key, authorities first."""
    newest = _newest(session)
    return [_listed(row, signs=row is newest) for row in _all(session)]


def _listed(row: Authority | SigningKey, *, signs: bool) -> Listed:
    certificate = _certificate(row)
    return Listed(
        role=_role(row),
        id=row.id,
        key_id=keyring.key_id(certificate),
        subject=certificate.subject.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        signs=signs,
    )


def _all(session: Session) -> Sequence[Authority | SigningKey]:
    authorities = session.scalars(select(Authority).order_by(Authority.id)).all()
    return [*authorities, *session.scalars(select(SigningKey).order_by(SigningKey.id))]


def _newest(session: Session) -> SigningKey | None:
    return session.scalars(select(SigningKey).order_by(SigningKey.id.desc())).first()


def _certificate(row: Authority | SigningKey) -> x509.Certificate:
    return x509.load_pem_x509_certificate(row.certificate.encode())


def _role(row: Authority | SigningKey) -> str:
    return "authority" if isinstance(row, Authority) else "signing key"


def _sealed_name(row: Authority | SigningKey) -> str:
    return f"{_role(row)} {row.id}"


def _seal(change: Change, master: MasterKey, row: Authority | SigningKey, pair: KeyPair) -> None:
    # The name that a key is sealed under holds its id, which the store gives out.
    change.session.add(row)
    change.session.flush()
    row.private_key = master.seal(pair.private_der(), _sealed_name(row))


def open_key(master: MasterKey, row: Authority | SigningKey) -> KeyPair:
    """Return the key pair in a row.

    Raises:
        NotReady: it does not open with ``master``.
    """
    return keyring.load_key_pair(master.open(row.private_key, _sealed_name(row)), row.certificate)


def _described(pair: KeyPair) -> dict[str, str]:
    return {
        "key_id": keyring.key_id(pair.certificate),
        "not_after": pair.certificate.not_valid_after_utc.isoformat(),
    }
