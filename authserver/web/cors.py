"""CORS: pages of the origins that the operator named may ask for tokens, in a browser.

Without such origins nothing of this is on a request's way. ``app`` puts it around everything, so
that errors have the headers too, which a page could not read otherwise (Fetch, section 3.3).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from authserver.runtime.metrics.counters import Observations
from authserver.web import errors, public_keys
from authserver.web import token as endpoint

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ORIGIN, METHOD = "HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD"
HEADERS = (ORIGIN, METHOD)
"""The headers that are read here."""

PATHS = endpoint.PATHS | public_keys.PATHS
VARY = ("Vary", "Origin")
"""On every answer at PATHS: a cache must not give one origin the answer to another."""

PREFLIGHT = [
    ("Access-Control-Allow-Methods", ", ".join(endpoint.METHODS)),
    ("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept"),
    ("Access-Control-Max-Age", "600"),
]
EXPOSED = ("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")


@dataclass(frozen=True)
class AllowedOrigins:
    """The ``origins`` whose pages may read answers at PATHS; others' get no header of CORS."""

    origins: Collection[str]
    observations: Observations = field(default_factory=Observations)

    def headers(self, app: "WSGIApplication") -> "WSGIApplication":
        """Return ``app`` with the headers on all of its answers at PATHS."""

        def outer(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
            if environ["PATH_INFO"] not in PATHS:
                return app(environ, start)
            added = [VARY, *self._headers(environ)]
            return app(
                environ, lambda status, headers, *rest: start(status, headers + added, *rest)
            )

        return outer

    def preflights(self, app: "WSGIApplication") -> "WSGIApplication":
        """Return ``app`` after preflights from these origins are answered (Fetch, 3.3.2)."""

        def outer(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
            is_preflight = environ["REQUEST_METHOD"] == "OPTIONS" and METHOD in environ
            if not is_preflight or environ["PATH_INFO"] not in PATHS or not self._names(environ):
                return app(environ, start)
            self.observations.responses.append(("preflight", HTTPStatus.NO_CONTENT))
            start("204 NO CONTENT", [*PREFLIGHT, *errors.begin_request()[1]])
            return [b""]

        return outer

    def _names(self, environ: "WSGIEnvironment") -> bool:
        return environ.get(ORIGIN) in self.origins

    def _headers(self, environ: "WSGIEnvironment") -> Iterable[tuple[str, str]]:
        if self._names(environ):
            # Never a wildcard: a page may have the browser send the password that it keeps.
            yield "Access-Control-Allow-Origin", environ[ORIGIN]
            yield "Access-Control-Allow-Credentials", "true"
            yield EXPOSED
