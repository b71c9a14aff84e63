"""The Grafana dashboard, read by Grafana's own model of one."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

SHIPPED = Path(__file__).parents[2] / "deploy" / "grafana" / "authserver.json"

plugins.register_default_plugins()


@dataclass(frozen=True)
class Dashboard:
    """A dashboard's JSON."""

    text: str

    @classmethod
    def shipped(cls) -> "Dashboard":
        return cls(SHIPPED.read_text())

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.text)
        return document

    @property
    def panels(self) -> list[dict[str, Any]]:
        panels: list[dict[str, Any]] = self.document["panels"]
        return panels

    @property
    def variables(self) -> set[str]:
        return {variable["name"] for variable in self.document["templating"]["list"]}

    @property
    def expressions(self) -> list[str]:
        """The PromQL of all panels."""
        return [target["expr"] for panel in self.panels for target in panel.get("targets", ())]

    @property
    def unknown(self) -> list[str]:
        """The paths of what Grafana's model has no place for, or understands otherwise."""
        read = model.Dashboard.from_json(self.document)
        understood = json.loads(JSONEncoder(sort_keys=True).encode(read))
        return list(_lost(self.document, understood, ""))

    @property
    def overlapping(self) -> list[tuple[str, str]]:
        return [
            (one["title"], other["title"])
            for one, other in combinations(self.panels, 2)
            if _overlap(one["gridPos"], other["gridPos"])
        ]


def _lost(said: Any, understood: Any, path: str) -> Iterator[str]:
    match said, understood:
        case dict(), dict():
            for name, value in said.items():
                yield from _lost(value, understood.get(name), f"{path}.{name}")
        case list(), list() if len(said) == len(understood):
            for number, (one, other) in enumerate(zip(said, understood, strict=True)):
                yield from _lost(one, other, f"{path}[{number}]")
        case _ if said != understood:
            yield path


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )
