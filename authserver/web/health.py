"""Liveness and readiness, answered from memory: probes cost the store nothing."""

from typing import Any

from flask import Flask, Response, json, request

from authserver.auth.state import StateCache
from authserver.core.errors import NotReady
from authserver.runtime.checks import failures
from authserver.web.client_address import ClientAddress
from authserver.web.server.maintenance import Maintenance

NEED_THE_STORE = ("store", "schema")
_OK = {"status": "ok"}


def register(app: Flask, maintenance: Maintenance, client_address: ClientAddress) -> None:
    """Serve ``/livez`` (the process answers) and ``/readyz`` (it can issue tokens).

    Reasons name paths and addresses of the installation, so only this machine gets them.
    """

    @app.get("/livez")
    def livez() -> Response:
        return _response(200, {"status": "ok", "checks": {"process": _OK}, "warnings": []})

    @app.get("/readyz")
    def readyz() -> Response:
        code, body = readiness(maintenance)
        is_local = client_address.is_local(request.environ)
        return _response(code, body if is_local else {"status": body["status"]})


def readiness(maintenance: Maintenance) -> tuple[int, dict[str, Any]]:
    """Return the status code of ``/readyz``, and the body with the reason of each failed check."""
    cache = maintenance.state
    reasons = failures(
        {
            "store": lambda: _check_store(cache),
            "schema": lambda: _check_schema(cache),
            "signing_key": lambda: cache.current.signer.require_usable(cache.store.clock()),
            "clock": lambda: _check_clock(cache),
        }
    )
    is_ready = not any(reasons.values())
    staleness = _staleness(cache) if cache.stale else None
    state = None if reasons["store"] else cache.latest
    body = {
        "status": ("stale" if staleness else "ok") if is_ready else "failing",
        "checks": {
            name: _check(reason, staleness if name in NEED_THE_STORE else None)
            for name, reason in reasons.items()
        },
        "warnings": [
            *(state.warnings if state else ()),
            *maintenance.capacity.warnings,
            *([proxies] if (proxies := maintenance.proxies.warning) else ()),
        ],
    }
    return (200 if is_ready else 503), body


def _check_store(cache: StateCache) -> None:
    _ = cache.current


def _check_schema(cache: StateCache) -> None:
    if cache.stale:
        _check_store(cache)
    elif cache.schema_error:
        raise NotReady(cache.schema_error)


def _check_clock(cache: StateCache) -> None:
    cache.current.require_clock()


def _staleness(cache: StateCache) -> str:
    """Return the reason that the checks give while tokens are issued without the store."""
    return (
        f"{cache.trouble or 'the store does not answer'}; what tokens are issued by is "
        f"{cache.age:.0f} s old, and may be {cache.max_staleness:.0f}"
    )


def _check(reason: str | None, staleness: str | None) -> dict[str, str]:
    if reason:
        return {"status": "failing", "reason": reason}
    return {"status": "stale", "reason": staleness} if staleness else _OK


def _response(code: int, body: dict[str, Any]) -> Response:
    response = Response(json.dumps(body), code, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
