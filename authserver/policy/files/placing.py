"""A policy that came as plain values and not as a file: nodes, each with its place for a line."""

from dataclasses import dataclass, field
from typing import Any

from authserver.policy.files.yaml_nodes import Items, Node, Pairs, Text

Place = tuple[str | int, ...]
"""The keys and positions that lead to a value."""


@dataclass
class Placing:
    """Makes nodes of values; the line of each is its position in ``places``."""

    places: list[Place] = field(default_factory=lambda: [()])

    def node(self, value: Any, place: Place = ()) -> Node:  # noqa: ANN401 - any plain value
        """Return a value as if it stood in a file: a text as it would within quotes."""
        line = len(self.places)
        self.places.append(place)
        match value:
            case dict():
                return Pairs([self._pair(place, *pair) for pair in value.items()], line)
            case list():
                items = [self.node(each, (*place, at)) for at, each in enumerate(value)]
                return Items(items, line)
            case str():
                return Text(value, plain=False, line=line)
        return Text(_bare(value), plain=True, line=line)

    def _pair(self, place: Place, key: str, value: Any) -> tuple[Text, Node]:  # noqa: ANN401
        node = self.node(value, (*place, key))
        return Text(key, plain=False, line=node.line), node


def _bare(value: bool | int | None) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
