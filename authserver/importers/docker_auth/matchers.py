"""Match texts as docker_auth does: with Go's ``path.Match`` and regular expressions.

The glob matcher follows ``path.Match`` step by step: it never backtracks over a matched star, and a
class may match a slash where ``*`` and ``?`` may not. Only regular expressions that mean the same
in Go and in Python are compiled. For all others the caller gets None: the match is uncertain.
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
    """Whether docker_auth reads ``text`` as a regular expression, not as a glob."""
    return len(text) > 2 and text.startswith("/") and text.endswith("/")


def is_long(expression: str) -> bool:
    """Whether an expression is longer, or nested deeper, than the importer reads."""
    return len(expression) > MAX_LENGTH or expression.count("(") > MAX_GROUPS


@lru_cache(maxsize=1024)
def compiled(expression: str) -> Automaton | None:
    """Return an automaton that searches as Go does, or None if that is uncertain."""
    tokens = [] if is_long(expression) else _TOKEN.findall(expression)
    if "".join(tokens) != expression or not _repeats_plainly(tokens):
        return None
    try:
        return automaton(tokens)
    except (TooLarge, re.error):
        return None


def _repeats_plainly(pieces: list[str]) -> bool:
    """Whether no group with a repetition inside is repeated: that could take too many states."""
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
    """The wild cards of plain expressions."""

    SEGMENT = "[^/]*"
    WHOLE_SEGMENT = "[^/]+"
    ANY = ".*"
    SOME = ".+"


Part = str | Wild


@dataclass(frozen=True, slots=True)
class Plain:
    """An expression of words, wild cards and alternatives only.

    Each alternative covers whole texts: ``ANY`` stands where an anchor is missing.
    """

    alternatives: tuple[tuple[Part, ...], ...]

    @property
    def words(self) -> frozenset[str] | None:
        """Return all texts that it matches, None if it has a wild card."""
        if any(isinstance(part, Wild) for parts in self.alternatives for part in parts):
            return None
        return frozenset("".join(map(str, parts)) for parts in self.alternatives)


@dataclass
class _NotPlain(Exception):
    at: str


def plain(expression: str) -> Plain | None:
    """Return the expression's parts, None if it is not plain."""
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
    alternatives: list[tuple[Part, ...]] = []
    while True:
        sequence, text = _sequence(text)
        alternatives += sequence
        if not text.startswith("|") or top:
            return alternatives, text
        text = text[1:]


def _sequence(text: str) -> tuple[list[tuple[Part, ...]], str]:
    sequences: list[tuple[Part, ...]] = [()]
    while text and text[0] not in "|)":
        choices, text = _unit(text)
        if _QUANTIFIER.match(text) or len(sequences) * len(choices) > MAX_ALTERNATIVES:
            raise _NotPlain(text)
        sequences = [(*left, *right) for left, right in product(sequences, choices)]
    return sequences, text


def _unit(text: str) -> tuple[list[tuple[Part, ...]], str]:
    if text[0] == "(":
        choices, rest = _alternatives(text.removeprefix("(").removeprefix("?:"))
        if not rest.startswith(")"):
            raise _NotPlain(text)
        return choices, rest[1:]
    for wild in Wild:
        if text.startswith(wild.value):
            return [(wild,)], text[len(wild.value) :]
    if escaped := re.match(_PUNCTUATION, text):
        return [(escaped[0][1],)], text[2:]
    if (word := _WORD.match(text)) is None:
        raise _NotPlain(text)
    return [(word[0],)], text[word.end() :]


def _joined(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Join adjacent letters into words, and adjacent wild cards into one."""
    joined: list[Part] = []
    for part in parts:
        union = _union(joined[-1], part) if joined else None
        if union is None:
            joined.append(part)
        else:
            joined[-1] = union
    return tuple(joined)


def _union(left: Part, right: Part) -> Part | None:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    both = {left, right}
    if both <= {Wild.SEGMENT}:
        return Wild.SEGMENT
    if both <= {Wild.ANY, Wild.SEGMENT}:
        return Wild.ANY
    return Wild.SOME if both == {Wild.ANY, Wild.SOME} else None


class _Malformed(Exception):
    """Go calls the pattern malformed; in docker_auth it matches nothing."""


@lru_cache(maxsize=65536)
def glob_matches(pattern: str, name: str) -> bool:
    """Whether the pattern matches all of ``name``; a malformed pattern matches nothing."""
    try:
        return _match(pattern, name)
    except _Malformed:
        return False


def is_literal(pattern: str) -> bool:
    """Whether the pattern matches only itself: it has no wild card, class or escape."""
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
    """Return whether a star leads, the chunk up to the next star, and the rest."""
    stripped = pattern.lstrip("*")
    in_class, at = False, 0
    while at < len(stripped) and (in_class or stripped[at] != "*"):
        in_class = {"[": True, "]": False}.get(stripped[at], in_class)
        at += 2 if stripped[at] == "\\" else 1
    return stripped != pattern, stripped[:at], stripped[at:]


def _after_chunk(star: bool, chunk: str, name: str, *, last: bool) -> str | None:
    """Return the rest of ``name`` after the first match of the chunk, None without a match."""
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
    """Match a character against a class whose ``[`` is consumed; return also what follows it."""
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
