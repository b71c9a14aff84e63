"""Audit: the records of changes and of token requests, one of them, and their verification."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request

from authserver.audit import KINDS, OUTCOMES
from authserver.web.api import parsing
from authserver.web.api.audit import VERIFIES_FOR, ApiChangeRecord, ApiTokenRecord
from authserver.web.console.cells import NONE, LinkCell, TagsCell, TextCell, TimeCell, Tone
from authserver.web.console.faults import tried
from authserver.web.console.language import Label, lazy
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import at, is_page, render
from authserver.web.console.lists import Column, ListFilter, ListPage
from authserver.web.console.visit import visit

pages = Blueprint("audit", __name__)

KIND_TEXTS: Mapping[str, Label] = {
    "change": lazy("changes"),
    "token": lazy("token requests"),
}
OUTCOME_TEXTS: Mapping[str, tuple[Label, Tone]] = {
    "granted": (lazy("granted"), "good"),
    "partial": (lazy("granted in part"), "warning"),
    "denied": (lazy("denied"), "warning"),
    "refused": (lazy("refused"), "bad"),
}
ANY: tuple[str, Label] = ("", lazy("any"))


def _who(record: ApiChangeRecord | ApiTokenRecord) -> TextCell:
    if record.kind == "change":
        return TextCell(record.actor)
    return TextCell(record.account or _("anonymous"))


def _what(record: ApiChangeRecord | ApiTokenRecord) -> LinkCell:
    href = at("audit/show", kind=record.kind, id=record.id)
    if record.kind == "change":
        return LinkCell(record.action, href)
    text = _("token %(outcome)s") % {"outcome": str(OUTCOME_TEXTS[record.outcome][0])}
    if record.requests > 1:
        times = {"text": text, "number": record.requests}
        text = _("%(text)s, %(number)s times") % times
    return LinkCell(text, href)


def _on(record: ApiChangeRecord | ApiTokenRecord) -> TextCell:
    if record.kind == "change":
        return TextCell(record.target)
    return TextCell(f"{record.registry} {record.granted or record.requested}".strip() or NONE)


LIST = ListPage(
    page="audit",
    title=lazy("Audit"),
    operation="list_records",
    columns=(
        Column(lazy("At"), lambda record: TimeCell(record.at)),
        Column(lazy("Who"), _who),
        Column(lazy("What"), _what),
        Column(lazy("On"), _on),
        Column(
            lazy("From"),
            lambda record: TextCell(NONE if record.kind == "change" else record.address or NONE),
        ),
    ),
    empty=lazy("There are no records yet. Each change and each token request leaves one."),
    command=("audit", "list"),
    filters=(
        ListFilter("kind", lazy("Kind"), (ANY, *((kind, KIND_TEXTS[kind]) for kind in KINDS))),
        ListFilter("account", lazy("Account"), placeholder=lazy("name")),
        ListFilter("action", lazy("Action"), placeholder="user.add"),
        ListFilter(
            "outcome",
            lazy("Outcome"),
            (ANY, *((outcome, OUTCOME_TEXTS[outcome][0]) for outcome in OUTCOMES)),
        ),
        ListFilter("registry", lazy("Registry"), placeholder=lazy("service")),
        ListFilter("repository", lazy("Repository"), placeholder="team/app"),
        ListFilter("address", lazy("Address"), placeholder="192.0.2.1"),
        ListFilter("since", lazy("Since (UTC)"), is_time=True),
        ListFilter("until", lazy("Until (UTC)"), is_time=True),
    ),
    actions=(("audit/verify", lazy("Verify"), "verify_records"),),
    searches=False,
    # Of both kinds: a column that a kind has not is empty.
    fields=tuple(dict.fromkeys([*ApiChangeRecord.model_fields, *ApiTokenRecord.model_fields])),
)


@pages.get("/audit")
def records() -> Response:
    """List the records."""
    return LIST.answer()


@pages.get("/audit/show")
def show_record() -> Response:
    """Show a record with all that it says."""
    path = {
        "kind": request.args.get("kind", ""),
        "id": parsing.number(request.args.get("id", "")),
    }
    record = visit().call("show_record", path).record
    if record.kind == "change":
        kind, _colon, name = record.target.partition(":")
        account = name if kind in ("user", "robot") else ""
        return render("audit_change.html", record=record, rows=_rows(record), account=account)
    outcome = TagsCell([OUTCOME_TEXTS[record.outcome]])
    values: dict[str, Any] = {"outcome": outcome, "links_rules": is_page("rules/show")}
    return render("audit_token.html", record=record, **values)


def _rows(record: ApiChangeRecord) -> list[tuple[str, str, str]]:
    """Return each field of a change with what it was before and after."""
    before, after = record.before or {}, record.after or {}
    names = [*before, *(name for name in after if name not in before)]
    return [(name, _value(before, name), _value(after, name)) for name in names]


def _value(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        return NONE
    value = fields[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@pages.route("/audit/verify", methods=["GET", "POST"])
def verify() -> Response:
    """Show what the server's own checkpoint found, and verify as much as there is time for."""
    visit().require("verify_records")
    report, fault = None, None
    if request.method == "POST":
        report, fault = tried(lambda: visit().call("verify_records"))
    return render(
        "audit_verify.html",
        state=visit().call("show_audit_state"),
        report=report,
        seconds=int(VERIFIES_FOR),
        fault=fault,
    )
