"""The steps of a plan: one for each thing that is added, changed or removed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from authserver.core.subjects import Subject
from authserver.policy.files import export
from authserver.policy.files.document import (
    AccountEntry,
    DelegationEntry,
    GroupEntry,
    RegistryEntry,
    RuleEntry,
)


class Verb(StrEnum):
    ADD = "add"
    EDIT = "edit"
    RENAME = "rename"
    ENABLE = "enable"
    DISABLE = "disable"
    REMOVE = "remove"


SIGNS = {Verb.ADD: "+", Verb.REMOVE: "-"} | dict.fromkeys(
    (Verb.EDIT, Verb.RENAME, Verb.ENABLE, Verb.DISABLE), "~"
)


@dataclass(frozen=True, slots=True)
class MembershipEntry:
    """A member of a group."""

    group: str
    member: Subject


PolicyEntry = (
    RegistryEntry | AccountEntry | GroupEntry | MembershipEntry | RuleEntry | DelegationEntry
)

_NOUNS: dict[type, str] = {
    RegistryEntry: "registry",
    AccountEntry: "account",
    GroupEntry: "group",
    MembershipEntry: "member",
    RuleEntry: "rule",
    DelegationEntry: "delegation",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One change; ``before`` None adds the thing, ``after`` None removes it."""

    verb: Verb
    before: PolicyEntry | None
    after: PolicyEntry | None

    @property
    def entry(self) -> PolicyEntry:
        """The thing as it will be, or as it was before its removal."""
        entry = self.after or self.before
        assert entry is not None  # noqa: S101 - one of them is there
        return entry

    @property
    def noun(self) -> str:
        return _NOUNS[type(self.entry)]

    def __str__(self) -> str:
        return f"{SIGNS[self.verb]} {self.verb} {self.name}{self._detail()}"

    @property
    def name(self) -> str:
        """What the step is about; of a rename, its name before."""
        renamed = self.before if self.verb is Verb.RENAME else None
        return named(renamed or self.entry)

    def _detail(self) -> str:
        if self.after is None:
            return ""
        after = _keys(self.after)
        if self.before is None:
            return _listed(after)
        if self.verb is Verb.RENAME:
            return f" to {_identity(self.after)['name']}"
        before = _keys(self.before)
        parts = [
            f"{key} {_change(before.get(key), after.get(key))}"
            for key in dict.fromkeys((*before, *after))
            if before.get(key) != after.get(key)
        ]
        return f": {', '.join(parts)}"

    def as_json(self) -> dict[str, Any]:
        return {
            "do": str(self.verb),
            "what": self.noun,
            "name": self.name,
            "before": _described(self.before),
            "after": _described(self.after),
        }


def added_or_edited(before: PolicyEntry | None, after: PolicyEntry) -> Step | None:
    """Return the step between two versions; None if they are equal."""
    if before is None:
        return Step(Verb.ADD, None, after)
    old, new = _keys(before), _keys(after)
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    if not changed:
        return None
    if changed in ({"enabled"}, {"disabled"}):
        enabled = new.get("enabled", True) and not new.get("disabled")
        return Step(Verb.ENABLE if enabled else Verb.DISABLE, before, after)
    return Step(Verb.EDIT, before, after)


def named(entry: PolicyEntry) -> str:
    """Return the name of an entry in a plan."""
    match entry:
        case RegistryEntry():
            return f"registry {entry.service}"
        case AccountEntry():
            return f"{entry.kind} {entry.name}"
        case GroupEntry():
            return f"group {entry.name}"
        case MembershipEntry():
            return f"{entry.member} in group {entry.group}"
        case RuleEntry():
            number = f" {entry.rule.id}" if entry.rule.id > 0 else ""
            return f"rule{number} ({entry.rule})"
    actions = ",".join(export.delegation(entry)["actions"])
    return f"delegation to group {entry.group}: {actions} within {entry.pattern} on {entry.service}"


def _keys(entry: PolicyEntry) -> dict[str, Any]:
    match entry:
        case RegistryEntry():
            return export.registry(entry)[1]
        case AccountEntry():
            return export.account(entry)[1]
        case RuleEntry():
            return export.rule(entry)
        case DelegationEntry():
            return export.delegation(entry)
    return {}


def _described(entry: PolicyEntry | None) -> dict[str, Any] | None:
    return None if entry is None else _identity(entry) | _keys(entry)


def _identity(entry: PolicyEntry) -> dict[str, Any]:
    match entry:
        case RegistryEntry():
            return {"service": entry.service}
        case AccountEntry() | GroupEntry():
            return {"name": entry.name}
        case MembershipEntry():
            return {"group": entry.group, "member": str(entry.member)}
        case RuleEntry():
            return {"id": entry.rule.id if entry.rule.id > 0 else None}
    return {"id": entry.id or None}


def _listed(keys: dict[str, Any]) -> str:
    shown = ("admin", "auditor", "app_tokens_only", "owner", "token_ttl", "comment")
    listed = {k: v for k, v in keys.items() if k in shown}
    return "".join(f", {key} {_text(value)}" for key, value in listed.items())


def _change(old: object, new: object) -> str:
    # A default is left out of the keys. That of a flag is the opposite of the flag.
    if old is None and isinstance(new, bool):
        old = not new
    elif new is None and isinstance(old, bool):
        new = not old
    return f"{_text(old)} → {_text(new)}"


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)
