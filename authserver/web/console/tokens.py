"""App tokens of all accounts."""

from flask import Blueprint, Response, request

from authserver.db import lookup
from authserver.web.api import parsing
from authserver.web.api.app_tokens import Token
from authserver.web.console import accounts, forms, my_tokens, token_forms
from authserver.web.console.cells import LinkCell, TimeCell
from authserver.web.console.faults import tried
from authserver.web.console.language import gettext as _
from authserver.web.console.language import lazy
from authserver.web.console.layout import at, render
from authserver.web.console.lists import Column, ListFilter, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("tokens", __name__)

OF_ACCOUNT = ListFilter("account", lazy("Account"))

LIST = ListPage(
    page="tokens",
    title=lazy("App tokens"),
    operation="list_tokens",
    columns=(
        Column(lazy("Number"), lambda token: LinkCell(str(token.id), _page(token)), sort="id"),
        Column(lazy("Name"), lambda token: LinkCell(token.name, _page(token))),
        Column(
            lazy("Account"),
            lambda token: LinkCell(token.account, at("tokens", account=token.account)),
            sort="account",
        ),
        Column(lazy("Good for"), lambda token: token_forms.bounds(token.scopes)),
        Column(lazy("From"), my_tokens.networks),
        Column(lazy("Ends"), my_tokens.ends, sort="expires"),
        Column(
            lazy("Last use"),
            lambda token: TimeCell(token.last_used and token.last_used.at, lazy("never")),
            sort="used",
        ),
    ),
    empty=lazy("There are no app tokens. Make one for each program that logs in."),
    command=("token", "list"),
    filters=(OF_ACCOUNT, accounts.UNUSED_SINCE),
    actions=(("tokens/new", lazy("New app token"), "create_token"),),
)


def _page(token: Token) -> str:
    return at("tokens/show", id=token.id)


@pages.get("/tokens")
def tokens() -> Response:
    """List the app tokens."""
    return LIST.answer()


@pages.route("/tokens/new", methods=["GET", "POST"])
def new_token() -> Response:
    """Make an app token for an account: which one, then what it may be used for."""
    visit().require("create_token")
    account = request.args.get("account", "").strip()
    fault = None
    if request.method == "POST":
        body = token_forms.picked()
        fault = token_forms.nothing_chosen(body)
        if fault is None:
            made, fault = tried(
                lambda: visit().call("create_token", body=body | {"account": account})
            )
            if made is not None:
                return token_forms.made(
                    made.answer,
                    back="tokens",
                    command=token_forms.command_words(body),
                    operand=account,
                )
    reach = None
    if account:
        query = {"account": account}
        reach, unknown = tried(lambda: visit().call("effective", query=query))
        fault = fault or unknown
    return render(
        "token_new.html",
        account=account if reach else "",
        asked=account,
        fault=fault,
        form=request.form,
        ticked=request.form.getlist("ceiling"),
        choices=token_forms.choices(reach) if reach else [],
        lifetimes=token_forms.LIFETIMES,
        usual_lifetime=token_forms.USUAL_LIFETIME,
    )


@pages.get("/tokens/show")
def show_token() -> Response:
    """Show an app token."""
    token, _tag = _seen()
    with visit().read() as session:
        kind = lookup.account(session, token.account).kind
    return render(
        "token.html",
        token=token,
        owner=at(f"{kind}s/show", name=token.account),
        bounds=token_forms.bounds(token.scopes),
        networks=my_tokens.networks(token),
        end=my_tokens.ends(token),
    )


@pages.route("/tokens/rotate", methods=["GET", "POST"])
def rotate_token() -> Response:
    """Give an app token a new secret."""
    token, _tag = _seen()
    visit().require("rotate_token", {"id": token.id})
    fault = None
    if request.method == "POST":
        body = {"grace": token_forms.seconds("grace")}
        made, fault = tried(lambda: visit().call("rotate_token", {"id": token.id}, body=body))
        if made is not None:
            line = ["token", "rotate", str(token.id)]
            return token_forms.made(made.answer, back="tokens", command=line)
    return render(
        "token_rotate.html",
        token=token,
        fault=fault,
        graces=token_forms.GRACES,
        page="tokens/show",
    )


@pages.route("/tokens/revoke", methods=["GET", "POST"])
def revoke_token() -> Response:
    """Revoke an app token."""
    token, tag = _seen()
    words = {"name": token.name, "account": token.account}
    return forms.removal(
        "revoke_token",
        {"id": token.id},
        found=lambda: (tag, None),
        what=_("the app token %(name)s of %(account)s") % words,
        back=("tokens/show", {"id": token.id}),
        after="tokens",
        command=("token", "revoke", str(token.id)),
        forces=False,
    )


def _seen() -> tuple[Token, str]:
    """Return the app token of the page, and its tag."""
    path = {"id": parsing.number(request.args.get("id", ""))}
    found = visit().call("show_token", path)
    token: Token = found.answer
    return token, found.tag
