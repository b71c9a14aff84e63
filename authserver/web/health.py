"""Liveness and readiness."""

from flask import Flask, Response, json

from authserver.checks import failures
from authserver.db import schema
from authserver.live import Live


def register(app: Flask, live: Live) -> None:
    """Serve ``/livez`` (the process answers) and ``/readyz`` (it can issue tokens)."""

    @app.get("/livez")
    def livez() -> Response:
        return _answer({"process": None}, [])

    @app.get("/readyz")
    def readyz() -> Response:
        found = failures(
            {
                "store": lambda: _check_store(live),
                "schema": lambda: _check_schema(live),
                "signing_key": lambda: _check_signing_key(live),
                "clock": lambda: _check_clock(live),
            }
        )
        return _answer(found, [] if found["store"] else live.current.warnings)


def _check_store(live: Live) -> None:
    with live.store.read() as session:
        session.connection()
    _ = live.current


def _check_schema(live: Live) -> None:
    with live.store.read() as session:
        schema.require_head(session.connection())


def _check_signing_key(live: Live) -> None:
    live.current.signer.require_usable(live.store.clock())


def _check_clock(live: Live) -> None:
    live.current.require_clock()


def _answer(found: dict[str, str | None], warnings: list[str]) -> Response:
    ready = not any(found.values())
    body = {
        "status": "ok" if ready else "failing",
        "checks": {
            name: {"status": "failing", "reason": reason} if reason else {"status": "ok"}
            for name, reason in found.items()
        },
        "warnings": warnings,
    }
    response = Response(json.dumps(body), 200 if ready else 503, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
