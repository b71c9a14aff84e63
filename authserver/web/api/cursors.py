"""Cursors: where in a list the next part begins."""

import base64
import binascii
import json
from http import HTTPStatus
from typing import TypeVar

from authserver.web.api.models import MAX_ID
from authserver.web.api.problems import Refusal

Key = str | int

_Key = TypeVar("_Key", str, int)


def write(keys: list[Key]) -> str:
    """Return the cursor that stands for ``keys``: opaque to clients."""
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=")


def read(cursor: str, *kinds: type[Key]) -> list[Key]:
    """Return the keys of a cursor, which are of these types.

    Raises:
        Refusal: it is none of this list.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        keys = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        keys = None
    if not isinstance(keys, list) or len(keys) != len(kinds) or not all(map(_good, keys, kinds)):
        raise Refusal(HTTPStatus.BAD_REQUEST, "this cursor is none of this list")
    return keys


def _good(key: object, kind: type[Key]) -> bool:
    # Not isinstance: true is no number.
    if type(key) is not kind:
        return False
    return key.isprintable() if isinstance(key, str) else 0 <= int(str(key)) <= MAX_ID
