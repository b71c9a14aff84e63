"""My app tokens: secrets for programs, in place of my password."""

from dataclasses import replace

from flask import Blueprint, Response, request

from authserver.web.api import parsing
from authserver.web.api.app_tokens import Token
from authserver.web.console import forms, token_forms
from authserver.web.console.cells import Cell, LinkCell, TagsCell, TextCell, TimeCell, words
from authserver.web.console.faults import tried
from authserver.web.console.language import gettext as _
from authserver.web.console.language import lazy
from authserver.web.console.layout import at, render
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("my tokens", __name__)


def ends(token: Token) -> Cell:
    """Return when a token ends, or that it has."""
    if token.expired:
        return TagsCell([(lazy("expired"), "bad")])
    return TimeCell(token.expires_at, lazy("never"))


def networks(token: Token) -> Cell:
    """Return from where a token may be used."""
    return words(token.networks) if token.networks else TextCell(lazy("anywhere"))


LIST = ListPage(
    page="my/tokens",
    title=lazy("My app tokens"),
    operation="list_my_tokens",
    columns=(
        Column(lazy("Name"), lambda token: LinkCell(token.name, _page("show", token))),
        Column(lazy("Good for"), lambda token: token_forms.bounds(token.scopes)),
        Column(lazy("From"), networks),
        Column(lazy("Made"), lambda token: TimeCell(token.created_at), sort="created"),
        Column(lazy("Ends"), ends, sort="expires"),
        Column(
            lazy("Last use"),
            lambda token: TimeCell(token.last_used and token.last_used.at, lazy("never")),
            sort="used",
        ),
    ),
    empty=lazy("You have no app tokens. Make one for each program that logs in for you."),
    command=("token", "list"),
    actions=(("my/tokens/new", lazy("New app token"), "create_my_token"),),
)


def _page(step: str, token: Token) -> str:
    return at(f"my/tokens/{step}", id=token.id)


@pages.get("/my/tokens")
def tokens() -> Response:
    """List my app tokens."""
    return replace(LIST, operand=visit().name).answer()


@pages.route("/my/tokens/new", methods=["GET", "POST"])
def new_token() -> Response:
    """Make an app token. Its ceiling is picked from what I may do."""
    visit().require("create_my_token")
    fault = None
    if request.method == "POST":
        body = token_forms.picked()
        fault = token_forms.nothing_chosen(body)
        if fault is None:
            made, fault = tried(lambda: visit().call("create_my_token", body=body))
            if made is not None:
                return token_forms.made(
                    made.answer,
                    back="my/tokens",
                    command=token_forms.command_words(body),
                    operand=visit().name,
                )
    reach = visit().call("show_my_effective")
    return render(
        "my_token_new.html",
        fault=fault,
        form=request.form,
        ticked=request.form.getlist("ceiling"),
        choices=token_forms.choices(reach),
        lifetimes=token_forms.LIFETIMES,
        usual_lifetime=token_forms.USUAL_LIFETIME,
        may_administer=visit().call("show_me").administers,
    )


@pages.get("/my/tokens/show")
def show_token() -> Response:
    """Show an app token of mine."""
    token = _asked()
    return render(
        "my_token.html",
        token=token,
        bounds=token_forms.bounds(token.scopes),
        networks=networks(token),
        end=ends(token),
    )


@pages.route("/my/tokens/rotate", methods=["GET", "POST"])
def rotate_token() -> Response:
    """Give an app token of mine a new secret."""
    token, fault = _asked(), None
    visit().require("rotate_my_token", {"id": token.id})
    if request.method == "POST":
        body = {"grace": token_forms.seconds("grace")}
        made, fault = tried(lambda: visit().call("rotate_my_token", {"id": token.id}, body=body))
        if made is not None:
            line = ["token", "rotate", str(token.id)]
            return token_forms.made(made.answer, back="my/tokens", command=line)
    return render(
        "token_rotate.html",
        token=token,
        fault=fault,
        graces=token_forms.GRACES,
        page="my/tokens/show",
    )


@pages.route("/my/tokens/revoke", methods=["GET", "POST"])
def revoke_token() -> Response:
    """Revoke an app token of mine."""
    path = {"id": parsing.number(request.args.get("id", ""))}
    found = visit().call("show_my_token", path)
    return forms.removal(
        "revoke_my_token",
        path,
        found=lambda: (found.tag, None),
        what=_("the app token %(name)s") % {"name": found.answer.name},
        back=("my/tokens/show", path),
        after="my/tokens",
        command=("token", "revoke", str(found.answer.id)),
        forces=False,
    )


def _asked() -> Token:
    """Return the app token that the query names."""
    path = {"id": parsing.number(request.args.get("id", ""))}
    token: Token = visit().call("show_my_token", path).answer
    return token
