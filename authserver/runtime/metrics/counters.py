"""One worker's numbers."""

from bisect import bisect_left
from dataclasses import dataclass, field

from authserver.runtime.metrics.families import BUCKETS, Family

Values = dict[tuple[str, tuple[str, ...]], list[float]]
"""By a family's name and its labels' values; a histogram has its buckets and the sum."""


@dataclass
class Totals:
    """``counted`` since the process began, and ``gauges`` as they are now."""

    counted: Values = field(default_factory=dict)
    gauges: Values = field(default_factory=dict)

    def count(self, family: Family, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        self.counted.setdefault((family.name, labels), [0.0])[0] += by

    def reached(self, family: Family, total: float) -> None:
        """Set a counter that somebody else counts."""
        self.counted[family.name, ()] = [float(total)]

    def observe(self, family: Family, *labels: str, seconds: float) -> None:
        """Add a value to a histogram."""
        empty = [0.0] * (len(BUCKETS) + 2)
        cells = self.counted.setdefault((family.name, labels), empty)
        cells[bisect_left(BUCKETS, seconds)] += 1
        cells[-1] += seconds

    def gauge(self, family: Family, *labels: str, value: float) -> None:
        """Set a gauge."""
        self.gauges[family.name, labels] = [float(value)]
