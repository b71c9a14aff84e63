"""Decide as docker_auth does (``auth_server/authz/acl.go``), entry by entry.

The first entry that matches counts. Some matches are uncertain: labels, captured groups, and
expressions that Go may read differently. Then both possibilities are followed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Network, ip_network

from authserver.core.addresses import Address, Network
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
    """The inputs of one docker_auth decision, except the actions."""

    account: str
    type: str
    name: str
    service: str
    address: Address


@dataclass(frozen=True, slots=True)
class AclOutcome:
    """One possible answer to a request, and the entry that decided (None: no entry)."""

    granted: frozenset[str]
    entry: AclEntry | None


def outcomes(
    entries: Sequence[AclEntry], request: AclRequest, asked: frozenset[str]
) -> list[AclOutcome]:
    """Return the possible answers to a request: several if a match is uncertain."""
    possible: list[AclOutcome] = []
    for entry in entries:
        matched = matches(entry, request)
        if matched is False:
            continue
        possible.append(AclOutcome(entry_actions(entry) & asked, entry))
        if matched:
            return possible
    return [*possible, AclOutcome(frozenset(), None)]


def entry_actions(entry: AclEntry) -> frozenset[str]:
    """Return the actions that the entry gives.

    ``*`` alone means all actions that we know; beside others it stands only for a requested ``*``.
    """
    if entry.actions == ("*",):
        return frozenset({"pull", "push", "delete", "*"})
    return frozenset(entry.actions)


def matches(entry: AclEntry, request: AclRequest) -> bool | None:
    """Whether the entry matches; None if that is uncertain."""
    certain = True
    for holds in _conditions(entry.match, request):
        if holds is False:
            return False
        certain = certain and holds is not None
    return True if certain else None


def _conditions(match: Match, request: AclRequest) -> Iterator[bool | None]:
    yield matches_text(match.account, request.account, request)
    yield matches_text(match.type, request.type, request)
    yield matches_text(match.name, request.name, request)
    yield matches_text(match.service, request.service, request)
    yield match.ip is None or _contains(match.ip, request.address)
    yield None if match.labels else True


def matches_text(pattern: str | None, text: str, request: AclRequest | None = None) -> bool | None:
    """Whether one condition holds; None if that is uncertain.

    Without a request every condition with a variable is uncertain.
    """
    if pattern is None:
        return True
    if len(pattern) > matchers.MAX_LENGTH:
        return None
    if _UNKNOWN.search(pattern) or (request is None and _VARIABLE.search(pattern)):
        return None
    pattern = _VARIABLE.sub(lambda match: quoted(getattr(request, match[1])), pattern)
    if not matchers.is_regexp(pattern):
        return matchers.glob_matches(pattern, text)
    compiled = matchers.compiled(pattern[1:-1])
    return None if compiled is None else compiled.search(text)


def quoted(text: str) -> str:
    """Quote as Go's ``regexp.QuoteMeta`` does; docker_auth uses it for globs as well."""
    return _META.sub(lambda match: f"\\{match[0]}", text)


@lru_cache(maxsize=4096)
def entry_network(text: str) -> Network:
    """Return the network of an entry's ``ip``, which is an address or a network.

    Raises:
        Refused: the text is neither, so docker_auth would not start, or is IPv4 written as IPv6.
    """
    try:
        parsed = ip_network(text, strict=False)
    except ValueError:
        raise Refused(f"{text!r} is neither an address nor a network") from None
    if "/" in text and not text.rpartition("/")[2].isdecimal():
        raise Refused(f"{text!r} is not a network: write the length of its prefix")
    if isinstance(parsed, IPv6Network) and parsed.network_address.ipv4_mapped:
        raise Refused(f"{text!r} is IPv4 written as IPv6")
    return parsed


def _contains(text: str, address: Address) -> bool | None:
    try:
        return address in entry_network(text)
    except Refused:
        return None
