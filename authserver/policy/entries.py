"""Rules by the literal segments that begin and end their patterns: few are near a pattern."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Generic, TypeVar

from authserver.core.patterns import Pattern, is_literal
from authserver.core.rules import Rule

_Prefix = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One pattern of a rule."""

    pattern: Pattern
    rule: Rule


_Entry = TypeVar("_Entry", bound=Entry)


class _Ends(Generic[_Entry]):
    """Entries by the last segment of their patterns, None where it is not literal."""

    def __init__(self) -> None:
        self._by_last: defaultdict[str | None, list[_Entry]] = defaultdict(list)

    def put(self, entry: _Entry) -> None:
        self._by_last[_last(entry.pattern)].append(entry)

    def near(self, last: str | None) -> Iterator[_Entry]:
        """Give the entries of which one may end as a pattern with this last segment does."""
        if last is None:
            return chain.from_iterable(self._by_last.values())
        return chain(self._by_last.get(None, ()), self._by_last.get(last, ()))

    def around(self, last: str | None) -> Iterator[_Entry]:
        """Give the entries of which one may cover each end of such a pattern."""
        literal = () if last is None else self._by_last.get(last, ())
        return chain(self._by_last.get(None, ()), literal)


class Tree(Generic[_Entry]):
    """Entries by the literal segments with which their patterns begin and end."""

    def __init__(self, entries: Iterable[_Entry] = ()) -> None:
        self._at: defaultdict[_Prefix, _Ends[_Entry]] = defaultdict(_Ends)
        self._below: defaultdict[_Prefix, _Ends[_Entry]] = defaultdict(_Ends)
        for entry in entries:
            self._put(entry)

    def _put(self, entry: _Entry) -> None:
        prefix = entry.pattern.beginning
        self._at[prefix].put(entry)
        for length in range(len(prefix)):
            self._below[prefix[:length]].put(entry)

    def around(self, pattern: Pattern) -> Iterator[_Entry]:
        """Give the entries of which one may cover all that ``pattern`` covers."""
        last = _last(pattern)
        for ends in self._at_or_above(pattern):
            yield from ends.around(last)

    def near(self, pattern: Pattern) -> Iterator[_Entry]:
        """Give the entries of which one may cover some of what ``pattern`` covers."""
        last, prefix = _last(pattern), pattern.beginning
        for ends in self._at_or_above(pattern):
            yield from ends.near(last)
        if prefix in self._below:
            yield from self._below[prefix].near(last)

    def _at_or_above(self, pattern: Pattern) -> Iterator[_Ends[_Entry]]:
        prefix = pattern.beginning
        for length in range(len(prefix) + 1):
            if prefix[:length] in self._at:
                yield self._at[prefix[:length]]


@lru_cache(maxsize=2**16)
def _last(pattern: Pattern) -> str | None:
    segment = pattern.segments[-1]
    return segment if is_literal(segment) else None
