"""My rules: who is granted a name space writes its rules, within the delegations."""

from typing import Any

from flask import Blueprint, Response, request

from authserver.core.errors import Forbidden
from authserver.web.api import parsing
from authserver.web.api.delegations import ApiDelegation
from authserver.web.api.operations import Tagged
from authserver.web.api.rule_changes import LatestRuleChange, RuleEffects
from authserver.web.api.rules import ApiRule
from authserver.web.console import forms, rule_forms
from authserver.web.console.cells import LinkCell, TagsCell, TextCell, TimeCell, words
from authserver.web.console.forms import Question
from authserver.web.console.language import gettext as _
from authserver.web.console.language import lazy
from authserver.web.console.layout import at, redirect, render
from authserver.web.console.lists import Column, ListPage
from authserver.web.console.rule_forms import RuleFormStep
from authserver.web.console.visit import visit

pages = Blueprint("my rules", __name__)


def _state(rule: ApiRule) -> TagsCell:
    return TagsCell([(lazy("enabled"), "good") if rule.enabled else (lazy("disabled"), "warning")])


LIST = ListPage(
    page="my/rules",
    title=lazy("My rules"),
    operation="list_rules",
    columns=(
        Column(
            lazy("Rule"),
            lambda rule: LinkCell(str(rule.id), at("my/rules/show", id=rule.id)),
            sort="id",
        ),
        Column(lazy("State"), _state),
        Column(lazy("Who"), lambda rule: words(rule.subjects)),
        Column(lazy("Repositories"), lambda rule: words(rule.patterns)),
        Column(lazy("Actions"), lambda rule: words(_named(rule.actions))),
        Column(lazy("Registry"), lambda rule: TextCell(rule.registry or "")),
        Column(lazy("Comment"), lambda rule: TextCell(rule.comment)),
        Column(lazy("Changed"), lambda rule: TimeCell(rule.edited_at or rule.created_at)),
    ),
    empty=lazy("You have written no rule. A rule lets somebody pull or push below your names."),
    command=("acl", "list"),
    actions=(("my/rules/new", lazy("New rule"), "add_rule"),),
    template="my_rules.html",
)


def _named(actions: list[str]) -> list[str]:
    return [_("all") if action == "*" else action for action in actions]


def _delegations() -> list[ApiDelegation]:
    """Return the delegations of a delegate.

    Raises:
        Forbidden: the person has no delegation, or reads all: an administrator's rules have pages
            of their own, which may be on another listener.
    """
    if not visit().is_delegate:
        raise Forbidden("only a delegate may do this")
    found: list[ApiDelegation] = visit().call("list_delegations", query={"limit": "500"}).items
    return found


@pages.get("/my/rules")
def rules() -> Response:
    """List the rules that I wrote, below my delegations."""
    return LIST.answer(delegations=_delegations())


@pages.route("/my/rules/new", methods=["GET", "POST"])
def new_rule() -> Response:
    """Write a rule within one of my delegations."""
    step, body = RuleFormStep(), rule_forms.typed()
    held = _delegations()
    if request.method == "POST":
        step = rule_forms.step(body, lambda: visit().call("add_rule", body=body))
        if step.saved is not None:
            return redirect("my/rules/show", id=step.saved.answer.id)
    words_ = ("acl", "allow", "SUBJECTS", "PATTERNS", "ACTIONS", "--registry", held[0].registry)
    return _form(_("New rule"), held, step, words_, request.form)


@pages.get("/my/rules/show")
def show_rule() -> Response:
    """Show a rule that I wrote."""
    rule = _asked().answer
    return render("my_rule.html", rule=rule, state=_state(rule))


