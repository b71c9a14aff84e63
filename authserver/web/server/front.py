"""What stands in front of each application: a rate limit, and the refusal of ambiguous requests.

The rate limit is by address, so that no client takes a whole worker. Each worker counts for itself:
a client takes as much of each as of one, and a request pays no lock for it.
"""

import json
import math
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from authserver.core.addresses import household
from authserver.runtime.metrics.counters import Observations
from authserver.web import errors
from authserver.web.client_address import PROBES
from authserver.web.server import ambiguity
from authserver.web.server.ambiguity import AMBIGUITY
from authserver.web.server.gateway import AT_ONCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BURST = 20
"""Times what is allowed in a second: so many requests may come at once."""
ADDRESSES = 10_000
"""Addresses that are remembered; those that have been within the rate are then forgotten."""
SAID_EVERY = 60.0
API = "/api/"
MESSAGE = "too many requests from your address; try again in a moment"

log = structlog.get_logger()


class Rates:
    """Lets each client have ``rate`` requests a second, and BURST times as many at once."""

    def __init__(self, rate: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.monotonic = rate, monotonic
        # When what a client has had would be over at the rate; a client that is not here owes none.
        self._over: dict[str, float] = {}

    def admits(self, client: str) -> bool:
        """Count a request, unless it is one too many; tell whether it may be answered."""
        now = self.monotonic()
        over = max(self._over.get(client, now), now)
        if over - now >= BURST:
            return False
        if len(self._over) >= ADDRESSES:
            self._over = {who: at for who, at in list(self._over.items()) if at > now}
        self._over[client] = over + 1 / self.rate
        return True


class Front:
    """Leaves to ``app`` the requests that are within the rate and have one meaning.

    A client that sends too much is answered 429; without ``rates`` there is no limit. Probes have a
    second count: an orchestrator may share the address of many clients.
    """

    def __init__(
        self,
        rates: Rates | None,
        client_of: "Callable[[WSGIEnvironment], str]",
        observations: Observations,
        app: "WSGIApplication",
    ) -> None:
        self._rates, self._client_of, self._observations = rates, client_of, observations
        self._app = app
        self._said_at = -math.inf

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        rates = self._rates
        # A request that was not answered at once comes a second time.
        if rates is not None and environ.get(AT_ONCE) is not False:
            address = self._client_of(environ)
            client = household(address)
            if not rates.admits(client) and not _is_probe(environ, client, rates):
                self._say(address, rates)
                return self._refuse(environ, start_response)
        if AMBIGUITY in environ:
            return ambiguity.refuse(environ, start_response, self._observations)
        return self._app(environ, start_response)

    def _refuse(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        self._observations.responses.append(("limited", HTTPStatus.TOO_MANY_REQUESTS))
        api = environ["PATH_INFO"].startswith(API)
        kind, body = _refusal(api=api, post=environ["REQUEST_METHOD"] == "POST")
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Retry-After", "1"),
            *errors.begin_request()[1],
        ]
        start_response("429 TOO MANY REQUESTS", headers)
        return [body]

    def _say(self, address: str, rates: Rates) -> None:
        now = rates.monotonic()
        if now - self._said_at < SAID_EVERY:
            return
        self._said_at = now
        log.warning(
            "too many requests from an address are answered 429: if it is a proxy, name it in "
            "AUTHSERVER_TRUSTED_PROXIES; AUTHSERVER_REQUESTS_PER_ADDRESS is the limit; "
            "this is said once a minute",
            address=address,
            a_second=rates.rate,
        )


def _is_probe(environ: "WSGIEnvironment", client: str, rates: Rates) -> bool:
    """Whether this is a probe, of which the client may have as many again."""
    return environ["PATH_INFO"] in PROBES and rates.admits(f"{client} probes")


@lru_cache(maxsize=4)
def _refusal(*, api: bool, post: bool) -> tuple[str, bytes]:
    """Return the type and the body of the answer, as the API or the other parts tell an error."""
    status = HTTPStatus.TOO_MANY_REQUESTS
    if api:
        problem = {"type": "about:blank", "title": status.phrase, "status": status}
        text = json.dumps({**problem, "detail": MESSAGE, "errors": []})
        return "application/problem+json", text.encode()
    oauth = "temporarily_unavailable" if post else None
    response = errors.error_response(status, "TOOMANYREQUESTS", MESSAGE, oauth)
    return "application/json", response.get_data()
