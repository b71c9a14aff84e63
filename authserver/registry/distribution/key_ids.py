"""The key id that each version computes for a certificate of its bundle, faults included."""

import hashlib
import json

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authserver.keys import header_modes, jose
from authserver.keys.compatibility import Version

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def computed(public: PublicKey, version: Version) -> str | None:
    """Return the id by which ``version`` finds a bundle's key; None if it cannot find it by id."""
    match public:
        case ed25519.Ed25519PublicKey():
            return _of_ed25519(public) if version is Version.V3_1 else None
        case _ if version is Version.V2_8:
            return libtrust(public)
        case rsa.RSAPublicKey():
            return header_modes.thumbprint(public)
    # 3.0 hashes the curve's generator instead of the key: all keys of a curve have one id
    # (distribution#4683).
    return _of_curve(_generator(public.curve) if version is Version.V3_0 else public)


def rfc7638(public: PublicKey) -> str:
    """Return the thumbprint of RFC 7638, which a registry does not always compute."""
    match public:
        case ed25519.Ed25519PublicKey():
            return _of_ed25519(public)
        case rsa.RSAPublicKey():
            return header_modes.thumbprint(public)
    return _of_curve(public, (public.curve.key_size + 7) // 8)


def libtrust(public: PublicKey) -> str | None:
    """Return the id that 2.8 computes; None for Ed25519, with which 2.8 does not start."""
    return (
        None if isinstance(public, ed25519.Ed25519PublicKey) else header_modes.libtrust_id(public)
    )


def _generator(curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    return ec.derive_private_key(1, curve).public_key()


def _of_curve(public: ec.EllipticCurvePublicKey, size: int = 0) -> str:
    # RFC 7518, 6.2.1.2 wants coordinates of full size; Distribution drops leading zeros.
    numbers = public.public_numbers()
    return _hashed(
        {
            "crv": CURVES.get(public.curve.name, public.curve.name),
            "kty": "EC",
            "x": _coordinate(numbers.x, size),
            "y": _coordinate(numbers.y, size),
        }
    )


def _coordinate(number: int, size: int) -> str:
    return jose.base64url(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def _of_ed25519(public: ed25519.Ed25519PublicKey) -> str:
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _hashed({"crv": "Ed25519", "kty": "OKP", "x": jose.base64url(raw)})


def _hashed(members: dict[str, str]) -> str:
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    return jose.base64url(hashlib.sha256(canonical).digest())
