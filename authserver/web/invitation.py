"""The page on which an invited user sets a first password."""

import secrets
from http import HTTPStatus

from flask import Flask, Response, render_template, request
from werkzeug.datastructures import MultiDict

from authserver.core.errors import NotFound, Refused
from authserver.db import invitations
from authserver.db.store import Store
from authserver.web.bodies import Bodies


def register(app: Flask, store: Store, bodies: Bodies, cost: int) -> None:
    """Serve ``/invitation``. Only the code is asked for: there is no cookie and no session."""

    @app.get("/invitation")
    def invitation() -> Response:
        return _page()

    @app.post("/invitation")
    def redeem() -> Response:
        bodies.read(request.environ, request.remote_addr or "")
        form = request.form
        code = form.get("code", "").strip()
        try:
            account = _redeem(store, form, code, cost)
        except NotFound as error:
            return _page(HTTPStatus.NOT_FOUND, problem=f"{error}.")
        except Refused as error:
            return _page(HTTPStatus.BAD_REQUEST, problem=f"{error}.", code=code)
        return _page(account=account)


def _redeem(store: Store, form: MultiDict[str, str], code: str, cost: int) -> str:
    password = form.get("password", "")
    if password != form.get("again"):
        raise Refused("The two passwords are not the same")
    return invitations.accept(store, code, password, cost)


def _page(status: HTTPStatus = HTTPStatus.OK, **what: str) -> Response:
    nonce = secrets.token_urlsafe(16)
    response = Response(
        render_template("invitation.html", nonce=nonce, **what), status, mimetype="text/html"
    )
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
