"""Searching by regular expressions as Go does: all ways to match are followed at once.

The time is linear in the text. Python goes back and tries again, which some expressions make take
for ever.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

MAX_STATES = 2000
MAX_REMEMBERED = 1000
"""Steps of one automaton that are remembered."""

_REPETITION = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_ASSERTIONS = frozenset({"^", "$", r"\A", r"\b", r"\B"})

_Jump = tuple[int, ...]
_State = str | re.Pattern[str] | _Jump | None
"""An assertion, a character, a jump to states so far ahead, or None: the expression matched."""

_Piece = list[_State]
_Places = frozenset[int]


class TooLarge(Exception):
    """An expression has more than MAX_STATES."""


@dataclass(eq=False)
class Automaton:
    """An expression as states, and what the steps came to that were taken before."""

    states: Sequence[_State]
    _known: dict[tuple[_Places, str, str], _Places | None] = field(default_factory=dict)

    def search(self, text: str) -> bool:
        """Whether the expression matches anywhere in ``text``."""
        places: _Places = frozenset()
        before = ""
        for char in (*text, ""):
            key = places, before, char
            if key not in self._known:
                if len(self._known) >= MAX_REMEMBERED:
                    self._known.clear()
                self._known[key] = self._step(*key)
            after = self._known[key]
            if after is None:
                return True
            places, before = after, "a" if _is_word(char) else "-"
        return False

    def _step(self, places: _Places, before: str, char: str) -> _Places | None:
        """Return where ``char`` leads; nothing is the text's end. None: all has matched."""
        after: set[int] = set()
        seen = {0, *places}
        todo = list(seen)
        while todo:
            place = todo.pop()
            state = self.states[place]
            if state is None:
                return None
            if isinstance(state, re.Pattern):
                if char and state.fullmatch(char):
                    after.add(place + 1)
                continue
            if isinstance(state, str):
                state = (1,) if _holds(state, before, char) else ()
            further = {place + ahead for ahead in state} - seen
            todo += further
            seen |= further
        return frozenset(after)


def automaton(tokens: Sequence[str]) -> Automaton:
    """Return what searches by an expression, which comes as its tokens.

    Raises:
        TooLarge: it has too many states.
        re.error: it is no expression.
    """
    rest = iter((*tokens, ""))
    states, last = _alternatives(rest)
    if last:
        raise re.error("a parenthesis too many")
    return Automaton([*states, None])


def _alternatives(rest: Iterator[str]) -> tuple[_Piece, str]:
    """Return what stands before a closing parenthesis or the end, and which of these it is."""
    found, last = _sequence(rest)
    while last == "|":
        other, last = _sequence(rest)
        found = [(1, len(found) + 2), *found, (len(other) + 1,), *other]
    return found, last


def _sequence(rest: Iterator[str]) -> tuple[_Piece, str]:
    found: _Piece = []
    piece: _Piece = []
    while (token := next(rest)) not in ("|", ")", ""):
        if token[0] in "*+?{":
            piece = _repeated(piece, token)
            continue
        found += piece
        if token[0] == "(":
            piece, last = _alternatives(rest)
            if last != ")":
                raise re.error("a parenthesis is missing")
        else:
            piece = [token if token in _ASSERTIONS else re.compile(token, re.ASCII)]
        if len(found) > MAX_STATES:
            raise TooLarge
    return [*found, *piece], token


def _repeated(piece: _Piece, quantifier: str) -> _Piece:
    least, most = _bounds(quantifier)
    asserts = len(piece) == 1 and isinstance(piece[0], str)
    if asserts or (most is not None and most < least):
        raise re.error("it repeats an assertion, or from more to fewer")
    if (len(piece) + 1) * max(least, most or 1) > MAX_STATES:
        raise TooLarge
    size = len(piece)
    if most is None:
        return [*piece * least, (1, size + 2), *piece, (-size - 1,)]
    return [*piece * least, *[(1, size + 1), *piece] * (most - least)]


def _bounds(quantifier: str) -> tuple[int, int | None]:
    match quantifier[0]:
        case "*":
            return 0, None
        case "+":
            return 1, None
        case "?":
            return 0, 1
    matched = _REPETITION.match(quantifier)
    if matched is None:
        raise re.error("no quantifier")
    least, comma, most = matched.groups()
    return int(least), int(most) if most else None if comma else int(least)


def _is_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")


def _holds(assertion: str, before: str, after: str) -> bool:
    if assertion in ("^", r"\A"):
        return not before
    if assertion == "$":
        return not after
    return (_is_word(before) != _is_word(after)) == (assertion == r"\b")
