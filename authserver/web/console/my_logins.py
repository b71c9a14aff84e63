"""My logins: those of docker, which go on without the password, and those to the console."""

from dataclasses import replace

from flask import Blueprint, Response, request

from authserver.web.api import parsing
from authserver.web.api.sessions import Session
from authserver.web.console.browsers import browser
from authserver.web.console.cells import NONE, LinkCell, TextCell, TimeCell
from authserver.web.console.forms import Question
from authserver.web.console.language import gettext as _
from authserver.web.console.language import lazy
from authserver.web.console.layout import at
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("my logins", __name__)

PAGE = "my/logins"


def _last_use(session: Session) -> TimeCell:
    return TimeCell(session.last_used.at if session.last_used else None, lazy("never"))


LIST = ListPage(
    page=PAGE,
    title=lazy("My logins"),
    operation="list_my_sessions",
    columns=(
        Column(lazy("Registry"), lambda session: TextCell(session.registry)),
        Column(lazy("Client"), lambda session: TextCell(session.created_client or NONE)),
        Column(lazy("Address"), lambda session: TextCell(session.created_address)),
        Column(lazy("Since"), lambda session: TimeCell(session.created_at), sort="created"),
        Column(lazy("Last use"), _last_use, sort="used"),
        Column(lazy("Ends"), lambda session: TimeCell(session.expires_at), sort="expires"),
        Column(
            lazy("Action"),
            lambda session: LinkCell(
                lazy("End\N{NO-BREAK SPACE}…"), at(f"{PAGE}/end", id=session.id)
            ),
        ),
    ),
    empty=lazy("No docker login of yours goes on. One begins with docker login and your password."),
    command=("session", "list"),
    template="my_logins.html",
)


@pages.get("/my/logins")
def logins() -> Response:
    """List my logins with docker, and to the console."""
    mine = visit().call("list_my_console_sessions", query={"sort": "-id"}).items
    return replace(LIST, operand=visit().name).answer(
        console_sessions=mine, this_session=visit().session_id, browser=browser
    )


@pages.route("/my/logins/end", methods=["GET", "POST"])
def end_login() -> Response:
    """End a docker login of mine."""
    path = {"id": parsing.number(request.args.get("id", ""))}
    found = visit().call("show_my_session", path)
    session: Session = found.answer
    return _question(
        _("End the docker login on %(registry)s?") % {"registry": session.registry},
        _("From %(address)s, with %(client)s. The client asks for the password again.")
        % {"address": session.created_address, "client": session.created_client or NONE},
        ("session", "revoke", str(session.id)),
        found.tag,
    ).ask("revoke_my_session", path)


@pages.route("/my/logins/end-all", methods=["GET", "POST"])
def end_all_logins() -> Response:
    """End all docker logins of mine."""
    return _question(
        _("End all my docker logins?"),
        _("Each client asks for the password again. App tokens stay good."),
        ("session", "revoke", "--account", visit().name),
    ).ask("revoke_my_sessions")


@pages.route("/my/logins/end-console", methods=["GET", "POST"])
def end_console_login() -> Response:
    """End a login of mine to the console. That of this browser ends by logging out."""
    path = {"id": parsing.number(request.args.get("id", ""))}
    found = visit().call("show_my_console_session", path)
    return _question(
        _("End this login to the console?"),
        _("From %(address)s, with %(client)s. That browser asks for a login again.")
        % {
            "address": found.answer.created_address,
            "client": browser(found.answer.created_client) or NONE,
        },
        ("session", "revoke", str(found.answer.id), "--kind", "console"),
        found.tag,
    ).ask("revoke_my_console_session", path)


@pages.route("/my/logins/end-console-others", methods=["GET", "POST"])
def end_other_console_logins() -> Response:
    """End all logins of mine to the console but this one."""
    return _question(
        _("End all my other logins to the console?"),
        _("Every other browser asks for a login again."),
        (),
    ).ask("revoke_my_console_sessions", body={"keep": visit().session_id})


def _question(title: str, note: str, command: tuple[str, ...], tag: str | None = None) -> Question:
    return Question(
        title=title,
        button=_("End it") if tag else _("End them"),
        back=(PAGE, {}),
        after=(PAGE, {}),
        command=command,
        notes=(note,),
        tag=tag,
    )
