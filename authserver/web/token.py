"""The token endpoint."""

from flask import Flask, Response, g, json, request
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Rule

from authserver.issuing import Issuer, TokenRequest
from authserver.web.address import ClientAddress

# /auth/token is where a registry's autoredirect sends clients.
PATHS = ("/token", "/token/", "/auth/token", "/auth/token/")
METHODS = ("GET", "POST")


def register(app: Flask, issuer: Issuer, client_address: ClientAddress) -> None:
    """Serve the token endpoint. It takes every method itself: none may be answered by a default."""

    def token() -> Response:
        if request.method not in METHODS:
            raise MethodNotAllowed(METHODS)
        if request.method == "POST":
            # The one status on which every client falls back to GET.
            raise NotFound("the OAuth2 grants are not offered; use GET")
        issued = issuer.issue(_read(client_address))
        response = Response(json.dumps(issued.as_json()), mimetype="application/json")
        response.headers["Cache-Control"] = "no-store"
        response.headers["Pragma"] = "no-cache"
        return response

    app.view_functions["token"] = token
    for path in PATHS:
        app.url_map.add(Rule(path, endpoint="token"))


def _read(client_address: ClientAddress) -> TokenRequest:
    return TokenRequest(
        authorization=request.environ.get("HTTP_AUTHORIZATION"),
        services=tuple(request.args.getlist("service")),
        accounts=tuple(request.args.getlist("account")),
        scopes=tuple(request.args.getlist("scope")),
        address=client_address.of(
            request.remote_addr or "", request.environ.get(client_address.environ_name)
        ),
        client=request.headers.get("User-Agent", ""),
        request_id=g.request_id,
    )
