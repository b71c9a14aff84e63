"""Go's regular expressions, as far as Python's mean the same, and those that are plain words.

An expression that might mean something else here is not compiled at all: whoever asks is told
that it is not known whether it matches.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import product

from authserver.importers.docker_auth.automata import Automaton, TooLarge, automaton

MAX_LENGTH = 4096
MAX_GROUPS = 50
MAX_ALTERNATIVES = 32

_PUNCTUATION = r"\\[!-/:-@\[-`{-~]"
_IN_CLASS = rf"{_PUNCTUATION}|\\[dw]|[^\[\]\\&~|^-]|(?<=\w)-(?=\w)"
_TOKEN = re.compile(
    rf"""
    \((?:\?:)? | [)|^$]
    | {_PUNCTUATION} | \\[dDwWAbB] | \[\^?(?:{_IN_CLASS})+\] | [^\\\[\](){{}}|*+?$^]
    | (?:[*+?]|\{{\d{{1,3}}(?:,\d{{0,3}})?\}})\??
    """,
    re.VERBOSE,
)
_QUANTIFIER = re.compile(r"[*+?{]")
_WORD = re.compile(r"[^\\.+*?()\[\]{}|^$]+")


def is_regexp(text: str) -> bool:
    """Whether docker_auth takes ``text`` for a regular expression and not for a glob."""
    return len(text) > 2 and text.startswith("/") and text.endswith("/")


def is_long(expression: str) -> bool:
    """Whether an expression is longer, or nested deeper, than we look into."""
    return len(expression) > MAX_LENGTH or expression.count("(") > MAX_GROUPS


@lru_cache(maxsize=1024)
def compiled(expression: str) -> Automaton | None:
    """Return what searches as Go does, or None if that is not sure."""
    found = [] if is_long(expression) else _TOKEN.findall(expression)
    if "".join(found) != expression or not _repeats_plainly(found):
        return None
    try:
        return automaton(found)
    except (TooLarge, re.error):
        return None


def _repeats_plainly(pieces: list[str]) -> bool:
    """Whether no group repeats what repeats; its states could be too many."""
    inside = [False]
    closed: bool | None = None
    previous = "("
    for piece in pieces:
        quantifier = _QUANTIFIER.match(piece) is not None
        if quantifier and (closed or _QUANTIFIER.match(previous) or previous[0] in "(|^$"):
            return False
        closed = None
        if piece[0] == "(":
            inside.append(False)
        elif piece == ")" and len(inside) > 1:
            closed = inside.pop()
            inside[-1] = inside[-1] or closed
        inside[-1] = inside[-1] or quantifier
        previous = piece
    return True


class Wild(Enum):
    """The wild cards that plain expressions are made of."""

    SEGMENT = "[^/]*"
    WHOLE_SEGMENT = "[^/]+"
    ANY = ".*"
    SOME = ".+"


Part = str | Wild


@dataclass(frozen=True, slots=True)
class Plain:
    """An expression that is nothing but words, wild cards and alternatives between words.

    Each alternative covers whole texts: where an anchor is missing, ``ANY`` stands there.
    """

    alternatives: tuple[tuple[Part, ...], ...]

    @property
    def words(self) -> frozenset[str] | None:
        """Return the texts that it matches if it matches no others."""
        if any(isinstance(part, Wild) for parts in self.alternatives for part in parts):
            return None
        return frozenset("".join(map(str, parts)) for parts in self.alternatives)


@dataclass
class _NotPlain(Exception):
    at: str


def plain(expression: str) -> Plain | None:
    """Return the expression's parts if it is a plain one."""
    if is_long(expression):
        return None
    body = expression.removeprefix("^")
    anchored = body.endswith("$") and not body.endswith(r"\$")
    try:
        parts, rest = _alternatives(body[:-1] if anchored else body, top=True)
    except _NotPlain:
        return None
    if rest or len(parts) > MAX_ALTERNATIVES:
        return None
    before = () if expression.startswith("^") else (Wild.ANY,)
    after = () if anchored else (Wild.ANY,)
    return Plain(tuple(_joined((*before, *p, *after)) for p in parts))


def _alternatives(text: str, *, top: bool = False) -> tuple[list[tuple[Part, ...]], str]:
    found: list[tuple[Part, ...]] = []
    while True:
        more, text = _sequence(text)
        found += more
        if not text.startswith("|") or top:
            return found, text
        text = text[1:]


def _sequence(text: str) -> tuple[list[tuple[Part, ...]], str]:
    found: list[tuple[Part, ...]] = [()]
    while text and text[0] not in "|)":
        more, text = _one(text)
        if _QUANTIFIER.match(text) or len(found) * len(more) > MAX_ALTERNATIVES:
            raise _NotPlain(text)
        found = [(*left, *right) for left, right in product(found, more)]
    return found, text


def _one(text: str) -> tuple[list[tuple[Part, ...]], str]:
    if text[0] == "(":
        found, rest = _alternatives(text.removeprefix("(").removeprefix("?:"))
        if not rest.startswith(")"):
            raise _NotPlain(text)
        return found, rest[1:]
    for wild in Wild:
        if text.startswith(wild.value):
            return [(wild,)], text[len(wild.value) :]
    if escaped := re.match(_PUNCTUATION, text):
        return [(escaped[0][1],)], text[2:]
    if (word := _WORD.match(text)) is None:
        raise _NotPlain(text)
    return [(word[0],)], text[word.end() :]


def _joined(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Put letters together, and wild cards of which one says all."""
    joined: list[Part] = []
    for part in parts:
        one = _as_one(joined[-1], part) if joined else None
        if one is None:
            joined.append(part)
        else:
            joined[-1] = one
    return tuple(joined)


def _as_one(left: Part, right: Part) -> Part | None:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    both = {left, right}
    if both <= {Wild.SEGMENT}:
        return Wild.SEGMENT
    if both <= {Wild.ANY, Wild.SEGMENT}:
        return Wild.ANY
    return Wild.SOME if both == {Wild.ANY, Wild.SOME} else None
