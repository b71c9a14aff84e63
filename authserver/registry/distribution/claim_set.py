"""A token's claims as one version of Distribution reads them into its ``ClaimSet``."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from authserver.keys.compatibility import Version
from authserver.registry.distribution.parsing import ParsedToken

LEEWAY = timedelta(seconds=60)
"""How far ``exp`` and ``nbf`` may be off: ``Leeway`` in Distribution's ``token.go``."""

_TEXTS = ("iss", "sub", "jti")
_TIMES = ("exp", "nbf", "iat")
_NAMES = (*_TEXTS, *_TIMES, "aud", "access")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class ClaimSet:
    """The claims that a registry verifies; a missing claim is empty or zero, as in Go."""

    issuer: str
    audiences: tuple[str, ...]
    expires: int
    not_before: int


def claim_set(token: ParsedToken, version: Version) -> ClaimSet:
    """Return the claims as ``version`` reads them; call :func:`unreadable` first."""
    claims = _fields(token.claims, version)
    audience = claims.get("aud") or ()
    return ClaimSet(
        issuer=claims.get("iss") or "",
        audiences=(audience,) if isinstance(audience, str) else tuple(audience),
        expires=claims.get("exp") or 0,
        not_before=claims.get("nbf") or 0,
    )


def unreadable(token: ParsedToken, version: Version) -> Iterator[str]:
    """Yield each reason why ``version`` calls the token malformed."""
    if version.reads_jwks:
        if token.padded:
            yield "its base64url is padded with =, which only 2.8 takes"
        for name in token.repeated:
            yield f"its JSON holds {name!r} twice, which only 2.8 takes"
    claims = _fields(token.claims, version)
    for name in _TEXTS:
        if not isinstance(claims.get(name, ""), str | None):
            yield f"the claim {name} is not a string"
    for name in _TIMES:
        yield from _unreadable_time(name, claims.get(name))
    yield from _unreadable_audience(claims.get("aud"), version)
    if not _is_access(claims.get("access")):
        yield "the claim access is not a list of objects with type, name and actions"


def _fields(claims: dict[str, Any], version: Version) -> dict[str, Any]:
    if version.reads_jwks:
        return claims
    # Go's own encoding/json, which 2.8 uses, matches names without regard to case.
    return {name.lower(): value for name, value in claims.items() if name.lower() in _NAMES}


def _unreadable_time(name: str, value: object) -> Iterator[str]:
    if value is None or (type(value) is int and value in _INT64):
        return
    yield f"the claim {name} is not a whole number of seconds, but {_kind(value)}"


def _unreadable_audience(value: object, version: Version) -> Iterator[str]:
    if value is None or isinstance(value, str):
        return
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        yield "the claim aud is neither a string nor a list of strings"
    elif not version.reads_jwks:
        yield "the claim aud is a list: 2.8 takes one string only"


def _is_access(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_entry, value)))


def _is_entry(entry: object) -> bool:
    if entry is None:
        return True
    if not isinstance(entry, dict):
        return False
    actions = entry.get("actions") or []
    return (
        all(isinstance(entry.get(name, ""), str | None) for name in ("type", "class", "name"))
        and isinstance(actions, list)
        and all(isinstance(action, str | None) for action in actions)
    )


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case float():
            return "a number with a fraction or an exponent"
        case int():
            return "a number beyond 64 bits"
        case str():
            return "a string"
    return "a list or an object"


def untimely(claims: ClaimSet, at: datetime) -> Iterator[str]:
    """Yield each reason why the token is not valid at the time ``at``."""
    now = at.timestamp()
    leeway = LEEWAY.total_seconds()
    if now > claims.expires + leeway:
        yield (
            f"it expired at {_utc(claims.expires)}, {_ago(now - claims.expires)} ago"
            if claims.expires
            else "it has no exp claim"
        )
    if now < claims.not_before - leeway:
        yield f"it is not valid before {_utc(claims.not_before)}: are the clocks right?"


def _utc(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"the second {seconds}"


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"
