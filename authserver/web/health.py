"""Liveness and readiness, answered from memory: probes cost the store nothing."""

from typing import Any

from flask import Flask, Response, json, request

from authserver.auth.state import Live
from authserver.core.errors import NotReady
from authserver.runtime.checks import failures
from authserver.web.client_address import ClientAddress

NEED_THE_STORE = ("store", "schema")
_OK = {"status": "ok"}


def register(app: Flask, live: Live, client_address: ClientAddress) -> None:
    """Serve ``/livez`` (the process answers) and ``/readyz`` (it can issue tokens).

    Reasons name paths and addresses of the installation, so only this machine gets them.
    """

    @app.get("/livez")
    def livez() -> Response:
        return _response(200, {"status": "ok", "checks": {"process": _OK}, "warnings": []})

    @app.get("/readyz")
    def readyz() -> Response:
        code, body = examined(live)
        local = client_address.is_local(request.environ)
        return _response(code, body if local else {"status": body["status"]})


def examined(live: Live) -> tuple[int, dict[str, Any]]:
    """Return the status code of ``/readyz`` and the body with the reason of each failed check."""
    found = failures(
        {
            "store": lambda: _check_store(live),
            "schema": lambda: _check_schema(live),
            "signing_key": lambda: _check_signing_key(live),
            "clock": lambda: _check_clock(live),
        }
    )
    ready = not any(found.values())
    stale = _stale(live) if live.stale else None
    state = None if found["store"] else live.latest
    body = {
        "status": ("stale" if stale else "ok") if ready else "failing",
        "checks": {
            name: _told(reason, stale if name in NEED_THE_STORE else None)
            for name, reason in found.items()
        },
        "warnings": [*(state.warnings if state else ()), *live.room.warnings],
    }
    return (200 if ready else 503), body


def _check_store(live: Live) -> None:
    _ = live.current


def _check_schema(live: Live) -> None:
    if live.stale:
        _check_store(live)
    elif live.unfit:
        raise NotReady(live.unfit)


def _check_signing_key(live: Live) -> None:
    live.current.signer.require_usable(live.store.clock())


def _check_clock(live: Live) -> None:
    live.current.require_clock()


def _stale(live: Live) -> str:
    """Return what is said of the store while tokens go on without it."""
    return (
        f"{live.trouble or 'the store does not answer'}; what tokens are issued by is "
        f"{live.age:.0f} s old, and may be {live.max_staleness:.0f}"
    )


def _told(reason: str | None, stale: str | None) -> dict[str, str]:
    if reason:
        return {"status": "failing", "reason": reason}
    return {"status": "stale", "reason": stale} if stale else _OK


def _response(code: int, body: dict[str, Any]) -> Response:
    response = Response(json.dumps(body), code, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
