"""What a run came to: each phase counted, and whether what was promised is in the store."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.postgres import Cluster
from tests.soak.changing import Kept
from tests.soak.load import CHANGE, GUESS, Sample
from tests.soak.place import DATABASE

RECORDS_LOST_SECONDS = 1.0
"""How much of a killed server's records may be lost."""


@dataclass(frozen=True)
class Period:
    """A phase of the run; times are of the monotonic clock, in seconds."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True)
class Counted:
    """A phase in figures. ``gap`` is for how long the clients of one way got no answer, at most."""

    phase: str
    seconds: float
    requests: int
    failed: dict[str, int]
    gap: float
    slowest: float
    stale: int
    narrow: int
    wrong: int
    changes: int
    changes_failed: dict[str, int]
    guesses_refused: int


def count(period: Period, samples: Sequence[Sample], wrong: Iterable[float]) -> Counted:
    """Count the requests that were sent within a phase."""
    within = [one for one in samples if period.began <= one.sent < period.ended]
    tokens = [one for one in within if one.way not in (CHANGE, GUESS)]
    changes = [one for one in within if one.way == CHANGE]
    failed = Counter(f"{one.kind} ({one.way})" for one in tokens if not one.is_good)
    others = (CHANGE, GUESS)
    ways = {one.way for one in samples} - set(others)
    return Counted(
        phase=period.name,
        seconds=period.ended - period.began,
        requests=len(tokens),
        failed=dict(failed),
        gap=max(longest_gap([s for s in samples if s.way == way], period) for way in ways),
        slowest=max((one.received - one.sent for one in tokens), default=0.0),
        stale=sum(one.stale for one in tokens),
        narrow=sum(one.narrow for one in tokens),
        wrong=sum(period.began <= at < period.ended for at in wrong),
        changes=sum(one.is_good for one in changes),
        changes_failed=dict(Counter(one.kind for one in changes if not one.is_good)),
        guesses_refused=sum(one.way == GUESS and one.is_good for one in within),
    )


def longest_gap(samples: Iterable[Sample], period: Period) -> float:
    """Return the longest time within a phase in which no good answer came."""
    came = sorted(one.received for one in samples if one.is_good)
    within = [at for at in came if period.began <= at < period.ended]
    times = [period.began, *within, period.ended]
    return max(after - before for before, after in itertools.pairwise(times))


@dataclass(frozen=True)
class Stored:
    """What the store says at the end about all that was acknowledged and issued."""

    changes: int
    facts: int
    lost_changes: tuple[str, ...]
    unsettled: tuple[str, ...]
    issued: int
    lost_records: int
    lost_at_kill: int
    repeated_records: int


def stored(
    cluster: Cluster, ledger: Sequence[Kept], changes: int, samples: Sequence[Sample], killed: float
) -> Stored:
    """Compare the store with what was acknowledged, and its records with the tokens."""
    issued = {one.jwt_id: one.received for one in samples if one.jwt_id}
    with cluster.connect(DATABASE) as connection:
        lost = []
        for kept in ledger:
            row = connection.execute(kept.query, (kept.parameter,)).fetchone()
            if kept.fact.settled is not None and row != (int(kept.fact.settled),):
                lost.append(kept.fact.name)
        found = connection.execute("SELECT jwt_id FROM token_record WHERE jwt_id IS NOT NULL")
        records = Counter(row[0] for row in found)
    missing = [at for jwt_id, at in issued.items() if jwt_id not in records]
    at_kill = [at for at in missing if killed - RECORDS_LOST_SECONDS <= at <= killed + 0.1]
    return Stored(
        changes=changes,
        facts=len(ledger),
        lost_changes=tuple(lost),
        unsettled=tuple(kept.fact.name for kept in ledger if kept.fact.settled is None),
        issued=len(issued),
        lost_records=len(missing) - len(at_kill),
        lost_at_kill=len(at_kill),
        repeated_records=sum(number - 1 for number in records.values()),
    )
