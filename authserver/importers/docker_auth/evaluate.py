"""What docker_auth decides (``auth_server/authz/acl.go``): the plain way, entry by entry.

The first entry that matches counts. Where it is not known whether one matches (labels, captured
groups, expressions that may mean something else in Go), both possibilities are followed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Network, ip_network

from authserver.core.conditions import Address, Network
from authserver.core.errors import Refused
from authserver.importers.docker_auth import matchers
from authserver.importers.docker_auth.config import AclEntry, Match

NO_CREDENTIALS = ""
"""The account of a request without credentials."""

_VARIABLE = re.compile(r"\$\{(account|type|name|service)\}")
_META = re.compile(r"[\\.+*?()|\[\]{}^$]")
# A colon and a digit anywhere after the first ${ of a line.
_UNKNOWN = re.compile(r"\$\{labels:|^(?:(?!\$\{).)*\$\{.+?:\d", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AclRequest:
    """What one decision of docker_auth depends on, but for the actions."""

    account: str
    type: str
    name: str
    service: str
    address: Address


@dataclass(frozen=True, slots=True)
class AclOutcome:
    """One way in which a request may come out, and the entry that decided (None: no entry)."""

    granted: frozenset[str]
    entry: AclEntry | None


def outcomes(
    entries: Sequence[AclEntry], request: AclRequest, asked: frozenset[str]
) -> list[AclOutcome]:
    """Return how the request comes out; more than one if that depends on what is not known."""
    found: list[AclOutcome] = []
    for entry in entries:
        matched = matches(entry, request)
        if matched is False:
            continue
        found.append(AclOutcome(given(entry) & asked, entry))
        if matched:
            return found
    return [*found, AclOutcome(frozenset(), None)]


def given(entry: AclEntry) -> frozenset[str]:
    """Return the actions that the entry gives of those that we know.

    ``*`` alone means all; beside others it stands only for a requested ``*``.
    """
    if entry.actions == ("*",):
        return frozenset({"pull", "push", "delete", "*"})
    return frozenset(entry.actions)


def matches(entry: AclEntry, request: AclRequest) -> bool | None:
    """Whether the entry matches; None if that is not known."""
    known = True
    for holds in _conditions(entry.match, request):
        if holds is False:
            return False
        known = known and holds is not None
    return True if known else None


def _conditions(match: Match, request: AclRequest) -> Iterator[bool | None]:
    yield matches_text(match.account, request.account, request)
    yield matches_text(match.type, request.type, request)
    yield matches_text(match.name, request.name, request)
    yield matches_text(match.service, request.service, request)
    yield match.ip is None or _contains(match.ip, request.address)
    yield None if match.labels else True


def matches_text(pattern: str | None, text: str, request: AclRequest | None = None) -> bool | None:
    """Whether one condition holds; None if that is not known.

    Without a request nothing is known of a condition with a variable.
    """
    if pattern is None:
        return True
    if len(pattern) > matchers.MAX_LENGTH:
        return None
    if _UNKNOWN.search(pattern) or (request is None and _VARIABLE.search(pattern)):
        return None
    pattern = _VARIABLE.sub(lambda found: quoted(getattr(request, found[1])), pattern)
    if not matchers.is_regexp(pattern):
        return matchers.glob_matches(pattern, text)
    compiled = matchers.compiled(pattern[1:-1])
    return None if compiled is None else compiled.search(text)


def quoted(text: str) -> str:
    """Return Go's ``regexp.QuoteMeta``; docker_auth uses it for globs as well."""
    return _META.sub(lambda found: f"\\{found[0]}", text)


@lru_cache(maxsize=4096)
def network(text: str) -> Network:
    """Return an entry's ``ip``: an address or a network.

    Raises:
        Refused: it is neither, and docker_auth would not start; or an IPv6 form of IPv4 addresses.
    """
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise Refused(f"{text!r} is no address and no network") from None
    if "/" in text and not text.rpartition("/")[2].isdecimal():
        raise Refused(f"{text!r} is no network: write the length of its prefix")
    if isinstance(found, IPv6Network) and found.network_address.ipv4_mapped:
        raise Refused(f"{text!r} is IPv4 written as IPv6")
    return found


def _contains(text: str, address: Address) -> bool | None:
    try:
        return address in network(text)
    except Refused:
        return None
