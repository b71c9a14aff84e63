"""Every error as JSON, in the forms that registry clients read."""

from http import HTTPStatus

import structlog
from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from authserver.core.errors import AuthserverError, BadRequest, NotReady, Unauthorized

CHALLENGE = 'Basic realm="authserver", charset="UTF-8"'

# Domain error → status and the code that registry clients know (Distribution errcode).
ANSWERS: dict[type[AuthserverError], tuple[HTTPStatus, str]] = {
    Unauthorized: (HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED"),
    BadRequest: (HTTPStatus.BAD_REQUEST, "BAD_REQUEST"),
    NotReady: (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE"),
}

log = structlog.get_logger()


def error_response(status: HTTPStatus, code: str, message: str) -> Response:
    """Return an error. Docker's engine needs ``details``, the others read ``errors``."""
    body = {
        "errors": [{"code": code, "message": message, "detail": None}],
        "details": message,
    }
    response = Response(json.dumps(body), status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def register(app: Flask) -> None:
    """Answer every error of ``app`` as JSON."""
    app.register_error_handler(AuthserverError, _domain_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _domain_error(error: AuthserverError) -> Response:
    status, code = ANSWERS[type(error)]
    # What is wrong with the installation is the operator's business, and in the log.
    message = (
        "the token server cannot answer now; try again"
        if isinstance(error, NotReady)
        else str(error)
    )
    response = error_response(status, code, message)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response


def _http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    response = error_response(status, status.name, error.description or status.phrase)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(error.valid_methods)
    return response


def _unexpected(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    return error_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", "an unexpected error; the log says which"
    )
