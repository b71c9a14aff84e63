"""The workers' numbers, as Prometheus reads them.

Each worker writes its numbers to a sheet of its own, in a directory that the workers share. When a
worker ends, its counters are kept, so that no counter goes down; its gauges are not.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from authserver.runtime.metrics.counters import Totals, Values
from authserver.runtime.metrics.families import BUCKETS, FAMILIES, Family, MetricType

_BOUNDS = (*map(str, BUCKETS), "+Inf")

FRESH_SECONDS = 10.0
"""A worker whose sheet is older has ended, or stands still."""


def expose(values: Values, now: float, accept: str) -> tuple[bytes, str]:
    """Return the body and its type, in the format that ``accept`` asks for.

    ``now`` is monotonic.
    """
    registry = CollectorRegistry()
    registry.register(_Collected(values, now))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collected(Collector):
    def __init__(self, values: Values, now: float) -> None:
        self._values, self._now = values, now

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES.values():
            yield self._metric(family)

    def _metric(self, family: Family) -> Metric:
        found = {labels: v for (name, labels), v in self._values.items() if name == family.name}
        if family.type is MetricType.HISTOGRAM:
            return _histogram(family, found)
        if family.type is MetricType.COUNTER:
            counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
            # One without labels is there from the start, so that its rate can be told.
            for labels, (value,) in (found or ({} if family.labels else {(): [0.0]})).items():
                counter.add_metric(labels, value)
            return counter
        gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
        for labels, (value,) in found.items():
            gauge.add_metric(labels, self._now - value if family.type is MetricType.AGE else value)
        return gauge


def _histogram(family: Family, found: dict[tuple[str, ...], list[float]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, cells in found.items():
        buckets = list(zip(_BOUNDS, accumulate(cells[:-1]), strict=True))
        metric.add_metric(labels, buckets, cells[-1])
    return metric


@dataclass(frozen=True)
class WorkerSheets:
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
