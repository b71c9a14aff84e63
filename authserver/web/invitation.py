"""The page on which an invited user sets a first password."""

import secrets
from http import HTTPStatus

from flask import Flask, Response, render_template, request
from werkzeug.datastructures import MultiDict

from authserver import passwords
from authserver.core.errors import NotFound, Refused
from authserver.db import invitations
from authserver.db.store import Store
from authserver.passwords import MIN_LENGTH
from authserver.settings import Settings
from authserver.web.bodies import Bodies


def register(app: Flask, store: Store, bodies: Bodies, chosen: Settings) -> None:
    """Serve ``/invitation``. Only the code is asked for: there is no cookie and no session."""
    host = chosen.registry_host

    @app.get("/invitation")
    @app.get("/invitation/")
    def invitation() -> Response:
        return _page(host=host)

    @app.post("/invitation")
    @app.post("/invitation/")
    def redeem() -> Response:
        bodies.read(request.environ, request.remote_addr or "")
        form = request.form
        code = form.get("code", "").strip()
        try:
            account = _redeem(store, form, code, chosen.bcrypt_cost)
        except NotFound as error:
            return _page(HTTPStatus.NOT_FOUND, host=host, problem=_sentence(error))
        except Refused as error:
            return _page(HTTPStatus.BAD_REQUEST, host=host, problem=_sentence(error), code=code)
        return _page(host=host, account=account)


def _redeem(store: Store, form: MultiDict[str, str], code: str, cost: int) -> str:
    password = form.get("password", "")
    if password != form.get("again"):
        raise Refused("The two passwords are not the same")
    passwords.require_new(password)
    with store.read() as session:
        invitations.require_open(session, store.clock(), code)
    hashed = passwords.hash_new(password, cost)
    with store.change("invitation") as change:
        return invitations.redeem(change, code, hashed).name


def _sentence(error: Refused) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _page(status: HTTPStatus = HTTPStatus.OK, **what: str | None) -> Response:
    nonce = secrets.token_urlsafe(16)
    page = render_template(
        "invitation.html", nonce=nonce, rule=passwords.NEW_PASSWORD, minimum=MIN_LENGTH, **what
    )
    response = Response(page, status, mimetype="text/html")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
