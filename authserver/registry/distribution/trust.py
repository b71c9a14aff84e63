"""What a registry trusts by its token section: bundle, JWKS, issuer, service."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authserver.core.errors import Refused
from authserver.keys.compatibility import Version
from authserver.registry.distribution import key_ids
from authserver.registry.distribution.key_ids import PublicKey

MAX_KEYS = 1000


@dataclass(frozen=True)
class ListedKey:
    """A public key of a JWKS, with the id that the file gives it."""

    kid: str
    public: PublicKey


@dataclass(frozen=True)
class RegistryTrust:
    """What a token is verified against; ``issuer`` or ``services`` None is not compared."""

    bundle: tuple[x509.Certificate, ...] = ()
    jwks: tuple[ListedKey, ...] = ()
    issuer: str | None = None
    services: frozenset[str] | None = None

    def certified(self) -> list[PublicKey]:
        """Return the keys of the bundle's certificates."""
        return [key for key in map(public_key, self.bundle) if key is not None]

    def keys(self, version: Version) -> dict[str, PublicKey]:
        """Return the keys that ``version`` finds by a token's ``kid``."""
        keys = {}
        for public in self.certified():
            if kid := key_ids.computed(public, version):
                keys[kid] = public
        if version.reads_jwks:
            keys |= {listed.kid: listed.public for listed in self.jwks}
        return keys


def public_key(certificate: x509.Certificate) -> PublicKey | None:
    """Return a certificate's key, None if no registry can use it."""
    try:
        public = certificate.public_key()
    except (ValueError, TypeError):
        return None
    return public if _is_usable(public) else None


def _is_usable(public: object) -> TypeGuard[PublicKey]:
    if isinstance(public, ec.EllipticCurvePublicKey):
        return public.curve.name in key_ids.CURVES
    return isinstance(public, rsa.RSAPublicKey | ed25519.Ed25519PublicKey)


def read_bundle(pem: bytes, name: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a ``rootcertbundle``; messages call it ``name``.

    Raises:
        Refused: it has no certificate, or an unreadable one.
    """
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise Refused(f"{name} holds no PEM certificate")
    try:
        certificates = tuple(x509.load_pem_x509_certificates(pem))
    except ValueError:
        raise Refused(f"{name} holds a certificate that cannot be read") from None
    return certificates[:MAX_KEYS]


def read_jwks(text: bytes, name: str) -> tuple[ListedKey, ...]:
    """Return the keys of a JWKS (RFC 7517, 5) that can verify a token.

    Raises:
        Refused: the text is not a JWKS.
    """
    try:
        entries = json.loads(text)["keys"]
    except (ValueError, RecursionError, TypeError, KeyError):
        entries = None
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise Refused(f'{name} is not a JWKS: it must be JSON like {{"keys": [...]}}')
    return tuple(_listed(entries[:MAX_KEYS]))


def _listed(entries: Sequence[dict[str, object]]) -> list[ListedKey]:
    keys = []
    for entry in entries:
        public, kid = jwk_key(entry), entry.get("kid", "")
        if public is not None and isinstance(kid, str):
            keys.append(ListedKey(kid, public))
    return keys


def jwk_key(entry: dict[str, object]) -> PublicKey | None:
    """Return the public key of one JWK, None if no registry can use it."""
    public = {name: value for name, value in entry.items() if name not in ("alg", "d")}
    try:
        key = jwt.PyJWK(public).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
        return None
    return key if _is_usable(key) else None
