"""Invitations: links with which users set a password, and that were not used yet."""

from flask import Blueprint, Response, request

from authserver.web.api.invitations import OpenInvitation
from authserver.web.console.cells import NONE, LinkCell, TextCell, TimeCell
from authserver.web.console.forms import Question
from authserver.web.console.language import gettext as _
from authserver.web.console.language import lazy
from authserver.web.console.layout import at
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("invitations", __name__)


def _end(invitation: OpenInvitation) -> LinkCell | TextCell:
    if not visit().may("end_invitation"):
        return TextCell(NONE)
    return LinkCell(lazy("End\N{NO-BREAK SPACE}…"), at("invitations/end", name=invitation.user))


LIST = ListPage(
    page="invitations",
    title=lazy("Invitations"),
    operation="list_invitations",
    columns=(
        Column(lazy("User"), lambda each: LinkCell(each.user, at("users/show", name=each.user))),
        Column(
            lazy("For"),
            lambda each: TextCell(
                lazy("another password") if each.reset else lazy("a first password")
            ),
        ),
        Column(lazy("Invited"), lambda each: TimeCell(each.created_at)),
        Column(lazy("Good until"), lambda each: TimeCell(each.expires_at)),
        Column(lazy("Action"), _end),
    ),
    empty=lazy("There are no open invitations. The page of a user makes one."),
    command=("user", "invitations"),
    searches=False,
)


@pages.get("/invitations")
def list_invitations() -> Response:
    """List the invitations."""
    return LIST.answer()


@pages.route("/invitations/end", methods=["GET", "POST"])
def end_invitation() -> Response:
    """End an invitation."""
    visit().require("end_invitation")
    name = request.args.get("name", "")
    user = visit().call("show_user", {"name": name}).answer
    return Question(
        title=_("End the invitation of %(name)s?") % {"name": user.name},
        button=_("End it"),
        back=("invitations", {}),
        after=("invitations", {}),
        command=("user", "uninvite", user.name),
        notes=[_("The link is no longer good. Another invitation can be made at any time.")],
    ).ask("end_invitation", body={"user": user.name})
