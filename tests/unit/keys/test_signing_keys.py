"""The keys in the store: authorities, leaves, the registries' own keys, and where they are kept."""

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import select, update

from authserver.core.errors import NotFound, NotReady, Refused
from authserver.core.signatures import HeaderMode, KeyType
from authserver.db import schema
from authserver.db.models import AuditRecord, AuthorityRow, RegistryRow, SigningKeyRow
from authserver.db.store import Change, Store, open_store
from authserver.keys import authorities, keyring, registry_keys, signing_keys
from authserver.keys.compatibility import Trust, Version
from authserver.keys.header_modes import libtrust_id, thumbprint
from authserver.keys.jose import KeyPair, Signer, public_key
from authserver.keys.keyring import key_id, make_authority, make_own
from authserver.keys.master_key import (
    MasterKey,
    beside,
    find_master_key,
    make_master_key,
    take_over,
)
from authserver.keys.private_keys import Safe
from authserver.registry import entries, published_keys
from authserver.registry.entries import Installation
from tests.world import SERVICE, Clock

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LIBTRUST, RFC7638, X5C = HeaderMode.LIBTRUST, HeaderMode.RFC7638, HeaderMode.X5C

Act = Callable[[Change], Any]


def do(store: Store, act: Act) -> Any:
    with store.change("cli:tester") as change:
        return act(change)


def refused(store: Store, act: Act, match: str, error: type[Exception] = Refused) -> None:
    """Check that a change is refused and leaves nothing behind."""
    before = audited(store)
    with pytest.raises(error, match=match):
        do(store, act)
    assert audited(store) == before


def audited(store: Store, since: int = 0) -> list[str]:
    with store.read() as session:
        rows = session.scalars(select(AuditRecord).order_by(AuditRecord.id)).all()
    return [f"{row.action} {row.target}" for row in rows][since:]


def states(store: Store) -> list[str]:
    with store.read() as session:
        return [f"{key.role} {key.id} {key.state}" for key in signing_keys.listed(session)]


def row(store: Store, kind: type[AuthorityRow] | type[SigningKeyRow], number: int) -> Any:
    with store.read() as session:
        return session.get(kind, number)


def bundle(store: Store, clock: Clock, service: str | None = None) -> list[x509.Certificate]:
    text = shown(store, clock, service).bundle
    return x509.load_pem_x509_certificates(text.encode()) if text else []


def shown(store: Store, clock: Clock, service: str | None = None) -> published_keys.PublishedKeys:
    with store.read() as session:
        return published_keys.by_registry(session, clock.at)[service]


def registry(change: Change, service: str = SERVICE) -> RegistryRow:
    return change.session.scalars(select(RegistryRow).where(RegistryRow.service == service)).one()


def own(store: Store, safe: Safe, mode: HeaderMode, key_type: KeyType = KeyType.P256) -> int:
    """Give the registry a key of its own that signs; return its id."""

    def act(change: Change) -> int:
        made = registry_keys.add(change, safe, registry(change), mode, key_type)
        return registry_keys.activate(change, registry(change), made.id).id

    return int(do(store, act))


def next_authority(store: Store, safe: Safe) -> int:
    return int(do(store, lambda c: authorities.add(c, safe, "authserver")).id)


# Leaves.


def test_rotation_makes_a_key_and_destroys_the_private_half_of_the_one_before(
    store: Store, safe: Safe
) -> None:
    do(store, lambda c: signing_keys.rotate(c, safe))
    assert states(store) == ["authority 1 active", "signing key 1 retired", "signing key 2 active"]
    assert row(store, SigningKeyRow, 1).private_key is None
    with store.read() as session:
        assert signing_keys.load_leaf(session, safe).private_der()
        with pytest.raises(NotReady, match="signing key 1 was destroyed: it is retired"):
            safe.open(row(store, SigningKeyRow, 1))
    assert audited(store)[-2:] == ["key.add key:2", "key.retire key:1"]


