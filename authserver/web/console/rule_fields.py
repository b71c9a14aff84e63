"""The form of a rule: what stands in its fields, the rule that they make, and its command."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from flask import request
from sqlalchemy import select

from authserver.core import times
from authserver.core.conditions import FIELDS, KINDS, ConditionField, Conditions, ValueKind
from authserver.core.errors import Refused
from authserver.core.rules import ALL
from authserver.db import delegations, lookup
from authserver.db.models import RegistryRow
from authserver.web.api.rules import ApiRule
from authserver.web.console import forms
from authserver.web.console.cells import NONE
from authserver.web.console.language import gettext as _
from authserver.web.console.visit import visit

ACTIONS = ("pull", "push", "delete", ALL)
LISTS = ("subjects", "patterns")
OPERANDS = (*LISTS, "actions")
NEW: Mapping[str, Any] = {
    "effect": "allow",
    "type": "repository",
    "registry": "",
    "comment": "",
    "actions": ["pull"],
    **dict.fromkeys((*LISTS, *FIELDS), ""),
}
"""What stands in the form of a new rule."""


def condition_fields() -> list[tuple[ConditionField, str, str]]:
    """Return the fields of conditions, each with its title and help."""
    # The texts are the domain's: its table of conditions is the only one.
    return [(field, _(_title(field)), _help(field)) for field in FIELDS.values()]


def texts() -> list[str]:
    """Return the domain's texts that the form shows, for the catalogues."""
    return [
        text
        for field in FIELDS.values()
        for text in (_title(field), field.description, field.option_help)
    ]


def _title(field: ConditionField) -> str:
    return field.name.replace("_", " ").capitalize()


def _help(field: ConditionField) -> str:
    if field.kind is ValueKind.TEXTS:
        return _(field.description)
    return f"{_(field.description)} {_(field.option_help)}"


def filled(rule: ApiRule) -> dict[str, Any]:
    """Return what stands in the form of a rule."""
    said = rule.model_dump()
    values = {name: said[name] for name in NEW}
    values["registry"] = rule.registry or ""
    for name in (*LISTS, *FIELDS):
        values[name] = _text(said[name])
    return values


def typed() -> dict[str, Any]:
    """Return what was filled in."""
    values: dict[str, Any] = {name: forms.text(name) for name in NEW}
    values["actions"] = request.form.getlist("actions")
    return values


def terms(values: Mapping[str, Any], old: ApiRule | None) -> dict[str, Any]:
    """Return the rule that a form makes, as the API takes it.

    What a form does not ask for stays as it is in the rule ``old``.
    """
    said = {**values, "registry": values["registry"] or None}
    if old is not None:
        said |= {"effect": old.effect, "type": old.type, "enabled": old.enabled}
    for name in LISTS:
        said[name] = _entries(values[name])
    shown = NEW if old is None else filled(old)
    for name, field in FIELDS.items():
        if field.kind is ValueKind.TEXTS:
            said[name] = _entries(values[name])
        elif values[name] == shown[name]:
            # A form shows a time to the second; one that was left alone stays as it was.
            said[name] = old and _plain(getattr(old, name))
        else:
            said[name] = when(values[name])
    return said


def digest(values: Mapping[str, Any]) -> str:
    """Return what tells whether a form is the one that was previewed."""
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def when(text: str) -> str | None:
    """Return a time of a form as the API takes it: a date, a time, or how long from now."""
    if not text:
        return None
    try:
        return times.moment(text, visit().now).isoformat()
    except Refused:
        # The API says at the field what is wrong with it.
        return text


def both(values: Mapping[str, Any], rule: ApiRule) -> list[tuple[str, str, str]]:
    """Return each part of a rule as a form has it, and as it is now."""
    titles = {
        "subjects": _("Subjects"),
        "patterns": _("Patterns"),
        "actions": _("Actions"),
        "registry": _("Registry"),
        **{field.name: title for field, title, _help in condition_fields()},
        "comment": _("Comment"),
    }
    now = filled(rule)
    return [
        (title, _in_words(values[name]), _in_words(now[name])) for name, title in titles.items()
    ]


def conditions_of(rule: ApiRule) -> str:
    """Return the conditions of a rule as commands print them; empty without any."""
    return str(Conditions.parse({name: getattr(rule, name) for name in FIELDS}))


def registries() -> list[tuple[str, str]]:
    """Return the choices of registries for a rule; a delegate has those of their delegations."""
    with visit().read() as session:
        if visit().reads_all:
            services = session.scalars(select(RegistryRow.service).order_by(RegistryRow.service))
            return [("", _("every registry")), *((each, each) for each in services)]
        held = delegations.held_by(session, lookup.account(session, visit().name))
        return sorted({(row.for_registry.service, row.for_registry.service) for row in held})


def may_write() -> bool:
    """Whether the person writes rules: an administrator, or a delegate who reads no others."""
    return visit().may("put_user") or visit().is_delegate


def command_words(said: Mapping[str, Any], old: ApiRule | None) -> list[str]:
    """Return the words of the command that writes or edits the rule."""
    if old is not None:
        changes = _options(said, terms(filled(old), old))
        return ["acl", "edit", str(old.id), *(changes or ["--comment", "TEXT"])]
    parts = [",".join(said[name]) or name.upper() for name in OPERANDS]
    untouched = {**terms(NEW, None), **{name: said[name] for name in OPERANDS}}
    return ["acl", said["effect"], *parts, *_options(said, untouched)]


def _options(said: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Return the options that make ``said`` of ``before``."""
    options: list[str] = []
    for name in OPERANDS:
        if said[name] != before[name]:
            options += [f"--{name}", ",".join(said[name])]
    if said["type"] != before["type"]:
        options += ["--type", said["type"]]
    if said["registry"] != before["registry"]:
        options += ["--registry", said["registry"]] if said["registry"] else ["--every-registry"]
    for kind in KINDS:
        own = [field for field in kind.FIELDS if said[field.name] != before[field.name]]
        if own and not any(said[field.name] for field in kind.FIELDS):
            options.append(kind.REMOVAL[0])
            continue
        for field in own:
            value = said[field.name]
            for text in value if isinstance(value, list) else filter(None, [value]):
                options += [field.option, text]
    if said["comment"] != before["comment"]:
        options += ["--comment", said["comment"]]
    return options


def _entries(text: str) -> list[str]:
    """Return what stands in a field, one on each line or with commas between."""
    return [part.strip() for part in re.split(r"[\n,]", text) if part.strip()]


def _text(value: Sequence[str] | datetime | None) -> str:
    if value is None:
        return ""
    return times.format_time(value) if isinstance(value, datetime) else "\n".join(value)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or NONE
    return ", ".join(_entries(str(value))) or NONE
