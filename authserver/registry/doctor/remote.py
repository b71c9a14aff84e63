"""The registry that is examined, as a client sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from authserver.core.urls import PORTS, site
from authserver.registry.doctor.http import Answer, Fetcher


@dataclass(frozen=True)
class Remote:
    """A registry at ``url``; every request goes there and nowhere else."""

    url: str
    fetcher: Fetcher

    @classmethod
    def at(cls, url: str, fetcher: Fetcher) -> "Remote":
        """Return the registry at a URL, of which only scheme, host and port count.

        Raises:
            Refused: it is no http or https URL.
        """
        return cls(site(url), fetcher)

    @property
    def has_tls(self) -> bool:
        return self.url.startswith("https://")

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send one request. Raises Unreachable if there is no answer."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return self.fetcher.fetch(f"{self.url}{path}", method, sent, body)

    def resolved(self, location: str) -> str:
        """Return where a ``Location`` header leads."""
        return urljoin(f"{self.url}/", location)

    def is_own(self, url: str) -> bool:
        """Whether a URL leads to this registry as clients know it: same scheme, host and port."""
        return origin(url) == origin(self.url)


def origin(url: str) -> tuple[str, str | None, int | None] | None:
    """Return scheme, host and port of a URL (RFC 6454, 4), None if it has none."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
