"""Liveness and readiness."""

from collections.abc import Sequence

from flask import Flask, Response, json

from authserver.checks import failures
from authserver.core.errors import AuthserverError
from authserver.db import schema
from authserver.live import Live

NEED_THE_STORE = ("store", "schema")


def register(app: Flask, live: Live) -> None:
    """Serve ``/livez`` (the process answers) and ``/readyz`` (it can issue tokens)."""

    @app.get("/livez")
    def livez() -> Response:
        return _answer({"process": None})

    @app.get("/readyz")
    def readyz() -> Response:
        trouble = _look(live)
        found = failures(
            {
                "store": lambda: _check_store(live),
                "schema": lambda: _check_schema(live, trouble),
                "signing_key": lambda: _check_signing_key(live),
                "clock": lambda: _check_clock(live),
            }
        )
        warnings = [] if found["store"] else live.current.warnings
        return _answer(found, trouble and _stale(live, trouble), warnings)


def _look(live: Live) -> str | None:
    """Return why the store cannot be reached. Where that is known, nobody hangs with it again."""
    if live.stale:
        return live.trouble or "the store does not answer"
    try:
        live.refresh()
    except AuthserverError as error:
        return str(error)
    return None


def _check_store(live: Live) -> None:
    _ = live.current


def _check_schema(live: Live, trouble: str | None) -> None:
    if trouble:
        _check_store(live)
        return
    with live.store.read() as session:
        schema.require_head(session.connection())


def _check_signing_key(live: Live) -> None:
    live.current.signer.require_usable(live.store.clock())


def _check_clock(live: Live) -> None:
    live.current.require_clock()


def _stale(live: Live, trouble: str) -> str:
    """Return what is said of the store while tokens go on without it."""
    return (
        f"{trouble}; what tokens are issued by is {live.age:.0f} s old, "
        f"and may be {live.max_staleness:.0f}"
    )


def _answer(
    found: dict[str, str | None], stale: str | None = None, warnings: Sequence[str] = ()
) -> Response:
    ready = not any(found.values())
    status = ("stale" if stale else "ok") if ready else "failing"
    checks = {
        name: _told(reason, stale if name in NEED_THE_STORE else None)
        for name, reason in found.items()
    }
    body = {"status": status, "checks": checks, "warnings": list(warnings)}
    response = Response(json.dumps(body), 200 if ready else 503, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _told(reason: str | None, stale: str | None) -> dict[str, str]:
    if reason:
        return {"status": "failing", "reason": reason}
    return {"status": "stale", "reason": stale} if stale else {"status": "ok"}
