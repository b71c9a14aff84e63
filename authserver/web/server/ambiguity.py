"""A request means one thing, to us and to every proxy in front of us; otherwise it is refused.

A proxy that refuses or limits by path sees the path that we see. It also agrees with us where a
request ends.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from authserver.core.errors import BadRequest
from authserver.runtime.metrics.counters import Observations
from authserver.web import errors
from authserver.web.api import PREFIX

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

AMBIGUITY = "authserver.ambiguity"
"""In the environment of a request that is to be refused: why."""

ONE_HOST = "a request has one Host header"
ONE_PATH = "send the path without `.` and `..` in it, and encode no more of it than must be"

HOST, ENCODING = "HTTP_HOST", "HTTP_TRANSFER_ENCODING"

WITH_SLASHES = f"{PREFIX}/registries/"
"""Below it, a part of a path may have encoded slashes: a registry's service."""

# What nobody needs to encode (RFC 3986, section 2.3).
_NEEDLESS = re.compile(rb"%(?:2[DE]|3\d|[46][1-9A-F]|[57][\dA]|5F|7E)", re.IGNORECASE)
_SLASH = re.compile(rb"%2F", re.IGNORECASE)
_DOTS = re.compile(r"(?:^|/)\.\.?(?:/|$)")


def of_path(raw: bytes, decoded: str, slashed: tuple[bytes, ...]) -> str | None:
    """Return what is ambiguous about a path: ``raw`` as it was sent, and ``decoded``.

    There may be encoded slashes below the paths ``slashed``.
    """
    encoded = _NEEDLESS.search(raw) or (_SLASH.search(raw) and not raw.startswith(slashed))
    return ONE_PATH if encoded or _DOTS.search(decoded) else None


def refuse(
    environ: "WSGIEnvironment", start_response: "StartResponse", observations: Observations
) -> Iterable[bytes]:
    """Answer a request that has an AMBIGUITY (PEP 3333)."""
    response = errors.answer_to(BadRequest(environ[AMBIGUITY]), environ["REQUEST_METHOD"])
    response.headers.extend(errors.begin_request()[1])
    observations.responses.append(("none", response.status_code))
    return response(environ, start_response)
