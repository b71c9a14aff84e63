"""Key pairs, and how a registry token is signed and says by which key: JWS, key ids, JWKs.

A registry looks for a token's key by ``x5c``, the certificate itself, or by ``kid``, a key id that
it computes for each certificate of its bundle or reads in its JWKS. Distribution 2.8 computes the
libtrust fingerprint, 3.x the RFC 7638 thumbprint.
"""

import base64
import hashlib
import json
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from authserver.core.errors import NotReady, Refused

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_ES256 = ec.ECDSA(hashes.SHA256())

FINGERPRINT_BYTES = 30
P256_BYTES = 32
RSA_BITS = 2048


@dataclass(frozen=True)
class KeyPair:
    """A private key and its certificate."""

    private: PrivateKey = field(repr=False)
    certificate: x509.Certificate

    def private_der(self) -> bytes:
        """Return the private key as unencrypted PKCS #8; seal it before it is kept."""
        return self.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def certificate_pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()


def public_key(certificate: x509.Certificate) -> PublicKey:
    """Return the public key of a certificate of ours.

    Raises:
        NotReady: it is of a kind that we never stored.
    """
    public = certificate.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise NotReady("a stored certificate is of an unknown kind: restore a backup")
    return public


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


@dataclass(frozen=True)
class Signer:
    """Signs registry tokens with one key."""

    pair: KeyPair
    headers: dict[str, Any]

    @classmethod
    def of(cls, pair: KeyPair, mode: HeaderMode = HeaderMode.X5C) -> "Signer":
        public = public_key(pair.certificate)
        return cls(pair, jose_header(mode, public, [pair.certificate]))

    @cached_property
    def not_before(self) -> datetime:
        return self.pair.certificate.not_valid_before_utc

    @cached_property
    def not_after(self) -> datetime:
        return self.pair.certificate.not_valid_after_utc

    @cached_property
    def _header(self) -> str:
        # Encoded once: with the certificate in it, it is most of a token.
        return base64url(json.dumps(self.headers, separators=(",", ":")).encode())

    def require_usable(self, now: datetime) -> None:
        """Check that the key's certificate is valid at ``now``; an expired one never signs.

        Raises:
            NotReady: it has expired, or is not valid yet.
        """
        if now >= self.not_after:
            raise NotReady(f"the signing key expired at {self.not_after:%Y-%m-%d %H:%M} UTC")
        if now < self.not_before:
            raise NotReady("the signing key is not valid yet: is this machine's clock right?")

    def sign(self, claims: bytes, now: datetime) -> str:
        """Return the registry token of claims that are JSON already (RFC 7515, 3.1).

        Raises:
            NotReady: the leaf has expired, or is not valid yet.
        """
        self.require_usable(now)
        signed = f"{self._header}.{base64url(claims)}"
        return f"{signed}.{base64url(_sign(self.pair.private, signed.encode()))}"


def _sign(private: PrivateKey, message: bytes) -> bytes:
    """Return the signature: RS256 (RFC 7518, 3.3), or ES256: two numbers of 32 bytes each (3.4)."""
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(message, padding.PKCS1v15(), hashes.SHA256())
    r, s = decode_dss_signature(private.sign(message, _ES256))
    return r.to_bytes(P256_BYTES, "big") + s.to_bytes(P256_BYTES, "big")
