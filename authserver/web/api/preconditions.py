"""Conditional requests (RFC 9110, section 13): no client overwrites a state it has not seen."""

import json
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from werkzeug.datastructures import ETags, Headers
from werkzeug.http import parse_etags

from authserver.web.api.problems import Refusal


def tag(state: dict[str, Any]) -> str:
    """Return the entity tag of a state, without quotes."""
    return sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Preconditions:
    """``If-Match`` (None: not sent), and whether ``If-None-Match: *`` was sent."""

    if_match: ETags | None
    if_none: bool

    @classmethod
    def of(cls, headers: Headers) -> "Preconditions":
        """Read the headers.

        Raises:
            Refusal: ``If-None-Match`` is not ``*``.
        """
        if_match, if_none = headers.get("If-Match"), headers.get("If-None-Match")
        if if_none not in (None, "*"):
            raise Refusal(HTTPStatus.BAD_REQUEST, "If-None-Match takes * alone")
        return cls(None if if_match is None else parse_etags(if_match), if_none is not None)

    @property
    def stated(self) -> bool:
        return self.if_match is not None or self.if_none

    def require_stated(self) -> None:
        """Raise Refusal (428) without an ``If-Match``."""
        if self.if_match is None:
            raise Refusal(
                HTTPStatus.PRECONDITION_REQUIRED,
                "say with If-Match which state you have seen: the ETag of a GET",
            )

    def require_absent(self) -> None:
        """Raise Refusal (412) if a request that would make a thing says that it has seen it."""
        if self.if_match is not None:
            raise Refusal(HTTPStatus.PRECONDITION_FAILED, "it is not there, or not any more")

    def require(self, current: str) -> None:
        """Raise Refusal (412, 428) unless the request rests on the state with this tag."""
        if self.if_none:
            raise Refusal(HTTPStatus.PRECONDITION_FAILED, "it is there already")
        self.require_stated()
        # A proxy that compresses marks a tag as weak; the state that it names is the same.
        if self.if_match is not None and not self.if_match.contains_weak(current):
            raise changed()


def changed() -> Refusal:
    """Return the refusal of a request whose thing is not in the state that the client saw."""
    return Refusal(
        HTTPStatus.PRECONDITION_FAILED, "it was changed meanwhile: GET it again and decide anew"
    )
