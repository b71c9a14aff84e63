"""Lists, part by part."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import Field
from sqlalchemy.orm import Session

from authserver.db.lookup import Window
from authserver.web.api import cursors
from authserver.web.api.models import Answer, Body, Paging
from authserver.web.api.operations import Call, Reply

_Item = TypeVar("_Item", bound=Answer)
_Row = TypeVar("_Row")
_Key = TypeVar("_Key", str, int)
_Body = TypeVar("_Body", bound=Body)
_Paging = TypeVar("_Paging", bound=Paging)


class Page(Answer, Generic[_Item]):
    """A part of a list."""

    items: list[_Item]
    next: str | None = Field(
        description="The path and query of the next part, relative to this server; null at the end."
    )


def page(
    call: Call[_Body, _Paging],
    answer: type[Page[Any]],
    rows: Callable[[Session, Window], Sequence[_Row]],
    described: Callable[[_Row], dict[str, Any]],
    key: Callable[[_Row], _Key],
    kind: type[_Key],
) -> Reply:
    """Return the part of a list that was asked for; ``key`` gives a row's place in its order."""
    limit, cursor = call.query.limit, call.query.cursor
    after: Any = None if cursor is None else cursors.read(cursor, kind)[0]
    with call.read() as session:
        found = rows(session, Window(after, limit + 1))
        items = [described(row) for row in found[:limit]]
    more = cursors.write([key(found[limit - 1])]) if len(found) > limit else None
    return part(call, answer, items, more)


def part(
    call: Call[_Body, _Paging],
    answer: type[Page[Any]],
    items: list[dict[str, Any]],
    cursor: str | None,
) -> Reply:
    """Return a part of a list, with the way to the next one if there is a cursor."""
    more = cursor and f"{call.here}?{urlencode({**call.arguments, 'cursor': cursor})}"
    return Reply(answer.model_validate({"items": items, "next": more}))
