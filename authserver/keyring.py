"""The authority and the signing keys: making, certifying, signing. Stores nothing."""

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from authserver.core.claims import Claims
from authserver.core.errors import NotReady
from authserver.headers import P256_BYTES, HeaderMode, base64url, jose_header, thumbprint

AUTHORITY_LIFETIME = timedelta(days=3652)
LEAF_LIFETIME = timedelta(days=45)
# A registry whose clock is behind must not find a new certificate "not yet valid".
BACKDATED = timedelta(hours=1)

_ES256 = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True)
class KeyPair:
    """A private key and its certificate."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate

    def private_der(self) -> bytes:
        """Return the private key as unencrypted PKCS #8; seal it before it is kept."""
        return self.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def certificate_pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()


def load_key_pair(private_der: bytes, certificate_pem: str) -> KeyPair:
    """Put a key pair together.

    Raises:
        NotReady: the key is of another kind, or not the one that the certificate speaks of.
    """
    private = load_der_private_key(private_der, password=None)
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    if (
        not isinstance(private, ec.EllipticCurvePrivateKey)
        or private.public_key() != certificate.public_key()
    ):
        raise NotReady("a stored private key does not belong to its certificate: restore a backup")
    return KeyPair(private, certificate)


def make_authority(issuer: str, now: datetime) -> KeyPair:
    """Make a certificate authority for registry tokens: P-256, ten years, no sub-authorities."""
    private = ec.generate_private_key(ec.SECP256R1())
    # Two authorities must not share a subject, or a verifier could try the wrong one.
    name = _name(f"{issuer[:30]} token authority {secrets.token_hex(4)}")
    builder = (
        _certificate(private.public_key(), name, name, now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certify=True), critical=True)
    )
    return KeyPair(private, builder.sign(private, hashes.SHA256()))


def make_leaf(authority: KeyPair, now: datetime) -> KeyPair:
    """Make a signing key certified by ``authority``: P-256, 45 days, never beyond the authority."""
    private = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    lifetime = min(LEAF_LIFETIME, issuer.not_valid_after_utc - now)
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(
        authority.private.public_key()
    )
    builder = (
        _certificate(
            private.public_key(),
            _name(f"registry token signing key {secrets.token_hex(4)}"),
            issuer.subject,
            now,
            lifetime,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certify=False), critical=True)
        .add_extension(authority_key, critical=False)
    )
    return KeyPair(private, builder.sign(authority.private, hashes.SHA256()))


def _certificate(
    public: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    issuer: x509.Name,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certify,
        key_cert_sign=certify,
        crl_sign=certify,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def key_id(certificate: x509.Certificate) -> str:
    """Return the RFC 7638 thumbprint of the P-256 key that ``certificate`` speaks of."""
    return thumbprint(_public_key(certificate))


def _public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    public = certificate.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise NotReady("a stored certificate is of an unknown kind: restore a backup")
    return public


def due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether less than a third of a leaf's life is left."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return end - now < (end - start) / 3


@dataclass(frozen=True)
class Signer:
    """Signs registry tokens with one leaf."""

    pair: KeyPair
    headers: dict[str, Any]

    @classmethod
    def of(cls, pair: KeyPair) -> "Signer":
        public = _public_key(pair.certificate)
        return cls(pair, jose_header(HeaderMode.X5C, public, [pair.certificate]))

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
        """Check that the leaf is valid at ``now``; an expired one never signs.

        Raises:
            NotReady: it has expired, or is not valid yet.
        """
        if now >= self.not_after:
            raise NotReady(f"the signing key expired at {self.not_after:%Y-%m-%d %H:%M} UTC")
        if now < self.not_before:
            raise NotReady("the signing key is not valid yet: is this machine's clock right?")

    def sign(self, claims: Claims) -> str:
        """Return the registry token.

        Raises:
            NotReady: the leaf has expired, or is not valid yet.
        """
        return self.sign_encoded(claims.encode(), claims.issued_at)

    def sign_encoded(self, claims: bytes, now: datetime) -> str:
        """Return the registry token of claims that are JSON already (RFC 7515, 3.1).

        Raises:
            NotReady: the leaf has expired, or is not valid yet.
        """
        self.require_usable(now)
        signed = f"{self._header}.{base64url(claims)}"
        return f"{signed}.{base64url(_sign(self.pair.private, signed.encode()))}"


def _sign(private: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Return the ES256 signature: two numbers of 32 bytes each (RFC 7518, 3.4)."""
    r, s = decode_dss_signature(private.sign(message, _ES256))
    return r.to_bytes(P256_BYTES, "big") + s.to_bytes(P256_BYTES, "big")
