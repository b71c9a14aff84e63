"""Groups: named sets of accounts, for rules that hold for several."""

from flask import Blueprint, Response, request

from authserver.core.commands import operands
from authserver.db import lookup
from authserver.db.models import GroupRow
from authserver.web.api.groups import ApiGroup
from authserver.web.console import forms
from authserver.web.console.cells import LinkCell, TextCell, TimeCell
from authserver.web.console.faults import FormFault, tried
from authserver.web.console.language import gettext as _
from authserver.web.console.language import lazy
from authserver.web.console.layout import at, is_page, redirect, render
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("groups", __name__)

FIRST = 5
"""So many members stand in the list of groups."""


def _members(group: ApiGroup) -> TextCell:
    names = [member.partition(":")[2] for member in group.members[:FIRST]]
    return TextCell(", ".join(names) + (" …" if len(group.members) > FIRST else ""))


LIST = ListPage(
    page="groups",
    title=lazy("Groups"),
    operation="list_groups",
    columns=(
        Column(
            lazy("Name"),
            lambda group: LinkCell(group.name, at("groups/show", name=group.name)),
            sort="name",
        ),
        Column(lazy("Size"), lambda group: TextCell(f"{len(group.members):,}"), sort="size"),
        Column(lazy("Members"), _members),
        Column(lazy("Created"), lambda group: TimeCell(group.created_at), sort="created"),
    ),
    empty=lazy("There are no groups. Make one for accounts that may do the same."),
    command=("group", "list"),
    actions=(("groups/new", lazy("New group"), "put_group"),),
)


@pages.get("/groups")
def groups() -> Response:
    """List the groups."""
    return LIST.answer()


@pages.route("/groups/new", methods=["GET", "POST"])
def new_group() -> Response:
    """Make a group, with its first members."""
    visit().require("put_group")
    fault = None
    if request.method == "POST":
        name = forms.text("name")
        _made, fault = tried(
            lambda: visit().call(
                "put_group", {"name": name}, body={"members": _named("members")}, new=True
            )
        )
        if fault is None:
            return redirect("groups/show", name=name)
    return render("group_new.html", fault=fault, form=request.form)


@pages.route("/groups/show", methods=["GET", "POST"])
def show_group() -> Response:
    """Show a group; put accounts into it, and take one out."""
    group, _tag = _seen()
    fault = None
    if request.method == "POST":
        visit().require("change_members")
        _done, fault = tried(lambda: _change(group.name))
        if fault is None:
            return redirect("groups/show", name=group.name)
    return _page(group, fault)


def _change(name: str) -> None:
    body = {"add": _named("add"), "remove": request.form.getlist("remove")}
    query = {"force": "true"} if forms.checked("force") else {}
    visit().call("change_members", {"name": name}, body=body, query=query)


def _page(group: ApiGroup, fault: FormFault | None) -> Response:
    members = []
    for member in group.members:
        kind, _colon, account = member.partition(":")
        members.append((member, kind, account, at(f"{kind}s/show", name=account)))
    subject = {"subject": f"group:{group.name}"}
    more = [(_("Rules on this group"), at("rules", **subject))] if is_page("rules") else []
    leaving = request.form.getlist("remove")
    return render(
        "group.html",
        group=group,
        members=members,
        more=more,
        leaving=leaving[0] if fault and leaving else "",
        adding="" if fault is None else forms.text("add"),
        fault=fault,
    )


def _named(field: str) -> list[str]:
    """Return the accounts that a field names; the kind may be left out.

    Raises:
        NotFound: there is no account of such a name.
    """
    named = forms.lines(field)
    with visit().read() as session:
        rows = {text: lookup.account(session, text) for text in named if ":" not in text}
        return [f"{rows[text].kind}:{rows[text].name}" if text in rows else text for text in named]


@pages.route("/groups/rename", methods=["GET", "POST"])
def rename_group() -> Response:
    """Give a group another name."""
    group, _tag = _seen()
    return forms.renaming(
        "rename_group",
        "group",
        group.name,
        title=_("Rename %(name)s") % {"name": group.name},
        page="groups/show",
        notes=[_("Rules, members and delegations stay with the group.")],
    )


@pages.route("/groups/remove", methods=["GET", "POST"])
def remove_group() -> Response:
    """Remove a group."""
    group, tag = _seen()

    def found() -> tuple[str, GroupRow]:
        with visit().read() as session:
            return tag, lookup.group(session, group.name)

    return forms.removal(
        "remove_group",
        {"name": group.name},
        found=found,
        what=_("the group %(name)s") % {"name": group.name},
        back=("groups/show", {"name": group.name}),
        after="groups",
        command=("group", "remove", *operands(group.name)),
    )


def _seen() -> tuple[ApiGroup, str]:
    """Return the group of the page, and its tag."""
    found = visit().call("show_group", {"name": request.args.get("name", "")})
    group: ApiGroup = found.answer
    return group, found.tag
