"""A part of a list: what comes after a key, in the list's own order."""

from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``limit`` rows (None: all) whose key comes after ``after`` (None: from the first).

    A list that is read window by window gives what stays in it once, whatever comes and goes.
    """

    after: str | int | None = None
    limit: int | None = None


ALL = Window()


def within(query: Select[_Row], key: InstrumentedAttribute[Any], window: Window) -> Select[_Row]:
    """Order ``query`` by ``key``, which is unique, and cut it to ``window``."""
    if window.after is not None:
        query = query.where(key > window.after)
    return query.order_by(key).limit(window.limit)
