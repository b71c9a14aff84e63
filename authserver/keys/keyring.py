"""The authority and the signing keys: making, reading, certifying. Stores nothing."""

import secrets
from datetime import datetime, timedelta
from typing import TypeGuard

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from authserver.core.errors import NotReady, Refused
from authserver.core.signatures import KeyType
from authserver.keys.header_modes import has_leading_zero, thumbprint
from authserver.keys.jose import RSA_BITS, KeyPair, PrivateKey, PublicKey, public_key

AUTHORITY_LIFETIME = timedelta(days=3652)
OWN_KEY_LIFETIME = timedelta(days=3652)
LEAF_LIFETIME = timedelta(days=45)
ROTATED_AFTER = timedelta(days=30)
"""The age at which a leaf is replaced. It lives longer by far more than any token and an hour."""

# A registry whose clock is behind must not find a new certificate "not yet valid".
BACKDATED = timedelta(hours=1)
RSA_EXPONENT = 65537


def load_key_pair(private_der: bytes, certificate_pem: str) -> KeyPair:
    """Put a key pair of ours together.

    Raises:
        NotReady: the key is of another kind, or not the key of the certificate.
    """
    # What we keep was checked when it came, and checking RSA takes longer than a signature.
    private = load_der_private_key(private_der, None, unsafe_skip_rsa_key_validation=True)
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    if not _is_usable(private) or private.public_key() != certificate.public_key():
        raise NotReady("a stored private key does not belong to its certificate: restore a backup")
    return KeyPair(private, certificate)


def read_private_key(pem: bytes, *, checked: bool = True) -> PrivateKey:
    """Read a private key that was made elsewhere; to have RSA's numbers ``checked`` takes long.

    Raises:
        Refused: it is no PEM, encrypted, or neither P-256 nor RSA of 2048 bits or more.
    """
    try:
        private = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=not checked)
    except TypeError:
        raise Refused("is encrypted: decrypt it with openssl pkey -in FILE -out FILE") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Refused("holds no private key (PEM)") from None
    if not _is_usable(private):
        raise Refused("must be a P-256 key, or an RSA key of 2048 bits or more")
    return private


def read_certificate(pem: bytes) -> x509.Certificate:
    """Read the certificate of a key that was made elsewhere.

    Raises:
        Refused: it is no PEM, or not exactly one certificate.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Refused("holds no certificate (PEM)") from None
    if len(certificates) != 1:
        raise Refused(f"holds {len(certificates)} certificates: leave only the one of the key")
    return certificates[0]


def require_usable_key(certificate: x509.Certificate) -> None:
    """Check that a certificate's key can sign registry tokens, or certify keys that do.

    Raises:
        Refused: it is neither P-256 nor RSA of 2048 bits or more.
    """
    match certificate.public_key():
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return
        case rsa.RSAPublicKey(key_size=size) if size >= RSA_BITS:
            return
    raise Refused("must speak of a P-256 key, or an RSA key of 2048 bits or more")


def may_certify(certificate: x509.Certificate) -> bool:
    """Whether registries take leaves under a certificate: it is one of an authority (RFC 5280)."""
    extensions = certificate.extensions
    try:
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        # Without a key usage every use is allowed; without constraints it is no authority.
        return missing.oid == x509.KeyUsage.oid


def make_authority(issuer: str, now: datetime) -> KeyPair:
    """Make a certificate authority for registry tokens: P-256, ten years, no sub-authorities."""
    private = _make_private(KeyType.P256)
    # Two authorities must not share a subject, or a verifier could try the wrong one.
    name = _name(f"{issuer[:30]} token authority {secrets.token_hex(4)}")
    builder = (
        _certificate(private.public_key(), name, name, now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certify=True), critical=True)
    )
    return KeyPair(private, builder.sign(private, hashes.SHA256()))


def make_leaf(authority: KeyPair, now: datetime, key_type: KeyType = KeyType.P256) -> KeyPair:
    """Make a signing key certified by ``authority``: 45 days, never beyond the authority."""
    private = _make_private(key_type)
    issuer = authority.certificate
    lifetime = min(LEAF_LIFETIME, issuer.not_valid_after_utc - now)
    name = _name(f"registry token signing key {secrets.token_hex(4)}")
    builder = _signs_only(
        _certificate(private.public_key(), name, issuer.subject, now, lifetime)
    ).add_extension(_authority_key_identifier(issuer), critical=False)
    return KeyPair(private, builder.sign(authority.private, hashes.SHA256()))


def make_own(service: str, key_type: KeyType, now: datetime) -> KeyPair:
    """Make a signing key for one registry, certified by itself: ten years."""
    private = _make_private(key_type)
    name = _name(f"{service[:30]} token signing key {secrets.token_hex(4)}")
    builder = _signs_only(_certificate(private.public_key(), name, name, now, OWN_KEY_LIFETIME))
    return KeyPair(private, builder.sign(private, hashes.SHA256()))


def _make_private(key_type: KeyType) -> PrivateKey:
    if key_type is KeyType.RSA2048:
        return rsa.generate_private_key(RSA_EXPONENT, RSA_BITS)
    while has_leading_zero((made := ec.generate_private_key(ec.SECP256R1())).public_key()):
        pass
    return made


def _is_usable(private: object) -> TypeGuard[PrivateKey]:
    match private:
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
            return True
        case rsa.RSAPrivateKey(key_size=size):
            return size >= RSA_BITS
    return False


def _signs_only(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    ).add_extension(_key_usage(certify=False), critical=True)


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        # An authority that was made elsewhere may name its key in a way of its own.
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key(issuer))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _certificate(
    public: PublicKey,
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
    """Return the RFC 7638 thumbprint of a certificate's key."""
    return thumbprint(public_key(certificate))


def type_name(certificate: x509.Certificate) -> str:
    """Return what a key is made of, as in ``p-256`` and ``rsa-4096``."""
    public = public_key(certificate)
    return f"rsa-{public.key_size}" if isinstance(public, rsa.RSAPublicKey) else KeyType.P256


def due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether a leaf is old enough to be replaced."""
    return now - certificate.not_valid_before_utc - BACKDATED >= ROTATED_AFTER
