"""The region of a rule or an entry: accounts × names × registry × addresses.

For some pairs of regions it is certain that they are disjoint, or that one covers the other. For
all others the answers are the cautious ones: the two may meet, and neither covers the other.
"""

from dataclasses import dataclass, replace

from authserver.core.addresses import Network
from authserver.core.conditions import Conditions, SourceNetworks
from authserver.core.pattern_sets import overlap, within
from authserver.core.patterns import ACCOUNT, Pattern
from authserver.importers.docker_auth.evaluate import NO_CREDENTIALS

OTHERS = "*"
"""All accounts that the file does not name; an account cannot have this name."""


@dataclass(frozen=True, slots=True)
class Region:
    """A set of requests: by which accounts, for which names, on which registry, from where.

    ``accounts`` may have ``NO_CREDENTIALS`` and ``OTHERS``. ``service`` None is every registry,
    ``network`` None is every address.
    """

    type: str
    accounts: frozenset[str]
    patterns: tuple[Pattern, ...]
    service: str | None = None
    network: Network | None = None

    @property
    def has_account_names(self) -> bool:
        """Whether the names depend on the account's name."""
        return any(ACCOUNT in pattern.text for pattern in self.patterns)

    @property
    def conditions(self) -> Conditions:
        return Conditions(() if self.network is None else (SourceNetworks((self.network,)),))

    def meets(self, other: "Region") -> bool:
        """Whether a request may lie within both."""
        return (
            self.type == other.type
            and not self.accounts.isdisjoint(other.accounts)
            and (None in (self.service, other.service) or self.service == other.service)
            and (_inside(self, other) or _inside(other, self))
            and any(overlap(p, q) for p in self.patterns for q in other.patterns)
        )

    def covers(self, other: "Region") -> bool:
        """Whether every request within ``other`` is certainly within this one too."""
        return (
            self.type == other.type
            and self.accounts >= other.accounts
            and self.service in (None, other.service)
            and _inside(other, self)
            and all(within(pattern, self.patterns) for pattern in other.patterns)
        )

    def common(self, other: "Region") -> "Region | None":
        """Return the intersection with a region that this one meets; None if it is not a region."""
        patterns = self._common_patterns(other)
        if patterns is None:
            return None
        return replace(
            self,
            accounts=self.accounts & other.accounts,
            patterns=patterns,
            service=self.service or other.service,
            network=self.network if _inside(self, other) else other.network,
        )

    def _common_patterns(self, other: "Region") -> tuple[Pattern, ...] | None:
        common: list[Pattern] = []
        for p in self.patterns:
            for q in other.patterns:
                if within(p, [q]):
                    common.append(p)
                elif within(q, [p]):
                    common.append(q)
                elif overlap(p, q):
                    return None
        return tuple(dict.fromkeys(common))

    def for_each_name(self) -> "list[Region]":
        """Return a region for each account, with its name in place of ``{account}``."""
        if not self.has_account_names:
            return [self]
        return [
            replace(
                self,
                accounts=frozenset({name}),
                patterns=tuple(Pattern(p.text.replace(ACCOUNT, name)) for p in self.patterns),
            )
            for name in sorted(self.accounts - {NO_CREDENTIALS})
        ]


def _inside(inner: Region, outer: Region) -> bool:
    return inner.conditions.within(outer.conditions)
