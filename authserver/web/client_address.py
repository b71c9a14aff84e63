"""The client's address: the socket's, or what a trusted proxy says."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

import structlog

from authserver.core.names import printable
from authserver.runtime.metrics.counters import Observations
from authserver.web import forwarded as forwarded_header
from authserver.web.proxies import ProxyWatch, UnheededProxy

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
CLIENT = "authserver.client"
"""In the environment of a request: the client's address, once it is known."""
NAMING = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")
"""Headers in which most proxies name the client."""
PROBES = frozenset({"/livez", "/readyz"})
LONGEST = 60
"""No address with a port is longer."""
LONGEST_KEPT = 256
"""Characters of a header whose reading is remembered. Clients write some of them."""

MAX_READ = 2048
"""Characters of a header, from its right end, that are read: some hundred proxies."""

_with_port = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+))(?::\d{1,5})?")

log = structlog.get_logger()


@dataclass
class ClientAddress:
    """Finds the client's address. Only peers in ``trusted`` are believed about ``header``.

    With ``unix_socket`` peers have no address: every peer is a trusted proxy.
    """

    trusted: Sequence[Network]
    header: str
    unix_socket: bool = False
    observations: Observations = field(default_factory=Observations, repr=False)
    watch: ProxyWatch = field(default_factory=ProxyWatch, repr=False)
    _warned: bool = field(default=False, init=False)
    _reported: bool = field(default=False, init=False)

    @cached_property
    def environ_name(self) -> str:
        return "HTTP_" + self.header.upper().replace("-", "_")

    @cached_property
    def naming(self) -> tuple[str, ...]:
        """Return the headers that are looked for, the one that is read first."""
        return tuple(dict.fromkeys((self.environ_name, *NAMING)))

    def of_request(self, environ: "WSGIEnvironment") -> str:
        """Return the address of the client that sends this request, or UNKNOWN.

        Several parts ask for it; it is found once.
        """
        address: str | None = environ.get(CLIENT)
        if address is None:
            address = environ[CLIENT] = self._find(environ)
        return address

    def _find(self, environ: "WSGIEnvironment") -> str:
        peer, forwarded = environ.get("REMOTE_ADDR") or "", environ.get(self.environ_name)
        long = len(peer) > LONGEST or (forwarded is not None and len(forwarded) > LONGEST_KEPT)
        address = self.of(peer, forwarded) if long else self._cached(peer, forwarded)
        if address == UNKNOWN and forwarded is not None:
            self._report(peer, forwarded)
        if environ.get("PATH_INFO") not in PROBES:
            self.watch.requests += 1
            # Most requests have none of them: a loop would take twice as long as all of this.
            if (
                forwarded is not None
                or "HTTP_X_FORWARDED_FOR" in environ
                or "HTTP_FORWARDED" in environ
                or "HTTP_X_REAL_IP" in environ
            ):
                self._look_at_proxy(peer, environ)
        return address

    def _look_at_proxy(self, peer: str, environ: "WSGIEnvironment") -> None:
        """Note a proxy that is not heeded, in a request with a header about the client."""
        is_trusted = self.unix_socket or self.is_proxy(peer)
        if is_trusted and self.environ_name in environ:
            return
        name = next(name for name in self.naming if name in environ)
        self.watch.unheeded += 1
        self.watch.last = UnheededProxy(peer, name, self.header, is_trusted)
        self.observations.unheeded.append(name)

    def is_local(self, environ: "WSGIEnvironment") -> bool:
        """Whether a client on this machine sent the request to this machine, without a proxy.

        Some proxies add no header about the client, but pass on the host that it asked for.
        """
        if any(name in environ for name in ("HTTP_VIA", *self.naming)):
            return False
        host, peer = environ.get("HTTP_HOST", ""), environ.get("REMOTE_ADDR") or ""
        return _is_loopback(host) and (self.unix_socket or _is_loopback(peer))

    @cached_property
    def _cached(self) -> Callable[[str, str | None], str]:
        return lru_cache(maxsize=1024)(self.of)

    def of(self, peer: str, forwarded: str | None) -> str:
        """Return the address of the client behind ``peer``, or UNKNOWN.

        ``forwarded`` is the header's value: the nearest proxy wrote its right end. Each trusted
        proxy is believed about the address to its left. The first untrusted one may have invented
        what stands left of it. If a trusted proxy wrote something that cannot be read, the address
        is unknown: it must not become the proxy's own.
        """
        if self.unix_socket:
            return self._behind_proxy(forwarded) if forwarded is not None else UNKNOWN
        address = _parse(peer)
        if address is None or forwarded is None:
            return str(address or peer)
        if not self._trusts(address):
            self._warn(peer)
            return str(address)
        return self._behind_proxy(forwarded)

    def _behind_proxy(self, forwarded: str) -> str:
        for entry in self._entries(forwarded):
            address = _parse(entry)
            if address is None:
                return UNKNOWN
            if not self._trusts(address):
                break
        return str(address)

    def _entries(self, header: str) -> Iterator[str]:
        """Yield the addresses in a header, the nearest proxy's first."""
        if len(header) > MAX_READ:
            # From the first whole entry on: a client's part must not cost more than a login.
            header = header[-MAX_READ:].partition(",")[2]
        if self.environ_name == "HTTP_FORWARDED":
            return forwarded_header.nodes(header)
        return (entry.strip() for entry in reversed(header.split(",")))

    @cached_property
    def is_proxy(self) -> Callable[[str], bool]:
        """Return what tells whether an address is that of a proxy that is trusted."""
        return lru_cache(maxsize=1024)(self._is_proxy)

    def _is_proxy(self, peer: str) -> bool:
        address = _parse(peer)
        return address is not None and self._trusts(address)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.trusted)

    def _report(self, peer: str, forwarded: str) -> None:
        self.observations.unreadable.append(self.header)
        if not self._reported:
            self._reported = True
            log.error(
                f"{self.header} cannot be read: all clients whose proxy writes such a header are "
                "one, without an address, to limits and rules; set AUTHSERVER_PROXY_HEADER to a "
                "header that holds nothing but addresses; this is said once",
                peer=printable(peer),
                value=printable(forwarded, 100),
            )

    def _warn(self, peer: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                f"{self.header} is ignored: it came from a peer that is not in "
                "AUTHSERVER_TRUSTED_PROXIES; this is said once",
                peer=printable(peer),
            )


def _is_loopback(host: str) -> bool:
    address = _parse(host)
    return address.is_loopback if address else host.partition(":")[0].lower() == "localhost"


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    return _read(text) if len(text) <= LONGEST else None


@lru_cache(maxsize=1024)
def _read(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address with or without a port, and without a zone; IPv4 in IPv6 becomes IPv4."""
    matched = _with_port.fullmatch(text)
    try:
        address = ip_address((matched["v6"] or matched["v4"]) if matched else text)
    except ValueError:
        return None
    if not isinstance(address, IPv6Address):
        return address
    # A zone is free text, and means nothing on another machine.
    return None if address.scope_id else address.ipv4_mapped or address
