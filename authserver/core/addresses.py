"""Households: what counts as one client among addresses."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

IPV6_PREFIX = 64


@lru_cache(4096)
def household(client: str) -> str:
    """Return what stands for a client that may have many addresses: of IPv6 a /64.

    What is no address stands for itself.
    """
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if not isinstance(address, IPv6Address):
        return client
    return str(ip_network((address, IPV6_PREFIX), strict=False))
