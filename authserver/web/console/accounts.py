"""Users: who may log in, and what is set of them."""

from collections.abc import Sequence

from flask import Blueprint, Response, request

from authserver.core.commands import operands
from authserver.core.names import is_path_component
from authserver.db import app_tokens, invitations, lookup, losses, rule_rows
from authserver.db.models import AccountRow
from authserver.runtime.settings import public_url
from authserver.web.api.models import ApiLoss
from authserver.web.api.second_factors import ApiSecondFactor
from authserver.web.api.users import User
from authserver.web.console import forms
from authserver.web.console.cells import LinkCell, LinksCell, TagsCell, TimeCell, Tone, words
from authserver.web.console.faults import tried
from authserver.web.console.forms import Question
from authserver.web.console.language import Label, lazy
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import at, is_page, redirect, render
from authserver.web.console.lists import Column, ListFilter, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("users", __name__)

UNUSED_SINCE = ListFilter("unused_since", lazy("Not used since"), is_date=True)


def _marks(user: User) -> TagsCell:
    marks: list[tuple[Label, Tone]] = []
    if user.admin:
        marks.append((lazy("administrator"), ""))
    if user.auditor:
        marks.append((lazy("auditor"), ""))
    if user.disabled:
        marks.append((lazy("disabled"), "bad"))
    if not user.password:
        marks.append((lazy("no password"), "warning"))
    if user.app_tokens_only:
        marks.append((lazy("app tokens only"), ""))
    if user.second_factor:
        marks.append((lazy("second factor"), "good"))
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
        Column(lazy("Last used"), lambda user: TimeCell(user.last_used_at, lazy("never")), "used"),
    ),
    empty=lazy("There are no users. Make the first one, or invite somebody."),
    command=("user", "list"),
    filters=(UNUSED_SINCE,),
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
        body = {each: forms.checked(each) for each in ("admin", "auditor", "app_tokens_only")}
        _made, fault = tried(lambda: visit().call("put_user", {"name": name}, body=body, new=True))
        if fault is None:
            return _invited(name) if forms.checked("invite") else redirect("users/show", name=name)
    return render("user_new.html", fault=fault, form=request.form)


@pages.get("/users/show")
def show_user() -> Response:
    """Show a user."""
    user, _tag = _seen()
    with visit().read() as session:
        row = lookup.account(session, user.name)
        until = invitations.open_until(session, visit().now).get(row.id)
    return render(
        "user.html",
        user=user,
        marks=_marks(user),
        groups=in_groups(user.groups),
        invited_until=until,
        factors=_factors(user),
        more=more_of(user.name, "user"),
    )


@pages.route("/users/edit", methods=["GET", "POST"])
def edit_user() -> Response:
    """Change a user's role, or what they log in with."""
    user, tag = _seen()
    visit().require("change_user", {"name": user.name})
    titles = {
        "admin": _("Administrator"),
        "auditor": _("Auditor"),
        "app_tokens_only": _("App tokens only"),
    }
    was = {each: getattr(user, each) for each in titles}
    wanted, fault = was, None
    if request.method == "POST":
        wanted = {each: forms.checked(each) for each in wanted}
        chosen = forms.optional("admin_tokens")
        query = {"admin_tokens": chosen} if chosen else {}
        _done, fault = tried(
            lambda: visit().call(
                "change_user", {"name": user.name}, body=wanted, query=query, tag=forms.text("tag")
            )
        )
        if fault is None:
            return redirect("users/show", name=user.name)
    conflict = [
        (title, forms.yes_or_no(wanted[each]), forms.yes_or_no(was[each]))
        for each, title in titles.items()
    ]
    with visit().read() as session:
        row = lookup.account(session, user.name)
        tokens = app_tokens.beyond_role(session, row, visit().now)
    return render(
        "user_edit.html",
        user=user,
        tag=tag,
        wanted=wanted,
        form=request.form,
        tokens=tokens,
        fault=fault,
        conflict=conflict if fault and fault.is_conflict else None,
    )


@pages.route("/users/invite", methods=["GET", "POST"])
def invite_user() -> Response:
    """Make a link with which a user sets a password."""
    user, _tag = _seen()
    visit().require("invite_user", body={"user": user.name})
    fault = None
    if request.method == "POST":
        reset = forms.optional("reset") if user.password else None
        answer, fault = tried(lambda: _invited(user.name, reset))
        if answer is not None:
            return answer
    return render("invite.html", user=user, form=request.form, fault=fault)


def _invited(name: str, reset: str | None = None) -> Response:
    """Invite a user, and show the link: no later page has it."""
    made = visit().call("invite_user", body={"user": name, "reset": reset})
    doubts = public_url.doubts("the link", visit().console.parts.settings.public_url)
    return render("invited.html", user=made.user, link=made.link, doubts=doubts)


@pages.route("/users/disable", methods=["GET", "POST"])
def disable_user() -> Response:
    """Disable a user."""
    user, tag = _seen()
    return switching("user", user.name, tag, disabled=True)


