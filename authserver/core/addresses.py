"""Addresses of clients and networks, and which addresses count as one client."""

from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from authserver.core.errors import Refused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

IPV6_PREFIX = 64


def parse_address(text: str) -> Address | None:
    """Read a client's address; return None if the text is no address."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def parse_network(text: str) -> Network:
    """Read a source network.

    Raises:
        Refused: the text is no network, has host bits, or covers every address.
    """
    try:
        network = ip_network(text)
    except ValueError as error:
        raise Refused(f"{text!r} is no network: {error}") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise Refused(f"{text} is IPv4 written as IPv6: write it as an IPv4 network")
    if network.prefixlen == 0:
        raise Refused(f"{text} is every address: leave the network out")
    return network


def is_inside(network: Network, wider: Network) -> bool:
    """Whether ``wider`` has every address of ``network``."""
    if isinstance(network, IPv4Network):
        return isinstance(wider, IPv4Network) and network.subnet_of(wider)
    return isinstance(wider, IPv6Network) and network.subnet_of(wider)


@lru_cache(4096)
def household(client: str) -> str:
    """Return the text that counts for all addresses of one client: of IPv6 the /64.

    A text that is no address counts for itself.
    """
    address = parse_address(client)
    if not isinstance(address, IPv6Address):
        return client
    return str(ip_network((address, IPV6_PREFIX), strict=False))
