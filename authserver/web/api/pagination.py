"""Lists page by page, and the cursors that say where the next page begins."""

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
from authserver.web.api.models import MAX_ID, ApiAnswer
from authserver.web.api.operations import Call
from authserver.web.api.problems import Refusal

_Item = TypeVar("_Item", bound=ApiAnswer)
_Row = TypeVar("_Row")

Key = str | int


class Page(ApiAnswer, Generic[_Item]):
    """A page of a list."""

    items: list[_Item]
    next: str | None = Field(
        description="The path and query of the next part, relative to this server; null at the end."
    )


_Page = TypeVar("_Page", bound=Page[Any])


def page(
    call: Call[Any, Any],
    answer: type[_Page],
    rows: Callable[[Session, list[Any] | None, int], Sequence[_Row]],
    described: Callable[[_Row], dict[str, Any]],
    place: Callable[[Sequence[_Row]], list[Key]],
    *kinds: type[Key],
) -> _Page:
    """Return the page of a list that the call asks for.

    ``rows`` takes the keys after which the page begins (None: the first) and the most rows that
    it may give. ``place`` returns the keys, of these ``kinds``, after which the next page begins.
    """
    limit, cursor = call.query.limit, call.query.cursor
    after = None if cursor is None else read_cursor(cursor, *kinds)
    with call.read() as session:
        fetched = rows(session, after, limit + 1)
        items = [described(row) for row in fetched[:limit]]
    following = None
    if len(fetched) > limit:
        arguments = {**call.arguments, "cursor": write_cursor(place(fetched[:limit]))}
        following = f"{call.here}?{urlencode(arguments)}"
    return answer.model_validate({"items": items, "next": following})


def table_page(
    call: Call[Any, Any],
    answer: type[_Page],
    rows: Callable[[Session, Window], Sequence[_Row]],
    described: Callable[[_Row], dict[str, Any]],
    key: Callable[[_Row], Key],
    kind: type[Key] = int,
) -> _Page:
    """Return a page of a table, whose rows are in the order of ``key``."""
    return page(
        call,
        answer,
        lambda session, after, limit: rows(session, Window(after[0] if after else None, limit)),
        described,
        lambda fetched: [key(fetched[-1])],
        kind,
    )


def write_cursor(keys: list[Key]) -> str:
    """Return the cursor that stands for ``keys``: opaque to clients."""
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: type[Key]) -> list[Key]:
    """Return the keys of a cursor.

    Raises:
        Refusal: it does not belong to a list whose keys are of these ``kinds``.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        keys = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        keys = None
    if not isinstance(keys, list) or len(keys) != len(kinds) or not all(map(_is_key, keys, kinds)):
        raise Refusal(HTTPStatus.BAD_REQUEST, "this cursor is not one of this list")
    return keys


def _is_key(key: object, kind: type[Key]) -> bool:
    # Not isinstance: true is no number.
    if type(key) is not kind:
        return False
    return key.isprintable() if isinstance(key, str) else 0 <= int(str(key)) <= MAX_ID
