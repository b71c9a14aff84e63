"""Make sample requests for the comparison from the file's words, their neighbours and new words.

The samples have each account, name, registry and network of the file, and some that the file does
not have. They also have the neighbours: a letter or a segment more, a segment less, the address
before and after.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice, product

from authserver.core.addresses import Address, Network
from authserver.core.names import is_path_component, is_repository_name
from authserver.core.patterns import ACCOUNT, ANY_SEGMENTS, Pattern
from authserver.core.rules import CATALOG
from authserver.importers.docker_auth.config import Config
from authserver.importers.docker_auth.coverage import EntryClaim, ImportContext, possible_account
from authserver.importers.docker_auth.evaluate import NO_CREDENTIALS, AclRequest

MAX_OWN, MAX_FILLED = 4, 20
MAX_CASES = 10_000
"""Of more combinations an even sample is taken, besides the samples of each entry."""

_NEW_ACCOUNT = "somebody-new"
_NEW_NAMES = ("new-name", "new-name/app", "new-name/app/deep")
_NEW_SERVICE = "another registry"
_NEW_ADDRESSES = (ip_address("203.0.113.77"), ip_address("2001:db8:77::1"))
_WORD = re.compile(r"[A-Za-z0-9._:@/-]+")
# A prime: its multiples reach all combinations, in an order unrelated to that of the parts.
_STRIDE = 2_654_435_761


@dataclass(frozen=True, slots=True)
class _Parts:
    accounts: Sequence[str]
    names: Sequence[str]
    services: Sequence[str]
    addresses: Sequence[Address]

    def requests(self, kind: str) -> Iterator[AclRequest]:
        """Yield all combinations, or an even sample of MAX_CASES."""
        parts = (self.accounts, self.names, self.services, self.addresses)
        total = 1
        for part in parts:
            total *= len(part)
        for number in range(min(total, MAX_CASES)):
            at = number * _STRIDE % total if total > MAX_CASES else number
            combination: list[object] = []
            for part in parts:
                at, index = divmod(at, len(part))
                combination.append(part[index])
            account, name, service, address = combination
            yield AclRequest(account, kind, name, service, address)  # type: ignore[arg-type]


def cases(
    config: Config, claims: Sequence[EntryClaim], context: ImportContext
) -> Iterator[AclRequest]:
    """Yield the sample requests for a configuration and its claims."""
    words = sorted(_words(entry.match.name for entry in config.entries))
    accounts = sorted(_accounts(config, context))
    named = [name for name in accounts if is_path_component(name)]
    named = named[:: len(named) // MAX_FILLED + 1]
    patterns = {pattern for claim in claims for pattern in claim.region.patterns}
    filled = {name for pattern in patterns for name in _filled(pattern, words, named)}
    near = {other for name in (*filled, *words) for other in _neighbours(name)}
    services = sorted({_NEW_SERVICE, *context.services, *_literals(claims)})
    networks = {c.region.network for c in claims if c.region.network is not None}
    addresses = sorted(_addresses(networks), key=lambda a: (a.version, int(a)))
    names = sorted(filter(is_repository_name, {*filled, *words, *near, *_NEW_NAMES}))
    parts = _Parts(accounts, names, services, addresses)
    yield from parts.requests("repository")
    yield from _Parts(accounts, (CATALOG,), services, addresses).requests("registry")
    for claim in claims:
        yield from _own(claim, accounts, services)


def _own(
    claim: EntryClaim, accounts: Sequence[str], services: Sequence[str]
) -> Iterator[AclRequest]:
    """Yield some requests within one claim, by some of its accounts and some others."""
    region = claim.region
    addresses = [region.network[0]] if region.network else list(_NEW_ADDRESSES)
    within = [name for name in accounts if name in region.accounts]
    others = [name for name in accounts if name not in region.accounts]
    some = (*islice(within, MAX_OWN), *others[:: len(others) // MAX_OWN + 1])
    for account, pattern in product(some, region.patterns):
        names = filter(is_repository_name, _filled(pattern, (), [account]))
        for name, address in product(islice(names, MAX_OWN), addresses):
            yield AclRequest(account, region.type, name, region.service or services[0], address)


def _words(texts: Iterable[str | None]) -> set[str]:
    """Return the possible names in conditions, whole and by segment."""
    words = {
        word
        for text in texts
        if text
        for word in _WORD.findall(text.replace("${account}", " ").replace("\\", ""))
    }
    words |= {segment for word in words for segment in word.split("/")}
    return {stripped for word in words if (stripped := word.strip("/"))}


def _accounts(config: Config, context: ImportContext) -> set[str]:
    words = _words(entry.match.account for entry in config.entries)
    names = {*context.named, *context.accounts, *words}
    near = {f"{name}x" for name in names} | {f"x{name}" for name in names}
    possible = set(filter(possible_account, names | near))
    return possible | {NO_CREDENTIALS, _NEW_ACCOUNT}


def _filled(pattern: Pattern, words: Iterable[str], accounts: Sequence[str]) -> Iterator[str]:
    """Yield names that the pattern covers, with letters and words for its wild cards."""
    own = accounts if ACCOUNT in pattern.text else ("",)
    for account, filling in product(own, ("x", "x/y", "", *words)):
        text = pattern.text.replace(ACCOUNT, account)
        for deep in (text.replace(ANY_SEGMENTS, filling or "x"), text.replace(ANY_SEGMENTS, "x")):
            yield deep.replace("*", filling)


def _neighbours(name: str) -> Iterator[str]:
    yield from (f"{name}/x", f"{name}x", f"x{name}", f"x/{name}")
    if "/" in name:
        yield name.rpartition("/")[0]


def _literals(claims: Iterable[EntryClaim]) -> set[str]:
    return {claim.region.service for claim in claims if claim.region.service is not None}


def _addresses(networks: Iterable[Network]) -> set[Address]:
    addresses: set[Address] = set(_NEW_ADDRESSES)
    for network in networks:
        first, last = network[0], network[-1]
        addresses |= {first, last}
        # The first and the last address of all have only one neighbour.
        addresses |= {first - 1} if int(first) else set()
        addresses |= {last + 1} if int(last) + 1 < 2**network.max_prefixlen else set()
    return addresses
