"""What is served where, at ``/``."""

from collections.abc import Mapping

from flask import Flask, Response, jsonify

from authserver.web import console, public_keys
from authserver.web.api import PREFIX

API = {"api": f"{PREFIX}/", "api_document": f"{PREFIX}/openapi.json"}
CONSOLE = {"console": f"{console.PREFIX}/"}
PUBLIC = {
    "token": "/token",
    "jwks": public_keys.JWKS,
    "bundle": public_keys.BUNDLE,
    "invitation": "/invitation",
    "password": "/password",
    "ready": "/readyz",
}


def register(app: Flask, prefix: str, places: Mapping[str, str]) -> None:
    """Answer ``/`` with ``places``, which clients find below ``prefix``."""

    @app.get("/")
    def index() -> Response:
        response = jsonify({name: prefix + path for name, path in places.items()})
        response.headers["Cache-Control"] = "no-store"
        return response
