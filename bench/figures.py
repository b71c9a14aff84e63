"""Figures of several rounds: medians, how far they spread, and which rounds count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

MAX_OTHERS = 0.05
"""Of the cores' time: a round in which other processes took more is not counted."""


@dataclass(frozen=True)
class Round:
    """One measurement. Times are in seconds, of processors where it says so.

    ``others`` is the part of the cores' time that other processes took meanwhile; ``es256`` and
    ``bcrypt`` are raw operations in one second of one core, measured beside it.
    """

    rate: float
    p50: float
    p99: float
    processor: float
    resident: int
    others: float
    es256: float
    bcrypt: float
    beside: float | None = None
    failed: int = 0

    @property
    def is_quiet(self) -> bool:
        return self.others <= MAX_OTHERS


@dataclass(frozen=True)
class Figure:
    """A median, and the lowest and highest value beside it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """All rounds of one row of the table."""

    name: str
    rounds: tuple[Round, ...]

    @property
    def counted(self) -> tuple[Round, ...]:
        """Return the rounds in which nobody else was busy, or all if there is none."""
        return tuple(one for one in self.rounds if one.is_quiet) or self.rounds

    @property
    def is_disturbed(self) -> bool:
        """Whether other processes were busy in every round: its figures mean little."""
        return not any(one.is_quiet for one in self.rounds)

    def figure(self, of: Callable[[Round], float]) -> Figure:
        return Figure.of([of(one) for one in self.counted])

    def to_es256(self) -> Figure:
        """Return the rate in relation to that of ES256 signatures on one core."""
        return self.figure(lambda one: one.rate / one.es256)

    def to_bcrypt(self, cores: int) -> Figure:
        """Return the rate in relation to that of bcrypt on all cores."""
        return self.figure(lambda one: one.rate / (cores * one.bcrypt))


def paired(row: Row, with_: Row, of: Callable[[Round], float]) -> Figure:
    """Return how two rows that were measured in the same rounds stand to each other."""
    pairs = list(zip(row.rounds, with_.rounds, strict=False))
    quiet = [pair for pair in pairs if pair[0].is_quiet and pair[1].is_quiet] or pairs
    return Figure.of([of(one) / of(other) for one, other in quiet])
