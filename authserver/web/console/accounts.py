"""Users: who may log in, and what is set of them."""

from flask import Blueprint, Response, request

from authserver.db import lookup
from authserver.db.models import AccountRow
from authserver.web.api.users import User
from authserver.web.console import forms
from authserver.web.console.cells import LinkCell, TagsCell, TimeCell, Tone, words
from authserver.web.console.faults import tried
from authserver.web.console.language import Label, lazy
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import at, redirect, render
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("users", __name__)


def _marks(user: User) -> TagsCell:
    marks: list[tuple[Label, Tone]] = []
    if user.admin:
        marks.append((lazy("administrator"), ""))
    if user.disabled:
        marks.append((lazy("disabled"), "bad"))
    if not user.password:
        marks.append((lazy("no password"), "warning"))
    if user.app_tokens_only:
        marks.append((lazy("app tokens only"), ""))
    return TagsCell(marks)


LIST = ListPage(
    page="users",
    title=lazy("Users"),
    operation="list_users",
    columns=(
        Column(
            lazy("Name"),
            lambda user: LinkCell(user.name, at("users/show", name=user.name)),
            sort="name",
        ),
        Column(lazy("State"), _marks),
        Column(lazy("Groups"), lambda user: words(user.groups)),
        Column(lazy("Created"), lambda user: TimeCell(user.created_at), sort="created"),
        Column(
            lazy("Last login"), lambda user: TimeCell(user.last_login_at, lazy("never")), "login"
        ),
    ),
    empty=lazy("There are no users. Make the first one, or invite somebody."),
    command=("user", "list"),
    actions=(("users/new", lazy("New user"), "put_user"),),
)


@pages.get("/users")
def users() -> Response:
    """List the users."""
    return LIST.answer()


@pages.route("/users/new", methods=["GET", "POST"])
def new_user() -> Response:
    """Make a user, who sets a password by an invitation."""
    visit().require("put_user")
    fault = None
    if request.method == "POST":
        name = forms.text("name")
        body = {"admin": forms.checked("admin")}
        if body["admin"]:
            visit().require_fresh()
        _made, fault = tried(lambda: visit().call("put_user", {"name": name}, body=body))
        if fault is None:
            return redirect("users/show", name=name)
    return render("user_new.html", fault=fault, form=request.form)


@pages.get("/users/show")
def show_user() -> Response:
    """Show a user."""
    name = request.args.get("name", "")
    found = visit().call("show_user", {"name": name})
    return render("user.html", user=found.answer, tag=found.tag, marks=_marks(found.answer))


@pages.route("/users/remove", methods=["GET", "POST"])
def remove_user() -> Response:
    """Remove a user."""
    name = request.args.get("name", "")

    def found() -> tuple[str, AccountRow]:
        tag = visit().call("show_user", {"name": name}).tag
        with visit().read() as session:
            return tag, lookup.account(session, name)

    return forms.removal(
        "remove_user",
        {"name": name},
        found=found,
        what=_("the user %(name)s") % {"name": name},
        back=("users/show", {"name": name}),
        after="users",
        command=("user", "remove", name),
    )
