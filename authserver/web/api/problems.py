"""Answer every error as a problem (RFC 9457)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from http import HTTPStatus

import structlog
from flask import Response
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from authserver.core.errors import (
    AuthserverError,
    BadRequest,
    Busy,
    Forbidden,
    NotFound,
    NotReady,
    Refused,
    SecondFactorNeeded,
    TooManyAttempts,
    Unauthorized,
)
from authserver.db.losses import Loss
from authserver.web.api.models import ApiLoss, ApiProblem, Confirming, Invalid
from authserver.web.errors import CHALLENGE, say_when_to_retry

MEDIA_TYPE = "application/problem+json"
UNAUTHORIZED = "no credentials, or an incorrect user name or password"
MAX_FAULTS = 100
"""How many faults of a body an answer lists."""
UNAVAILABLE = "the server cannot answer now; try again"

# Domain error → status. `operations.references` makes Refused of a missing name in a body.
STATUSES: dict[type[AuthserverError], HTTPStatus] = {
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Refused: HTTPStatus.CONFLICT,
    BadRequest: HTTPStatus.BAD_REQUEST,
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
}

log = structlog.get_logger()


class Refusal(HTTPException):
    """A fault of a request that is found before the domain sees it."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        invalid: Iterable[Invalid] = (),
        goes: Iterable[Loss] = (),
    ) -> None:
        super().__init__(detail)
        self.code = status
        self.invalid = list(invalid)
        self.goes = [ApiLoss.model_validate(asdict(loss)) for loss in goes]


def require_confirmed(query: Confirming, losses: Sequence[Loss]) -> None:
    """Check that a request which takes something else away says so.

    Raises:
        Refusal: (409) it does not, and there is something.
    """
    if losses and not query.confirmed:
        gone = ". ".join(map(str, losses))
        detail = f"goes with it: {gone}. To do it all the same: confirm=true"
        raise Refusal(HTTPStatus.CONFLICT, detail, goes=losses)


def invalid(
    error: ValidationError, where: Callable[[Iterable[object]], str], model: type[BaseModel]
) -> Refusal:
    """Return the refusal of a body or a query of ``model``; ``where`` writes a place in it."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    faults = [
        Invalid(where=where(each["loc"]), detail=_said(each, model)) for each in found[:MAX_FAULTS]
    ]
    detail = "; ".join(f"{fault.where}: {fault.detail}" for fault in faults[:5])
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, detail, faults)


def _said(fault: ErrorDetails, model: type[BaseModel]) -> str:
    """Return what is wrong; of what is unknown, also what is known at the top of ``model``."""
    if fault["type"] != "extra_forbidden" or len(fault["loc"]) > 1:
        return fault["msg"]
    known = sorted(field.alias or name for name, field in model.model_fields.items())
    return f"unknown; known: {', '.join(known) or 'none'}"


def pointer(place: Iterable[object]) -> str:
    """Return a place in a body as a JSON Pointer (RFC 6901)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)


def answer_to(error: Exception) -> Response:
    """Return the problem that reports ``error``."""
    match error:
        case AuthserverError():
            return _domain(error)
        case HTTPException():
            return _http(error)
    log.error("unexpected error", exc_info=error)
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error; the log says which")


def _domain(error: AuthserverError) -> Response:
    status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    match status:
        case HTTPStatus.UNAUTHORIZED:
            told = isinstance(error, SecondFactorNeeded)
            response = _problem(status, str(error) if told else UNAUTHORIZED)
            response.headers["WWW-Authenticate"] = CHALLENGE
        case HTTPStatus.SERVICE_UNAVAILABLE:
            # Only the operator may read what is wrong with the installation: it is in the log.
            # What clients do is no fault of the installation, and has its record.
            if not isinstance(error, Busy):
                log.error("api request failed", error=str(error))
            response = _problem(status, UNAVAILABLE)
        case _:
            response = _problem(status, str(error))
    say_when_to_retry(response, error)
    return response


def _http(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    faults, goes = (error.invalid, error.goes) if isinstance(error, Refusal) else ([], [])
    response = _problem(status, error.description or status.description, faults, goes)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(error.valid_methods)
    return response


def _problem(
    status: HTTPStatus,
    detail: str,
    faults: Sequence[Invalid] = (),
    goes: Sequence[ApiLoss] = (),
) -> Response:
    problem = ApiProblem(
        type="about:blank",
        title=status.phrase,
        status=status,
        detail=detail,
        errors=[*faults],
        goes=[*goes],
    )
    return Response(problem.model_dump_json(), status, mimetype=MEDIA_TYPE)
