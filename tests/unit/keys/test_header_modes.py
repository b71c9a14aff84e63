"""Key ids, public JWKs and JOSE headers."""

import base64
import json
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from authserver.core.errors import Refused
from authserver.core.signatures import KEY_ID_MODES, HeaderMode, KeyType
from authserver.keys.header_modes import (
    has_leading_zero,
    jose_header,
    key_id,
    libtrust_id,
    public_jwks,
    thumbprint,
)
from authserver.keys.jose import PublicKey, key_type, public_jwk
from authserver.keys.keyring import make_authority, make_leaf

NOW = datetime(2026, 3, 1, tzinfo=UTC)
P256 = ec.generate_private_key(ec.SECP256R1()).public_key()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()


def number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def from_coordinates(x: str, y: str) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicNumbers(number(x), number(y), ec.SECP256R1()).public_key()


# The key of Distribution's jwt.md.
SPEC = from_coordinates(
    "m7zUpx3b-zmVE5cymSs64POG9QcyEpJaYCD82-549_Q", "dU3biz8sZ_8GPB-odm8Wxz3lNDr1xcAQQPQaOcr1fmc"
)
# The key of RFC 7638, section 3.1.
RFC = rsa.RSAPublicNumbers(
    number("AQAB"),
    number(
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJ"
        "ECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW"
        "2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQ"
        "Fh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    ),
).public_key()


def test_ids_of_published_keys() -> None:
    assert libtrust_id(SPEC) == "PYYO:TEWU:V7JH:26JV:AQTZ:LJC3:SXVJ:XGHA:34F2:2LAQ:ZRMK:Z7Q6"
    assert thumbprint(SPEC) == "8qjioA3ZA7ti2JIE7c-U8smBFuZolQZvhSHDPU3hhB8"
    assert thumbprint(RFC) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("public", [P256, RSA])
def test_each_mode_has_its_id(public: PublicKey) -> None:
    assert key_id(public, HeaderMode.LIBTRUST) == libtrust_id(public)
    assert key_id(public, HeaderMode.RFC7638) == thumbprint(public)
    assert [jwk["kid"] for jwk in public_jwks(public)] == [thumbprint(public), libtrust_id(public)]
    assert len({key_id(public, mode) for mode in KEY_ID_MODES}) == len(KEY_ID_MODES)


@pytest.mark.parametrize(("public", "algorithm"), [(P256, "ES256"), (RSA, "RS256")])
def test_a_public_jwk_is_the_key_and_nothing_private(public: PublicKey, algorithm: str) -> None:
    jwk = public_jwk(public, "an id")
    assert jwt.PyJWK.from_dict(jwk).key.public_numbers() == public.public_numbers()
    assert (jwk["kid"], jwk["alg"], jwk["use"]) == ("an id", algorithm, "sig")
    assert not jwk.keys() & {"d", "p", "q", "dp", "dq", "qi"}
    json.dumps(jwk)


def test_only_x5c_carries_certificates() -> None:
    leaf = make_leaf(make_authority("authserver", NOW), NOW)
    public = leaf.certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    header = jose_header(HeaderMode.X5C, public, [leaf.certificate])
    assert [base64.b64decode(text, validate=True) for text in header["x5c"]] == [
        leaf.certificate.public_bytes(Encoding.DER)
    ]
    for mode in (HeaderMode.LIBTRUST, HeaderMode.RFC7638):
        assert jose_header(mode, public, [leaf.certificate]) == {
            "alg": "ES256",
            "kid": key_id(public, mode),
            "typ": "JWT",
        }


@pytest.mark.parametrize(
    ("public", "expected"), [(P256, KeyType.P256), (RSA, KeyType.RSA2048), (SPEC, KeyType.P256)]
)
def test_key_types(public: PublicKey, expected: KeyType) -> None:
    assert key_type(public) is expected


def test_other_keys_are_refused() -> None:
    large = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    for private in (
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        large,
    ):
        with pytest.raises(Refused, match="must be P-256 or RSA of 2048 bits"):
            key_type(private.public_key())


def test_leading_zeros_of_coordinates_are_seen() -> None:
    seen = set()
    # One key in 128 has one.
    for secret in range(1, 1000):
        public = ec.derive_private_key(secret, ec.SECP256R1()).public_key()
        coordinates = [public_jwk(public, "")[name] for name in "xy"]
        assert [len(text) for text in coordinates] == [43, 43]
        first_bytes = [number(text).to_bytes(32, "big")[0] for text in coordinates]
        assert has_leading_zero(public) == (0 in first_bytes)
        seen.add(has_leading_zero(public))
    assert seen == {True, False}
    assert not has_leading_zero(RSA)
