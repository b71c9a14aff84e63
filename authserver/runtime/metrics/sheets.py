"""The workers' numbers, each worker's on a sheet of its own in a directory that they share.

What was counted is kept when a worker ends, so that no counter goes down; its gauges are not.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authserver.runtime.metrics.counters import Totals, Values
from authserver.runtime.metrics.families import FAMILIES

FRESH_SECONDS = 10.0
"""A worker whose sheet is older has ended, or stands still."""


@dataclass(frozen=True)
class Sheets:
    """The directory, which belongs to one running server."""

    directory: Path

    def write(self, name: str, totals: Totals, now: float) -> None:
        """Put a worker's sheet in the place of its last one; ``now`` is monotonic."""
        sheet = {"at": now, "counted": _rows(totals.counted), "gauges": _rows(totals.gauges)}
        new = self.directory / f"{name}.new"
        new.write_text(json.dumps(sheet))
        os.replace(new, self.directory / f"{name}.json")  # noqa: PTH105 - says that it is atomic

    def added_up(self, now: float) -> Values:
        """Return the numbers of all workers; ``now`` is monotonic, for all processes alike."""
        sheets = [json.loads(path.read_text()) for path in self.directory.glob("*.json")]
        living = [sheet for sheet in sheets if now - sheet["at"] < FRESH_SECONDS]
        found: Values = {}
        for key, values in _grouped(sheet["counted"] for sheet in sheets):
            found[key] = [sum(cells) for cells in zip(*values, strict=True)]
        for key, values in _grouped(sheet["gauges"] for sheet in living):
            found[key] = [FAMILIES[key[0]].across(value for (value,) in values)]
        return found


def _rows(values: Values) -> list[Any]:
    return [[name, labels, cells] for (name, labels), cells in values.items()]


def _grouped(
    sheets: Iterable[list[Any]],
) -> Iterator[tuple[tuple[str, tuple[str, ...]], list[list[float]]]]:
    groups: dict[tuple[str, tuple[str, ...]], list[list[float]]] = {}
    for rows in sheets:
        for name, labels, cells in rows:
            groups.setdefault((name, tuple(labels)), []).append(cells)
    yield from groups.items()