def test_it_is_rotated_once_when_it_is_due(store: Store, safe: Safe, clock: Clock) -> None:
    assert not do(store, lambda c: signing_keys.rotate_if_due(c, safe))
    clock.move(30 * DAY)
    assert do(store, lambda c: signing_keys.rotate_if_due(c, safe))
    before = audited(store)
    assert not do(store, lambda c: signing_keys.rotate_if_due(c, safe))
    assert audited(store) == before


def test_a_leaf_that_ends_with_its_authority_is_followed_by_none(
    store: Store, safe: Safe, clock: Clock
) -> None:
    clock.move(3652 * DAY - 40 * DAY)
    assert do(store, lambda c: signing_keys.rotate_if_due(c, safe))
    clock.move(35 * DAY)
    assert not do(store, lambda c: signing_keys.rotate_if_due(c, safe))


def test_an_authority_that_has_ended_certifies_nothing(
    store: Store, safe: Safe, clock: Clock
) -> None:
    clock.move(3660 * DAY)
    refused(store, lambda c: signing_keys.rotate(c, safe), "no valid authority", NotReady)


def test_private_keys_cannot_be_exchanged(store: Store, safe: Safe) -> None:
    with store.append() as session:
        authority, leaf = session.get(AuthorityRow, 1), session.get(SigningKeyRow, 1)
        assert authority is not None
        assert leaf is not None
        authority.private_key, leaf.private_key = leaf.private_key, authority.private_key
    with store.read() as session, pytest.raises(NotReady, match="signing key 1 does not open"):
        signing_keys.load_leaf(session, safe)


def test_every_private_key_opens_with_the_right_master_key_only(store: Store, safe: Safe) -> None:
    own(store, safe, LIBTRUST, KeyType.RSA2048)
    wrong = replace(safe, master=MasterKey(b"w" * 32))
    with store.read() as session:
        assert signing_keys.open_all(session, safe) == 3
        with pytest.raises(NotReady, match="private key of authority 1 does not open"):
            signing_keys.open_all(session, wrong)
        with pytest.raises(NotReady, match="does not open"):
            signing_keys.load_leaf(session, wrong)


def test_a_store_that_was_not_set_up_is_not_ready(tmp_path: Path, clock: Clock, safe: Safe) -> None:
    (tmp_path / "empty.db").touch()
    empty = open_store(f"sqlite:///{tmp_path / 'empty.db'}", clock)
    schema.upgrade(empty.engine)
    with empty.read() as session:
        with pytest.raises(NotReady, match="authserver init"):
            schema.require_initialised(session)
        with pytest.raises(NotReady, match="no signing key"):
            signing_keys.load_leaf(session, safe)
    with pytest.raises(NotReady, match="no valid authority"):
        do(empty, lambda c: signing_keys.rotate(c, safe))
    empty.engine.dispose()


def test_no_private_key_is_in_the_store_in_clear(store: Store, safe: Safe, data_dir: Path) -> None:
    own(store, safe, LIBTRUST, KeyType.RSA2048)
    with store.read() as session:
        found = session.scalars(select(SigningKeyRow)).all()
        secrets = [safe.open(key).private_der() for key in found]
    # How unencrypted PKCS #8 begins, for P-256 and RSA.
    begins = [bytes.fromhex("06072a8648ce3d020106082a8648ce3d030107046d"), secrets[1][:26]]
    store.engine.dispose()
    for path in data_dir.glob("authserver.db*"):
        kept = path.read_bytes()
        assert b"PRIVATE KEY" not in kept
        assert not any(secret in kept for secret in [*secrets, *begins])


# Revoking.


def test_a_revoked_leaf_is_replaced_and_published_no_more(
    store: Store, safe: Safe, clock: Clock
) -> None:
    revoked = key_id(keyring.load_key_pair(opened(store, safe, 1), pem(store, 1)).certificate)
    do(store, lambda c: signing_keys.revoke(c, safe, 1))
    assert states(store)[1:] == ["signing key 1 revoked", "signing key 2 active"]
    assert row(store, SigningKeyRow, 1).private_key is None
    assert revoked not in shown(store, clock).jwks
    assert audited(store)[-1] == "key.revoke key:1"


def opened(store: Store, safe: Safe, number: int) -> bytes:
    return safe.open(row(store, SigningKeyRow, number)).private_der()


