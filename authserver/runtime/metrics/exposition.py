"""The numbers as Prometheus reads them."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from authserver.runtime.metrics.counters import Values
from authserver.runtime.metrics.families import BUCKETS, FAMILIES, Family, Kind

_BOUNDS = (*map(str, BUCKETS), "+Inf")


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
        if family.kind is Kind.HISTOGRAM:
            return _histogram(family, found)
        if family.kind is Kind.COUNTER:
            counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
            # One without labels is there from the start, so that its rate can be told.
            for labels, (value,) in (found or ({} if family.labels else {(): [0.0]})).items():
                counter.add_metric(labels, value)
            return counter
        gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
        for labels, (value,) in found.items():
            gauge.add_metric(labels, self._now - value if family.kind is Kind.AGE else value)
        return gauge


def _histogram(family: Family, found: dict[tuple[str, ...], list[float]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, cells in found.items():
        buckets = list(zip(_BOUNDS, accumulate(cells[:-1]), strict=True))
        metric.add_metric(labels, buckets, cells[-1])
    return metric
