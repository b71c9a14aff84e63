"""The token endpoint: GET (Distribution ``token.md``) and POST (``oauth.md``).

It is a plain WSGI application in front of Flask: the way through Flask costs more than to sign a
token (4,000 instead of 9,600 tokens a second, when it was measured).
"""

import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring_ascii as in_json
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from werkzeug.exceptions import MethodNotAllowed
from werkzeug.http import parse_options_header

from authserver.auth.authenticator import of_name_and_secret
from authserver.auth.authorization import ScopeRequest
from authserver.auth.by_refresh_token import RefreshToken
from authserver.auth.credentials import Credential, Malformed, Origin
from authserver.auth.issuer import Issued, Issuer, TokenRequest
from authserver.core.errors import BadRequest, MustWait, UnsupportedGrantType
from authserver.web import errors
from authserver.web.bodies import Bodies
from authserver.web.client_address import CLIENT, ClientAddress
from authserver.web.server.gateway import AT_ONCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# /auth/token is where a registry's autoredirect sends clients.
PATHS = frozenset({"/token", "/token/", "/auth/token", "/auth/token/"})
HEADERS = ("HTTP_AUTHORIZATION", "HTTP_USER_AGENT", "CONTENT_TYPE", "CONTENT_LENGTH")
"""The headers that are read here."""

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
JSON = ("Content-Type", "application/json")
NOT_KEPT = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
# An error handler that Werkzeug registers.
_QUOTING = "werkzeug.url_quote"
MAX_REMEMBERED = 4096
"""Characters of a query string whose reading is remembered; longer ones are read each time."""

MAX_KNOWN_HEADERS = 4096
"""Authorization headers with an app token that are known again, by their digest."""
SHORTEST_KEPT, LONGEST_KEPT = 94, 512
"""Characters of such headers; in a shorter one there is no app token."""

_Parameters = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class _Query:
    wanted: ScopeRequest
    client_id: str
    offline: bool


