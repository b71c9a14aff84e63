"""What was true when: what a client may be answered depends on changes that are on their way."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

IN_FORCE_SECONDS = 1.0
"""Within what time a change is in force wherever the store is reached."""


@dataclass
class Turn:
    """A change of a fact; it may hold from ``begun`` and holds from ``acknowledged`` on."""

    value: bool
    begun: float
    acknowledged: float = math.inf


@dataclass
class Fact:
    """Something that changes, as one client changes it; times are of the monotonic clock.

    ``name`` says what of, for reports.
    """

    name: str
    turns: list[Turn]

    @classmethod
    def of(cls, name: str, *, value: bool) -> "Fact":
        """Return a fact that always was so."""
        return cls(name, [Turn(value, -math.inf, -math.inf)])

    def begin(self, *, value: bool) -> Turn:
        """Note that a change is about to be asked for; only one may be on its way."""
        assert self.turns[-1].acknowledged < math.inf, self.name
        turn = Turn(value, time.monotonic())
        self.turns.append(turn)
        return turn

    def may_be(self, *, value: bool, since: float, until: float) -> bool:
        """Whether the fact may have had a value at some moment between two times."""
        ends = [turn.acknowledged for turn in self.turns[1:]] + [math.inf]
        return any(
            turn.value is value and turn.begun <= until and end >= since
            for turn, end in zip(self.turns, ends, strict=False)
        )

    @property
    def settled(self) -> bool | None:
        """The value that was acknowledged last; None while a change is on its way."""
        last = self.turns[-1]
        return last.value if last.acknowledged < math.inf else None


@dataclass
class Outage:
    """When the store was lost to a server and came back: each took from one moment to another."""

    losing: float
    lost: float = math.inf
    returning: float = math.inf
    returned: float = math.inf


@dataclass
class Reach:
    """When a server could not reach the store, and for how many seconds it may go on then."""

    max_staleness: float = 60.0
    outages: list[Outage] = field(default_factory=list)

    @contextmanager
    def losing(self) -> Iterator[None]:
        """Note that the store is lost within the block."""
        outage = Outage(time.monotonic())
        self.outages.append(outage)
        yield
        outage.lost = time.monotonic()

    @contextmanager
    def returning(self) -> Iterator[None]:
        """Note that the store is there again when the block ends."""
        if not self.outages or self.outages[-1].returned < math.inf:
            yield
            return
        self.outages[-1].returning = time.monotonic()
        yield
        self.outages[-1].returned = time.monotonic()

    def must_refuse(self, sent: float, received: float) -> bool:
        """Whether a request was too long after the store was lost to be granted anything."""
        return any(
            sent > outage.lost + self.max_staleness and received < outage.returning
            for outage in self.outages
        )

    def known_since(self, at: float) -> float:
        """Return since when what was acknowledged must be in force at a moment.

        Time in which the store was gone does not count: nobody could read of a change.
        """
        left = IN_FORCE_SECONDS
        for outage in reversed(self.outages):
            if outage.losing >= at:
                continue
            reached = max(0.0, at - outage.returned)
            if reached >= left:
                break
            left -= reached
            at = outage.losing
        return at - left
