"""Each request's id: in its answer, in its record, and in each line that it leaves in the log."""

import secrets

from authserver.runtime import logs


def begin() -> str:
    """Return a new request's id; the lines of this thread's log have it from now on."""
    request_id = secrets.token_hex(8)
    logs.request_id.set(request_id)
    return request_id


def headers(request_id: str) -> list[tuple[str, str]]:
    """Return the headers that every answer has."""
    return [("X-Request-Id", request_id), ("X-Content-Type-Options", "nosniff")]