@dataclass(frozen=True)
class Endpoint:
    """Answers every method at its paths, and leaves the other paths to ``others``."""

    issuer: Issuer
    client_address: ClientAddress
    bodies: Bodies
    others: "WSGIApplication"

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333).

        Raises:
            MustWait: it was to be answered at once and cannot be.
        """
        if environ.get("PATH_INFO") not in PATHS:
            return self.others(environ, start_response)
        request_id, headers = errors.begin_request()
        try:
            request = self._read(environ, request_id)
            body = _body(environ, self.issuer.issue(request)).encode()
        except MustWait:
            raise
        except Exception as error:  # noqa: BLE001 - each has its answer, in one place
            response = errors.answer_to(error, environ["REQUEST_METHOD"])
            self._count(response.status_code)
            response.headers.extend(headers)
            return response(environ, start_response)
        self._count(200)
        start_response("200 OK", [JSON, ("Content-Length", str(len(body))), *NOT_KEPT, *headers])
        return [body]

    def _count(self, status: int) -> None:
        self.issuer.observations.responses.append(("token", status))

    def _read(self, environ: "WSGIEnvironment", request_id: str) -> TokenRequest:
        """Read a request.

        Raises:
            MethodNotAllowed: it is neither GET nor POST.
            BadRequest: it is a POST without a form, or a parameter is missing, empty or repeated.
            UnsupportedGrantType: the grant type is unknown.
        """
        match environ["REQUEST_METHOD"]:
            case "GET":
                return self._read_get(environ, request_id)
            case "POST":
                return self._read_post(environ, request_id)
        raise MethodNotAllowed(METHODS)

    def _read_get(self, environ: "WSGIEnvironment", request_id: str) -> TokenRequest:
        text = environ.get("QUERY_STRING", "")
        query = _read_query(text) if len(text) > MAX_REMEMBERED else _known_query(text)
        header = environ.get("HTTP_AUTHORIZATION")
        return TokenRequest(
            credential=None if header is None else read_authorization(header),
            wanted=query.wanted,
            offline=query.offline,
            origin=self._origin(environ, query.client_id),
            request_id=request_id,
            at_once=environ.get(AT_ONCE, False),
        )

    def _read_post(self, environ: "WSGIEnvironment", request_id: str) -> TokenRequest:
        """Read a form. Credentials are only ever taken from the body."""
        body = self.bodies.read(environ, self.client_address.of_request(environ))
        content_type = environ.get("CONTENT_TYPE", "")
        if content_type != FORM and parse_options_header(content_type)[0].lower() != FORM:
            raise BadRequest(f"the body must be of type {FORM}")
        form = parameters_of(body)
        for name in ONCE:
            if len(form.get(name, ())) > 1:
                raise BadRequest(f"the parameter {name} is repeated")
        credential = _credential(form)
        client_id = _required(form, "client_id")
        return TokenRequest(
            credential=credential,
            wanted=ScopeRequest(
                services=tuple(form.get("service", ())), scopes=tuple(form.get("scope", ()))
            ),
            offline=form.get("access_type") == ["offline"],
            origin=self._origin(environ, client_id),
            request_id=request_id,
            at_once=environ.get(AT_ONCE, False),
        )

    def _origin(self, environ: "WSGIEnvironment", client_id: str) -> Origin:
        # Where there is a rate limit, it has found the address.
        address = environ.get(CLIENT) or self.client_address.of_request(environ)
        agent = environ.get("HTTP_USER_AGENT", "")
        return Origin(address, f"{client_id} ({agent})" if client_id else agent)


def _body(environ: "WSGIEnvironment", issued: Issued) -> str:
    """Return the response's body (Distribution ``token.md``, ``oauth.md``).

    What is written here by hand has nothing that JSON would escape.
    """
    authorization, others = issued.authorization, ""
    # Some clients behave differently when they get one that they did not ask for.
    if issued.refresh_token is not None:
        others = f'"refresh_token": {in_json(issued.refresh_token)}, '
    if environ["REQUEST_METHOD"] == "POST":
        others += f'"scope": {in_json(authorization.granted)}, '
    return (
        f'{{"access_token": "{issued.token}", "expires_in": {authorization.claims.lifetime}, '
        f'"issued_at": "{_in_words(issued.issued_at)}", {others}"token": "{issued.token}"}}'
    )


@lru_cache(maxsize=4)
def _in_words(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def read_authorization(header: str) -> Credential:
    """Read the value of an ``Authorization`` header (RFC 7617, UTF-8).

    ``header`` is the value as WSGI hands it over, bytes as Latin-1.
    """
    if not SHORTEST_KEPT <= len(header) <= LONGEST_KEPT:
        return _read_basic(header)
    # A machine sends the same app token each time, and a look-up is faster than to read it.
    key = sha256(header.encode("utf-8", "surrogatepass")).digest()
    if (credential := _known_headers.get(key)) is not None:
        return credential
    credential = _read_basic(header)
    if credential.holds_no_secret:
        if len(_known_headers) >= MAX_KNOWN_HEADERS:
            _known_headers.clear()
        _known_headers[key] = credential
    return credential


_known_headers: dict[bytes, Credential] = {}


def _read_basic(header: str) -> Credential:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return Malformed("not of the Basic scheme")
    try:
        raw = encoded.strip(" ").encode("latin-1")
        decoded = binascii.a2b_base64(raw, strict_mode=True)
        text = decoded.decode()
    except (binascii.Error, UnicodeError):
        return Malformed("not base64 of UTF-8 text")
    if binascii.b2a_base64(decoded, newline=False) != raw:
        return Malformed("not strict base64")
    name, colon, password = text.partition(":")
    if not colon:
        return Malformed("no colon")
    return of_name_and_secret(name, password)


def parameters_of(text: bytes) -> _Parameters:
    """Read parameters as Werkzeug does: bytes that are not UTF-8 end up percent-encoded.

    The result is that of ``urllib.parse.parse_qs``, in less time.
    """
    parameters: dict[str, list[str]] = {}
    for pair in text.decode(errors=_QUOTING).split("&"):
        if pair:
            name, _, value = pair.partition("=")
            parameters.setdefault(_unquoted(name), []).append(_unquoted(value))
    return parameters


def _unquoted(text: str) -> str:
    return unquote_plus(text, errors=_QUOTING) if "%" in text or "+" in text else text


def _read_query(text: str) -> _Query:
    parameters = parameters_of(text.encode("latin-1"))
    return _Query(
        ScopeRequest(
            services=tuple(parameters.get("service", ())),
            accounts=tuple(parameters.get("account", ())),
            scopes=tuple(parameters.get("scope", ())),
        ),
        client_id=parameters.get("client_id", [""])[0],
        offline=parameters.get("offline_token", [""])[0] == "true",
    )


_known_query = lru_cache(maxsize=1024)(_read_query)


def _credential(form: _Parameters) -> Credential:
    match _required(form, "grant_type"):
        case "password":
            return of_name_and_secret(_required(form, "username"), _required(form, "password"))
        case "refresh_token":
            return RefreshToken.of(_required(form, "refresh_token"))
    raise UnsupportedGrantType("the grant_type must be password or refresh_token")


def _required(form: _Parameters, name: str) -> str:
    """Return a parameter's value. An empty one counts as missing (RFC 6749, section 3.2)."""
    value, *_ = form.get(name, ("",))
    if not value:
        raise BadRequest(f"the parameter {name} is missing")
    return value
