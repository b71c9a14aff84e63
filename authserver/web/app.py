"""The Flask application: the token endpoint, public pages, and the admin API when first asked."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request

from authserver.runtime.settings import Settings
from authserver.web import api, console, errors, health, index, public_keys
from authserver.web.api.caller import Callers
from authserver.web.bodies import MAX_BYTES, Bodies
from authserver.web.client_address import ClientAddress
from authserver.web.cors import AllowedOrigins
from authserver.web.pages import invitation, password
from authserver.web.pages.page import FormPage
from authserver.web.server.front import Front, Rates
from authserver.web.token import Endpoint
from authserver.web.wiring import Wiring, new_bodies

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from authserver.web.api.operations import Parts


def create_app(wiring: Wiring) -> Flask:
    """Return the application over ``wiring``."""
    app, settings = _flask(wiring), wiring.settings
    client_address, backends = wiring.client_address, wiring.issuer.backends
    page = partial(FormPage, settings=settings, client_address=client_address, bodies=wiring.bodies)
    invitation.register(app, page("invitation"), wiring.store, backends.hashing)
    callers = Callers(wiring.state, backends, wiring.issuer.journal, "password page")
    password.register(app, page("password"), wiring.store, callers)
    health.register(app, wiring.maintenance, client_address)
    places = index.PUBLIC | ({} if settings.admin_listen else index.API) | _console_place(settings)
    index.register(app, settings.path_prefix, places)
    public_keys.register(app, wiring.state)
    others = app.wsgi_app
    if settings.admin_listen is None:
        others = Late(api.PREFIX, lambda: _api(wiring, client_address, wiring.bodies), others)
    if settings.console == "on":
        make = partial(_console, wiring, client_address, wiring.bodies, of_administration=False)
        others = Late(console.PREFIX, make, others)
    inner: WSGIApplication = Endpoint(wiring.issuer, client_address, wiring.bodies, others)
    origins = AllowedOrigins(frozenset(settings.cors_origins), wiring.observations)
    if origins.origins:
        inner = origins.preflights(inner)
    outer = _in_front(wiring, client_address, inner)
    if origins.origins:
        outer = origins.headers(outer)
    if settings.path_prefix:
        outer = _without(settings.path_prefix, outer)
    app.wsgi_app = outer  # type: ignore[assignment,method-assign]
    return app


def create_administration(wiring: Wiring) -> "WSGIApplication":
    """Return the admin API and the console, for a listener with bounds of its own on bodies."""
    client_address, bodies = wiring.client_address_at_administration, new_bodies()
    others = _flask(wiring)
    places = index.API | _console_place(wiring.settings)
    index.register(others, wiring.settings.path_prefix, places)
    app = Late(api.PREFIX, lambda: _api(wiring, client_address, bodies), others.wsgi_app)
    if wiring.settings.console == "on":
        make = partial(_console, wiring, client_address, bodies, of_administration=True)
        app = Late(console.PREFIX, make, app)
    return _in_front(wiring, client_address, app)


def _console_place(settings: Settings) -> dict[str, str]:
    return index.CONSOLE if settings.console == "on" else {}


def _in_front(
    wiring: Wiring, client_address: ClientAddress, app: "WSGIApplication"
) -> "WSGIApplication":
    """Return ``app`` behind its front; the settings may turn the rate limit off."""
    rate = wiring.settings.requests_per_address
    rates = Rates(rate) if rate else None
    return Front(rates, client_address.of_request, wiring.observations, app)


def _api(wiring: Wiring, client_address: ClientAddress, bodies: Bodies) -> "WSGIApplication":
    # To import the models takes a good part of a start.
    from authserver.web.api import router  # noqa: PLC0415

    app = _flask(wiring)
    router.register(app, _parts(wiring, "admin API"), client_address, bodies)
    return app.wsgi_app


def _console(
    wiring: Wiring, client_address: ClientAddress, bodies: Bodies, *, of_administration: bool
) -> "WSGIApplication":
    from authserver.web.console import application  # noqa: PLC0415
    from authserver.web.console.listener import ConsoleListener  # noqa: PLC0415

    app = _flask(wiring, "console/templates")
    settings = wiring.settings
    listener = (
        ConsoleListener.of_administration(settings)
        if of_administration
        else ConsoleListener.public(settings)
    )
    application.register(app, _parts(wiring, "console"), listener, client_address, bodies)
    return app.wsgi_app


def _parts(wiring: Wiring, where: str) -> "Parts":
    """Return what operations work with; ``where`` is the place in records of refused callers."""
    from authserver.web.api.operations import Parts  # noqa: PLC0415
    from authserver.web.overview.lint_memory import LintMemory  # noqa: PLC0415

    backends = wiring.issuer.backends
    callers = Callers(wiring.state, backends, wiring.issuer.journal, where)
    lint, maintenance = LintMemory(time.monotonic), wiring.maintenance
    return Parts(wiring.settings, wiring.store, callers, backends.hashing, maintenance, lint)


def _flask(wiring: Wiring, templates: str = "pages/templates") -> Flask:
    app = Flask("authserver.web", static_folder=None, template_folder=templates)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    # Never a redirect: clients do not follow it everywhere.
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    errors.register(app)

    @app.before_request
    def begin() -> None:
        g.request_id, g.headers = errors.begin_request()

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers.extend(g.headers)
        part = (request.endpoint or "none").partition(" ")[0].partition(".")[0]
        wiring.observations.responses.append((part, response.status_code))
        return response

    @app.teardown_request
    def let_go(_: BaseException | None) -> None:
        # Its traceback has the frames that hold the request, which holds it: a cycle that would
        # stay until the collector runs.
        request.routing_exception = None

    return app


def _without(prefix: str, inner: "WSGIApplication") -> "WSGIApplication":
    """Serve under ``prefix`` as well, for a proxy that leaves it in the path."""

    def outer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path.removeprefix(prefix)
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + prefix
        return inner(environ, start_response)

    return outer


class Late:
    """Makes the application below the path ``prefix`` when it is first asked for.

    ``make`` takes part of a second and some memory, and most processes never need it. Other paths
    are for ``others``.
    """

    def __init__(
        self, prefix: str, make: "Callable[[], WSGIApplication]", others: "WSGIApplication"
    ) -> None:
        self._below, self._make, self._others = f"{prefix}/", make, others
        self._made: WSGIApplication | None = None
        self._making = Lock()

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        if not path.startswith(self._below):
            return self._others(environ, start_response)
        return self._application()(environ, start_response)

    def _application(self) -> "WSGIApplication":
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made
