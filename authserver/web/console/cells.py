"""What stands in a cell of a table or beside a term: `ui.html` shows each kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from authserver.web.api.policy import PlannedStep
from authserver.web.console.language import Label
from authserver.web.console.language import gettext as _

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


def differences(step: PlannedStep) -> list[tuple[str, str, str]]:
    """Return what a step changes in a thing that is there before and after: name, old and new."""
    if step.before is None or step.after is None:
        return []
    names = dict.fromkeys((*step.before, *step.after))
    pairs = ((name, step.before.get(name), step.after.get(name)) for name in names)
    return [(name, *_old_and_new(old, new)) for name, old, new in pairs if old != new]


def _old_and_new(old: Any, new: Any) -> tuple[str, str]:  # noqa: ANN401 - any plain value
    # A default is left out. That of a flag is the opposite of the flag.
    if old is None and isinstance(new, bool):
        old = not new
    elif new is None and isinstance(old, bool):
        new = not old
    return _in_words(old), _in_words(new)


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return ", ".join(map(str, value)) or NONE
    return NONE if value is None else str(value)
