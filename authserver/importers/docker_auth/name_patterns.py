"""Translate docker_auth's conditions on names into our patterns, where both match the same names.

Only names that a registry accepts count: not empty, no slash at either end, no two slashes side by
side.
"""

import re
from collections.abc import Sequence
from itertools import product
from math import prod

from authserver.core.errors import Refused
from authserver.core.names import REPOSITORY_NAME_MAX
from authserver.core.pattern_sets import overlap
from authserver.core.patterns import ACCOUNT, ANY_SEGMENTS, Pattern, repository_pattern
from authserver.core.rules import CATALOG
from authserver.importers.docker_auth import evaluate, matchers
from authserver.importers.docker_auth.matchers import Part, Wild

OWN = "${account}"

# Stands for the account's name during the translation; no name has this character.
_MARK = "\0"
_IMPOSSIBLE = "\1"
_GLOB = re.compile(r"\\.|\*+|[^\\*]", re.DOTALL)


def patterns(condition: str | None) -> tuple[Pattern, ...] | None:
    """Return patterns that together match the same names; None if patterns cannot do that.

    The tuple is empty if the condition matches no possible name.
    """
    if condition is None:
        return (Pattern(ANY_SEGMENTS),)
    text = condition.replace(OWN, _MARK)
    if "${" in text or len(text) > REPOSITORY_NAME_MAX:
        return None
    texts = _of_regexp(text[1:-1]) if matchers.is_regexp(condition) else _of_glob(text)
    return None if texts is None else _valid(texts)


def matches_catalog(condition: str | None) -> bool | None:
    """Whether the condition matches the name ``catalog``; None if that is uncertain."""
    matched = evaluate.matches_text(condition, CATALOG)
    if matched is not None:
        return matched
    covering = patterns(condition)
    if covering is None or any(overlap(pattern, Pattern(CATALOG)) for pattern in covering):
        return None
    return False


def remedy(condition: str | None) -> str:
    """Return what to write instead of a condition that patterns cannot express."""
    if condition is not None and "${" in condition.replace(OWN, ""):
        return "write the name out; of the variables only ${account} can be taken"
    if condition is not None and OWN in condition:
        return "${account} can be taken as a whole segment, as in ${account}/*"
    if condition is not None and matchers.is_regexp(condition):
        return "write globs, or words and .* as in /^(a|b)/.*$/"
    return "write an entry for each name, or a glob with * only"


def _of_glob(text: str) -> tuple[str, ...] | None:
    pieces = _GLOB.findall(text)
    if any(piece in "?[" for piece in pieces) or "".join(pieces) != text:
        return None
    return ("".join(map(_glob_piece, pieces)),)


def _glob_piece(piece: str) -> str:
    if piece.startswith("*"):
        return "*"
    literal = piece.removeprefix("\\")
    return literal if literal not in "*{}" else _IMPOSSIBLE


def _of_regexp(expression: str) -> tuple[str, ...] | None:
    plain = matchers.plain(expression)
    if plain is None:
        return None
    texts: list[str] = []
    for parts in plain.alternatives:
        spellings = _spellings(parts)
        if spellings is None:
            return None
        texts += spellings
    return tuple(dict.fromkeys(texts)) if len(texts) <= matchers.MAX_ALTERNATIVES else None


def _spellings(parts: Sequence[Part]) -> list[str] | None:
    choices: list[tuple[str, ...]] = []
    for at, part in enumerate(parts):
        before = at == 0 or _ends_segment(parts[at - 1], -1)
        after = at == len(parts) - 1 or _ends_segment(parts[at + 1], 0)
        choice = _globs(part, before=before, after=after)
        if choice is None:
            return None
        choices.append(choice)
    if prod(map(len, choices)) > matchers.MAX_ALTERNATIVES:
        return None
    return ["".join(globs) for globs in product(*choices)]


def _ends_segment(neighbour: Part, side: int) -> bool:
    return isinstance(neighbour, str) and neighbour[side] == "/"


def _globs(part: Part, *, before: bool, after: bool) -> tuple[str, ...] | None:
    """Return the globs that together stand for one part; None if no glob does.

    ``before`` and ``after`` tell whether the part begins and ends a segment.
    """
    whole = before and after
    match part:
        case str():
            return (part if not set(part) & set("*{}") else _IMPOSSIBLE,)
        case Wild.SEGMENT:
            return ("*",)
        case Wild.WHOLE_SEGMENT:
            return ("*",) if whole else None
        case Wild.SOME:
            return (ANY_SEGMENTS,) if whole else None
    if whole:
        return (ANY_SEGMENTS,)
    left, right = "" if before else "*/", "" if after else "/*"
    crossing = (f"{left}{ANY_SEGMENTS}{right}",)
    return ("*", *crossing) if before or after else ("*", "*/*", *crossing)


def _valid(texts: tuple[str, ...]) -> tuple[Pattern, ...] | None:
    """Drop what cannot match any name; None if the account's name is a part of a segment."""
    if any(_MARK in segment and segment != _MARK for text in texts for segment in text.split("/")):
        return None
    written = (text.replace(_MARK, ACCOUNT) for text in texts)
    return tuple(Pattern(text) for text in written if is_pattern(text))


def is_pattern(text: str) -> bool:
    """Whether ``text`` can match any name that a registry accepts."""
    try:
        repository_pattern(text)
    except Refused:
        return False
    return True
