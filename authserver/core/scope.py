"""The scope grammar (Distribution ``scope.md``), and nothing else."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from authserver.core.errors import Refused
from authserver.core.patterns import PATTERN_MAX

_type = re.compile(r"([a-z0-9]+)(?:\(([a-z0-9]+)\))?")


class MalformedScope(Refused):
    """The text is no scope: a part is missing, the type is malformed, or the name is too long."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One requested resource scope. ``cls`` is the deprecated resource class, read and left out.

    Actions are kept as the client sent them, each once, unknown ones too.
    """

    type: str
    name: str
    actions: tuple[str, ...]
    cls: str | None = None

    def __str__(self) -> str:
        kind = f"{self.type}({self.cls})" if self.cls else self.type
        return f"{kind}:{self.name}:{','.join(self.actions)}"


def parse(text: str) -> Scope:
    """Read one ``type:name:action,action``.

    The type ends at the first colon and the actions begin after the last, so that the name
    may hold a host's port.

    Raises:
        MalformedScope: there are fewer than two colons, the type is no type, the name is empty
            or longer than any name or pattern.
    """
    kind, colon, rest = text.partition(":")
    name, last_colon, actions = rest.rpartition(":")
    matched = _type.fullmatch(kind)
    if not (colon and last_colon and name and matched):
        raise MalformedScope(f"malformed scope {text!r}: a scope is type:name:action[,action…]")
    if len(name) > PATTERN_MAX:
        raise MalformedScope(f"malformed scope: a name of {len(name)} characters")
    return Scope(matched[1], name, tuple(dict.fromkeys(actions.split(","))), matched[2])


def split(values: Iterable[str]) -> list[str]:
    """Return the scopes in repeated and space-separated parameters; only U+0020 separates."""
    return [text for value in values for text in value.split(" ") if text]


def merge(scopes: Iterable[Scope]) -> list[Scope]:
    """Return one scope a resource, in the order of first appearance, with the actions united."""
    merged: dict[tuple[str, str], dict[str, None]] = {}
    for scope in scopes:
        merged.setdefault((scope.type, scope.name), {}).update(dict.fromkeys(scope.actions))
    return [Scope(kind, name, tuple(actions)) for (kind, name), actions in merged.items()]
