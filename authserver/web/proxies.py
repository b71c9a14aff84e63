"""Whether most requests come through a proxy whose header about the client is not heeded.

All clients of such a proxy have one address, so that the wrong passwords of one lock out all.
``client_address`` counts, ``maintenance`` adds the workers' counts up, ``health`` tells.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import structlog

from authserver.core.names import printable

if TYPE_CHECKING:
    from authserver.auth.rate_limits import SharedStorage

HOUR = 3600
FEWEST = 5
"""Requests of a proxy from which on it is told of: before that it may be one odd client."""
WARNING = "most requests come through a proxy that is not heeded"
_REQUESTS, _UNHEEDED, _LOGGED = (f"proxies/{name}" for name in ("requests", "unheeded", "logged"))

log = structlog.get_logger()


def header_name(key: str) -> str:
    """Return the header that WSGI has under ``key``."""
    return key.removeprefix("HTTP_").replace("_", "-").title()


class UnheededProxy(NamedTuple):
    """A peer that names its client in the header ``key``, while the header ``named`` is read.

    ``key`` is as WSGI has it. The peer may be no proxy at all: every client can send a header.
    """

    peer: str
    key: str
    named: str
    is_trusted: bool

    @property
    def advice(self) -> str:
        """Return what to set."""
        sends = header_name(self.key)
        if self.is_trusted:
            return (
                f"it sends {sends} and no {self.named}: have it set {self.named} to the "
                "client's address, or name the header that it sets in AUTHSERVER_PROXY_HEADER"
            )
        return (
            f"{sends} came from {printable(self.peer, 60)}: if that is your proxy, name it in "
            "AUTHSERVER_TRUSTED_PROXIES; if not, a client made the header up"
        )


@dataclass
class ProxyWatch:
    """Counts the requests of all workers within an hour, and those that were not heeded.

    A few counts may be lost between threads: what is asked is whether they are more than half.
    """

    storage: "SharedStorage | None" = None
    requests: int = 0
    unheeded: int = 0
    last: UnheededProxy | None = None
    _added: tuple[int, int] = field(default=(0, 0), init=False)

    @property
    def warning(self) -> str | None:
        """Return what to tell the operator, None if few requests came through such a proxy."""
        if self.storage is None:
            return None
        requests, unheeded = (self.storage.get(key) for key in (_REQUESTS, _UNHEEDED))
        if unheeded < FEWEST or 2 * unheeded <= requests:
            return None
        general = "set AUTHSERVER_TRUSTED_PROXIES and AUTHSERVER_PROXY_HEADER"
        return (
            f"{WARNING}: all its clients have one address, and the wrong passwords of one lock out "
            f"all; {self.last.advice if self.last else general}"
        )

    def add_up(self) -> None:
        """Add this worker's counts to the hour's; log the warning once an hour."""
        now = self.requests, self.unheeded
        if self.storage is None or now == self._added:
            return
        before, self._added = self._added, now
        for key, count, known in zip((_REQUESTS, _UNHEEDED), now, before, strict=True):
            self.storage.incr(key, HOUR, count - known)
        warning = self.warning if now[1] > before[1] else None
        if warning and self.storage.incr(_LOGGED, HOUR) == 1:
            log.warning(warning)
