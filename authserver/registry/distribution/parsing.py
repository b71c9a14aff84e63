"""Take a compact JWT apart without verifying it (RFC 7515, 7.1)."""

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from authserver.core.errors import Refused

MAX_BYTES = 1024 * 1024

_base64url = re.compile(rb"[A-Za-z0-9_-]*={0,2}")


class MalformedToken(Refused):
    """No registry can read the text as a token. The message never repeats the token."""


@dataclass(frozen=True)
class ParsedToken:
    """A token's parts. ``repeated`` has the names that occur twice in one JSON object."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signature: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    padded: bool
    repeated: tuple[str, ...]


def read(text: str) -> ParsedToken:
    """Return the parts of a token.

    Raises:
        MalformedToken: the text is not a compact JWT whose header and claims are JSON objects.
    """
    try:
        parts = text.encode("ascii").split(b".")
    except UnicodeEncodeError:
        raise MalformedToken("the token holds characters that are not ASCII") from None
    if len(parts) != 3:
        raise MalformedToken(
            f"the token has {len(parts)} parts with dots between them, not 3: is it whole, "
            "and a registry token rather than a refresh token?"
        )
    repeated: list[str] = []
    return ParsedToken(
        header=_object(parts[0], "header", repeated),
        claims=_object(parts[1], "claims", repeated),
        signature=_decode(parts[2], "signature"),
        signed=b".".join(parts[:2]),
        padded=any(part.endswith(b"=") for part in parts),
        repeated=tuple(repeated),
    )


def _object(part: bytes, name: str, repeated: list[str]) -> dict[str, Any]:
    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # 2.8 ignores case in names and lets the last one win: a repeated name moves to the end.
        members: dict[str, Any] = {}
        for key, value in pairs:
            if key in members:
                repeated.append(key)
                del members[key]
            members[key] = value
        return members

    try:
        value = json.loads(
            _decode(part, name), object_pairs_hook=collect, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise MalformedToken(f"the token's {name} is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedToken(f"the token's {name} is not a JSON object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _decode(part: bytes, name: str) -> bytes:
    if _base64url.fullmatch(part) is None:
        raise MalformedToken(f"the token's {name} is not base64url")
    try:
        return base64.urlsafe_b64decode(part.rstrip(b"=") + b"=" * (-len(part.rstrip(b"=")) % 4))
    except binascii.Error:
        raise MalformedToken(f"the token's {name} is not base64url: is the token whole?") from None
