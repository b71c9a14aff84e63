"""Lists page by page, and the cursors that say where the next page begins."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import urlencode

from pydantic import Field, create_model
from sqlalchemy.orm import Session

from authserver.core.errors import Refused
from authserver.core.times import parse_time
from authserver.db.lists import Key, Listing, Window
from authserver.web.api.models import MAX_ID, ApiAnswer, Paging, Search, SearchUnused
from authserver.web.api.operations import Call
from authserver.web.api.problems import Refusal

_Item = TypeVar("_Item", bound=ApiAnswer)
_Row = TypeVar("_Row")


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
    listing: Listing,
) -> _Page:
    """Return a page of a table. The call's query is one that :func:`search` has made."""
    query = call.query
    unused_since = getattr(query, "unused_since", None)
    return page(
        call,
        answer,
        lambda session, after, limit: rows(
            session, Window(after or (), limit, query.q, query.sort, unused_since)
        ),
        described,
        lambda fetched: listing.keys(fetched[-1], query.sort),
        *listing.kinds(query.sort),
    )


def search(listing: Listing, base: type[Paging] = Paging) -> type[Paging]:
    """Return the query of a list that can be searched and sorted, with the fields of ``base``."""
    first = listing.orders.names[0]
    text = f"By what it is sorted, by {first} if left out; with a minus before it, the other way."
    fields: dict[str, Any] = {
        "sort": (Literal[listing.orders.choices] | None, Field(None, description=text))
    }
    bases = (SearchUnused if listing.orders.knows_use else Search, base)
    return create_model(base.__name__, __base__=bases, __doc__=base.__doc__, **fields)


def write_cursor(keys: list[Key]) -> str:
    """Return the cursor that stands for ``keys``: opaque to clients."""
    texts = [key.isoformat() if isinstance(key, datetime) else key for key in keys]
    return base64.urlsafe_b64encode(json.dumps(texts).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: type[Key]) -> list[Any]:
    """Return the keys of a cursor.

    Raises:
        Refusal: it does not belong to a list whose keys are of these ``kinds``.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        keys = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        keys = None
    read = [*map(_key, keys, kinds)] if isinstance(keys, list) and len(keys) == len(kinds) else []
    if None in read or not read:
        raise Refusal(HTTPStatus.BAD_REQUEST, "this cursor is not one of this list")
    return [key for key in read if key is not None]


def _key(key: object, kind: type[Key]) -> Key | None:
    """Return a key of a cursor; None if it is not of this kind."""
    # Not isinstance: true is no number.
    if type(key) is int:
        return key if kind is int and 0 <= key <= MAX_ID else None
    if not isinstance(key, str) or not key.isprintable():
        return None
    if kind is datetime:
        try:
            return parse_time(key)
        except Refused:
            return None
    return key if kind is str else None
