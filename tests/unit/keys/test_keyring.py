"""The authority, the signing keys under it, and what they sign."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from authserver.core.claims import Claims
from authserver.core.errors import NotReady, Refused
from authserver.core.signatures import HeaderMode, KeyType
from authserver.keys.header_modes import has_leading_zero, signer_of
from authserver.keys.jose import KeyPair
from authserver.keys.keyring import (
    LEAF_LIFETIME,
    ROTATED_AFTER,
    due,
    key_id,
    load_key_pair,
    make_authority,
    make_leaf,
    make_own,
    may_certify,
    read_certificate,
    read_private_key,
    type_name,
)
from authserver.registry.entries import TTL_MAX

NOW = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
AUTHORITY = make_authority("authserver", NOW)
LEAF = make_leaf(AUTHORITY, NOW)
LEAF_END = NOW + 45 * DAY


def basic_constraints(certificate: x509.Certificate) -> tuple[bool, int | None, bool]:
    found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    return found.value.ca, found.value.path_length, found.critical


def usages(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert found.critical
    names = ("digital_signature", "key_cert_sign", "crl_sign", "key_encipherment", "key_agreement")
    return {name for name in names if getattr(found.value, name)}


def test_the_authority_is_a_certificate_authority_for_leaves_only() -> None:
    assert basic_constraints(AUTHORITY.certificate) == (True, 0, True)
    assert usages(AUTHORITY.certificate) == {"key_cert_sign", "crl_sign"}
    assert type_name(AUTHORITY.certificate) == "p-256"
    AUTHORITY.certificate.verify_directly_issued_by(AUTHORITY.certificate)


def test_the_authority_is_valid_from_an_hour_ago_for_ten_years() -> None:
    certificate = AUTHORITY.certificate
    assert certificate.not_valid_before_utc == NOW - HOUR
    assert 3650 * DAY < certificate.not_valid_after_utc - NOW < 3654 * DAY


def test_two_authorities_have_different_names_and_keys() -> None:
    other = make_authority("authserver", NOW)
    assert other.certificate.subject != AUTHORITY.certificate.subject
    assert key_id(other.certificate) != key_id(AUTHORITY.certificate)


@pytest.mark.parametrize("issuer", ["a", "x" * 255, "https://auth.example.com/with,commas=and+all"])
def test_any_issuer_can_name_an_authority(issuer: str) -> None:
    [name] = make_authority(issuer, NOW).certificate.subject
    assert str(name.value).startswith(issuer[:30])
    assert len(name.value) <= 64


def test_a_leaf_signs_and_certifies_nothing() -> None:
    assert basic_constraints(LEAF.certificate) == (False, None, True)
    assert usages(LEAF.certificate) == {"digital_signature"}
    assert type_name(LEAF.certificate) == "p-256"


def test_a_leaf_is_valid_from_an_hour_ago_for_45_days() -> None:
    assert LEAF.certificate.not_valid_before_utc == NOW - HOUR
    assert LEAF.certificate.not_valid_after_utc == LEAF_END


def test_a_leaf_is_issued_by_its_authority_and_no_other() -> None:
    LEAF.certificate.verify_directly_issued_by(AUTHORITY.certificate)
    with pytest.raises((InvalidSignature, ValueError)):
        LEAF.certificate.verify_directly_issued_by(make_authority("authserver", NOW).certificate)


def test_a_leaf_names_the_key_of_its_authority() -> None:
    theirs = AUTHORITY.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    named = LEAF.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert named.value.key_identifier == theirs.value.digest


def test_two_leaves_share_nothing() -> None:
    other = make_leaf(AUTHORITY, NOW)
    assert other.certificate.serial_number != LEAF.certificate.serial_number
    assert other.certificate.subject != LEAF.certificate.subject
    assert key_id(other.certificate) != key_id(LEAF.certificate)


@pytest.mark.parametrize(
    "left", [50 * DAY, 45 * DAY, 44 * DAY, DAY, timedelta(seconds=1.5), timedelta(days=9.99)]
)
def test_a_leaf_never_outlives_its_authority(left: timedelta) -> None:
    end = AUTHORITY.certificate.not_valid_after_utc
    leaf = make_leaf(AUTHORITY, end - left)
    assert leaf.certificate.not_valid_after_utc <= min(end, end - left + 45 * DAY)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (NOW, False),
        (NOW + 30 * DAY - SECOND, False),
        (NOW + 30 * DAY, True),
        (LEAF_END - DAY, True),
        (LEAF_END + DAY, True),
    ],
)
def test_a_leaf_is_due_after_30_days(at: datetime, expected: bool) -> None:
    assert due(LEAF.certificate, at) is expected


def test_a_leaf_outlives_its_planned_retirement_by_the_longest_token_and_an_hour() -> None:
    assert timedelta(seconds=TTL_MAX) + HOUR <= LEAF_LIFETIME - ROTATED_AFTER


@pytest.mark.parametrize(("key_type", "algorithm"), [("p-256", "ES256"), ("rsa-2048", "RS256")])
def test_a_registrys_own_key_certifies_itself_and_nothing_else(
    key_type: str, algorithm: str
) -> None:
    own = make_own("registry.example.com", KeyType(key_type), NOW)
    own.certificate.verify_directly_issued_by(own.certificate)
    assert basic_constraints(own.certificate) == (False, None, True)
    assert usages(own.certificate) == {"digital_signature"}
    assert own.certificate.not_valid_after_utc - NOW > 3650 * DAY
    assert type_name(own.certificate) == key_type
    for mode in HeaderMode:
        token = signed(pair=own, mode=mode)
        header = jwt.get_unverified_header(token)
        assert header["alg"] == algorithm
        assert ("x5c" in header) == (mode is HeaderMode.X5C)
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        public: Any = own.certificate.public_key()
        jwt.decode(token, public, [algorithm], options, audience="registry")


def test_a_key_with_a_short_coordinate_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    short = next(
        key
        for key in (ec.derive_private_key(n, ec.SECP256R1()) for n in range(1, 2000))
        if has_leading_zero(key.public_key())
    )
    good = ec.derive_private_key(1, ec.SECP256R1())
    given = iter([short, short, good])
    monkeypatch.setattr(ec, "generate_private_key", lambda _: next(given))
    made = make_own("registry", KeyType.P256, NOW)
    assert made.private.public_key() == good.public_key()


# What was made elsewhere.


def pem_of(private: Any, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    pem: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return pem


def test_a_private_key_from_elsewhere_is_read() -> None:
    for private in (LEAF.private, rsa.generate_private_key(65537, 3072)):
        assert read_private_key(pem_of(private)).public_key() == private.public_key()


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (b"", "holds no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key"),
        (AUTHORITY.certificate_pem().encode(), "holds no private key"),
        (pem_of(AUTHORITY.private, b"secret"), "is encrypted"),
        (pem_of(ec.generate_private_key(ec.SECP384R1())), "must be a P-256 key, or an RSA key"),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), "must be a P-256 key, or an RSA key"),
        (pem_of(rsa.generate_private_key(65537, 1024)), "must be a P-256 key, or an RSA key"),
    ],
    ids=["empty", "damaged", "certificate", "encrypted", "p-384", "ed25519", "rsa-1024"],
)
def test_another_private_key_is_refused(pem: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        read_private_key(pem)


def test_one_certificate_is_read_and_no_more() -> None:
    pem = AUTHORITY.certificate_pem().encode()
    assert read_certificate(pem) == AUTHORITY.certificate
    with pytest.raises(Refused, match="holds 2 certificates"):
        read_certificate(pem + LEAF.certificate_pem().encode())
    with pytest.raises(Refused, match="holds no certificate"):
        read_certificate(pem_of(LEAF.private))


def test_only_an_authority_may_certify() -> None:
    assert may_certify(AUTHORITY.certificate)
    assert not may_certify(LEAF.certificate)
    assert not may_certify(certificate_of(LEAF.private.public_key()))
    name, public = x509.Name([]), LEAF.private.public_key()
    without_usage = x509.CertificateBuilder(name, name, public, 1, NOW, NOW + DAY).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    assert may_certify(without_usage.sign(AUTHORITY.private, hashes.SHA256()))


def test_a_leaf_names_its_authoritys_key_as_the_authority_does() -> None:
    name = x509.Name([])
    named = x509.SubjectKeyIdentifier(b"of its own making")
    builder = x509.CertificateBuilder(name, name, AUTHORITY.private.public_key(), 1, NOW, NOW + DAY)
    signed_by_itself = builder.add_extension(named, critical=False).sign(
        AUTHORITY.private, hashes.SHA256()
    )
    leaf = make_leaf(KeyPair(AUTHORITY.private, signed_by_itself), NOW).certificate
    found = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert found.value.key_identifier == named.digest
    without = builder.sign(AUTHORITY.private, hashes.SHA256())
    make_leaf(KeyPair(AUTHORITY.private, without), NOW).certificate.verify_directly_issued_by(
        without
    )


def test_a_key_pair_that_was_kept_is_the_same() -> None:
    kept = load_key_pair(LEAF.private_der(), LEAF.certificate_pem())
    assert kept.certificate == LEAF.certificate
    assert kept.private_der() == LEAF.private_der()


def test_a_key_of_another_certificate_is_refused() -> None:
    with pytest.raises(NotReady, match="does not belong to its certificate"):
        load_key_pair(LEAF.private_der(), AUTHORITY.certificate_pem())


def test_a_key_of_another_kind_is_refused() -> None:
    der = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )
    with pytest.raises(NotReady, match="does not belong to its certificate"):
        load_key_pair(der, LEAF.certificate_pem())


def certificate_of(public: Any) -> x509.Certificate:
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, public, 1, NOW, NOW + DAY)
    return builder.sign(AUTHORITY.private, hashes.SHA256())


def number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "="), "big")


def test_the_key_id_is_the_rfc_7638_thumbprint() -> None:
    # The example key of Distribution's jwt.md.
    x = number("m7zUpx3b-zmVE5cymSs64POG9QcyEpJaYCD82-549_Q")
    y = number("dU3biz8sZ_8GPB-odm8Wxz3lNDr1xcAQQPQaOcr1fmc")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    assert key_id(certificate_of(public)) == "8qjioA3ZA7ti2JIE7c-U8smBFuZolQZvhSHDPU3hhB8"


def test_a_short_coordinate_is_padded_in_the_key_id() -> None:
    publics = (ec.derive_private_key(n, ec.SECP256R1()).public_key() for n in range(1, 2000))
    public = next(p for p in publics if p.public_numbers().x < 2**248)
    jwk: dict[str, str] = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    assert len(jwk["x"]) == 43
    assert number(jwk["x"]) == public.public_numbers().x
    members = ",".join(f'"{name}":"{jwk[name]}"' for name in ("crv", "kty", "x", "y"))
    digest = hashes.Hash(hashes.SHA256())
    digest.update(f"{{{members}}}".encode())
    expected = base64.urlsafe_b64encode(digest.finalize()).decode().rstrip("=")
    assert key_id(certificate_of(public)) == expected


def test_a_certificate_of_another_kind_of_key_has_no_key_id() -> None:
    with pytest.raises(NotReady, match="unknown kind"):
        key_id(certificate_of(ed25519.Ed25519PrivateKey.generate().public_key()))


def signed(at: datetime = NOW, pair: KeyPair = LEAF, mode: HeaderMode = HeaderMode.X5C) -> str:
    claims = Claims.of("authserver", "alice", "registry", 300, ())
    return signer_of(pair, mode).sign(claims.encode(int(at.timestamp()), "id"), at)


def test_a_token_carries_the_leaf_and_its_key_id() -> None:
    header = jwt.get_unverified_header(signed())
    der = LEAF.certificate.public_bytes(Encoding.DER)
    assert header == {
        "alg": "ES256",
        "typ": "JWT",
        "kid": key_id(LEAF.certificate),
        "x5c": [base64.standard_b64encode(der).decode()],
    }


def test_a_token_verifies_with_the_leaf_that_it_carries() -> None:
    token = signed()
    [sent] = jwt.get_unverified_header(token)["x5c"]
    leaf = x509.load_der_x509_certificate(base64.b64decode(sent, validate=True))
    leaf.verify_directly_issued_by(AUTHORITY.certificate)
    public: Any = leaf.public_key()
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    read = jwt.decode(token, public, ["ES256"], options, audience="registry", issuer="authserver")
    issued_at = int(NOW.timestamp())
    assert read == {
        "iss": "authserver",
        "sub": "alice",
        "aud": "registry",
        "exp": issued_at + 300,
        "nbf": issued_at - 30,
        "iat": issued_at,
        "jti": "id",
        "access": [],
    }


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (LEAF_END, "expired at 2026-04-15 12:30 UTC"),
        (LEAF_END + SECOND, "expired"),
        (LEAF_END + 365 * DAY, "expired"),
        (NOW - HOUR - SECOND, "not valid yet"),
    ],
)
def test_a_leaf_signs_nothing_outside_its_life(at: datetime, why: str) -> None:
    with pytest.raises(NotReady, match=why):
        signed(at)
    with pytest.raises(NotReady, match=why):
        signer_of(LEAF).require_usable(at)


@pytest.mark.parametrize("at", [NOW - HOUR, NOW, LEAF_END - SECOND])
def test_a_leaf_signs_during_its_life(at: datetime) -> None:
    signer_of(LEAF).require_usable(at)
    assert signed(at)


def test_the_private_key_is_not_shown() -> None:
    assert isinstance(LEAF.private, ec.EllipticCurvePrivateKey)
    secret = LEAF.private.private_numbers().private_value
    for shown in (repr(LEAF), repr(signer_of(LEAF))):
        assert "EllipticCurvePrivateKey" not in shown
        assert str(secret) not in shown
