"""The pages of the person who is logged in: who they are, and what is theirs."""

from flask import Blueprint, Response

from authserver.web.console.layout import redirect, render
from authserver.web.console.visit import visit

pages = Blueprint("me", __name__)


@pages.get("/")
def first() -> Response:
    """Lead to the first page that the person may see."""
    current = visit()
    return redirect("users" if current.reads_all and current.console.listener.administers else "me")


@pages.get("/me")
def account() -> Response:
    """Show who I am."""
    return render("me.html", me=visit().call("show_me"))
