"""Patterns over repository names: whole names only, by path segment.

``*`` is any run of characters within one segment, ``**`` a whole segment that stands for one
or more, ``{account}`` a whole segment that stands for the asking account's own name.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeVar

from authserver.core.errors import Refused
from authserver.core.names import (
    REPOSITORY_NAME_MAX,
    has_name_grammar,
    is_path_component,
    is_repository_name,
)

ACCOUNT = "{account}"
ANY_SEGMENTS = "**"

PATTERN_MAX = (REPOSITORY_NAME_MAX + 1) // 2 * (len(ACCOUNT) + 1) - 1
"""Characters of the longest pattern that can match a name: segments that are all ``{account}``."""

_allowed = re.compile(r"[a-zA-Z0-9._:*-]+")

_P = TypeVar("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern as it was written. Make one with :func:`repository_pattern` when it is new.

    Only the text is kept: there may be hundreds of thousands, and a request matches a few.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.text.split("/"))

    @property
    def beginning(self) -> tuple[str, ...]:
        """The literal segments with which every covered name begins."""
        return tuple(takewhile(is_literal, self.segments))

    def matches(self, name: str, account: str | None) -> bool:
        """Whether the pattern covers all of ``name`` for ``account`` (None: anonymous).

        ``{account}`` covers nothing for an account whose name is no valid path component.
        """
        if ACCOUNT not in self.text:
            return _match_path(self.segments, name.split("/"))
        if account is None or not is_path_component(account):
            return False
        segments = [account if s == ACCOUNT else s for s in self.segments]
        return _match_path(segments, name.split("/"))

    def may_match(self, name: str) -> bool:
        """Whether the pattern covers all of ``name`` for some account, or for anonymous."""
        return any(self.matches(name, account) for account in name.split("/"))


def is_literal(segment: str) -> bool:
    """Whether a segment of a pattern stands for itself only."""
    return "*" not in segment and segment != ACCOUNT


def repository_pattern(text: str) -> Pattern:
    """Return a new pattern over repository names.

    Raises:
        Refused: the pattern can match no valid repository name, or has an unknown placeholder.
    """
    if not text:
        raise Refused("a pattern is empty; '**' covers every repository")
    require_length(text)
    for segment in text.split("/"):
        _check_segment(text, segment)
    if not is_repository_name(_short_match(text)):
        raise Refused(
            f"the pattern {text!r} can match no valid repository name: names are lower-case "
            f"segments of letters, digits and single . _ __ or -, at most {REPOSITORY_NAME_MAX} "
            "characters; only the first of several segments may be a host"
        )
    return Pattern(text)


def require_length(text: str) -> None:
    """Check the length of a pattern, before the costlier checks.

    Raises:
        Refused: the pattern is longer than PATTERN_MAX.
    """
    if len(text) > PATTERN_MAX:
        raise Refused(
            f"a pattern of {len(text)} characters can match no valid repository name: the longest "
            f"has {PATTERN_MAX}"
        )


def _short_match(text: str) -> str:
    """Return a name that ``text`` covers, or a text that is no name if it covers none.

    A digit is valid wherever a wild card may stand (component, host label, port). So a pattern
    that matches any name also matches itself with a digit in place of each wild card. If that is
    too long, wild cards are left out where the name stays valid.
    """
    pieces = text.replace(ACCOUNT, "0").replace(ANY_SEGMENTS, "0").split("*")
    filled = "0".join(pieces)
    if len(filled) <= REPOSITORY_NAME_MAX or sum(map(len, pieces)) > REPOSITORY_NAME_MAX:
        return filled
    name = pieces[0]
    for number, piece in enumerate(pieces[1:], 1):
        rest = "0".join(pieces[number + 1 :])
        rest = f"0{rest}" if pieces[number + 1 :] else ""
        without = f"{name}{piece}"
        name = without if has_name_grammar(f"{without}{rest}") else f"{name}0{piece}"
    return name


def _check_segment(text: str, segment: str) -> None:
    if segment in (ANY_SEGMENTS, ACCOUNT):
        return
    if not segment:
        raise Refused(f"the pattern {text!r} has an empty segment: remove the stray slash")
    if ANY_SEGMENTS in segment:
        raise Refused(f"in the pattern {text!r}, ** must be a whole segment, as in team/**")
    if ACCOUNT in segment:
        raise Refused(f"in the pattern {text!r}, {{account}} must be a whole segment")
    if "{" in segment or "}" in segment:
        raise Refused(f"the pattern {text!r} has an unknown placeholder; there is only {{account}}")
    if _allowed.fullmatch(segment) is None:
        raise Refused(
            f"the pattern {text!r} has characters that no repository name has; "
            "patterns are no regular expressions"
        )


def _match_path(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Match segments; ``**`` stands for one or more."""
    steps: list[str | None] = []
    for segment in pattern:
        # "one or more" is "exactly one" followed by "any number".
        steps.extend(("*", None) if segment == ANY_SEGMENTS else (segment,))
    return _wildcard(steps, path, _match_segment)


def _match_segment(glob: str, segment: str) -> bool:
    if "*" not in glob:
        return glob == segment
    return _wildcard([None if c == "*" else c for c in glob], segment, str.__eq__)


def _wildcard(
    pattern: Sequence[_P | None], text: Sequence[_T], same: Callable[[_P, _T], bool]
) -> bool:
    """Match all of ``text``; None in ``pattern`` stands for any run of elements, even an empty one.

    It goes back to the latest None only, which takes at most len(pattern) × len(text) steps: no
    rule and no hostile name can make it slow.
    """
    p = t = 0
    star, resume = -1, 0
    while t < len(text):
        step = pattern[p] if p < len(pattern) else None
        if p < len(pattern) and step is None:
            star, resume, p = p, t, p + 1
        elif step is not None and same(step, text[t]):
            p, t = p + 1, t + 1
        elif star >= 0:
            resume += 1
            p, t = star + 1, resume
        else:
            return False
    return all(step is None for step in pattern[p:])
