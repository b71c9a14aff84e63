"""The keys that some registries have of their own, because each must be named to them."""

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session, joinedload

from authserver.core.errors import NotFound, NotReady, Refused
from authserver.core.names import the_registry
from authserver.core.signatures import KEY_ID_MODES, HeaderMode, KeyType
from authserver.db.models import RegistryRow, SigningKeyRow
from authserver.db.store import Change
from authserver.keys import compatibility, jose, keyring, rows
from authserver.keys.compatibility import Trust, Version
from authserver.keys.header_modes import signer_of
from authserver.keys.jose import KeyPair, Signer
from authserver.keys.private_keys import Safe
from authserver.keys.rows import SIGNS, described, target

WAITS = SigningKeyRow.activated_at.is_(None) & SigningKeyRow.retired_at.is_(None)


def active(session: Session, registry: RegistryRow) -> SigningKeyRow | None:
    """Return the registry's own key that signs, None if the authority's leaf does."""
    return _one(session, registry, SIGNS)


def waiting(session: Session, registry: RegistryRow) -> SigningKeyRow | None:
    """Return the registry's own key that waits until the registry knows it."""
    return _one(session, registry, WAITS)


def header_mode(session: Session, registry: RegistryRow) -> HeaderMode:
    """Return the header mode that is in force for a registry."""
    row = active(session, registry)
    return HeaderMode(row.header_mode) if row else HeaderMode.X5C


def terms(registry: RegistryRow) -> dict[str, Any]:
    """Return what ``--json`` says of a registry's own keys.

    ``header_mode`` and ``key_type`` are as chosen: of the key that waits, if one does.
    """
    waits = next((row for row in registry.own_keys if row.activated_at is None), None)
    signs = next((row for row in registry.own_keys if row.activated_at is not None), None)
    key = waits or signs
    return {
        "header_mode": HeaderMode(key.header_mode) if key else HeaderMode.X5C,
        "key_type": _key_type(key) if key else KeyType.P256,
        "own_key": signs.id if signs else None,
        "waiting_key": waits.id if waits else None,
    }


def add(
    change: Change, safe: Safe, registry: RegistryRow, mode: HeaderMode, key_type: KeyType
) -> SigningKeyRow:
    """Make a key, which waits; one that waited before is given up."""
    pair = keyring.make_own(registry.service, key_type, change.at)
    return _add(change, safe, registry, mode, pair.certificate, pair)


def bring(
    change: Change,
    safe: Safe,
    registry: RegistryRow,
    mode: HeaderMode,
    certificate: x509.Certificate,
    pair: KeyPair | None,
) -> SigningKeyRow:
    """Add a key that was made elsewhere, which waits.

    Without ``pair`` its private key stays in the safe's directory.

    Raises:
        Refused: it is there already, or is not valid now.
        NotReady: its private key is not in the directory.
    """
    rows.require_importable(change, certificate)
    return _add(change, safe, registry, mode, certificate, pair)


def _add(
    change: Change,
    safe: Safe,
    registry: RegistryRow,
    mode: HeaderMode,
    certificate: x509.Certificate,
    pair: KeyPair | None,
) -> SigningKeyRow:
    give_up(change, registry)
    row = SigningKeyRow(
        registry_id=registry.id,
        header_mode=mode,
        certificate=rows.pem(certificate),
        created_at=change.at,
        revoked=False,
        not_after=certificate.not_valid_after_utc,
    )
    rows.keep(change, safe, row, pair)
    change.record("key.add", target(row), after={**described(row), "registry": registry.service})
    return row


def set_up(
    change: Change, safe: Safe, registry: RegistryRow, mode: HeaderMode, key_type: KeyType | None
) -> None:
    """Give a registry that was just added the key that its header mode needs, which signs at once.

    Raises:
        Refused: the registry cannot accept such tokens.
    """
    made = choose(change, safe, registry, mode, key_type)
    if made is not None:
        # Nobody uses this registry's tokens yet.
        activate(change, registry, made.id)
    require_accepted(change.session, registry)


def choose(
    change: Change, safe: Safe, registry: RegistryRow, mode: HeaderMode, key_type: KeyType | None
) -> SigningKeyRow | None:
    """Have a registry's tokens name their key in another way; return the key that waits, if any.

    ``x5c`` goes back to the authority's leaf, at once. Between the other modes the own key stays,
    and the mode is in force at once. A new key waits.

    Raises:
        Refused: the authority's leaves are of another type.
    """
    if mode is HeaderMode.X5C:
        _require_leaf_type(key_type)
        retire(change, registry)
        return None
    row = waiting(change.session, registry) or active(change.session, registry)
    if row is None or key_type not in (None, _key_type(row)):
        return add(change, safe, registry, mode, key_type or KeyType.P256)
    set_header_mode(change, row, mode)
    return waiting(change.session, registry)


