"""The console's application: who is there, what a request may do, and what it is answered."""

from http import HTTPStatus

import structlog
from flask import Blueprint, Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from authserver.auth.credentials import Origin
from authserver.core.errors import AuthserverError, Busy, NotReady, TooManyAttempts, Unauthorized
from authserver.db.console_sessions import Stage
from authserver.web.api.operations import Parts
from authserver.web.bodies import MAX_BYTES, Bodies
from authserver.web.client_address import ClientAddress
from authserver.web.console import (
    PREFIX,
    accounts,
    audit,
    authority,
    delegations,
    groups,
    invited,
    keys,
    layout,
    lint,
    lockouts,
    login,
    me,
    my_access,
    my_logins,
    my_tokens,
    overview,
    policy_file,
    questions,
    registries,
    robots,
    rules,
    second_factors,
    sessions,
    tokens,
)
from authserver.web.console.faults import FormFault
from authserver.web.console.language import gettext as _
from authserver.web.console.listener import ConsoleListener
from authserver.web.console.login import Logins, LoginStep
from authserver.web.console.visit import Console, ProofDue
from authserver.web.errors import say_when_to_retry

EVERYBODY = (
    me.pages,
    second_factors.pages,
    my_tokens.pages,
    my_logins.pages,
    my_access.pages,
    rules.my_pages,
)
ADMINISTRATION = (
    overview.pages,
    accounts.pages,
    registries.pages,
    robots.pages,
    groups.pages,
    rules.pages,
    questions.pages,
    policy_file.pages,
    keys.pages,
    authority.pages,
    audit.pages,
    lint.pages,
    tokens.pages,
    sessions.pages,
    invited.pages,
    lockouts.pages,
    delegations.pages,
)

log = structlog.get_logger()


def register(
    app: Flask,
    parts: Parts,
    listener: ConsoleListener,
    client_address: ClientAddress,
    bodies: Bodies,
) -> None:
    """Serve the console on one listener."""
    console = Console(parts, listener)
    logins = Logins(console)
    layout.register(app)
    parent = Blueprint("console", __name__, url_prefix=PREFIX)
    for pages in (login.pages, *EVERYBODY, *(ADMINISTRATION if listener.administers else ())):
        parent.register_blueprint(pages)
    app.register_blueprint(parent)

    @app.before_request
    def enter() -> Response | None:
        g.console, g.logins = console, logins
        address = client_address.of_request(request.environ)
        g.origin = Origin(address, request.headers.get("User-Agent", ""))
        if request.endpoint == "console static":
            return None
        if request.method not in ("GET", "HEAD"):
            listener.require_own_form(request.headers)
        logins.enter()
        is_open = g.visit is not None or _is_step(request.endpoint, g.step)
        if request.method == "POST":
            large = request.endpoint in LARGE and g.visit is not None and g.visit.reads_all
            most = LARGE_BYTES if large else MAX_BYTES
            request.max_content_length = request.max_form_memory_size = most
            bodies.read(request.environ, address, most)
        return None if is_open or request.endpoint is None else login.due()

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        return _answer_to(error)


def _is_step(endpoint: str | None, step: LoginStep | None) -> bool:
    """Whether a page is one of the login, for a session that is not open yet."""
    if endpoint is None or endpoint.startswith("console.login."):
        return endpoint is not None
    enrols = endpoint.startswith("console.second_factors.")
    return enrols and step is not None and step.stage is Stage.ENROLMENT


LARGE = frozenset(policy_file.LARGE)
"""The forms that take a file, from those who read all."""
LARGE_BYTES = 4 * 1024 * 1024


def _answer_to(error: Exception) -> Response:
    match error:
        case ProofDue():
            return login.proof_due()
        case Unauthorized():
            return login.due()
        case NotReady() | TooManyAttempts() | AuthserverError():
            if isinstance(error, NotReady) and not isinstance(error, Busy):
                log.error("console request failed", error=str(error))
            response = _page(FormFault.of(error))
            say_when_to_retry(response, error)
            return response
        case HTTPException():
            return _page(FormFault.of(error))
    log.error("unexpected error", exc_info=error)
    text = _("This is an error of the server. Its log says which.")
    return _page(FormFault(HTTPStatus.INTERNAL_SERVER_ERROR, text))


def _page(fault: FormFault) -> Response:
    # What failed may be what knows the visitor.
    g.setdefault("visit", None)
    return layout.render("error.html", fault=fault)