def pem(store: Store, number: int) -> str:
    return str(row(store, SigningKeyRow, number).certificate)


def test_a_retired_leaf_can_be_revoked_and_nothing_else_changes(store: Store, safe: Safe) -> None:
    do(store, lambda c: signing_keys.rotate(c, safe))
    do(store, lambda c: signing_keys.revoke(c, safe, 1))
    assert states(store)[1:] == ["signing key 1 revoked", "signing key 2 active"]


def test_what_cannot_be_revoked(store: Store, safe: Safe) -> None:
    number = own(store, safe, LIBTRUST)
    refused(store, lambda c: signing_keys.revoke(c, safe, 99), "no signing key 99", NotFound)
    refused(store, lambda c: signing_keys.revoke(c, safe, number), f"rotate --registry {SERVICE}")
    do(store, lambda c: signing_keys.revoke(c, safe, 1))
    refused(store, lambda c: signing_keys.revoke(c, safe, 1), "revoked already")


# The authority.


def test_an_authority_is_replaced_step_by_step(store: Store, safe: Safe, clock: Clock) -> None:
    first = bundle(store, clock)
    assert next_authority(store, safe) == 2
    both = bundle(store, clock)
    assert both[:1] == first
    assert len(both) == 2
    assert do(store, lambda c: signing_keys.rotate(c, safe)).authority_id == 1, (
        "nothing signs under it yet"
    )
    do(store, lambda c: authorities.confirm(c, SERVICE))
    do(store, lambda c: authorities.activate(c, safe))
    with store.read() as session:
        signing_keys.load_leaf(session, safe).certificate.verify_directly_issued_by(both[1])
    assert bundle(store, clock) == both, "tokens under the first are in use"
    clock.move(timedelta(seconds=300) + HOUR)
    do(store, lambda c: authorities.retire(c, None, timedelta(seconds=300)))
    assert bundle(store, clock) == both[1:]
    assert row(store, AuthorityRow, 1).private_key is None
    assert states(store)[:2] == ["authority 1 retired", "authority 2 active"]
    assert audited(store)[-5:] == [
        "authority.confirm registry:registry",
        "authority.activate authority:2",
        "key.add key:3",
        "key.retire key:2",
        "authority.retire authority:1",
    ]


def test_it_is_not_activated_before_every_registry_is_confirmed(store: Store, safe: Safe) -> None:
    do(store, lambda c: entries.add(c, "other"))
    do(store, lambda c: authorities.confirm(c, SERVICE))
    next_authority(store, safe)
    refused(store, lambda c: authorities.activate(c, safe), "trust authority 2: other, registry")
    do(store, lambda c: authorities.confirm(c, SERVICE))
    refused(store, lambda c: authorities.activate(c, safe), "trust authority 2: other. Give")
    do(store, lambda c: authorities.activate(c, safe, force=True))


def test_a_registry_with_a_key_of_its_own_need_not_be_confirmed(store: Store, safe: Safe) -> None:
    own(store, safe, LIBTRUST)
    next_authority(store, safe)
    do(store, lambda c: authorities.activate(c, safe))


def test_one_authority_waits_at_a_time_and_can_be_given_up(
    store: Store, safe: Safe, clock: Clock
) -> None:
    next_authority(store, safe)
    refused(store, lambda c: authorities.add(c, safe, "x"), "authority 2 waits already")
    do(store, lambda c: authorities.retire(c, 2, timedelta(0)))
    assert len(bundle(store, clock)) == 1
    refused(store, lambda c: authorities.activate(c, safe), "no authority waits", NotFound)
    assert next_authority(store, safe) == 3


def test_what_cannot_be_retired(store: Store, safe: Safe, clock: Clock) -> None:
    life = timedelta(seconds=300)
    refused(store, lambda c: authorities.retire(c, 1, life), "certifies the signing key")
    refused(store, lambda c: authorities.retire(c, None, life), "no authority before", NotFound)
    refused(store, lambda c: authorities.retire(c, 9, life), "no authority 9", NotFound)
    next_authority(store, safe)
    do(store, lambda c: authorities.activate(c, safe, force=True))
    clock.move(life + HOUR - timedelta(seconds=1))
    refused(store, lambda c: authorities.retire(c, None, life), "may be in use until")
    do(store, lambda c: authorities.retire(c, None, life, force=True))
    refused(store, lambda c: authorities.retire(c, 1, life), "no authority 1", NotFound)


