"""Read requests strictly, so that no part that a client meant is silently left out."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Request
from pydantic import ValidationError

from authserver.core.errors import NotFound
from authserver.web.api.models import MAX_ID, ApiBody, ApiQuery, Invalid
from authserver.web.api.problems import Refusal, invalid, pointer

MEDIA_TYPE = "application/json"

_Body = TypeVar("_Body", bound=ApiBody)
_Query = TypeVar("_Query", bound=ApiQuery)


def path(request: Request, arguments: Mapping[str, str]) -> dict[str, str | int]:
    """Return the path's parameters: names as they are, an ``id`` as a number.

    Raises:
        Refusal: the path is not UTF-8. Werkzeug would read it as another name.
        NotFound: the id is not a number.
    """
    try:
        request.environ["PATH_INFO"].encode("latin-1").decode()
    except UnicodeDecodeError:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the path is not UTF-8") from None
    return {name: number(text) if name == "id" else text for name, text in arguments.items()}


def number(text: str) -> int:
    """Return an id. Raises NotFound if the text is no number."""
    found = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
    if not 0 <= found <= MAX_ID:
        raise NotFound(f"{text!r} is no id")
    return found


def require_json(request: Request) -> None:
    """Check that the body is declared as JSON, which a form of another site cannot do.

    Raises:
        Refusal: it is not.
    """
    if request.mimetype != MEDIA_TYPE:
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be of type {MEDIA_TYPE}")


def body(raw: bytes, model: type[_Body]) -> _Body:
    """Return the body as a ``model``.

    Raises:
        Refusal: it is not JSON, repeats a name, or does not fit ``model``.
    """
    try:
        json.loads(raw.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from None
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(error, pointer, model) from None


def query(request: Request, model: type[_Query]) -> _Query:
    """Return the query as a ``model``.

    Raises:
        Refusal: a parameter is unknown, repeated, or does not fit ``model``.
    """
    for name, values in request.args.lists():
        if len(values) > 1:
            fault = Invalid(where=name, detail="it is repeated")
            raise Refusal(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"the parameter {name} is repeated", [fault]
            )
    return arguments(request.args.to_dict(), model)


def arguments(texts: Mapping[str, str], model: type[_Query]) -> _Query:
    """Return the parameters of a query as a ``model``.

    Raises:
        Refusal: one is unknown, or does not fit ``model``.
    """
    try:
        return model.model_validate(texts)
    except ValidationError as error:
        raise invalid(error, lambda place: ".".join(map(str, place)), model) from None


def encoded(values: Mapping[str, Any], model: type[_Body]) -> _Body:
    """Return what JSON would say as a ``model``.

    Raises:
        Refusal: it does not fit ``model``.
    """
    return body(json.dumps(values).encode(), model)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name is there twice in one object")
    return dict(pairs)
