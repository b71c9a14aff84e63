"""What a registry's token section makes it trust: bundle, JWKS, issuer, service."""

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
    """A public key in a JWKS, under the id that its author gave it."""

    kid: str
    public: PublicKey


@dataclass(frozen=True)
class RegistryTrust:
    """What a token is held against. An issuer or services of None are not looked at."""

    bundle: tuple[x509.Certificate, ...] = ()
    jwks: tuple[ListedKey, ...] = ()
    issuer: str | None = None
    services: frozenset[str] | None = None

    def certified(self) -> list[PublicKey]:
        """Return the keys of the bundle's certificates."""
        return [key for key in map(public_key, self.bundle) if key is not None]

    def keys(self, version: Version) -> dict[str, PublicKey]:
        """Return the keys that ``version`` finds by a token's ``kid``."""
        found = {}
        for public in self.certified():
            if kid := key_ids.computed(public, version):
                found[kid] = public
        if version.reads_jwks:
            found |= {listed.kid: listed.public for listed in self.jwks}
        return found


def public_key(certificate: x509.Certificate) -> PublicKey | None:
    """Return the key that a certificate speaks of, None if no registry can use it."""
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
    """Return the certificates of a ``rootcertbundle``; ``name`` says where it came from.

    Raises:
        Refused: it holds no certificate, or one that cannot be read.
    """
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise Refused(f"{name} holds no PEM certificate")
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
    except ValueError:
        raise Refused(f"{name} holds a certificate that cannot be read") from None
    return found[:MAX_KEYS]


def read_jwks(text: bytes, name: str) -> tuple[ListedKey, ...]:
    """Return the keys of a JWKS (RFC 7517, 5) that can verify a token.

    Raises:
        Refused: it is no JWKS.
    """
    try:
        entries = json.loads(text)["keys"]
    except (ValueError, RecursionError, TypeError, KeyError):
        entries = None
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise Refused(f'{name} is no JWKS: it must be JSON like {{"keys": [...]}}')
    return tuple(_listed(entries[:MAX_KEYS]))


def _listed(entries: Sequence[dict[str, object]]) -> list[ListedKey]:
    found = []
    for entry in entries:
        public, kid = jwk_key(entry), entry.get("kid", "")
        if public is not None and isinstance(kid, str):
            found.append(ListedKey(kid, public))
    return found


def jwk_key(entry: dict[str, object]) -> PublicKey | None:
    """Return the public key of one JWK, None if no registry can use it."""
    public = {name: value for name, value in entry.items() if name not in ("alg", "d")}
    try:
        key = jwt.PyJWK(public).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
        return None
    return key if _is_usable(key) else None
