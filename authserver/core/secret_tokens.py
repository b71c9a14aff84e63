"""The secrets of app tokens, logins and invitations, of which only hashes are stored.

A secret is a prefix, 256 random bits and a checksum, in letters and digits. The prefix lets secret
scanners find it, the checksum tells a typo from a revoked one, and no shell has to escape it.
"""

import re
import zlib
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES, _SECRET_CHARS, _CHECKSUM_CHARS = 32, 43, 6


class Prefix(StrEnum):
    """The kinds of secrets, by how they begin."""

    APP = "authserver_app_"
    REFRESH = "authserver_refresh_"
    INVITATION = "authserver_invite_"
    CONSOLE = "authserver_console_"


_secret = re.compile(rf"(?:{'|'.join(Prefix)})[0-9A-Za-z]{{{_SECRET_CHARS + _CHECKSUM_CHARS}}}")


def make(prefix: Prefix, random: Callable[[int], bytes]) -> str:
    """Return a new secret; ``random`` returns as many unpredictable bytes as it is asked for."""
    body = _base62(int.from_bytes(random(_SECRET_BYTES), "big"), _SECRET_CHARS)
    return f"{prefix}{body}{_checksum(body)}"


def is_well_formed(text: str) -> bool:
    """Whether ``text`` has the form and checksum of a secret; False for a typo."""
    if _secret.fullmatch(text) is None:
        return False
    body = text[-_SECRET_CHARS - _CHECKSUM_CHARS : -_CHECKSUM_CHARS]
    return text.endswith(_checksum(body))


def digest(secret: str) -> str:
    """Return the stored hash of a secret. The secret is random, so no salt or cost is needed."""
    return sha256(secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_CHARS)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
