"""Header modes: how the header of a registry token names its key.

A registry looks for a token's key by ``x5c``, the certificate itself, or by ``kid``, a key id that
it computes for each certificate of its bundle or reads in its JWKS. Distribution 2.8 computes the
libtrust fingerprint, 3.x the RFC 7638 thumbprint. What a version accepts is in ``compatibility``.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authserver.core.signatures import HeaderMode
from authserver.keys.jose import (
    P256_BYTES,
    KeyPair,
    PublicKey,
    Signer,
    algorithm,
    base64url,
    members,
    public_jwk,
    public_key,
)

FINGERPRINT_BYTES = 30


def libtrust_id(public: PublicKey) -> str:
    """Return the key id that Distribution 2.8 computes: 12 groups of base32."""
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(der).digest()[:FINGERPRINT_BYTES]
    text = base64.b32encode(digest).decode()
    return ":".join(text[i : i + 4] for i in range(0, len(text), 4))


def thumbprint(public: PublicKey) -> str:
    """Return the key id that Distribution 3.x computes: RFC 7638, SHA-256."""
    canonical = json.dumps(members(public), separators=(",", ":"), sort_keys=True)
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


def signer_of(pair: KeyPair, mode: HeaderMode = HeaderMode.X5C) -> Signer:
    """Return the signer of a key pair whose tokens name it by ``mode``."""
    return Signer(pair, jose_header(mode, public_key(pair.certificate), [pair.certificate]))


def public_jwks(public: PublicKey) -> list[dict[str, str]]:
    """Return a key's entries in a JWKS, one under each of its ids."""
    return [public_jwk(public, identify(public)) for identify in _KEY_IDS.values()]


def has_leading_zero(public: PublicKey) -> bool:
    """Whether Distribution 3.x computes a wrong key id: it drops a coordinate's leading zeros."""
    if isinstance(public, rsa.RSAPublicKey):
        return False
    numbers = public.public_numbers()
    return min(numbers.x, numbers.y) < 1 << 8 * (P256_BYTES - 1)
