"""Lists part by part, and the cursors that say where the next part begins."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import Field
from sqlalchemy.orm import Session

from authserver.db.lookup import Window
from authserver.web.api.models import MAX_ID, Answer, Body, Paging
from authserver.web.api.operations import Call, Reply
from authserver.web.api.problems import Refusal

_Item = TypeVar("_Item", bound=Answer)
_Row = TypeVar("_Row")
_Key = TypeVar("_Key", str, int)
_Body = TypeVar("_Body", bound=Body)
_Paging = TypeVar("_Paging", bound=Paging)

Key = str | int


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
    after: Any = None if cursor is None else read_cursor(cursor, kind)[0]
    with call.read() as session:
        found = rows(session, Window(after, limit + 1))
        items = [described(row) for row in found[:limit]]
    more = write_cursor([key(found[limit - 1])]) if len(found) > limit else None
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


def write_cursor(keys: list[Key]) -> str:
    """Return the cursor that stands for ``keys``: opaque to clients."""
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: type[Key]) -> list[Key]:
    """Return the keys of a cursor, which are of these types.

    Raises:
        Refusal: it is none of this list.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        keys = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        keys = None
    if not isinstance(keys, list) or len(keys) != len(kinds) or not all(map(_good, keys, kinds)):
        raise Refusal(HTTPStatus.BAD_REQUEST, "this cursor is none of this list")
    return keys


def _good(key: object, kind: type[Key]) -> bool:
    # Not isinstance: true is no number.
    if type(key) is not kind:
        return False
    return key.isprintable() if isinstance(key, str) else 0 <= int(str(key)) <= MAX_ID
