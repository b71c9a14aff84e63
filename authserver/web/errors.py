"""Errors as JSON, in the forms that registry clients read, and each request's id."""

import json
import secrets
from http import HTTPStatus

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from authserver.core.errors import (
    AuthserverError,
    BadRequest,
    Busy,
    Forbidden,
    NotFound,
    NotReady,
    Refused,
    TooManyAttempts,
    Unauthorized,
)
from authserver.runtime import logs

Headers = list[tuple[str, str]]

CHALLENGE = 'Basic realm="authserver", charset="UTF-8"'

# Domain error → status and the code that registry clients know (Distribution errcode).
ANSWERS: dict[type[AuthserverError], tuple[HTTPStatus, str]] = {
    Unauthorized: (HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED"),
    TooManyAttempts: (HTTPStatus.TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
    Forbidden: (HTTPStatus.FORBIDDEN, "DENIED"),
    BadRequest: (HTTPStatus.BAD_REQUEST, "BAD_REQUEST"),
    NotReady: (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    NotFound: (HTTPStatus.NOT_FOUND, "NOT_FOUND"),
    Refused: (HTTPStatus.BAD_REQUEST, "BAD_REQUEST"),
}

log = structlog.get_logger()


def error_response(
    status: HTTPStatus, code: str, message: str, oauth: str | None = None
) -> Response:
    """Return an error. Docker's engine needs ``details``, the others read ``errors``.

    ``oauth`` is the code of RFC 6749, section 5.2, for a POST.
    """
    body = {
        "errors": [{"code": code, "message": message, "detail": None}],
        "details": message,
    }
    if oauth is not None:
        body |= {"error": oauth, "error_description": message}
    response = Response(json.dumps(body, sort_keys=True), status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def register(app: Flask) -> None:
    """Answer every error of ``app`` as JSON."""
    app.register_error_handler(Exception, lambda error: answer_to(error, request.method))


def answer_to(error: Exception, method: str) -> Response:
    """Return the response to a request by ``method`` that raised ``error``."""
    match error:
        case AuthserverError():
            return _domain_error(error, method)
        case HTTPException():
            return _http_error(error)
    log.error("unexpected error", exc_info=error)
    return error_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", "an unexpected error; the log says which"
    )


def told(error: AuthserverError) -> tuple[HTTPStatus, str, str]:
    """Return the status, the code and the message of an error."""
    status, code = next(ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)
    # The log says what is wrong with the installation: that is for the operator alone.
    hidden = isinstance(error, NotReady)
    return status, code, "the token server cannot answer now; try again" if hidden else str(error)


def _domain_error(error: AuthserverError, method: str) -> Response:
    status, code, message = told(error)
    oauth = getattr(error, "oauth", "server_error") if method == "POST" else None
    response = error_response(status, code, message, oauth)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = CHALLENGE
    say_when_to_retry(response, error)
    return response


def say_when_to_retry(response: Response, error: AuthserverError) -> None:
    """Say in the response when another try makes sense, where the error does (RFC 9110, 10.2.3)."""
    if isinstance(error, Busy | TooManyAttempts):
        response.headers["Retry-After"] = str(error.retry_after)


def _http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    response = error_response(status, status.name, error.description or status.phrase)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(error.valid_methods)
    return response


def begin_request() -> tuple[str, Headers]:
    """Return a new request's id, and the headers that its answer has, whatever it is.

    The lines of this thread's log have the id from now on.
    """
    request_id = secrets.token_hex(8)
    logs.request_id.set(request_id)
    return request_id, [("X-Request-Id", request_id), ("X-Content-Type-Options", "nosniff")]
