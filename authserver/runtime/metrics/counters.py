"""One worker's counters, and the observations that requests leave to be counted.

Requests append observations; a thread of the worker adds them up later.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from authserver.runtime.metrics.families import BUCKETS, Family

Values = dict[tuple[str, tuple[str, ...]], list[float]]
"""By a family's name and its labels' values; a histogram has its buckets and the sum."""

T = TypeVar("T")

MAX_WAITING = 20_000
"""Observations that are kept until they are added up."""


@dataclass
class Totals:
    """``counted`` since the process began, and ``gauges`` as they are now."""

    counted: Values = field(default_factory=dict)
    gauges: Values = field(default_factory=dict)

    def count(self, family: Family, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        self.counted.setdefault((family.name, labels), [0.0])[0] += by

    def reached(self, family: Family, total: float) -> None:
        """Set a counter to a total that is counted elsewhere."""
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


class TokenRequestObservation(NamedTuple):
    """One token request.

    ``registry`` is what the client named, and may be anything; ``refusal`` is the error that
    answered it, if one did; ``seconds`` is how long it took.
    """

    registry: str
    outcome: str
    refusal: type[Exception] | None
    credential: str
    seconds: float


class Observations:
    """Each kind may be appended to by any thread; of each the latest ``most`` are kept.

    ``responses`` are parts of the application and status codes, ``passwords`` are ``remembered``,
    ``right`` or ``wrong``, ``limits`` the names of limits that were hit, ``unreadable`` the name of
    the header in which a trusted proxy's address of the client could not be read, ``unheeded`` the
    WSGI key of a header about the client that was not heeded.
    """

    def __init__(self, most: int = 0) -> None:
        self.token_requests: deque[TokenRequestObservation] = deque(maxlen=most)
        self.responses: deque[tuple[str, int]] = deque(maxlen=most)
        self.passwords: deque[str] = deque(maxlen=most)
        self.limits: deque[str] = deque(maxlen=most)
        self.unreadable: deque[str] = deque(maxlen=most)
        self.unheeded: deque[str] = deque(maxlen=most)


def taken(waiting: deque[T]) -> Iterator[T]:
    """Remove and yield what waits now. What comes meanwhile stays."""
    for _ in range(len(waiting)):
        yield waiting.popleft()
