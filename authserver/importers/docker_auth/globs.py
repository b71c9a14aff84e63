"""Go's ``path.Match``, by which docker_auth compares whatever is not between slashes.

It is followed step by step, since it is no plain matching: it never goes back behind a star that
was matched, and a class may match a slash where ``*`` and ``?`` may not.
"""

from functools import lru_cache


class _Malformed(Exception):
    """A pattern that Go calls malformed; docker_auth takes it for one that matches nothing."""


@lru_cache(maxsize=65536)
def match(pattern: str, name: str) -> bool:
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
