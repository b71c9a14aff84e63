"""Go's ``path.Match`` and regular expressions, by which docker_auth compares texts.

``path.Match`` is followed step by step: it never goes back behind a star that was matched, and a
class may match a slash where ``*`` and ``?`` may not. Regular expressions are taken as far as
Python's mean the same. One that might mean something else here is not compiled at all: the caller
is told that it is not known whether it matches.
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


class _Malformed(Exception):
    """A pattern that Go calls malformed; docker_auth takes it for one that matches nothing."""


@lru_cache(maxsize=65536)
def glob_matches(pattern: str, name: str) -> bool:
    """Whether the whole of ``name`` matches; never for a malformed pattern."""
    try:
        return _match(pattern, name)
    except _Malformed:
        return False


def is_literal(pattern: str) -> bool:
    """Whether the pattern has no wild cards, classes or escapes, and so matches itself only."""
    return not set(pattern) & set("*?[\\")


def _match(pattern: str, name: str) -> bool:
    while pattern:
        star, chunk, pattern = _next_chunk(pattern)
        if star and not chunk:
            return "/" not in name
        rest = _after_chunk(star, chunk, name, last=not pattern)
        if rest is None:
            return False
        name = rest
    return not name


def _next_chunk(pattern: str) -> tuple[bool, str, str]:
    """Split off what stands before the next star; the flag says that a star stands before it."""
    stripped = pattern.lstrip("*")
    in_class, at = False, 0
    while at < len(stripped) and (in_class or stripped[at] != "*"):
        in_class = {"[": True, "]": False}.get(stripped[at], in_class)
        at += 2 if stripped[at] == "\\" else 1
    return stripped != pattern, stripped[:at], stripped[at:]


def _after_chunk(star: bool, chunk: str, name: str, *, last: bool) -> str | None:
    """Return what is left of ``name`` after the first place where the chunk matches."""
    rest = _match_chunk(chunk, name)
    if rest is not None and not (last and rest):
        return rest
    for at, char in enumerate(name):
        if not star or char == "/":
            break
        rest = _match_chunk(chunk, name[at + 1 :])
        if rest is not None and not (last and rest):
            return rest
    return None


def _match_chunk(chunk: str, name: str) -> str | None:
    while chunk:
        if not name:
            return None
        char, name = name[0], name[1:]
        if chunk[0] == "[":
            matched, chunk = _match_class(chunk[1:], char)
        elif chunk[0] == "?":
            matched, chunk = char != "/", chunk[1:]
        else:
            chunk = chunk.removeprefix("\\")
            if not chunk:
                raise _Malformed
            matched, chunk = char == chunk[0], chunk[1:]
        if not matched:
            return None
    return name


def _match_class(chunk: str, char: str) -> tuple[bool, str]:
    """Match one character against a class whose bracket was read; return what follows it."""
    negated = chunk.startswith("^")
    chunk = chunk.removeprefix("^")
    matched = first = False
    while not (first and chunk.startswith("]")):
        low, chunk = _class_character(chunk)
        high = low
        if chunk[0] == "-":
            high, chunk = _class_character(chunk[1:])
        matched = matched or low <= char <= high
        first = True
    return matched != negated, chunk[1:]


def _class_character(chunk: str) -> tuple[str, str]:
    if not chunk or chunk[0] in "-]":
        raise _Malformed
    chunk = chunk.removeprefix("\\")
    if len(chunk) < 2:
        raise _Malformed
    return chunk[0], chunk[1:]
