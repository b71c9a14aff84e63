"""What stands in a cell of a table or beside a term: `ui.html` shows each kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from authserver.web.console.language import Label

NONE = "\N{EN DASH}"
"""Stands where there is nothing."""

Tone = Literal["", "good", "warning", "bad"]


@dataclass(frozen=True)
class TextCell:
    """A text; a ``code`` is a name or a pattern, which is never translated."""

    kind: ClassVar[str] = "text"
    text: Label
    code: bool = False


@dataclass(frozen=True)
class LinkCell:
    """A text that leads to the page ``href``, a path as ``layout.at`` gives it."""

    kind: ClassVar[str] = "link"
    text: Label
    href: str


@dataclass(frozen=True)
class TimeCell:
    """A time, shown in the reader's zone; ``missing`` stands for None."""

    kind: ClassVar[str] = "time"
    at: datetime | None
    missing: Label = NONE


@dataclass(frozen=True)
class TagsCell:
    """Short words side by side, each with its tone."""

    kind: ClassVar[str] = "tags"
    tags: Sequence[tuple[Label, Tone]]


@dataclass(frozen=True)
class LinksCell:
    """Names side by side, each with the page that it leads to."""

    kind: ClassVar[str] = "links"
    links: Sequence[tuple[Label, str]]


Cell = TextCell | LinkCell | TimeCell | TagsCell | LinksCell


def words(texts: Sequence[str] | None) -> TagsCell:
    """Return names or patterns side by side."""
    return TagsCell([(text, "") for text in texts or ()])
