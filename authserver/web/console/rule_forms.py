"""Forms for rules, for delegates and for administrators: the terms, and who gains and loses."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from flask import request

from authserver.core.conditions import FIELDS, ValueKind
from authserver.core.rules import ACTIONS, ALL
from authserver.web.api.rule_changes import PreviewedEffect, RuleEffects
from authserver.web.api.rules import ApiRule
from authserver.web.console import forms
from authserver.web.console.faults import FormFault, tried
from authserver.web.console.language import Label, lazy
from authserver.web.console.language import gettext as _
from authserver.web.console.visit import visit

LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")
"""What browsers send for a time without a zone; the form says that it is UTC."""

CHOICES: Sequence[tuple[str, Label]] = [
    (action, lazy("all") if action == ALL else action) for action in ACTIONS["repository"]
]
LABELS: Mapping[str, Label] = {
    "subjects": lazy("Who"),
    "patterns": lazy("Repositories"),
    "actions": lazy("Actions"),
    "registry": lazy("Registry"),
    "networks": lazy("Only from these networks"),
    "valid_from": lazy("From (UTC)"),
    "valid_until": lazy("Until (UTC)"),
    "comment": lazy("Comment"),
}


@dataclass(frozen=True)
class RuleFormStep:
    """What became of a form: the rule was saved, or what saving would do, or what is wrong."""

    saved: Any = None
    effects: RuleEffects | None = None
    previewed: str = ""
    fault: FormFault | None = None
    sentences: Sequence[str] = field(default=())


def typed(*, enabled: bool = True) -> dict[str, Any]:
    """Return the terms that ``rule_parts.html`` makes: those of ``add_rule``."""
    return {
        "effect": forms.text("effect") or "allow",
        "type": forms.text("type") or "repository",
        "subjects": forms.lines("subjects"),
        "patterns": forms.lines("patterns"),
        "actions": request.form.getlist("actions"),
        "registry": forms.optional("registry"),
        **{
            name: forms.lines(name) if each.kind is ValueKind.TEXTS else _time(name)
            for name, each in FIELDS.items()
        },
        "enabled": enabled,
        "comment": forms.text("comment"),
    }


def shown(rule: ApiRule) -> dict[str, Any]:
    """Return a rule as the form's fields have it."""
    return {name: _text(value) for name, value in rule.model_dump().items()} | {
        "actions": rule.actions
    }


def step(
    body: Mapping[str, Any], save: Callable[[], Any], *, rule_id: int | None = None
) -> RuleFormStep:
    """Show who gains and who loses by the terms; save them if that was shown of these terms."""
    asked = {"terms": body} if rule_id is None else {"terms": body, "id": rule_id}
    effects, fault = tried(lambda: visit().call("preview_rule", body=asked))
    if effects is None:
        return RuleFormStep(fault=fault)
    seen = sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    if request.form.get("previewed") != seen:
        return RuleFormStep(effects=effects, previewed=seen, sentences=sentences(effects))
    saved, fault = tried(save)
    return RuleFormStep(saved, effects, seen, fault, sentences(effects))


def sentences(effects: RuleEffects) -> list[str]:
    """Say who gains and who loses."""
    told = [_sentence(each) for each in effects.effects.told]
    if effects.effects.more:
        told.append(_("There is more; this is not all of it."))
    return told or [_("Nobody gains or loses by it.")]


def conflict(body: Mapping[str, Any], now: ApiRule) -> list[tuple[Label, str, str]]:
    """Return both versions of a rule that was changed meanwhile."""
    theirs = now.model_dump(mode="json")
    return [
        (label, _text(body[name]), _text(theirs[name]).replace("+00:00", "Z"))
        for name, label in LABELS.items()
    ]


def _sentence(effect: PreviewedEffect) -> str:
    more = effect.count - len(effect.accounts)
    values = {
        "who": ", ".join(effect.accounts) + (f" +{more}" if more else ""),
        "actions": ", ".join(effect.actions),
        "what": effect.pattern,
        "where": effect.registry or _("every registry"),
    }
    if effect.change == "gain":
        text = (
            _("%(who)s: gains %(actions)s on a part of %(what)s, on %(where)s")
            if effect.some
            else _("%(who)s: gains %(actions)s on %(what)s, on %(where)s")
        )
    else:
        text = (
            _("%(who)s: loses %(actions)s on a part of %(what)s, on %(where)s")
            if effect.some
            else _("%(who)s: loses %(actions)s on %(what)s, on %(where)s")
        )
    return text % values + (f" ({effect.conditions})" if effect.conditions else "")


def _time(name: str) -> str | None:
    text = forms.text(name)
    if LOCAL_TIME.fullmatch(text):
        return f"{text}Z" if text.count(":") > 1 else f"{text}:00Z"
    return text or None


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%S")
        case list():
            return "\n".join(map(str, value))
    return str(value)
