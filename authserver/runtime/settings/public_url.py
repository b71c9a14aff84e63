"""Doubts about the URL under which clients reach this server."""

import ipaddress
from urllib.parse import urlsplit

EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared


def doubts(what: str, public_url: str) -> list[str]:
    """Return why ``what``, which is under that URL, will not do for other people."""
    url = urlsplit(public_url)
    if is_this_machine(url.hostname):
        remedy = "set AUTHSERVER_PUBLIC_URL to the URL that clients use"
        return [f"{what} is {url.hostname}: only clients on this machine reach it; {remedy}"]
    if url.scheme == "http":
        return [f"{what} is http: passwords cross the network readable; use https"]
    return []


def contradictions(public_url: str, host: str | None) -> list[str]:
    """Return why clients will not find a server that listens on ``host`` (None: on a socket)."""
    url, why = urlsplit(public_url), []
    if url.path.endswith("/token"):
        why.append(
            f"AUTHSERVER_PUBLIC_URL ends in /token: the realm becomes {public_url}/token; "
            f"set it to {public_url.removesuffix('/token')}"
        )
    if is_this_machine(url.hostname) and host in EVERY_ADDRESS:
        why.append(
            f"AUTHSERVER_PUBLIC_URL is {url.hostname} and serve listens on every address: clients "
            "elsewhere ask themselves for tokens; set it to the URL that they use"
        )
    return why


def is_address(host: str | None) -> bool:
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return True


def is_this_machine(host: str | None) -> bool:
    return host == "localhost" or (
        is_address(host) and ipaddress.ip_address(host or "").is_loopback
    )
