"""Rules: who may do what, with a preview of who gains and who loses by each change.

The same pages serve administrators and, below ``my/``, delegates, who see only their own rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, Response, request

from authserver.core.errors import Forbidden
from authserver.web.api import parsing
from authserver.web.api.delegations import ApiDelegation
from authserver.web.api.models import MAX_PAGE
from authserver.web.api.rule_changes import RuleEffects
from authserver.web.api.rules import ApiRule
from authserver.web.console import forms, rule_fields
from authserver.web.console.cells import NONE, LinkCell, TagsCell, TextCell, Tone, words
from authserver.web.console.faults import FormFault, tried
from authserver.web.console.forms import Question
from authserver.web.console.language import Label, lazy
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import at, is_page, redirect, render
from authserver.web.console.lists import Column, ListFilter, ListPage
from authserver.web.console.visit import visit

EFFECTS: Mapping[str, tuple[Label, Tone]] = {
    "allow": (lazy("allow"), "good"),
    "deny": (lazy("deny"), "bad"),
}

FILTERS = (
    ListFilter("subject", lazy("On the subject"), placeholder="group:dev"),
    ListFilter("pattern", lazy("With the pattern"), placeholder="team/**"),
    ListFilter("covers", lazy("That covers"), placeholder="team/app"),
)


def marks(rule: ApiRule) -> TagsCell:
    """Return what is to be known of a rule at a glance."""
    found = [EFFECTS[rule.effect]]
    if not rule.enabled:
        found.append((lazy("disabled"), "warning"))
    if rule.delegation is not None:
        found.append((_("delegation %(id)s") % {"id": rule.delegation}, ""))
    found += [(warning.code, "bad") for warning in rule.warnings]
    return TagsCell(found)


@dataclass(frozen=True)
class RulePages:
    """The pages of rules below ``root``: of those who read all rules, or of delegates.

    An administrator is no delegate. An administrator's rules may be on another listener.
    """

    root: str
    title: Label
    empty: Label
    of_delegates: bool = False
    template: str = "list.html"

    def blueprint(self) -> Blueprint:
        pages = Blueprint(self.root.replace("/", " "), __name__)
        pages.add_url_rule(f"/{self.root}", "all", self.all, methods=["GET"])
        pages.add_url_rule(f"/{self.root}/show", "show", self.show, methods=["GET"])
        for step in (self.new, self.edit, self.enable, self.disable, self.remove, self.undo):
            name = step.__name__
            pages.add_url_rule(f"/{self.root}/{name}", name, step, methods=["GET", "POST"])
        return pages

    def all(self) -> Response:
        """List the rules."""
        self._enter("list_rules")
        return self._list().answer(delegations=self._delegations())

    def _enter(self, operation: str) -> None:
        """Raise Forbidden unless these pages are for the person, who may ask the operation."""
        visit().require(operation)
        if not (visit().is_delegate if self.of_delegates else visit().reads_all):
            raise Forbidden(
                "only a delegate may do this"
                if self.of_delegates
                else "only an administrator or auditor may do this"
            )

    def _write(self, operation: str) -> None:
        """Raise Forbidden unless the person writes rules on these pages."""
        self._enter(operation)
        if not rule_fields.may_write():
            raise Forbidden("only administrators and delegates write rules")

    def _delegations(self) -> Sequence[ApiDelegation]:
        if not self.of_delegates:
            return ()
        held: Sequence[ApiDelegation] = (
            visit().call("list_delegations", query={"limit": str(MAX_PAGE)}).items
        )
        return held

    def _list(self) -> ListPage:
        new = (f"{self.root}/new", lazy("New rule"), "add_rule")
        undo = (f"{self.root}/undo", lazy("Undo the last change …"), "undo_rule")
        return ListPage(
            page=self.root,
            title=self.title,
            operation="list_rules",
            columns=(
                Column(lazy("Rule"), lambda rule: LinkCell(str(rule.id), self._at(rule)), "id"),
                Column(lazy("Effect"), marks),
                Column(lazy("Subjects"), lambda rule: words(rule.subjects)),
                Column(lazy("Patterns"), lambda rule: words(rule.patterns)),
                Column(lazy("Actions"), lambda rule: TextCell(", ".join(rule.actions))),
                Column(lazy("Registry"), lambda rule: TextCell(rule.registry or lazy("every"))),
                Column(
                    lazy("Conditions"),
                    lambda rule: TextCell(rule_fields.conditions_of(rule) or NONE),
                ),
                Column(lazy("Comment"), lambda rule: TextCell(rule.comment or NONE)),
            ),
            empty=self.empty,
            command=("acl", "list"),
            filters=FILTERS,
            actions=(new, undo) if rule_fields.may_write() else (),
            template=self.template,
        )

    def _at(self, rule: ApiRule) -> str:
        return at(f"{self.root}/show", id=rule.id)

    def show(self) -> Response:
        """Show a rule."""
        self._enter("show_rule")
        rule, _tag = _seen()
        return render(
            "rule.html",
            rule=rule,
            root=self.root,
            marks=marks(rule),
            subjects=[(each, _page_of(each)) for each in rule.subjects],
            conditions=rule_fields.conditions_of(rule),
            may_write=rule_fields.may_write(),
        )

    def new(self) -> Response:
        """Write a rule."""
        self._write("add_rule")
        values = dict(rule_fields.NEW)
        return self._form("add_rule", values, None, None)

    def edit(self) -> Response:
        """Change what a rule says."""
        self._write("replace_rule")
        rule, tag = _seen()
        return self._form("replace_rule", rule_fields.filled(rule), rule, tag)

    def _form(
        self, operation: str, values: dict[str, Any], rule: ApiRule | None, tag: str | None
    ) -> Response:
        """Show the form of a rule, what the filled in one would do, or save it after that."""
        fault: FormFault | None = None
        preview, digest = None, ""
        said = rule_fields.terms(values, rule)
        path = {} if rule is None else {"id": rule.id}
        if request.method == "POST":
            values = rule_fields.typed()
            said = rule_fields.terms(values, rule)
            preview, fault = tried(lambda: _previewed({**path, "terms": said}))
            digest = rule_fields.digest(values)
            is_seen = forms.text("previewed") == digest
            if preview is not None and is_seen and forms.text("do") == "save":
                seen = forms.optional("tag")
                saved, fault = tried(lambda: visit().call(operation, path, body=said, tag=seen))
                if saved is not None:
                    return redirect(f"{self.root}/show", id=saved.answer.id)
        is_conflict = request.method == "POST" and forms.optional("tag") != tag
        return render(
            "rule_form.html",
            root=self.root,
            rule=rule,
            tag=tag,
            form=values,
            actions=rule_fields.ACTIONS,
            condition_fields=rule_fields.condition_fields(),
            registries=rule_fields.registries(),
            delegations=self._delegations(),
            preview=preview,
            previewed=digest if preview is not None else "",
            fault=fault,
            conflict=rule_fields.both(values, rule) if rule and is_conflict else None,
            command_words=rule_fields.command_words(said, rule),
        )

    def enable(self) -> Response:
        """Enable a rule."""
        return self._switch(enabled=True)

    def disable(self) -> Response:
        """Disable a rule."""
        return self._switch(enabled=False)

    def _switch(self, *, enabled: bool) -> Response:
        self._write("change_rule")
        rule, tag = _seen()
        title = _("Enable rule %(id)s?") if enabled else _("Disable rule %(id)s?")
        return replace(
            self._question(rule, tag, "enable" if enabled else "disable"),
            title=title % {"id": rule.id},
            button=_("Enable") if enabled else _("Disable"),
            preview=_previewed({"id": rule.id, "enabled": enabled}),
            is_bad=not enabled,
        ).ask("change_rule", {"id": rule.id}, body={"enabled": enabled})

    def remove(self) -> Response:
        """Remove a rule."""
        self._write("remove_rule")
        rule, tag = _seen()
        return replace(
            self._question(rule, tag, "remove"),
            title=_("Remove rule %(id)s?") % {"id": rule.id},
            button=_("Remove"),
            after=(self.root, {}),
            preview=_previewed({"id": rule.id, "remove": True}),
        ).ask("remove_rule", {"id": rule.id})

    def _question(self, rule: ApiRule, tag: str, verb: str) -> Question:
        shown = (f"{self.root}/show", {"id": rule.id})
        command = ("acl", verb, str(rule.id))
        return Question("", "", back=shown, after=shown, command=command, tag=tag)

    def undo(self) -> Response:
        """Undo the latest change of rules, if it is still the one that was shown."""
        self._write("undo_rule")
        fault: FormFault | None = None
        if request.method == "POST":
            wanted = parsing.number(forms.text("change"))
            done, fault = tried(lambda: visit().call("undo_rule", body={"change": wanted}))
            if done is not None:
                gone = done.undoing.do == "remove"
                return redirect(self.root) if gone else redirect(f"{self.root}/show", id=done.rule)
        latest, missing = tried(lambda: visit().call("show_undo"))
        return render("rule_undo.html", root=self.root, latest=latest, fault=fault or missing)


def _seen() -> tuple[ApiRule, str]:
    """Return the rule of the page, and its tag."""
    found = visit().call("show_rule", {"id": parsing.number(request.args.get("id", ""))})
    return found.answer, found.tag


def _previewed(change: Mapping[str, Any]) -> RuleEffects:
    effects: RuleEffects = visit().call("preview_rule", body=change)
    return effects


def _page_of(subject: str) -> str | None:
    """Return the path of the page of a subject that has one, for those who may see it."""
    kind, _colon, name = subject.partition(":")
    page = f"{kind}s/show"
    return at(page, name=name) if visit().reads_all and name and is_page(page) else None


pages = RulePages(
    "rules",
    lazy("Rules"),
    lazy("There are no rules, so nobody may do anything. Write the first one."),
).blueprint()

my_pages = RulePages(
    "my/rules",
    lazy("My rules"),
    lazy("You have written no rule. A rule lets somebody pull or push below your names."),
    of_delegates=True,
    template="my_rules.html",
).blueprint()
