"""What a rule or an entry reaches: accounts × names × registry × addresses.

Of two it can be said for sure that they have nothing in common, or that one lies within the other.
Where neither is proven the answers are the careful ones: they may meet, none covers.
"""

from dataclasses import dataclass, replace

from authserver.core.conditions import Conditions, Network
from authserver.core.pattern_sets import overlap, within
from authserver.core.patterns import ACCOUNT, Pattern
from authserver.importers.docker_auth.evaluate import NO_CREDENTIALS

OTHERS = "*"
"""All accounts that the file does not name; no account can have this name."""


@dataclass(frozen=True, slots=True)
class Region:
    """Whom (``NO_CREDENTIALS`` and ``OTHERS`` among them), which names, where, and from where.

    ``service`` None is every registry, ``network`` None is every address.
    """

    type: str
    accounts: frozenset[str]
    patterns: tuple[Pattern, ...]
    service: str | None = None
    network: Network | None = None

    @property
    def has_account_names(self) -> bool:
        """Whether the names depend on the account's."""
        return any(ACCOUNT in pattern.text for pattern in self.patterns)

    @property
    def conditions(self) -> Conditions:
        return Conditions(() if self.network is None else (self.network,))

    def meets(self, other: "Region") -> bool:
        """Whether there may be a request within both."""
        return (
            self.type == other.type
            and not self.accounts.isdisjoint(other.accounts)
            and (None in (self.service, other.service) or self.service == other.service)
            and (_inside(self, other) or _inside(other, self))
            and any(overlap(p, q) for p in self.patterns for q in other.patterns)
        )

    def covers(self, other: "Region") -> bool:
        """Whether every request within ``other`` is surely within this one too."""
        return (
            self.type == other.type
            and self.accounts >= other.accounts
            and self.service in (None, other.service)
            and _inside(other, self)
            and all(within(pattern, self.patterns) for pattern in other.patterns)
        )

    def common(self, other: "Region") -> "Region | None":
        """Return what is within both, which must meet; None if it has no such form."""
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
        found: list[Pattern] = []
        for p in self.patterns:
            for q in other.patterns:
                if within(p, [q]):
                    found.append(p)
                elif within(q, [p]):
                    found.append(q)
                elif overlap(p, q):
                    return None
        return tuple(dict.fromkeys(found))

    def for_each_name(self) -> "list[Region]":
        """Write the name in place of ``{account}``, which makes a reach of its own for each."""
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
