"""Read bodies, within bounds on time, length and number.

A body is waited for in a thread. Some threads are always left for requests without a body, a client
gets only a few of the others, and reading stops if a body comes too slowly.
"""

import time
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from authserver.core.errors import NotReady
from authserver.runtime.concurrency import Slots

SECONDS = 10.0
MAX_BYTES = 64 * 1024
PIECE = 64 * 1024
TOO_MANY, LATE = "too many bodies are being read: clients are slow", "the body came too slowly"


class _Input(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Bodies:
    """Reads the bodies of one listener; those that are on their way take ``places``."""

    places: Slots
    seconds: float = SECONDS

    def read(self, environ: dict[str, Any], client: str, max_bytes: int = MAX_BYTES) -> bytes:
        """Return a request's whole body; a second read does not wait.

        ``client`` is the address that it comes from. ``max_bytes`` is more than MAX_BYTES only for
        those who have been let in already.

        Raises:
            NotReady: too many bodies are being read, from everybody or from that client.
            RequestTimeout: it came too slowly.
            RequestEntityTooLarge: it is longer than ``max_bytes``, whatever length it claims.
        """
        stream = environ["wsgi.input"]
        if isinstance(stream, BytesIO):
            body = self._read(environ, max_bytes)
        else:
            with self.places.take(client) as has_place:
                if not has_place:
                    raise NotReady(TOO_MANY)
                body = self._read(environ, max_bytes)
        environ["wsgi.input"] = BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        return body

    def _read(self, environ: dict[str, Any], max_bytes: int) -> bytes:
        claimed = environ.get("CONTENT_LENGTH", "")
        length = int(claimed) if claimed.isdecimal() else None
        return _read_within(
            environ["wsgi.input"], length, time.monotonic() + self.seconds, max_bytes
        )


def _read_within(stream: _Input, length: int | None, deadline: float, max_bytes: int) -> bytes:
    """Read ``length`` bytes, or up to the end if it is None."""
    parts: list[bytes] = []
    size = 0
    while length is None or size < length:
        part = stream.read(PIECE if length is None else min(PIECE, length - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise RequestEntityTooLarge
        if time.monotonic() > deadline:
            raise RequestTimeout(LATE)
    return b"".join(parts)
