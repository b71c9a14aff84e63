"""How a registry token says which key signed it: key ids, public JWKs, JOSE headers.

A registry looks for a token's key by ``x5c``, the certificate itself, or by ``kid``, a key id that
it computes for each certificate of its bundle or reads in its JWKS. Distribution 2.8 computes the
libtrust fingerprint, 3.x the RFC 7638 thumbprint.
"""

import base64
import hashlib
import json
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authserver.core.errors import Refused

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

FINGERPRINT_BYTES = 30
P256_BYTES = 32
RSA_BITS = 2048


class HeaderMode(StrEnum):
    """How a token names its key to one registry."""

    X5C = "x5c"
    LIBTRUST = "libtrust"
    RFC7638 = "rfc7638"


KEY_ID_MODES = tuple(mode for mode in HeaderMode if mode is not HeaderMode.X5C)
"""The modes that name a key of the registry's own by its id."""

MODES_HELP = (
    "x5c (the certificate; the usual way), or a key id that Distribution 2.8 (libtrust) or 3 "
    "(rfc7638) computes, with a key of its own."
)


class KeyType(StrEnum):
    """What a signing key is made of; the value is what an operator writes."""

    P256 = "p-256"
    RSA2048 = "rsa-2048"


ALGORITHMS = {KeyType.P256: "ES256", KeyType.RSA2048: "RS256"}


def key_type(public: CertificatePublicKeyTypes) -> KeyType:
    """Return the type of a public key.

    Raises:
        Refused: it is neither P-256 nor RSA of 2048 bits.
    """
    match public:
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return KeyType.P256
        case rsa.RSAPublicKey(key_size=size) if size == RSA_BITS:
            return KeyType.RSA2048
    raise Refused(f"a signing key must be P-256 or RSA of {RSA_BITS} bits")


def algorithm(public: PublicKey) -> str:
    """Return the JWS algorithm of a key, RSA of any size (RFC 7518, 3.1)."""
    return ALGORITHMS[KeyType.RSA2048 if isinstance(public, rsa.RSAPublicKey) else KeyType.P256]


def libtrust_id(public: PublicKey) -> str:
    """Return the key id that Distribution 2.8 computes: 12 groups of base32."""
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(der).digest()[:FINGERPRINT_BYTES]
    text = base64.b32encode(digest).decode()
    return ":".join(text[i : i + 4] for i in range(0, len(text), 4))


def thumbprint(public: PublicKey) -> str:
    """Return the key id that Distribution 3.x computes: RFC 7638, SHA-256."""
    canonical = json.dumps(_members(public), separators=(",", ":"), sort_keys=True)
    return base64url(hashlib.sha256(canonical.encode()).digest())


_KEY_IDS: dict[HeaderMode, Callable[[PublicKey], str]] = {
    HeaderMode.RFC7638: thumbprint,
    HeaderMode.LIBTRUST: libtrust_id,
}


def key_id(public: PublicKey, mode: HeaderMode) -> str:
    """Return the ``kid`` of ``mode``; beside ``x5c`` no registry looks at it."""
    return _KEY_IDS.get(mode, thumbprint)(public)


def jose_header(
    mode: HeaderMode, public: PublicKey, chain: Sequence[x509.Certificate] = ()
) -> dict[str, Any]:
    """Return the header of tokens that ``public``'s private half signs (RFC 7515, 4.1).

    ``chain`` is what ``x5c`` holds: the key's certificate first, and not the authority that the
    registry's bundle has. The other modes leave it out.
    """
    header: dict[str, Any] = {
        "alg": algorithm(public),
        "kid": key_id(public, mode),
        "typ": "JWT",
    }
    if mode is HeaderMode.X5C:
        # Standard base64, not base64url (RFC 7515, 4.1.6).
        header["x5c"] = [
            base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
            for certificate in chain
        ]
    return header


def public_jwk(public: PublicKey, kid: str) -> dict[str, str]:
    """Return a key as it stands in a JWKS (RFC 7517), under the id ``kid``."""
    return {**_members(public), "kid": kid, "alg": algorithm(public), "use": "sig"}


def public_jwks(public: PublicKey) -> list[dict[str, str]]:
    """Return a key's entries in a JWKS, one under each of its ids."""
    return [public_jwk(public, identify(public)) for identify in _KEY_IDS.values()]


def has_leading_zero(public: PublicKey) -> bool:
    """Whether Distribution 3.x computes a wrong key id: it drops a coordinate's leading zeros."""
    if isinstance(public, rsa.RSAPublicKey):
        return False
    numbers = public.public_numbers()
    return min(numbers.x, numbers.y) < 1 << 8 * (P256_BYTES - 1)


def _members(public: PublicKey) -> dict[str, str]:
    """Return the members that a thumbprint is computed of (RFC 7638, 3.2)."""
    if isinstance(public, rsa.RSAPublicKey):
        rsa_numbers = public.public_numbers()
        return {"e": _unsigned(rsa_numbers.e), "kty": "RSA", "n": _unsigned(rsa_numbers.n)}
    numbers = public.public_numbers()
    return {
        "crv": "P-256",
        "kty": "EC",
        "x": base64url(numbers.x.to_bytes(P256_BYTES, "big")),
        "y": base64url(numbers.y.to_bytes(P256_BYTES, "big")),
    }


def _unsigned(number: int) -> str:
    """Return an integer in as few bytes as it has (RFC 7518, 2)."""
    return base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def base64url(raw: bytes) -> str:
    """Return base64url without padding (RFC 7515, 2)."""
    return b2a_base64(raw, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()


_URL_SAFE = bytes.maketrans(b"+/", b"-_")
