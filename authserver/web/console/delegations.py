"""Delegations: leave for a group's members to write rules within bounds."""

from flask import Blueprint, Response, request
from sqlalchemy import select

from authserver.core.rules import ACTIONS
from authserver.db import rule_rows
from authserver.db.losses import FIRST
from authserver.db.models import RegistryRow, RuleRow
from authserver.web.api import parsing
from authserver.web.api.models import ApiLoss
from authserver.web.console import forms
from authserver.web.console.cells import NONE, LinkCell, TextCell, TimeCell, words
from authserver.web.console.faults import tried
from authserver.web.console.forms import Question
from authserver.web.console.language import gettext as _
from authserver.web.console.language import lazy
from authserver.web.console.layout import at, redirect, render
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("delegations", __name__)

LIST = ListPage(
    page="delegations",
    title=lazy("Delegations"),
    operation="list_delegations",
    columns=(
        Column(lazy("Number"), lambda each: TextCell(str(each.id))),
        Column(
            lazy("Group"), lambda each: LinkCell(each.group, at("groups/show", name=each.group))
        ),
        Column(lazy("Registry"), lambda each: TextCell(each.registry)),
        Column(lazy("Pattern"), lambda each: TextCell(each.pattern, code=True)),
        Column(lazy("Actions"), lambda each: words(each.actions)),
        Column(lazy("Comment"), lambda each: TextCell(each.comment or NONE)),
        Column(lazy("Created"), lambda each: TimeCell(each.created_at)),
        Column(
            lazy("Action"),
            lambda each: (
                LinkCell(lazy("End\N{NO-BREAK SPACE}…"), at("delegations/end", id=each.id))
                if visit().may("end_delegation")
                else TextCell(NONE)
            ),
        ),
    ),
    empty=lazy("There are no delegations. With one, a group's members write rules of their own."),
    command=("acl", "delegations"),
    actions=(("delegations/new", lazy("New delegation"), "add_delegation"),),
    searches=False,
)


@pages.get("/delegations")
def list_delegations() -> Response:
    """List the delegations."""
    # The operation gives a delegate their own; they have them on the pages of their rules.
    visit().require("show_delegation")
    return LIST.answer()


@pages.route("/delegations/new", methods=["GET", "POST"])
def new_delegation() -> Response:
    """Let a group's members write rules within a pattern."""
    visit().require("add_delegation")
    fault, chosen = None, request.form.getlist("actions")
    if request.method == "POST":
        body = {name: forms.text(name) for name in ("group", "registry", "pattern", "comment")}
        made, fault = tried(lambda: visit().call("add_delegation", body=body | {"actions": chosen}))
        if made is not None:
            return redirect("delegations")
    with visit().read() as session:
        services = session.scalars(select(RegistryRow.service).order_by(RegistryRow.service)).all()
    return render(
        "delegation_new.html",
        form=request.form,
        fault=fault,
        registries=[(service, service) for service in services],
        actions=[action for action in ACTIONS["repository"] if action != "*"],
        chosen=chosen,
    )


@pages.route("/delegations/end", methods=["GET", "POST"])
def end_delegation() -> Response:
    """End a delegation, and say which rules are disabled by that."""
    visit().require("end_delegation")
    path = {"id": parsing.number(request.args.get("id", ""))}
    found = visit().call("show_delegation", path)
    delegation = found.answer
    under = select(RuleRow).where(
        RuleRow.delegation_id == path["id"], RuleRow.disabled_at.is_(None)
    )
    with visit().read() as session:
        rules = [
            f"{row.id} ({rule_rows.as_rule(row)})"
            for row in session.scalars(under.order_by(RuleRow.id))
        ]
    goes = [ApiLoss(what="rule", count=len(rules), first=rules[:FIRST])] if rules else []
    return Question(
        title=_("End the delegation to %(group)s?") % {"group": delegation.group},
        button=_("End it"),
        back=("delegations", {}),
        after=("delegations", {}),
        command=("acl", "undelegate", str(delegation.id)),
        notes=[
            _("Its members write no more rules within %(pattern)s on %(registry)s.")
            % {"pattern": delegation.pattern, "registry": delegation.registry},
            _("Rules that they wrote there are disabled, not removed."),
        ],
        goes=goes,
        tag=found.tag,
    ).ask("end_delegation", path)
