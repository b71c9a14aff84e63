"""The authorities in the store: one certifies, another may wait until every registry has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from authserver.core.commands import program
from authserver.core.errors import NotFound, Refused
from authserver.db import lookup
from authserver.db.models import AuthorityRow, RegistryRow, SigningKeyRow
from authserver.db.store import Change
from authserver.keys import keyring, rows, signing_keys
from authserver.keys.jose import KeyPair
from authserver.keys.private_keys import Safe
from authserver.keys.rows import SIGNS, described, newest_authority, target

AFTER_LAST_TOKEN = timedelta(hours=1)


def any_there(session: Session) -> bool:
    return session.scalars(select(AuthorityRow.id).limit(1)).first() is not None


def in_bundle(session: Session, now: datetime) -> Sequence[AuthorityRow]:
    """Return the authorities that registries should trust: active, waiting, not yet retired."""
    kept = select(AuthorityRow).where(AuthorityRow.retired_at.is_(None)).order_by(AuthorityRow.id)
    return [row for row in session.scalars(kept) if row.not_after > now]


def add(change: Change, safe: Safe, issuer: str) -> AuthorityRow:
    """Make an authority, which waits to be activated.

    Raises:
        Refused: another one waits already.
    """
    pair = keyring.make_authority(issuer, change.at)
    return _add(change, safe, pair, pair.certificate)


def bring(
    change: Change, safe: Safe, certificate: x509.Certificate, pair: KeyPair | None
) -> AuthorityRow:
    """Add an authority that was made elsewhere, which waits to be activated.

    Without ``pair`` its private key stays in the safe's directory.

    Raises:
        Refused: another one waits, it may not certify, is there already, or is not valid now.
        NotReady: its private key is not in the directory.
    """
    rows.require_importable(change, certificate)
    return _add(change, safe, pair, certificate)


def _add(
    change: Change, safe: Safe, pair: KeyPair | None, certificate: x509.Certificate
) -> AuthorityRow:
    if (other := _waiting(change.session)) is not None:
        raise Refused(
            f"authority {other.id} waits already: activate it, or give it up with "
            f"`{program()} key authority retire {other.id}`"
        )
    row = AuthorityRow(
        certificate=rows.pem(certificate),
        created_at=change.at,
        not_after=certificate.not_valid_after_utc,
    )
    rows.keep(change, safe, row, pair)
    change.record("authority.add", target(row), after=described(row))
    return row


def _waiting(session: Session) -> AuthorityRow | None:
    return newest_authority(session, AuthorityRow.activated_at.is_(None))


def active(session: Session) -> AuthorityRow:
    """Return the authority that certifies signing keys. Raises NotReady without one."""
    return rows.active_authority(session)


def newest(session: Session) -> AuthorityRow:
    """Return the authority that waits, or the active one.

    Raises:
        NotReady: the store has no authority.
    """
    return _waiting(session) or rows.active_authority(session)


def require_newest(session: Session, authority_id: int) -> None:
    """Check that an authority is the one that waits, or the active one.

    Raises:
        NotFound: there is no such authority that is not retired.
        Refused: it is another one.
    """
    row = newest(session)
    if authority_id != row.id:
        _not_retired(session, authority_id)
        raise Refused(f"authority {authority_id} is not the newest one: {row.id} is")


def confirm(change: Change, service: str) -> AuthorityRow:
    """Note that a registry's bundle holds the newest authority.

    Raises:
        NotFound: there is no such registry.
    """
    registry = lookup.registry(change.session, service)
    row = newest(change.session)
    registry.confirmed_authority_id = row.id
    change.record("authority.confirm", f"registry:{service}", after={"authority": row.id})
    return row


@dataclass(frozen=True)
class Sighting:
    """The ids of the authorities that a registry was seen to trust, and not to trust."""

    trusted: frozenset[int]
    absent: frozenset[int]


def news(session: Session, service: str, seen: Sighting) -> str:
    """Return what :func:`note` would change, empty if nothing.

    Raises:
        NotFound: there is no such registry.
    """
    confirmed, row = lookup.registry(session, service).confirmed_authority_id, newest(session)
    if row.id in seen.trusted and confirmed != row.id:
        return f"{service} trusts authority {row.id}"
    if row.id in seen.absent and confirmed == row.id:
        return f"{service} does not trust authority {row.id} any more"
    return ""


def note(change: Change, service: str, seen: Sighting) -> None:
    """Note whether a registry was seen to trust the newest authority. Raises as :func:`news`."""
    if not news(change.session, service, seen):
        return
    registry, row = lookup.registry(change.session, service), newest(change.session)
    trusts = row.id in seen.trusted
    registry.confirmed_authority_id = row.id if trusts else None
    change.record(
        "authority.see", f"registry:{service}", after={"authority": row.id, "trusted": trusts}
    )


def unconfirmed(session: Session, row: AuthorityRow) -> list[str]:
    """Return the registries that need an authority and are not known to trust it."""
    with_own_key = select(SigningKeyRow.registry_id).where(
        SIGNS, SigningKeyRow.registry_id.is_not(None)
    )
    other = RegistryRow.confirmed_authority_id
    query = select(RegistryRow.service).where(
        RegistryRow.id.not_in(with_own_key), or_(other.is_(None), other != row.id)
    )
    return list(session.scalars(query.order_by(RegistryRow.service)))


def activate(change: Change, safe: Safe, *, force: bool = False) -> AuthorityRow:
    """Have the authority that waits certify from now on, beginning with a new signing key.

    Raises:
        NotFound: none waits.
        Refused: a registry is not known to trust it, and ``force`` is not set.
        NotReady: its private key does not open.
    """
    row = _waiting(change.session)
    if row is None:
        raise NotFound(f"no authority waits: make one with `{program()} key authority rotate`")
    missing = unconfirmed(change.session, row)
    if missing and not force:
        raise Refused(
            f"not known to trust authority {row.id}: {', '.join(missing)}. Give each the new "
            f"bundle, restart it, and say so: {program()} key authority confirm SERVICE"
        )
    row.activated_at = change.at
    change.record("authority.activate", target(row), after={"unconfirmed": missing})
    signing_keys.rotate(change, safe)
    return row


def retire(
    change: Change, authority_id: int | None, longest_token: timedelta, *, force: bool = False
) -> AuthorityRow:
    """Take an authority out of the bundle and destroy its private key.

    Without an id it is the one before the active one.

    Raises:
        NotFound: there is no such authority.
        Refused: it certifies, or tokens under it may be in use and ``force`` is not set.
    """
    present = rows.active_authority(change.session)
    row = to_retire(change.session, authority_id)
    if row is present:
        raise Refused(
            f"authority {row.id} certifies the signing key: activate another one first, "
            f"`{program()} key authority rotate` begins it"
        )
    until = in_use_until(present, longest_token)
    if row.activated_at is not None and change.at < until and not force:
        raise Refused(
            f"tokens under authority {row.id} may be in use until {until:%Y-%m-%d %H:%M} UTC: "
            "try again then, or say --force"
        )
    rows.retire(row, change.at)
    change.record("authority.retire", target(row), before=described(row))
    return row


def in_use_until(present: AuthorityRow, longest_token: timedelta) -> datetime:
    """Return until when tokens under the authority before the active one may be in use."""
    return (present.activated_at or present.created_at) + longest_token + AFTER_LAST_TOKEN


def to_retire(session: Session, authority_id: int | None) -> AuthorityRow:
    """Return the authority of an id; without one, that before the active one.

    Raises:
        NotFound: there is no such authority.
    """
    if authority_id is None:
        present = rows.active_authority(session)
        others = (AuthorityRow.id != present.id, AuthorityRow.activated_at.is_not(None))
        if (row := newest_authority(session, *others)) is None:
            raise NotFound("there is no authority before the active one")
        return row
    return _not_retired(session, authority_id)


def _not_retired(session: Session, authority_id: int) -> AuthorityRow:
    row = session.get(AuthorityRow, authority_id)
    if row is None or row.retired_at is not None:
        raise NotFound(f"there is no authority {authority_id} that is not retired")
    return row
