"""The account of the person who is logged in: who they are, and their password."""

from functools import partial

from flask import Blueprint, Response, g, request

from authserver.auth.passwords import NewPasswords
from authserver.core.errors import AuthserverError, Forbidden, Refused, Unauthorized
from authserver.web.console import login, token_forms
from authserver.web.console.cells import words
from authserver.web.console.faults import FormFault
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import redirect, render
from authserver.web.console.visit import visit
from authserver.web.errors import say_when_to_retry

pages = Blueprint("me", __name__)


@pages.get("/")
def first() -> Response:
    """Lead to the first page that the person may see."""
    current = visit()
    administers = current.console.listener.administers and current.may("show_overview")
    return redirect("overview" if administers else "me")


@pages.get("/me")
def account() -> Response:
    """Show who I am, and how I log in to the registry."""
    me = visit().call("show_me")
    return render(
        "me.html",
        me=me,
        groups=words(me.groups),
        docker_login=token_forms.log_in(visit().name),
        is_new_password=request.args.get("changed") == "password",
    )


@pages.route("/me/password", methods=["GET", "POST"])
def password() -> Response:
    """Change my password. Every other login ends; this session goes on under another secret."""
    visit().require("change_password")
    minimum = visit().console.parts.settings.password_min_length
    if request.method == "GET":
        return render("me_password.html", minimum=minimum)
    try:
        secret = _change_password()
    except Unauthorized:
        raise
    except AuthserverError as error:
        response = render("me_password.html", minimum=minimum, fault=_fault(error))
        say_when_to_retry(response, error)
        return response
    return login.with_cookie(redirect("me", changed="password"), secret)


class _NotTheSame(Refused):
    """The new password is not there twice."""


def _change_password() -> str:
    """Change the password; return what the session's cookie holds from now on."""
    new, again = request.form.get("new", ""), request.form.get("again", "")
    if new != again:
        raise _NotTheSame("the two passwords are not the same")
    logins: login.Logins = g.logins
    secret = login.new_secret()
    parts, current = visit().console.parts, request.form.get("current", "")
    parts.callers.change_password(
        visit().name,
        current,
        new,
        visit().origin,
        NewPasswords.of(parts.settings),
        partial(logins.going_on, secret),
        # The session is open only since a second factor was proved, if one is due.
        first_of_two=True,
    )
    return secret


def _fault(error: AuthserverError) -> FormFault:
    """Return what is wrong, beside the field that it is about."""
    fault = FormFault.of(error)
    fields = {Forbidden: "current", _NotTheSame: "again", Refused: "new"}
    field = fields.get(type(error))
    if field is None:
        return fault
    texts = {
        "current": _("The current password is another."),
        "again": _("The two passwords are not the same."),
    }
    text = texts.get(field, fault.text)
    return FormFault(fault.status, _("Look at the marked fields."), {field: text})