def test_the_bundle_holds_no_authority_that_has_ended(store: Store, clock: Clock) -> None:
    clock.move(3660 * DAY)
    assert bundle(store, clock) == []


# The registries' own keys.


def test_a_registrys_own_key_waits_until_it_is_activated(
    store: Store, safe: Safe, clock: Clock
) -> None:
    made = do(store, lambda c: registry_keys.add(c, safe, registry(c), RFC7638, KeyType.RSA2048))
    with store.read() as session:
        assert registry_keys.signers(session, safe) == {}
    assert len(bundle(store, clock, SERVICE)) == 2, "the registry learns both"
    do(store, lambda c: registry_keys.activate(c, registry(c), made.id))
    with store.read() as session:
        signer = registry_keys.signers(session, safe)[SERVICE]
        leaf = signing_keys.load_leaf(session, safe)
    assert isinstance(signer, Signer)
    assert signer.headers["kid"] == thumbprint(public_key(signer.pair.certificate))
    assert (signer.headers["alg"], "x5c" in signer.headers) == ("RS256", False)
    assert leaf.certificate != signer.pair.certificate


def test_an_own_key_is_rotated_in_two_steps(store: Store, safe: Safe, clock: Clock) -> None:
    first = own(store, safe, LIBTRUST)
    second = do(store, lambda c: registry_keys.succeed(c, safe, registry(c))).id
    old, new = bundle(store, clock, SERVICE)[1], bundle(store, clock, SERVICE)[0]
    assert len(bundle(store, clock, SERVICE)) == 3
    do(store, lambda c: registry_keys.activate(c, registry(c), second))
    assert row(store, SigningKeyRow, first).private_key is None
    assert old in bundle(store, clock, SERVICE), "tokens that it signed are in use"
    clock.move(DAY + HOUR)
    assert bundle(store, clock, SERVICE)[:-1] == [new]
    refused(
        store, lambda c: registry_keys.activate(c, registry(c), second), "does not wait", NotFound
    )


def test_the_mode_is_changed_and_the_key_stays(store: Store, safe: Safe) -> None:
    number = own(store, safe, LIBTRUST)
    assert do(store, lambda c: registry_keys.choose(c, safe, registry(c), RFC7638, None)) is None
    assert row(store, SigningKeyRow, number).header_mode == RFC7638
    waits = do(
        store, lambda c: registry_keys.choose(c, safe, registry(c), RFC7638, KeyType.RSA2048)
    )
    assert waits.id == number + 1
    do(store, lambda c: registry_keys.choose(c, safe, registry(c), X5C, None))
    assert [s.split()[-1] for s in states(store)[2:]] == ["retired", "retired"]
    with store.read() as session:
        assert registry_keys.signers(session, safe) == {}


def test_leaves_have_one_type(store: Store, safe: Safe) -> None:
    refused(
        store,
        lambda c: registry_keys.choose(c, safe, registry(c), X5C, KeyType.RSA2048),
        "under the authority are p-256",
    )


def test_what_a_registry_cannot_accept_is_refused(store: Store, safe: Safe) -> None:
    def check(change: Change) -> None:
        registry_keys.require_accepted(change.session, registry(change))

    do(store, check)
    v3 = Version.V3_0
    do(
        store,
        lambda c: entries.edit(c, SERVICE, installation=Installation(None, v3, Trust.JWKS)),
    )
    refused(store, check, "only a JWKS refuses every token with x5c")
    own(store, safe, RFC7638)
    do(store, check)
    do(store, lambda c: entries.edit(c, SERVICE, installation=Installation(None, v3)))
    refused(store, check, "one wrong key id for all P-256 keys")


def test_a_removed_registrys_keys_are_deleted(store: Store, safe: Safe) -> None:
    own(store, safe, LIBTRUST)
    do(store, lambda c: entries.remove(c, SERVICE))
    assert states(store) == ["authority 1 active", "signing key 1 active"]


