"""The page on which an invited user sets a first password."""

import secrets
from functools import partial
from http import HTTPStatus

from flask import Flask, Response, render_template, request
from werkzeug.datastructures import MultiDict

from authserver.auth.bcrypt_queue import Hashing
from authserver.auth.passwords import NewPasswords
from authserver.core.errors import NotFound, Refused
from authserver.core.password_rules import wanted
from authserver.db import invitations
from authserver.db.store import Store
from authserver.runtime.settings import Settings
from authserver.web.bodies import Bodies
from authserver.web.client_address import ClientAddress


def register(
    app: Flask,
    store: Store,
    client_address: ClientAddress,
    bodies: Bodies,
    hashing: Hashing,
    settings: Settings,
) -> None:
    """Serve ``/invitation``. The code is the only credential; there is no cookie and no session."""
    new = NewPasswords.of(settings)
    page = partial(_page, new.minimum, host=settings.registry_host)

    @app.get("/invitation")
    @app.get("/invitation/")
    def invitation() -> Response:
        return page()

    @app.post("/invitation")
    @app.post("/invitation/")
    def redeem() -> Response:
        client = client_address.of_request(request.environ)
        bodies.read(request.environ, client)
        form = request.form
        code = form.get("code", "").strip()

        def hash_new(password: str, name: str) -> str:
            return hashing.hash_new(client, password, name, new)

        try:
            account = invitations.accept(store, code, _new_password(form), hash_new)
        except NotFound as error:
            return page(HTTPStatus.NOT_FOUND, problem=_sentence(error))
        except Refused as error:
            return page(HTTPStatus.BAD_REQUEST, problem=_sentence(error), code=code)
        return page(account=account)


def _new_password(form: MultiDict[str, str]) -> str:
    password = form.get("password", "")
    if password != form.get("again"):
        raise Refused("The two passwords are not the same")
    return password


def _sentence(error: Refused) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _page(minimum: int, status: HTTPStatus = HTTPStatus.OK, **values: str | None) -> Response:
    nonce = secrets.token_urlsafe(16)
    page = render_template(
        "invitation.html", nonce=nonce, rule=wanted(minimum), minimum=minimum, **values
    )
    response = Response(page, status, mimetype="text/html")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
