"""App tokens, refresh tokens, invitations: secrets shown once, recognised, stored hashed.

A secret is a prefix, 256 random bits and a checksum, all in letters and digits: a scanner finds
it, a typo is told from one that was revoked, and nothing has to be escaped anywhere.
"""

import re
import zlib
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES, _SECRET_CHARS, _CHECKSUM_CHARS = 32, 43, 6


class Prefix(StrEnum):
    """What a secret is for."""

    APP = "authserver_app_"
    REFRESH = "authserver_refresh_"
    INVITATION = "authserver_invite_"


_secret = re.compile(rf"(?:{'|'.join(Prefix)})[0-9A-Za-z]{{{_SECRET_CHARS + _CHECKSUM_CHARS}}}")


def make(prefix: Prefix, random: Callable[[int], bytes]) -> str:
    """Return a new secret; ``random`` gives that many unpredictable bytes."""
    body = _base62(int.from_bytes(random(_SECRET_BYTES), "big"), _SECRET_CHARS)
    return f"{prefix}{body}{_checksum(body)}"


def claims_to_be(text: str, prefix: Prefix) -> bool:
    """Whether ``text`` is meant to be such a secret, right or wrong."""
    return text.startswith(prefix)


def is_well_formed(text: str) -> bool:
    """Whether ``text`` can be a secret of ours; False for a typo."""
    if _secret.fullmatch(text) is None:
        return False
    body = text[-_SECRET_CHARS - _CHECKSUM_CHARS : -_CHECKSUM_CHARS]
    return text.endswith(_checksum(body))


def digest(secret: str) -> str:
    """Return what is stored of a secret. It is random, so a plain hash cannot be guessed back."""
    return sha256(secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_CHARS)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
