"""Finding the few rules whose patterns may cover another's, among many."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from authserver.core.patterns import Pattern
from authserver.core.rules import Rule

# What stands for wild cards and the asking account's name; no pattern has it.
_GAP = "\0"
_gaps = re.compile(r"\*+|\{account\}")


class Index:
    """Rules by the rarest piece of literal text in each of their patterns.

    Where one pattern covers another, each of its pieces is a part of one of the other's.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        patterns = [(pattern, rule) for rule in rules for pattern in rule.patterns]
        common = Counter(piece for pattern, _ in patterns for piece in _pieces(pattern))
        self._by_piece: defaultdict[str, list[Rule]] = defaultdict(list)
        for pattern, rule in patterns:
            rarest = min(_pieces(pattern), key=lambda piece: (common[piece], piece))
            self._by_piece[rarest].append(rule)

    def near(self, pattern: Pattern) -> Iterable[Rule]:
        """Give the rules that may cover ``pattern``; one may come twice."""
        text = _gaps.sub(_GAP, pattern.text)
        for piece in self._within(text):
            yield from self._by_piece[piece]

    def _within(self, text: str) -> Iterable[str]:
        # As many tries as there are pieces here or in the text, whichever is fewer.
        if len(self._by_piece) < len(text) ** 2 // 2:
            return [piece for piece in self._by_piece if piece in text]
        ends = range(len(text) + 1)
        return self._by_piece.keys() & {text[start:end] for start in ends for end in ends[start:]}


def _pieces(pattern: Pattern) -> list[str]:
    """Return the literal text between wild cards, or nothing as the only piece."""
    return [piece for piece in _gaps.split(pattern.text) if piece] or [""]