@pages.route("/users/enable", methods=["GET", "POST"])
def enable_user() -> Response:
    """Enable a user again."""
    user, tag = _seen()
    return switching("user", user.name, tag, disabled=False)


@pages.route("/users/second-factors/reset", methods=["GET", "POST"])
def reset_second_factors() -> Response:
    """Remove the second factors of a user, who lost the phone."""
    visit().require("reset_second_factors")
    user, tag = _seen()
    with visit().read() as session:
        row = lookup.account(session, user.name)
        going = [*losses.logins_of(session, [row]), *losses.console_logins_of(session, [row])]
    names = [factor.name for factor in _factors(user)]
    factors = [ApiLoss(what="second factor", count=len(names), first=names)] if names else []
    shown = ("users/show", {"name": user.name})
    return Question(
        title=_("Remove the second factors of %(name)s?") % {"name": user.name},
        button=_("Remove"),
        back=shown,
        after=shown,
        command=("user", "second-factor", "reset", user.name),
        notes=[
            _(
                "For somebody who lost the phone: make sure who asks. Recovery codes go too. From "
                "then on the password is enough, unless another factor is demanded."
            )
        ],
        goes=[*factors, *forms.shown(going)],
        tag=tag,
    ).ask("reset_second_factors", {"name": user.name})


def _factors(user: User) -> Sequence[ApiSecondFactor]:
    """Return the second factors of a user, none of them with a secret."""
    found: Sequence[ApiSecondFactor] = (
        visit().call("list_second_factors", {"name": user.name}).items
    )
    return found


@pages.route("/users/rename", methods=["GET", "POST"])
def rename_user() -> Response:
    """Give a user another name."""
    user, _tag = _seen()
    return renaming("user", user.name)


@pages.route("/users/remove", methods=["GET", "POST"])
def remove_user() -> Response:
    """Remove a user."""
    user, tag = _seen()

    def found() -> tuple[str, AccountRow]:
        with visit().read() as session:
            return tag, lookup.account(session, user.name)

    return forms.removal(
        "remove_user",
        {"name": user.name},
        found=found,
        what=_("the user %(name)s") % {"name": user.name},
        back=("users/show", {"name": user.name}),
        after="users",
        command=("user", "remove", *operands(user.name)),
    )


def _seen() -> tuple[User, str]:
    """Return the user of the page, and its tag."""
    found = visit().call("show_user", {"name": request.args.get("name", "")})
    user: User = found.answer
    return user, found.tag


def in_groups(groups: Sequence[str]) -> LinksCell:
    """Return the groups of an account, each with its page."""
    return LinksCell([(name, at("groups/show", name=name)) for name in groups])


def more_of(name: str, kind: str) -> list[tuple[str, str]]:
    """Return the pages with more of an account."""
    more = (
        (_("App tokens"), "tokens", {"account": name}),
        (_("Docker logins"), "sessions", {"account": name}),
        (_("Console sessions"), "sessions/console", {"account": name}),
        (_("Rules on this account"), "rules", {"subject": f"{kind}:{name}"}),
        (_("What it may do"), "ask/effective", {"account": name}),
    )
    links = [(title, at(page, **query)) for title, page, query in more if is_page(page)]
    if visit().may("create_token"):
        links.append((_("New app token"), at("tokens/new", account=name)))
    return links


def switching(kind: str, name: str, tag: str, *, disabled: bool) -> Response:
    """Ask whether to disable or enable an account, and do it."""
    going: list[losses.Loss] = []
    if disabled:
        with visit().read() as session:
            row = lookup.account(session, name)
            kinds = (losses.logins_of, losses.console_logins_of, losses.invitations_of)
            going = [loss for of in kinds for loss in of(session, [row])]
        title = _("Disable %(name)s?") % {"name": name}
        note = _("No credential of it is good any more, until it is enabled again.")
    else:
        title = _("Enable %(name)s?") % {"name": name}
        note = _("Its password and its app tokens are good again. Its logins are not.")
    verb = "disable" if disabled else "enable"
    shown = (f"{kind}s/show", {"name": name})
    return Question(
        title=title,
        button=_("Disable") if disabled else _("Enable"),
        back=shown,
        after=shown,
        command=(kind, verb, *operands(name)),
        notes=[note],
        goes=forms.shown(going),
        tag=tag,
        is_bad=disabled,
    ).ask(f"change_{kind}", {"name": name}, body={"disabled": disabled})


def renaming(kind: str, name: str) -> Response:
    """Ask for another name of an account, and give it that."""
    notes = [
        _(
            "Rules, groups, tokens and sessions stay. With a password or an app token, clients "
            "send the new name from then on. The former name is free."
        )
    ]
    with visit().read() as session:
        by_name = rule_rows.any_by_name(session)
    if by_name and is_path_component(name):
        notes.append(
            _(
                "{account} in patterns stands for the new name then. Repositories under "
                "%(name)s/ stay where they are, and a later account %(name)s may reach them."
            )
            % {"name": name}
        )
    return forms.renaming(
        f"rename_{kind}",
        kind,
        name,
        title=_("Rename %(name)s") % {"name": name},
        page=f"{kind}s/show",
        notes=notes,
    )
