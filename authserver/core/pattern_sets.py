"""Patterns as sets of names: whether some patterns cover another, or overlap it.

A pattern is read as a small automaton over characters. Only names without empty segments count.
The rest of the grammar of names is ignored, which is the safe side: ``within`` may return False
and ``overlap`` True where only impossible names make the difference.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from authserver.core.patterns import ACCOUNT, ANY_SEGMENTS, Pattern

# Steps besides a literal character: one character of a segment, any number of them, any number
# of any characters. The asking account's name is one character that no name has.
_ONE, _SOME, _ANY = "one", "some", "any"
_ACCOUNT = "{}"
_OTHER = "other"
_SLASH = "/"

MAX_PLACES = 50_000
"""After so many places ``within`` gives up and returns False: hostile patterns cost no more."""

_Steps = tuple[str, ...]
_Place = tuple[int, int]


def within(inner: Pattern, outers: Sequence[Pattern], *, share: int = 1) -> bool:
    """Whether ``outers`` together cover each name that ``inner`` covers, for the same account.

    ``share`` questions divide MAX_PLACES among them; when its part is used up, one returns False.
    """
    if inner in outers or any(outer.text == ANY_SEGMENTS for outer in outers):
        return True
    if ACCOUNT not in inner.text and "*" not in inner.text:
        return any(outer.matches(inner.text, None) for outer in outers)
    steps, around = _steps(inner), [_steps(outer) for outer in outers]
    start = frozenset((which, 0) for which in range(len(around)))
    todo = [(0, start, True)]
    seen = set(todo)
    places = MAX_PLACES // share
    while todo:
        at, outside, boundary = todo.pop()
        if _ends(steps, at) and not boundary and not any(_ends(around[w], p) for w, p in outside):
            return False
        places -= 1 + len(outside)
        if places < 0:
            return False
        symbols = _symbols([(steps, at), *((around[which], place) for which, place in outside)])
        for symbol, after in _moves(steps, at, symbols):
            if symbol == _SLASH and boundary:
                continue
            state = (after, frozenset(_step(around, outside, symbol)), symbol == _SLASH)
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return True


def overlap(one: Pattern, other: Pattern) -> bool:
    """Whether both patterns cover any one name, for the same account.

    The account may have any name: ``{account}`` is taken for ``*``.
    """
    # Most pairs differ in the segments that they begin with, which is seen without the automata:
    # everybody may ask what they may do, and each of their rules is compared with each deny.
    if any(a != b for a, b in zip(one.beginning, other.beginning, strict=False)):
        return False
    left, right = (_steps(Pattern(p.text.replace(ACCOUNT, "*"))) for p in (one, other))
    todo = [(0, 0, True)]
    seen = set(todo)
    while todo:
        a, b, boundary = todo.pop()
        if not boundary and _ends(left, a) and _ends(right, b):
            return True
        for symbol, after in _moves(left, a, _symbols([(left, a), (right, b)])):
            if symbol == _SLASH and boundary:
                continue
            for met, then in _moves(right, b, [symbol]):
                state = (after, then, met == _SLASH)
                if state not in seen:
                    seen.add(state)
                    todo.append(state)
    return False


@lru_cache(maxsize=4096)
def _steps(pattern: Pattern) -> _Steps:
    steps: list[str] = []
    for segment in pattern.segments:
        if steps:
            steps.append(_SLASH)
        if segment == ANY_SEGMENTS:
            steps += (_ONE, _ANY)
        elif segment == ACCOUNT:
            steps.append(_ACCOUNT)
        elif segment == "*":
            steps += (_ONE, _SOME)
        else:
            steps += (_SOME if char == "*" else char for char in segment)
    return tuple(steps)


def _symbols(readers: Iterable[tuple[_Steps, int]]) -> set[str]:
    """Return every character that makes a difference here, and one that stands for all others."""
    symbols = {_SLASH, _OTHER}
    for steps, at in readers:
        for step in steps[at:]:
            if step not in (_ONE, _SOME, _ANY):
                symbols.add(step)
            if step not in (_SOME, _ANY):
                break
    return symbols


def _moves(steps: _Steps, at: int, symbols: Iterable[str]) -> Iterator[tuple[str, int]]:
    for symbol in symbols:
        place = at
        while place < len(steps):
            step = steps[place]
            loops = step in (_SOME, _ANY)
            if step in (symbol, _ANY) or (step in (_ONE, _SOME) and symbol != _SLASH):
                yield symbol, place if loops else place + 1
            if not loops:
                break
            place += 1


def _step(around: Sequence[_Steps], places: Iterable[_Place], symbol: str) -> Iterator[_Place]:
    for which, at in places:
        for _, after in _moves(around[which], at, [symbol]):
            yield which, after


def _ends(steps: _Steps, at: int) -> bool:
    return all(step in (_SOME, _ANY) for step in steps[at:])
