"""Rules by the literal segments with which their patterns begin: few are near a pattern."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from authserver.core.patterns import ACCOUNT, Pattern
from authserver.core.rules import Rule

_Prefix = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One pattern of a rule."""

    pattern: Pattern
    rule: Rule


class Tree:
    """Entries by the literal segments with which their patterns begin."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._at: defaultdict[_Prefix, list[Entry]] = defaultdict(list)
        self._below: defaultdict[_Prefix, list[Entry]] = defaultdict(list)
        for rule in rules:
            for pattern in rule.patterns:
                self.put(Entry(pattern, rule))

    def put(self, entry: Entry) -> None:
        prefix = _literal(entry.pattern)
        self._at[prefix].append(entry)
        for length in range(len(prefix)):
            self._below[prefix[:length]].append(entry)

    def at_or_above(self, pattern: Pattern) -> Iterator[Entry]:
        """Give the entries of which one may cover all that ``pattern`` covers."""
        prefix = _literal(pattern)
        for length in range(len(prefix) + 1):
            yield from self._at.get(prefix[:length], ())

    def near(self, pattern: Pattern) -> Iterator[Entry]:
        """Give the entries of which one may cover some of what ``pattern`` covers."""
        yield from self.at_or_above(pattern)
        yield from self._below.get(_literal(pattern), ())


@lru_cache(maxsize=2**16)
def _literal(pattern: Pattern) -> _Prefix:
    found = []
    for segment in pattern.segments:
        if "*" in segment or segment == ACCOUNT:
            break
        found.append(segment)
    return tuple(found)