@pages.route("/my/rules/edit", methods=["GET", "POST"])
def edit_rule() -> Response:
    """Change a rule that I wrote."""
    found, step = _asked(), RuleFormStep()
    rule, tag, versions = found.answer, found.tag, None
    values: Any = rule_forms.shown(rule)
    if request.method == "POST":
        values, tag = request.form, forms.text("tag")
        body = rule_forms.typed(enabled=rule.enabled)
        step = rule_forms.step(
            body,
            lambda: visit().call("replace_rule", {"id": rule.id}, body=body, tag=tag),
            rule_id=rule.id,
        )
        if step.saved is not None:
            return redirect("my/rules/show", id=rule.id)
        if step.fault is not None and step.fault.is_conflict:
            versions, tag = rule_forms.conflict(body, rule), found.tag
    title = _("Edit rule %(id)s") % {"id": rule.id}
    line = ("acl", "edit", str(rule.id))
    return _form(title, _delegations(), step, line, values, tag=tag, versions=versions)


@pages.route("/my/rules/switch", methods=["GET", "POST"])
def switch_rule() -> Response:
    """Enable or disable a rule that I wrote."""
    found = _asked()
    rule = found.answer
    wanted = {"enabled": not rule.enabled}
    title = _("Disable rule %(id)s?") if rule.enabled else _("Enable rule %(id)s?")
    return _question(
        title % {"id": rule.id},
        _("Disable it") if rule.enabled else _("Enable it"),
        found,
        ("acl", "disable" if rule.enabled else "enable", str(rule.id)),
        visit().call("preview_rule", body={"id": rule.id, **wanted}),
        is_bad=rule.enabled,
    ).ask("change_rule", {"id": rule.id}, body=wanted)


@pages.route("/my/rules/remove", methods=["GET", "POST"])
def remove_rule() -> Response:
    """Remove a rule that I wrote."""
    found = _asked()
    number = found.answer.id
    return _question(
        _("Remove rule %(id)s?") % {"id": number},
        _("Remove it"),
        found,
        ("acl", "remove", str(number)),
        visit().call("preview_rule", body={"id": number, "remove": True}),
        after="my/rules",
    ).ask("remove_rule", {"id": number})


@pages.route("/my/rules/undo", methods=["GET", "POST"])
def undo() -> Response:
    """Undo my latest change of a rule."""
    _delegations()
    latest: LatestRuleChange = visit().call("show_undo")
    # What is undone is what was shown: another change may have come since.
    seen = parsing.number(forms.text("tag")) if request.method == "POST" else latest.id
    return Question(
        title=_("Undo the latest change, of rule %(id)s?") % {"id": latest.rule},
        button=_("Undo it"),
        back=("my/rules", {}),
        after=("my/rules", {}),
        command=("acl", "undo"),
        notes=rule_forms.sentences(latest.undoing),
        tag=str(latest.id),
        is_bad=False,
    ).ask("undo_rule", body={"change": seen})


def _asked() -> Tagged[ApiRule]:
    """Return the rule that the query names, which the person wrote."""
    _delegations()
    path = {"id": parsing.number(request.args.get("id", ""))}
    found: Tagged[ApiRule] = visit().call("show_rule", path)
    return found


def _question(
    title: str,
    button: str,
    found: Tagged[ApiRule],
    command: tuple[str, ...],
    effects: RuleEffects,
    *,
    after: str = "my/rules/show",
    is_bad: bool = True,
) -> Question:
    there: dict[str, object] = {"id": found.answer.id}
    return Question(
        title=title,
        button=button,
        back=("my/rules/show", there),
        after=(after, {} if after == "my/rules" else there),
        command=command,
        notes=rule_forms.sentences(effects),
        tag=found.tag,
        is_bad=is_bad,
    )


def _form(
    title: str,
    held: list[ApiDelegation],
    step: RuleFormStep,
    command_words: tuple[str, ...],
    values: Any,  # noqa: ANN401 - of a rule, or a form
    **more: object,
) -> Response:
    ticked = values.getlist("actions") if hasattr(values, "getlist") else values["actions"]
    more = {"tag": None, "versions": None} | more
    return render(
        "my_rule_form.html",
        fault=step.fault,
        title=title,
        step=step,
        delegations=held,
        registries=sorted({each.registry for each in held}),
        form=values,
        ticked=ticked,
        choices=rule_forms.CHOICES,
        command_words=command_words,
        **more,
    )
