"""Sessions: everybody's logins, with docker and to the console."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from authserver.db import lookup, losses
from authserver.web.api import parsing
from authserver.web.api.sessions import ApiConsoleSession, Session
from authserver.web.console import forms
from authserver.web.console.browsers import browser
from authserver.web.console.cells import NONE, LinkCell, TextCell, TimeCell
from authserver.web.console.forms import Question
from authserver.web.console.language import gettext as _
from authserver.web.console.language import lazy
from authserver.web.console.layout import at
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.tokens import OF_ACCOUNT
from authserver.web.console.visit import visit

pages = Blueprint("sessions", __name__)

DOCKER, CONSOLE = "sessions", "sessions/console"


def _account(page: str) -> Column:
    return Column(
        lazy("Account"),
        lambda session: LinkCell(session.account, at(page, account=session.account)),
        sort="account",
    )


def _end(page: str) -> Column:
    return Column(
        lazy("Action"),
        lambda session: (
            LinkCell(lazy("End\N{NO-BREAK SPACE}…"), at(f"{page}/end", id=session.id))
            if visit().may("revoke_session")
            else TextCell(NONE)
        ),
    )


def _client(session: Session | ApiConsoleSession, client: str) -> TextCell:
    return TextCell(f"{client or NONE} ({session.created_address})")


_SINCE = Column(lazy("Since"), lambda session: TimeCell(session.created_at), sort="created")
_ENDS = Column(lazy("Ends if unused"), lambda session: TimeCell(session.expires_at), "expires")

DOCKER_LIST = ListPage(
    page=DOCKER,
    title=lazy("Docker logins"),
    operation="list_sessions",
    columns=(
        Column(lazy("Number"), lambda session: TextCell(str(session.id)), sort="id"),
        _account(DOCKER),
        Column(lazy("Registry"), lambda session: TextCell(session.registry)),
        Column(lazy("Client"), lambda session: _client(session, session.created_client)),
        _SINCE,
        Column(
            lazy("Last use"),
            lambda session: TimeCell(session.last_used and session.last_used.at, lazy("never")),
            sort="used",
        ),
        _ENDS,
        _end(DOCKER),
    ),
    empty=lazy("No docker login goes on. One begins with docker login and a user's password."),
    command=("session", "list"),
    filters=(OF_ACCOUNT,),
    template="sessions.html",
)

CONSOLE_LIST = ListPage(
    page=CONSOLE,
    title=lazy("Console sessions"),
    operation="list_console_sessions",
    columns=(
        Column(lazy("Number"), lambda session: TextCell(str(session.id)), sort="id"),
        _account(CONSOLE),
        Column(lazy("Client"), lambda session: _client(session, browser(session.created_client))),
        _SINCE,
        Column(lazy("Last use"), lambda session: TimeCell(session.seen_at), sort="used"),
        _ENDS,
        _end(CONSOLE),
    ),
    empty=lazy("Nobody is logged in to the console."),
    command=("session", "list", "--kind", "console"),
    filters=(OF_ACCOUNT,),
    template="sessions.html",
)

TABS = ((DOCKER, lazy("With docker")), (CONSOLE, lazy("To the console")))


def _answer(page: ListPage) -> Response:
    # Those of one account are ended together.
    return page.answer(tabs=TABS, account=request.args.get("account", ""))


@pages.get("/sessions")
def docker_sessions() -> Response:
    """List the docker logins."""
    return _answer(DOCKER_LIST)


@pages.get("/sessions/console")
def console_sessions() -> Response:
    """List the console sessions."""
    return _answer(CONSOLE_LIST)


@pages.route("/sessions/end", methods=["GET", "POST"])
def end_docker_session() -> Response:
    """End a docker login."""
    path = {"id": parsing.number(request.args.get("id", ""))}
    found = visit().call("show_session", path)
    words = {"account": found.answer.account, "registry": found.answer.registry}
    return Question(
        title=_("End the docker login of %(account)s on %(registry)s?") % words,
        button=_("End it"),
        back=(DOCKER, {}),
        after=(DOCKER, {}),
        command=("session", "revoke", str(path["id"])),
        notes=[_("The client asks for the password again. App tokens stay good.")],
        tag=found.tag,
    ).ask("revoke_session", path)


@pages.route("/sessions/console/end", methods=["GET", "POST"])
def end_console_session() -> Response:
    """End a console session."""
    path = {"id": parsing.number(request.args.get("id", ""))}
    found = visit().call("show_console_session", path)
    return Question(
        title=_("End the console session of %(account)s?") % {"account": found.answer.account},
        button=_("End it"),
        back=(CONSOLE, {}),
        after=(CONSOLE, {}),
        command=("session", "revoke", str(path["id"]), "--kind", "console"),
        notes=[_("The browser asks for a login again.")],
        tag=found.tag,
    ).ask("revoke_console_session", path)


@pages.route("/sessions/end-all", methods=["GET", "POST"])
def end_docker_sessions() -> Response:
    """End all docker logins of an account."""
    return _end_all(DOCKER, "revoke_sessions", losses.logins_of, "docker", {"confirm": "true"})


@pages.route("/sessions/console/end-all", methods=["GET", "POST"])
def end_console_sessions() -> Response:
    """End all console sessions of an account."""
    return _end_all(CONSOLE, "revoke_console_sessions", losses.console_logins_of, "console", {})


def _end_all(
    page: str,
    operation: str,
    going: Callable[..., list[losses.Loss]],
    kind: str,
    query: dict[str, Any],
) -> Response:
    visit().require(operation)
    account = request.args.get("account", "")
    with visit().read() as session:
        row = lookup.account(session, account)
        goes = forms.shown(going(session, [row]))
    back = (page, {"account": row.name})
    return Question(
        title=_("End all these sessions of %(account)s?") % {"account": row.name},
        button=_("End them"),
        back=back,
        after=back,
        command=("session", "revoke", "--account", row.name, "--kind", kind),
        notes=[_("App tokens stay good.")],
        goes=goes,
    ).ask(operation, body={"account": row.name}, query=query)
