"""Lockouts: addresses and accounts whose passwords are not checked for a while."""

from flask import Blueprint, Response, request

from authserver.db import lockouts
from authserver.web.api import parsing
from authserver.web.api.lockouts import VIEW
from authserver.web.console.cells import LinkCell, TextCell, TimeCell
from authserver.web.console.forms import Question
from authserver.web.console.language import gettext as _
from authserver.web.console.language import lazy
from authserver.web.console.layout import at
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("lockouts", __name__)

LIST = ListPage(
    page="lockouts",
    title=lazy("Lockouts"),
    operation="list_lockouts",
    columns=(
        Column(lazy("Address"), lambda lockout: TextCell(lockout.address, code=True)),
        Column(lazy("Account"), lambda lockout: TextCell(lockout.account or lazy("all"))),
        Column(lazy("Why"), lambda lockout: TextCell(lockout.why)),
        Column(lazy("Since"), lambda lockout: TimeCell(lockout.began_at)),
        Column(lazy("Until"), lambda lockout: TimeCell(lockout.until)),
        Column(
            lazy("Action"),
            lambda lockout: (
                LinkCell(lazy("Lift\N{NO-BREAK SPACE}…"), at("lockouts/lift", id=lockout.id))
                if visit().may("lift_lockout")
                else TextCell("")
            ),
        ),
    ),
    empty=lazy("Nobody is locked out. Too many wrong passwords from an address lock it out."),
    command=("lockout", "list"),
    searches=False,
)


@pages.get("/lockouts")
def list_lockouts() -> Response:
    """List the lockouts."""
    return LIST.answer()


@pages.route("/lockouts/lift", methods=["GET", "POST"])
def lift_lockout() -> Response:
    """Lift a lockout."""
    visit().require("lift_lockout")
    path = {"id": parsing.number(request.args.get("id", ""))}
    with visit().read() as session:
        row = lockouts.get(session, path["id"])
        tag = VIEW.tag_of(row)
    command = ["lockout", "lift", row.address]
    return Question(
        title=_("Lift the lockout of %(address)s?") % {"address": row.address},
        button=_("Lift it"),
        back=("lockouts", {}),
        after=("lockouts", {}),
        command=[*command, "--account", row.account] if row.account else command,
        notes=[
            _(
                "Every server checks passwords from there again within a second, and the wrong "
                "ones are forgotten. Somebody who guesses passwords may go on."
            )
        ],
        tag=tag,
    ).ask("lift_lockout", path)
