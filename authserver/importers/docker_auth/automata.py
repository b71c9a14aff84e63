"""Search by regular expressions as Go does: an automaton follows all possible matches at once.

Its time is linear in the text. Python's ``re`` backtracks, and some expressions make it run
practically for ever.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

MAX_STATES = 2000
MAX_REMEMBERED = 1000
"""How many steps one automaton remembers."""

_REPETITION = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_ASSERTIONS = frozenset({"^", "$", r"\A", r"\b", r"\B"})

_Jump = tuple[int, ...]
_State = str | re.Pattern[str] | _Jump | None
"""An assertion, a character, jumps (distances to other states), or None: a match."""

_States = list[_State]
_Places = frozenset[int]


class TooLarge(Exception):
    """An expression has more than MAX_STATES."""


@dataclass(eq=False)
class Automaton:
    """An expression as a list of states, and the results of earlier steps."""

    states: Sequence[_State]
    _steps: dict[tuple[_Places, str, str], _Places | None] = field(default_factory=dict)

    def search(self, text: str) -> bool:
        """Whether the expression matches anywhere in ``text``."""
        places: _Places = frozenset()
        before = ""
        for char in (*text, ""):
            key = places, before, char
            if key not in self._steps:
                if len(self._steps) >= MAX_REMEMBERED:
                    self._steps.clear()
                self._steps[key] = self._step(*key)
            after = self._steps[key]
            if after is None:
                return True
            places, before = after, "a" if _is_word(char) else "-"
        return False

    def _step(self, places: _Places, before: str, char: str) -> _Places | None:
        """Return the places after ``char``, None on a match; an empty ``char`` ends the text."""
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
    """Return the automaton of an expression, given as its tokens.

    Raises:
        TooLarge: the expression has more than MAX_STATES.
        re.error: the tokens are not an expression.
    """
    rest = iter((*tokens, ""))
    states, last = _alternatives(rest)
    if last:
        raise re.error("a parenthesis too many")
    return Automaton([*states, None])


def _alternatives(rest: Iterator[str]) -> tuple[_States, str]:
    """Return the states up to a closing parenthesis or the end, and which of the two came."""
    states, last = _sequence(rest)
    while last == "|":
        other, last = _sequence(rest)
        states = [(1, len(states) + 2), *states, (len(other) + 1,), *other]
    return states, last


def _sequence(rest: Iterator[str]) -> tuple[_States, str]:
    states: _States = []
    piece: _States = []
    while (token := next(rest)) not in ("|", ")", ""):
        if token[0] in "*+?{":
            piece = _repeated(piece, token)
            continue
        states += piece
        if token[0] == "(":
            piece, last = _alternatives(rest)
            if last != ")":
                raise re.error("a parenthesis is missing")
        else:
            piece = [token if token in _ASSERTIONS else re.compile(token, re.ASCII)]
        if len(states) > MAX_STATES:
            raise TooLarge
    return [*states, *piece], token


def _repeated(piece: _States, quantifier: str) -> _States:
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
