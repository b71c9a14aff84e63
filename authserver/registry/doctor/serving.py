"""Check how our own server is set up: the URL that it tells clients, and the proxies before it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from authserver.registry.doctor.expected import Expected
from authserver.registry.doctor.findings import DoctorFinding, failed, not_tried, passed
from authserver.registry.doctor.http import Remote, Unreachable
from authserver.runtime.settings.public_url import is_this_machine

ADDED_UP_AFTER = 1.0
"""Seconds after which all of a server's workers know of a request."""

_URL, _PROXIES = "serve.url", "serve.proxies"
_CURE = (
    "set AUTHSERVER_TRUSTED_PROXIES to the proxy's addresses, AUTHSERVER_PROXY_HEADER to the "
    "header in which it names the client, and restart serve"
)


@dataclass(frozen=True)
class Serving:
    """Our server: what is wrong with its public URL, and what it says of the proxies before it.

    ``proxy_warning`` raises Unreachable where no server can be asked. The server needs ``fewest``
    requests before it tells.
    """

    doubts: tuple[str, ...]
    proxy_warning: Callable[[], str | None]
    fewest: int


def check(
    serving: Serving, expected: Expected, remote: Remote, *, answers: bool
) -> Iterator[DoctorFinding]:
    """Yield the findings; where our realm ``answers``, it is sent some requests first."""
    yield _check_url(serving.doubts, expected, remote, answers=answers)
    query = urlencode({"service": expected.service, "client_id": "authserver-doctor"})
    try:
        for _ in range(serving.fewest if answers else 0):
            remote.fetcher.fetch(f"{expected.realm}?{query}")
        time.sleep(ADDED_UP_AFTER if answers else 0)
        warning = serving.proxy_warning()
    except Unreachable as error:
        yield not_tried(_PROXIES, str(error), error.cure)
        return
    if warning:
        yield failed(_PROXIES, warning, _CURE)
    else:
        yield passed(_PROXIES, "serve has seen no proxy that it does not heed")


def _check_url(
    doubts: tuple[str, ...], expected: Expected, remote: Remote, *, answers: bool
) -> DoctorFinding:
    if not doubts:
        return passed(_URL, f"clients are sent to {expected.realm}")
    if answers and is_this_machine(urlsplit(remote.url).hostname):
        return passed(_URL, f"it does for this machine alone: {'; '.join(doubts)}")
    return failed(_URL, "; ".join(doubts), "set AUTHSERVER_PUBLIC_URL and restart serve")