def test_an_own_key_that_does_not_open_leaves_the_others_alone(store: Store, safe: Safe) -> None:
    number = own(store, safe, LIBTRUST)
    with store.append() as session:
        broken = update(SigningKeyRow).where(SigningKeyRow.id == number)
        session.execute(broken.values(private_key=b"x" * 50))
    with store.read() as session:
        assert isinstance(registry_keys.signers(session, safe)[SERVICE], NotReady)
        signing_keys.load_leaf(session, safe)


# What is published.


def test_every_key_is_in_the_jwks_under_both_ids(store: Store, safe: Safe, clock: Clock) -> None:
    own(store, safe, LIBTRUST, KeyType.RSA2048)
    do(store, lambda c: entries.add(c, "other"))
    for service, numbers in ((None, (2, 1)), (SERVICE, (2,)), ("other", (1,))):
        publics = [
            public_key(x509.load_pem_x509_certificate(pem(store, number).encode()))
            for number in numbers
        ]
        expected = [kid for public in publics for kid in (thumbprint(public), libtrust_id(public))]
        found = jwks(store, clock, service)
        assert [key["kid"] for key in found] == expected
        assert not any(key.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"} for key in found)


def jwks(store: Store, clock: Clock, service: str | None = None) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(shown(store, clock, service).jwks)["keys"]
    return found


def test_a_retired_leaf_is_shown_as_long_as_its_tokens_live(
    store: Store, safe: Safe, clock: Clock
) -> None:
    do(store, lambda c: signing_keys.rotate(c, safe))
    assert len(jwks(store, clock)) == 4
    clock.move(DAY + HOUR)
    assert len(jwks(store, clock)) == 2


def test_the_algorithms_are_those_of_the_keys_that_sign_now_or_next(
    store: Store, safe: Safe, clock: Clock
) -> None:
    def algorithms() -> list[str]:
        with store.change("test") as change:
            return published_keys.algorithms(change.session, registry(change), clock.at)

    assert algorithms() == ["ES256"]
    made = do(store, lambda c: registry_keys.add(c, safe, registry(c), RFC7638, KeyType.RSA2048))
    assert algorithms() == ["ES256", "RS256"]
    do(store, lambda c: registry_keys.activate(c, registry(c), made.id))
    assert algorithms() == ["RS256"]


# Keys that were made elsewhere.


def outside(directory: Path, pair: KeyPair, mode: int = 0o600) -> Path:
    """Put a private key where a secret manager would."""
    directory.mkdir(exist_ok=True)
    path = directory / "tls.key"
    path.write_bytes(pair.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(mode)
    (directory / "ca.crt").write_text(pair.certificate_pem())
    return path


def test_an_authority_from_elsewhere_certifies(store: Store, safe: Safe, clock: Clock) -> None:
    theirs = make_authority("another", clock.at)
    do(store, lambda c: authorities.bring(c, safe, theirs.certificate, theirs))
    do(store, lambda c: authorities.activate(c, safe, force=True))
    with store.read() as session:
        leaf = signing_keys.load_leaf(session, safe)
    leaf.certificate.verify_directly_issued_by(theirs.certificate)


@pytest.mark.parametrize("days", [-1, 3653])
def test_a_certificate_that_is_not_valid_now_is_refused(
    store: Store, safe: Safe, clock: Clock, days: int
) -> None:
    theirs = make_authority("another", clock.at)
    clock.move(timedelta(days=days))
    refused(store, lambda c: authorities.bring(c, safe, theirs.certificate, theirs), "and not now")


def test_a_key_is_there_once(store: Store, safe: Safe, clock: Clock) -> None:
    pair = make_own(SERVICE, KeyType.P256, clock.at)
    act: Act = lambda c: registry_keys.bring(c, safe, registry(c), X5C, pair.certificate, pair)  # noqa: E731
    do(store, act)
    refused(store, act, "this key is there already: signing key 2")


def test_a_private_key_in_a_file_never_enters_the_store(
    store: Store, safe: Safe, clock: Clock, tmp_path: Path
) -> None:
    pair = make_own(SERVICE, KeyType.P256, clock.at)
    path = outside(tmp_path / "keys", pair)
    near = replace(safe, directory=path.parent)
    made = do(
        store, lambda c: registry_keys.bring(c, near, registry(c), X5C, pair.certificate, None)
    )
    do(store, lambda c: registry_keys.activate(c, registry(c), made.id))
    assert row(store, SigningKeyRow, made.id).private_key is None
    with store.read() as session:
        signer = registry_keys.signers(session, near)[SERVICE]
        assert isinstance(signer, Signer)
        assert signer.pair.private_der() == pair.private_der()
        assert signing_keys.open_all(session, near) == 3
        path.chmod(0o604)
        assert "open to everyone" in str(registry_keys.signers(session, near)[SERVICE])
        path.unlink()
        assert f"in no file of {path.parent}" in str(registry_keys.signers(session, near)[SERVICE])
        assert "PRIVATE_KEY_DIR, which is not set" in str(
            registry_keys.signers(session, safe)[SERVICE]
        )


def test_an_authoritys_private_key_may_be_in_a_file(
    store: Store, safe: Safe, clock: Clock, tmp_path: Path
) -> None:
    theirs = make_authority("another", clock.at)
    near = replace(safe, directory=outside(tmp_path / "keys", theirs).parent)
    refused(
        store,
        lambda c: authorities.bring(c, safe, theirs.certificate, None),
        "is in no file",
        NotReady,
    )
    do(store, lambda c: authorities.bring(c, near, theirs.certificate, None))
    do(store, lambda c: authorities.activate(c, near, force=True))
    with store.read() as session:
        # What was refused has taken an id on PostgreSQL.
        brought = session.scalars(select(AuthorityRow).order_by(AuthorityRow.id.desc())).first()
    assert brought is not None
    assert brought.private_key is None


# The master key.


def test_private_keys_are_sealed_with_another_master_key(store: Store, safe: Safe) -> None:
    own(store, safe, LIBTRUST, KeyType.RSA2048)
    do(store, lambda c: signing_keys.rotate(c, safe))
    path = safe.master_key_path
    before = opened(store, safe, 3)
    new = make_master_key(beside(path))
    assert do(store, lambda c: signing_keys.rewrap(c, safe, new)) == 3
    with store.read() as session:
        found = Safe.of(session, path, None)
        assert found.master == new, "before its file is in its place"
        assert signing_keys.open_all(session, found) == 3
        with pytest.raises(NotReady, match="does not open"):
            signing_keys.open_all(session, safe)
    take_over(path)
    assert not beside(path).exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert find_master_key(path, new.id) == new
    assert opened(store, replace(safe, master=new), 3) == before
    assert audited(store)[-1] == "store.rewrap store"


def test_what_does_not_open_stops_the_change_of_the_master_key(store: Store, safe: Safe) -> None:
    with store.append() as session:
        session.execute(update(AuthorityRow).values(private_key=b"x" * 50))
    new = MasterKey(b"n" * 32)
    refused(
        store, lambda c: signing_keys.rewrap(c, safe, new), "authority 1 does not open", NotReady
    )
    with store.read() as session:
        assert Safe.of(session, safe.master_key_path, None).master == safe.master


def test_a_master_key_that_fits_neither_says_what_to_bring(store: Store, safe: Safe) -> None:
    make_master_key(beside(safe.master_key_path))
    do(store, lambda c: signing_keys.rewrap(c, safe, MasterKey(b"n" * 32)))
    with (
        store.read() as session,
        pytest.raises(NotReady, match=r"is not the one of this store .*bring the master key file"),
    ):
        Safe.of(session, safe.master_key_path, None)


# Ends.


def test_the_ends_of_all_keys_in_use_are_known(store: Store, safe: Safe, clock: Clock) -> None:
    own(store, safe, LIBTRUST)
    with store.read() as session:
        found = signing_keys.endings_of(session)
    assert [ending.name for ending in found] == [
        "authority 1",
        "signing key 1",
        "signing key 2 of the registry",
    ]
    assert not any(ending.is_near(clock.at) for ending in found)
    assert [ending.is_near(clock.at + 36 * DAY) for ending in found] == [False, True, False]
    assert "--registry registry" in found[2].warning
