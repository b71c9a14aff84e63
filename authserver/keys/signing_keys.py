"""The signing keys in the store, and when they end.

The leaf that signs, what an operator sees of all keys, and how long before its end a key is
reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core.commands import program, shell_command
from authserver.core.errors import NotFound, NotReady, Refused
from authserver.core.names import the_registry
from authserver.core.signatures import HeaderMode
from authserver.db import second_factors
from authserver.db.models import SigningKeyRow, StoreStateRow
from authserver.db.store import Change
from authserver.keys import keyring, registry_keys, rows
from authserver.keys import rows as key_rows
from authserver.keys.jose import KeyPair
from authserver.keys.master_key import MasterKey
from authserver.keys.private_keys import Row, Safe, role, sealed_name
from authserver.keys.rows import SIGNS, described, target

BEFORE_AUTHORITY = timedelta(days=180)
BEFORE_LEAF = timedelta(days=10)
"""Less than is left of a leaf when it is rotated: it was not."""


@dataclass(frozen=True)
class Listed:
    """A key as an operator sees it: never its private half.

    ``state`` is waiting, active, retired or revoked; ``registry`` is whose own key it is.
    """

    role: str
    id: int
    key_id: str
    key_type: str
    subject: str
    not_before: datetime
    not_after: datetime
    state: str
    registry: str | None
    header_mode: str | None
    signs: bool


def rotate(change: Change, safe: Safe) -> SigningKeyRow:
    """Make a signing key under the active authority and retire the one before.

    Raises:
        NotReady: there is no authority, it has ended, or its private key does not open.
    """
    authority = key_rows.active_authority(change.session)
    if authority.not_after <= change.at:
        raise NotReady("there is no valid authority to certify a signing key")
    pair = keyring.make_leaf(safe.open(authority), change.at)
    before = signing(change.session)
    row = SigningKeyRow(
        authority_id=authority.id,
        header_mode=HeaderMode.X5C,
        certificate=pair.certificate_pem(),
        created_at=change.at,
        activated_at=change.at,
        revoked=False,
        not_after=pair.certificate.not_valid_after_utc,
    )
    key_rows.keep(change, safe, row, pair)
    change.record("key.add", target(row), after=described(row))
    if before is not None:
        key_rows.retire(before, change.at)
        change.record("key.retire", target(before))
    return row


def succeed(change: Change, safe: Safe, key_id: int) -> SigningKeyRow:
    """Make the key that follows a signing key: a leaf signs at once, a registry's own key waits.

    A second call with the same id changes nothing.

    Raises:
        NotFound: there is no such signing key.
        Refused: it does not sign, or not any more.
        NotReady: as :func:`rotate`.
    """
    row = change.session.get(SigningKeyRow, key_id)
    if row is None:
        raise NotFound(f"there is no signing key {key_id}: see `{program()} key list`")
    if row.activated_at is None or row.retired_at is not None:
        raise Refused(f"signing key {key_id} does not sign, or not any more: look again")
    if row.for_registry is not None:
        return registry_keys.succeed(change, safe, row.for_registry)
    return rotate(change, safe)


def rotate_if_due(change: Change, safe: Safe) -> bool:
    """Rotate if the signing key is due. Of two processes, the second finds that it is not."""
    present = signing(change.session)
    if present is not None:
        ends = key_rows.active_authority(change.session).not_after
        # One that ends with its authority is followed by none: it could not live any longer.
        if present.not_after >= ends or not keyring.due(key_rows.certificate(present), change.at):
            return False
    rotate(change, safe)
    return True


def signing(session: Session) -> SigningKeyRow | None:
    """Return the leaf that signs for every registry without a key of its own."""
    query = select(SigningKeyRow).where(SIGNS, SigningKeyRow.authority_id.is_not(None))
    return session.scalars(query.order_by(SigningKeyRow.id.desc())).first()


def require_signing(session: Session) -> SigningKeyRow:
    """Return the leaf that signs.

    Raises:
        NotReady: the store has no signing key.
    """
    present = signing(session)
    if present is None:
        raise NotReady(f"the store has no signing key: run `{program()} init`")
    return present


def load_leaf(session: Session, safe: Safe) -> KeyPair:
    """Return the leaf that signs, opened.

    Raises:
        NotReady: there is no signing key, or it does not open.
    """
    return safe.open(require_signing(session))


def revoke(change: Change, safe: Safe, key_id: int) -> SigningKeyRow:
    """Stop signing with a leaf, destroy its private half and publish it no more.

    If it is the one that signs, a new one takes its place.

    Raises:
        NotFound: there is no such signing key.
        Refused: it is revoked already, or a registry's own key, which has no successor yet.
    """
    row = change.session.get(SigningKeyRow, key_id)
    if row is None:
        raise NotFound(f"there is no signing key {key_id}: see `{program()} key list`")
    if row.revoked:
        raise Refused(f"signing key {key_id} is revoked already")
    if row.registry_id is not None and row.activated_at and not row.retired_at:
        service = row.for_registry.service if row.for_registry else ""
        raise Refused(
            f"signing key {key_id} is the own key of {the_registry(service)}: replace it there, "
            f"then revoke it: {shell_command('key', 'rotate', '--registry', service)}"
        )
    if row is signing(change.session):
        rotate(change, safe)
    key_rows.retire(row, row.retired_at or change.at)
    row.revoked = True
    change.record("key.revoke", target(row), before=described(row))
    return row


def issuer(session: Session) -> str:
    """Return the issuer of all registry tokens, fixed when the store was set up."""
    return session.scalars(select(StoreStateRow.issuer)).one()


def open_all(session: Session, safe: Safe) -> int:
    """Open every private key and return how many there are. Raises NotReady as Safe.open."""
    rows = [row for row in key_rows.all_rows(session) if row.retired_at is None]
    for row in rows:
        safe.open(row)
    return len(rows)


def rewrap(change: Change, safe: Safe, new: MasterKey) -> int:
    """Seal every private key, TOTP secret and the audit key anew; return how many private keys.

    Raises:
        NotReady: one does not open with the present one.
    """
    rows = [row for row in key_rows.all_rows(change.session) if row.private_key is not None]
    for row in rows:
        plain = safe.master.open(row.private_key or b"", sealed_name(row))
        row.private_key = new.seal(plain, sealed_name(row))
    second_factors.rewrap(
        change.session, lambda sealed, name: new.seal(safe.master.open(sealed, name), name)
    )
    change.trail.rewrap(change.session, new.seal)
    state = change.session.scalars(select(StoreStateRow)).one()
    before, state.master_key_id = state.master_key_id, new.id
    change.record(
        "store.rewrap", "store", before={"master_key": before}, after={"master_key": new.id}
    )
    return len(rows)


def listed(session: Session) -> list[Listed]:
    """Return every key, authorities first."""
    return [listing(row) for row in key_rows.all_rows(session)]


def listing(row: Row) -> Listed:
    """Return a key as an operator sees it."""
    signing_key = row if isinstance(row, SigningKeyRow) else None
    own = signing_key.for_registry if signing_key else None
    certificate, state = key_rows.certificate(row), _state(row)
    return Listed(
        role=role(row),
        id=row.id,
        key_id=keyring.key_id(certificate),
        key_type=keyring.type_name(certificate),
        subject=certificate.subject.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        state=state,
        registry=own.service if own else None,
        header_mode=signing_key.header_mode if signing_key else None,
        signs=signing_key is not None and state == "active",
    )


def _state(row: Row) -> str:
    if isinstance(row, SigningKeyRow) and row.revoked:
        return "revoked"
    if row.retired_at is not None:
        return "retired"
    if row.activated_at is None:
        return "waiting"
    return "active"


@dataclass(frozen=True, slots=True)
class Ending:
    """A key in use, its end, and the command that begins with its successor.

    Without a command it is followed by itself.
    """

    kind: Literal["authority", "signing key", "registry key"]
    name: str
    at: datetime
    told_before: timedelta
    command: str | None = None

    def is_near(self, now: datetime) -> bool:
        return self.at - now < self.told_before

    @property
    def warning(self) -> str:
        remedy = (
            f"begin with `{self.command}`"
            if self.command
            else "it should have been rotated; the log says why it was not"
        )
        return f"the {self.name} ends on {self.at:%Y-%m-%d %H:%M} UTC: {remedy}"


def endings_of(session: Session) -> tuple[Ending, ...]:
    """Return the ends of the keys that are in use."""
    return tuple(_of(session))


def _of(session: Session) -> Iterator[Ending]:
    authority = rows.active_authority(session)
    rotate = shell_command("key", "authority", "rotate")
    name = f"authority {authority.id}"
    yield Ending("authority", name, authority.not_after, BEFORE_AUTHORITY, rotate)
    leaf = signing(session)
    # One that ends with its authority cannot be followed by one that lives longer.
    if leaf is not None and leaf.not_after < authority.not_after:
        yield Ending("signing key", f"signing key {leaf.id}", leaf.not_after, BEFORE_LEAF)
    for row in session.scalars(
        select(SigningKeyRow).where(SIGNS, SigningKeyRow.registry_id.is_not(None))
    ):
        service = row.for_registry.service if row.for_registry else ""
        rotate_own = shell_command("key", "rotate", "--registry", service)
        name = f"signing key {row.id} of {the_registry(service)}"
        yield Ending("registry key", name, row.not_after, BEFORE_AUTHORITY, rotate_own)
