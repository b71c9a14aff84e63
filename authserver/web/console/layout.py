"""The frame of every page: the navigation, what templates may use, and the headers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from flask import Flask, Response, current_app, g, render_template, request
from jinja2 import StrictUndefined

from authserver import __version__
from authserver.core.commands import operands, shell_command
from authserver.core.errors import NotReady
from authserver.web.console import PREFIX, cells, language
from authserver.web.console.faults import FormFault
from authserver.web.console.language import Label, lazy
from authserver.web.console.visit import Visit, console

STATIC = Path(__file__).with_name("static")
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With no-referrer, browsers would not say either that a form is the console's own.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class NavigationEntry:
    """A page of the navigation, and for which visits it is offered."""

    page: str
    title: Label
    offered: Callable[[Visit], bool]


def _reads(visit: Visit) -> bool:
    return visit.console.listener.administers and visit.reads_all


def _delegates(visit: Visit) -> bool:
    try:
        return visit.is_delegate
    except NotReady:
        # The page may be the one that says so.
        return False


def _always(_: Visit) -> bool:
    return True


NAVIGATION: Sequence[tuple[Label, Sequence[NavigationEntry]]] = (
    (
        lazy("Administration"),
        (
            NavigationEntry("overview", lazy("Overview"), _reads),
            NavigationEntry("users", lazy("Users"), _reads),
            NavigationEntry("robots", lazy("Robots"), _reads),
            NavigationEntry("groups", lazy("Groups"), _reads),
            NavigationEntry("rules", lazy("Rules"), _reads),
            NavigationEntry("ask", lazy("Ask"), _reads),
            NavigationEntry("registries", lazy("Registries"), _reads),
            NavigationEntry("tokens", lazy("App tokens"), _reads),
            NavigationEntry("sessions", lazy("Sessions"), _reads),
            NavigationEntry("invitations", lazy("Invitations"), _reads),
            NavigationEntry("lockouts", lazy("Lockouts"), _reads),
            NavigationEntry("delegations", lazy("Delegations"), _reads),
            NavigationEntry("policy", lazy("Policy"), _reads),
            NavigationEntry("keys", lazy("Keys"), _reads),
            NavigationEntry("audit", lazy("Audit"), _reads),
            NavigationEntry("lint", lazy("Lint"), _reads),
        ),
    ),
    (
        lazy("My account"),
        (
            NavigationEntry("me", lazy("Account"), _always),
            NavigationEntry("my/second-factors", lazy("Second factor"), _always),
            NavigationEntry("my/tokens", lazy("App tokens"), _always),
            NavigationEntry("my/logins", lazy("Logins"), _always),
            NavigationEntry("my/access", lazy("What may I do"), _always),
            NavigationEntry("my/rules", lazy("My rules"), _delegates),
        ),
    ),
)


def register(app: Flask) -> None:
    """Give the templates of ``app`` their functions, and each answer its headers."""
    static = {path.name: path.read_bytes() for path in STATIC.iterdir()}
    digest = sha256(b"".join(static[name] for name in sorted(static))).hexdigest()[:16]
    jinja = app.jinja_env
    jinja.undefined = StrictUndefined
    jinja.trim_blocks = jinja.lstrip_blocks = True
    jinja.add_extension("jinja2.ext.i18n")
    jinja.install_gettext_callables(*language.CALLABLES, newstyle=True)  # type: ignore[attr-defined]
    jinja.globals |= {
        "at": at,
        "static": lambda name: f"{console().listener.root}/static/{digest}/{name}",
        "command": shell_command,
        "differences": cells.differences,
        "operands": operands,
        "languages": language.LANGUAGES,
        "version": __version__,
    }

    def serve(name: str) -> Response:
        if name not in static:
            return Response(status=HTTPStatus.NOT_FOUND)
        response = Response(static[name], mimetype=TYPES[Path(name).suffix])
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    app.add_url_rule(f"/console/static/{digest}/<name>", "console static", serve)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["Vary"] = "Cookie, Accept-Language"
        return response


def at(page: str = "", **arguments: object) -> str:
    """Return the path of a page of this console."""
    return console().listener.at(page, **arguments)


def is_page(page: str) -> bool:
    """Whether this console has a page."""
    return any(rule.rule == f"{PREFIX}/{page}" for rule in current_app.url_map.iter_rules())


def render(template: str, *, fault: FormFault | None = None, **values: object) -> Response:
    """Return a page, with the status of its ``fault`` if there is one."""
    current: Visit | None = g.get("visit")
    page = render_template(
        template,
        visit=current,
        language=language.language(),
        navigation=[] if current is None else _navigation(current),
        here=_here(),
        fault=fault,
        **values,
    )
    return Response(page, fault.status if fault else HTTPStatus.OK, mimetype="text/html")


def redirect(page: str = "", **arguments: object) -> Response:
    """Return the answer that leads to another page, which the browser gets with GET."""
    return redirect_to(at(page, **arguments))


def redirect_to(path: str) -> Response:
    """Return the answer that leads to a path of this console."""
    return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": path})


def _navigation(current: Visit) -> list[tuple[Label, list[NavigationEntry]]]:
    groups = (
        (title, [entry for entry in entries if entry.offered(current)])
        for title, entries in NAVIGATION
    )
    return [(title, entries) for title, entries in groups if entries]


def _here() -> str:
    """Return the path and query of this page, to come back to it by GET."""
    query = request.query_string.decode("latin-1")
    page = request.path.removeprefix("/console").lstrip("/")
    return at(page) + (f"?{query}" if query else "")
