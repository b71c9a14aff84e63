"""Key pairs, JWKs and the signer of registry tokens (RFC 7515 to 7518)."""

import json
from binascii import b2a_base64
from dataclasses import dataclass, field
from datetime import datetime
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
)

from authserver.core.errors import NotReady, Refused
from authserver.core.signatures import KeyType

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_ES256 = ec.ECDSA(hashes.SHA256())

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


def public_jwk(public: PublicKey, kid: str) -> dict[str, str]:
    """Return a key as it stands in a JWKS (RFC 7517), under the id ``kid``."""
    return {**members(public), "kid": kid, "alg": algorithm(public), "use": "sig"}


def members(public: PublicKey) -> dict[str, str]:
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
