"""Liveness and readiness."""

from contextlib import suppress

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
        _look(live)
        found = failures(
            {
                "store": lambda: _check_store(live),
                "schema": lambda: _check_schema(live),
                "signing_key": lambda: _check_signing_key(live),
            }
        )
        return _answer(found, _stale(live))


def _look(live: Live) -> None:
    """See whether the store can be reached. If it is known that it cannot, nobody hangs with it."""
    if not live.stale:
        with suppress(AuthserverError):
            live.refresh()


def _check_store(live: Live) -> None:
    _ = live.current


def _check_schema(live: Live) -> None:
    if live.current.stale:
        return
    with live.store.read() as session:
        schema.require_head(session.connection())


def _check_signing_key(live: Live) -> None:
    live.current.signer.require_usable(live.store.clock())


def _stale(live: Live) -> str | None:
    """Return what is said of the store while tokens go on without it."""
    if not live.stale:
        return None
    return (
        f"{live.trouble or 'the store does not answer'}; what tokens are issued by is "
        f"{live.age:.0f} s old, and may be {live.max_staleness:.0f}"
    )


def _answer(found: dict[str, str | None], stale: str | None = None) -> Response:
    ready = not any(found.values())
    status = ("stale" if stale else "ok") if ready else "failing"
    checks = {
        name: _told(reason, stale if name in NEED_THE_STORE else None)
        for name, reason in found.items()
    }
    body = {"status": status, "checks": checks}
    response = Response(json.dumps(body), 200 if ready else 503, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _told(reason: str | None, stale: str | None) -> dict[str, str]:
    if reason:
        return {"status": "failing", "reason": reason}
    return {"status": "stale", "reason": stale} if stale else {"status": "ok"}
