"""What authorities and signing keys have in common as rows."""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from authserver.core.errors import NotReady, Refused
from authserver.db.models import AuthorityRow, SigningKeyRow
from authserver.db.store import Change
from authserver.keys import keyring
from authserver.keys.jose import KeyPair
from authserver.keys.private_keys import Row, Safe, role

SIGNS = and_(SigningKeyRow.activated_at.is_not(None), SigningKeyRow.retired_at.is_(None))
"""Holds for the keys that sign now: one leaf, and at most one of each registry's own."""


def all_rows(session: Session) -> Sequence[Row]:
    """Return every key, authorities first, in the order in which they came."""
    authorities = session.scalars(select(AuthorityRow).order_by(AuthorityRow.id)).all()
    return [*authorities, *session.scalars(select(SigningKeyRow).order_by(SigningKeyRow.id))]


def newest_authority(session: Session, *conditions: ColumnElement[bool]) -> AuthorityRow | None:
    """Return the authority that was activated last, or came last, and is not retired."""
    query = select(AuthorityRow).where(AuthorityRow.retired_at.is_(None), *conditions)
    order = (AuthorityRow.activated_at.desc(), AuthorityRow.id.desc())
    return session.scalars(query.order_by(*order)).first()


def active_authority(session: Session) -> AuthorityRow:
    """Return the authority that certifies signing keys.

    Raises:
        NotReady: the store has no such key.
    """
    authority = newest_authority(session, AuthorityRow.activated_at.is_not(None))
    if authority is None:
        raise NotReady("there is no valid authority to certify a signing key")
    return authority


def certificate(row: Row) -> x509.Certificate:
    return x509.load_pem_x509_certificate(row.certificate.encode())


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def target(row: Row) -> str:
    """Return how audit records name a key."""
    return f"authority:{row.id}" if isinstance(row, AuthorityRow) else f"key:{row.id}"


def described(row: Row) -> dict[str, str]:
    """Return what audit records say of a key."""
    return {
        "key_id": keyring.key_id(certificate(row)),
        "not_after": row.not_after.isoformat(),
    }


def keep(change: Change, safe: Safe, row: Row, pair: KeyPair | None) -> None:
    """Add a key; without ``pair`` its private half must be in the safe's directory.

    Raises:
        NotReady: it is not there.
    """
    # The name that a private key is sealed under holds its id, which the store gives out.
    change.session.add(row)
    change.session.flush()
    if pair is None:
        safe.open(row)
    else:
        safe.seal(row, pair)


def retire(row: Row, at: datetime) -> None:
    """Take a key out of use and destroy its private half."""
    row.retired_at, row.private_key = at, None


def require_importable(change: Change, brought: x509.Certificate) -> None:
    """Check that a certificate is valid now and its key not in use.

    Raises:
        Refused: it is not.
    """
    begins, ends = brought.not_valid_before_utc, brought.not_valid_after_utc
    if not begins <= change.at < ends:
        raise Refused(
            f"the certificate is valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}, and not now"
        )
    for row in all_rows(change.session):
        if certificate(row).public_key() == brought.public_key():
            raise Refused(f"this key is there already: {role(row)} {row.id}")