def _require_leaf_type(key_type: KeyType | None) -> None:
    if key_type not in (None, KeyType.P256):
        raise Refused(
            f"the signing keys under the authority are {KeyType.P256}: a key of type {key_type} "
            f"needs the header mode {' or '.join(KEY_ID_MODES)}, or can be imported with "
            "`key import`"
        )


def require_accepted(session: Session, registry: RegistryRow) -> None:
    """Check that a registry can accept the tokens that it will get.

    Raises:
        Refused: its version or its trust do not allow it.
    """
    row = waiting(session, registry) or active(session, registry)
    mode = HeaderMode(row.header_mode) if row else HeaderMode.X5C
    version = Version(registry.version) if registry.version else None
    key_type = _key_type(row) if row else KeyType.P256
    compatibility.require_accepted(mode, key_type, version, Trust(registry.trust))


def signers(session: Session, safe: Safe) -> dict[str, Signer | NotReady]:
    """Return what signs for each registry with a key of its own, or why it cannot."""
    own = select(SigningKeyRow).where(SIGNS, SigningKeyRow.registry_id.is_not(None))
    loaded = own.options(joinedload(SigningKeyRow.for_registry))
    rows = session.scalars(loaded.order_by(SigningKeyRow.id))
    return {row.for_registry.service: _signer(row, safe) for row in rows if row.for_registry}


def _signer(row: SigningKeyRow, safe: Safe) -> Signer | NotReady:
    try:
        return signer_of(safe.open(row), HeaderMode(row.header_mode))
    except NotReady as error:
        # The other registries' tokens do not need this key.
        return error


def _key_type(row: SigningKeyRow) -> KeyType:
    public = jose.public_key(rows.certificate(row))
    return KeyType.RSA2048 if isinstance(public, RSAPublicKey) else KeyType.P256


def succeed(change: Change, safe: Safe, registry: RegistryRow) -> SigningKeyRow:
    """Make the key that follows the one that signs, of the same type and mode; it waits.

    Raises:
        NotFound: the registry has no key of its own.
    """
    row = active(change.session, registry)
    if row is None:
        raise NotFound(f"{the_registry(registry.service)} has no key of its own")
    return add(change, safe, registry, HeaderMode(row.header_mode), _key_type(row))


def activate(change: Change, registry: RegistryRow, key_id: int) -> SigningKeyRow:
    """Have the key that waits sign, and retire the one before.

    Raises:
        NotFound: none waits, or another one than ``key_id``.
    """
    row, before = waiting(change.session, registry), active(change.session, registry)
    if row is None or row.id != key_id:
        raise NotFound(f"key {key_id} does not wait any more for {the_registry(registry.service)}")
    row.activated_at = change.at
    change.record("key.activate", target(row), after={"registry": registry.service})
    if before is not None:
        _retire(change, before)
    return row


def activate_waiting(change: Change, key_id: int) -> SigningKeyRow:
    """Have a key that waits sign for its registry, which knows it. Raises as :func:`activate`."""
    row = change.session.get(SigningKeyRow, key_id)
    if row is None or row.for_registry is None:
        raise NotFound(f"no registry has a key {key_id} of its own")
    return activate(change, row.for_registry, key_id)


def give_up(change: Change, registry: RegistryRow) -> None:
    """Retire the key that waits, if there is one."""
    if (row := waiting(change.session, registry)) is not None:
        _retire(change, row)


def retire(change: Change, registry: RegistryRow) -> None:
    """Retire all of a registry's keys: it trusts the authority instead."""
    give_up(change, registry)
    if (row := active(change.session, registry)) is not None:
        _retire(change, row)


def delete_all(change: Change, registry: RegistryRow) -> None:
    """Delete the keys of a registry that is removed."""
    change.session.execute(delete(SigningKeyRow).where(SigningKeyRow.registry_id == registry.id))


def set_header_mode(change: Change, row: SigningKeyRow, mode: HeaderMode) -> None:
    """Name a key in another way; the key stays the same."""
    before, row.header_mode = row.header_mode, mode
    change.record(
        "key.edit", target(row), before={"header_mode": before}, after={"header_mode": mode}
    )


def _retire(change: Change, row: SigningKeyRow) -> None:
    rows.retire(row, change.at)
    change.record("key.retire", target(row))


def _one(
    session: Session, registry: RegistryRow, condition: ColumnElement[bool]
) -> SigningKeyRow | None:
    query = select(SigningKeyRow).where(SigningKeyRow.registry_id == registry.id, condition)
    return session.scalars(query.order_by(SigningKeyRow.id.desc())).first()
