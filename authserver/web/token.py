"""The token endpoint: GET (Distribution ``token.md``) and POST (``oauth.md``)."""

from http import HTTPStatus

from flask import Flask, Response, g, json, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Rule

from authserver.core.errors import BadRequest, UnsupportedGrantType
from authserver.credentials import Basic, Origin, Refresh, basic, read_authorization
from authserver.issuing import Issued, Issuer, TokenRequest
from authserver.web.address import ClientAddress
from authserver.web.bodies import Bodies

# /auth/token is where a registry's autoredirect sends clients.
PATHS = ("/token", "/token/", "/auth/token", "/auth/token/")
METHODS = ("GET", "POST")
FORM = "application/x-www-form-urlencoded"
ONCE = (
    "grant_type",
    "client_id",
    "service",
    "username",
    "password",
    "refresh_token",
    "access_type",
)


def register(app: Flask, issuer: Issuer, client_address: ClientAddress, bodies: Bodies) -> None:
    """Serve the token endpoint. It takes every method itself: none may be answered by a default."""

    def token() -> Response:
        match request.method:
            case "GET":
                return _answer(issuer.issue(_read_query(client_address)))
            case "POST":
                bodies.read(request.environ, client_address.of_request(request))
                issued = issuer.issue(_read_form(client_address))
                return _answer(issued, scope=issued.granted)
        raise MethodNotAllowed(METHODS)

    app.view_functions["token"] = token
    for path in PATHS:
        app.url_map.add(Rule(path, endpoint="token"))


def _answer(issued: Issued, **more: str) -> Response:
    body = json.dumps(issued.as_json() | more)
    response = Response(body, HTTPStatus.OK, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    return response


def _read_query(client_address: ClientAddress) -> TokenRequest:
    header = request.environ.get("HTTP_AUTHORIZATION")
    return TokenRequest(
        shown=None if header is None else read_authorization(header),
        services=tuple(request.args.getlist("service")),
        accounts=tuple(request.args.getlist("account")),
        scopes=tuple(request.args.getlist("scope")),
        offline=request.args.get("offline_token") == "true",
        origin=_origin(client_address, request.args),
        request_id=g.request_id,
    )


def _read_form(client_address: ClientAddress) -> TokenRequest:
    """Read a POST's form. Credentials are only ever taken from the body.

    Raises:
        BadRequest: it is no form, or a parameter is missing or repeated.
        UnsupportedGrantType: the grant type is missing or unknown.
    """
    if request.mimetype != FORM:
        raise BadRequest(f"the body must be of type {FORM}")
    form = request.form
    for name in ONCE:
        if len(form.getlist(name)) > 1:
            raise BadRequest(f"the parameter {name} is repeated")
    shown = _shown(form)
    _needed(form, "client_id")
    return TokenRequest(
        shown=shown,
        services=tuple(form.getlist("service")),
        accounts=(),
        scopes=tuple(form.getlist("scope")),
        offline=form.get("access_type") == "offline",
        origin=_origin(client_address, form),
        request_id=g.request_id,
    )


def _shown(form: MultiDict[str, str]) -> Basic | Refresh:
    match form.get("grant_type"):
        case "password":
            return basic(_needed(form, "username"), _needed(form, "password"))
        case "refresh_token":
            return Refresh(_needed(form, "refresh_token"))
    raise UnsupportedGrantType("the grant_type must be password or refresh_token")


def _needed(form: MultiDict[str, str], name: str) -> str:
    if name not in form:
        raise BadRequest(f"the parameter {name} is missing")
    return form[name]


def _origin(client_address: ClientAddress, parameters: MultiDict[str, str]) -> Origin:
    client_id = parameters.get("client_id", "")
    agent = request.headers.get("User-Agent", "")
    address = client_address.of_request(request)
    return Origin(address, f"{client_id} ({agent})" if client_id else agent)
