"""Write a policy file: sorted, so that equal policies are equal to the byte."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from authserver.core.conditions import Value
from authserver.core.names import folded
from authserver.core.rules import ALL, in_order
from authserver.core.times import format_time
from authserver.policy.files import schema
from authserver.policy.files.document import (
    AccountEntry,
    DelegationEntry,
    GroupEntry,
    Policy,
    RegistryEntry,
    RuleEntry,
)

WIDTH = 100
_INDENT = "  "

# Texts that every YAML version reads as this text, also between brackets.
_bare = re.compile(
    r"[A-Za-z][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)?(/\*{1,2})?|[0-9]+(\.[0-9]+){3}/[0-9]+"
)
_words = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def export(policy: Policy) -> str:
    """Return the text of a policy file."""
    return "".join(f"{line}\n" for line in _lines(plain(policy)))


def plain(policy: Policy) -> dict[str, Any]:
    """Return a policy as plain values; defaults are left out."""
    sections: dict[str, Any] = {}
    if policy.registries is not None:
        sections["registries"] = _named(map(registry, policy.registries.values()))
    if policy.accounts is not None:
        sections["accounts"] = _named(map(account, policy.accounts.values()))
    if policy.groups is not None:
        sections["groups"] = _named(map(_group, policy.groups.values()))
    if policy.rules is not None:
        sections["rules"] = [rule(each) for each in sorted(policy.rules, key=_rule_order)]
    if policy.delegations is not None:
        ordered = sorted(policy.delegations, key=_delegation_order)
        sections["delegations"] = [delegation(each) for each in ordered]
    if policy.tests is not None:
        sections["tests"] = [each.text for each in policy.tests]
    return sections


def _named(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return dict(sorted(pairs, key=lambda pair: (folded(pair[0]), pair[0])))


def registry(entry: RegistryEntry) -> tuple[str, dict[str, Any]]:
    """Return a registry's name and its keys in a file."""
    settings = {
        "token_ttl": entry.token_ttl,
        "refresh_tokens": None if entry.refresh_tokens else False,
        "app_tokens_only": entry.app_tokens_only or None,
        "challenge_anonymous": entry.challenge_anonymous or None,
    }
    return entry.service, _without_none(settings)


def account(entry: AccountEntry) -> tuple[str, dict[str, Any]]:
    """Return an account's name and its keys in a file."""
    settings = {
        "kind": str(entry.kind),
        "disabled": entry.disabled or None,
        "admin": entry.admin or None,
        "auditor": entry.auditor or None,
        "app_tokens_only": entry.app_tokens_only or None,
        "owner": entry.owner,
        "description": entry.description or None,
        "outlives_owner": entry.outlives_owner or None,
    }
    return entry.name, _without_none(settings)


def _group(entry: GroupEntry) -> tuple[str, list[str]]:
    return entry.name, sorted(map(str, entry.members))


def rule(statement: RuleEntry) -> dict[str, Any]:
    """Return the keys of a rule in a file."""
    rule_ = statement.rule
    return _without_none(
        {
            "effect": str(rule_.effect),
            "subjects": list(map(str, rule_.subjects)),
            "patterns": list(map(str, rule_.patterns)),
            "actions": _actions(rule_.type, rule_.actions),
            "type": None if rule_.type == "repository" else rule_.type,
            "registry": rule_.service,
            **{name: _condition(value) for name, value in rule_.conditions.values().items()},
            "enabled": None if rule_.enabled else False,
            "comment": statement.comment or None,
        }
    )


def delegation(entry: DelegationEntry) -> dict[str, Any]:
    """Return the keys of a delegation in a file."""
    return _without_none(
        {
            "group": entry.group,
            "registry": entry.service,
            "pattern": entry.pattern,
            "actions": _actions("repository", entry.actions),
            "comment": entry.comment or None,
        }
    )


def _without_none(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _actions(kind: str, actions: frozenset[str]) -> list[str]:
    return [schema.ALL_WORD if a == ALL else a for a in in_order(kind, actions)]


def _condition(value: Value) -> object:
    if not isinstance(value, datetime):
        return value
    return value.isoformat() if value.microsecond else format_time(value)


def _rule_order(statement: RuleEntry) -> tuple[str, ...]:
    rule_ = statement.rule
    patterns, subjects = (",".join(map(str, part)) for part in (rule_.patterns, rule_.subjects))
    return rule_.type, rule_.service or "", patterns, subjects, str(rule_)


def _delegation_order(entry: DelegationEntry) -> tuple[str, ...]:
    return entry.group, entry.service, entry.pattern, ",".join(sorted(entry.actions))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    for number, (section, content) in enumerate(document.items()):
        if number:
            yield ""
        yield from _pair(section, content, "")


def _pair(key: str, value: Any, indent: str) -> Iterator[str]:  # noqa: ANN401 - what a file has in it
    head = f"{indent}{scalar(key)}:"
    inline = f"{head} {_inline(value)}"
    if not value or not isinstance(value, dict | list) or (indent and _fits(value, inline)):
        yield inline
        return
    yield head
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _pair(name, inner, indent + _INDENT)
        return
    for item in value:
        yield from _item(item, indent + _INDENT)


def _fits(value: Any, inline: str) -> bool:  # noqa: ANN401
    return isinstance(value, list) and len(inline) <= WIDTH


def _item(item: Any, indent: str) -> Iterator[str]:  # noqa: ANN401
    if not isinstance(item, dict):
        yield f"{indent}- {scalar(item)}"
        return
    lines = [line for name, inner in item.items() for line in _pair(name, inner, indent + _INDENT)]
    yield f"{indent}- {lines[0].lstrip()}"
    yield from lines[1:]


def _inline(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, list):
        return f"[{', '.join(map(scalar, value))}]"
    return "{}" if isinstance(value, dict) else scalar(value)


def scalar(value: str | int | bool) -> str:
    """Return a value as YAML; quote a text that YAML could read as something else."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _bare.fullmatch(value) and value.casefold() not in _words:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
