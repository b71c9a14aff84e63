"""Find the registry token in what people paste: a header line, an answer, a curl transcript."""

import json
import re
from collections.abc import Iterator
from typing import Any

from authserver.core.errors import Refused

# A token begins with its header, a JSON object: in base64url that is always "ey" and a capital.
_BEGINNING = re.compile(r"(?<![A-Za-z0-9_-])ey[A-Z][A-Za-z0-9_.=-]{7,}")
# The next part of a token that a terminal or a mail broke: alone in its line, or before a quote.
_NEXT_PART = re.compile(r"[ \t\r\\]*\n[ \t]*([A-Za-z0-9_.=-]++)(?=[\"']|[ \t\r\\,;]*(?:\n|$))")


def token_in(text: str) -> str:
    """Return the token in a pasted text. A text without one is returned as it is.

    Raises:
        Refused: the text has several different tokens, or is a JSON answer without one.
    """
    text = text.strip()
    answer = _json(text)
    if isinstance(answer, dict):
        return _answered(answer)
    tokens = list(dict.fromkeys(_tokens(text)))
    if len(tokens) > 1:
        raise Refused("there are several different tokens on standard input: leave one")
    if tokens:
        return tokens[0]
    if text.startswith("{"):
        raise Refused("what is on standard input is neither a token nor JSON")
    scheme, _, rest = text.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else text


def _json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _answered(answer: dict[str, Any]) -> str:
    """Return the token in an answer of a token endpoint."""
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str):
        raise Refused("the JSON on standard input has no token: is it an error's answer?")
    return token


def _tokens(text: str) -> Iterator[str]:
    """Yield what has the form of a token."""
    at = 0
    while beginning := _BEGINNING.search(text, at):
        token, at, width = beginning[0], beginning.end(), 0
        while part := _NEXT_PART.match(text, at):
            token += part[1]
            at = part.end()
            if len(part[1]) < width:
                break
            width = len(part[1])
        token = token.rstrip(".")
        if token.count(".") == 2:
            yield token
