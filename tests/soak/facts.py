"""What was true when: what a client may be answered depends on changes that are on their way."""

import math
import time
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
class Reach:
    """When the store could not be reached: as (from, until)."""

    outages: list[tuple[float, float]] = field(default_factory=list)

    def lose(self) -> None:
        """Note that the store is about to go."""
        self.outages.append((time.monotonic(), math.inf))

    def regain(self) -> None:
        """Note that the store answers again."""
        began, _ = self.outages.pop()
        self.outages.append((began, time.monotonic()))

    def known_since(self, at: float) -> float:
        """Return since when what was acknowledged must be in force at a moment.

        Time in which the store was gone does not count: nobody could read of a change.
        """
        left = IN_FORCE_SECONDS
        for began, ended in reversed(self.outages):
            if began >= at:
                continue
            reached = max(0.0, at - ended)
            if reached >= left:
                break
            left -= reached
            at = began
        return at - left
