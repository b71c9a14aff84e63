"""What a run came to: each phase counted, and whether what was promised is in the store."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.postgres import Cluster
from tests.soak.changing import Changer, Kept
from tests.soak.load import CHANGE, GUESS, Sample
from tests.soak.place import DATABASE, Place

RECORDS_LOST_SECONDS = 1.0
"""How much of a killed server's records may be lost."""

OTHERS = (CHANGE, GUESS)
SETTLED_PART = 0.25
"""The part of a phase, its end, in which nothing fails any more where a server is well."""


@dataclass(frozen=True)
class Period:
    """A phase of the run; times are of the monotonic clock, in seconds.

    ``statuses`` is what the servers said of themselves at its end, ``wanted`` what they were to.
    """

    name: str
    began: float
    ended: float
    statuses: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()

    @property
    def settled_at(self) -> float:
        """From when on nothing may fail any more, if any server is well."""
        return self.ended - (self.ended - self.began) * SETTLED_PART


@dataclass(frozen=True)
class Answering:
    """How a server answered: its tokens within a phase, and after how many seconds the last was."""

    tokens: int
    last: float | None

    @classmethod
    def of(cls, granted: Sequence[Sample], began: float) -> "Answering":
        return cls(len(granted), max((one.sent - began for one in granted), default=None))


@dataclass(frozen=True)
class Counted:
    """A phase in figures. ``gap`` is for how long the clients of one way got no answer, at most.

    ``unsettled`` is how many requests failed at its end though a server was well.
    """

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
    servers: tuple[Answering, ...]
    statuses: tuple[str, ...]
    wanted: tuple[str, ...]
    unsettled: int


def count(
    period: Period, samples: Sequence[Sample], wrong: Iterable[float], servers: Sequence[str] = ()
) -> Counted:
    """Count the requests that were sent within a phase; ``servers`` are their addresses."""
    within = [one for one in samples if period.began <= one.sent < period.ended]
    tokens = [one for one in within if one.way not in OTHERS]
    changes = [one for one in within if one.way == CHANGE]
    granted = [one for one in tokens if one.kind == "granted"]
    failed = [one for one in tokens if not one.is_good]
    ways = {one.way for one in samples} - set(OTHERS)
    return Counted(
        phase=period.name,
        seconds=period.ended - period.began,
        requests=len(tokens),
        failed=dict(Counter(f"{one.kind} ({one.way})" for one in failed)),
        gap=max(longest_gap([s for s in samples if s.way == way], period) for way in ways),
        slowest=max((one.received - one.sent for one in tokens), default=0.0),
        stale=sum(one.stale for one in tokens),
        narrow=sum(one.narrow for one in tokens),
        wrong=sum(period.began <= at < period.ended for at in wrong),
        changes=sum(one.is_good for one in changes),
        changes_failed=dict(Counter(one.kind for one in changes if not one.is_good)),
        guesses_refused=sum(one.way == GUESS and one.is_good for one in within),
        servers=tuple(
            Answering.of([one for one in granted if one.by == server], period.began)
            for server in servers
        ),
        statuses=period.statuses,
        wanted=period.wanted,
        unsettled=sum("ok" in period.wanted and one.sent >= period.settled_at for one in failed),
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
    audited: str
    faults: str


def stored(here: Place, changer: Changer, samples: Sequence[Sample], killed: float = 0.0) -> Stored:
    """Compare the store with what was acknowledged, and its records with tokens and copies.

    No server may run any more. ``killed`` is when one was killed, by the monotonic clock.
    """
    issued = {one.jwt_id: one.received for one in samples if one.jwt_id}
    lost, records = _compared(here.cluster, changer.ledger)
    missing = [at for jwt_id, at in issued.items() if jwt_id not in records]
    at_kill = [at for at in missing if killed - RECORDS_LOST_SECONDS <= at <= killed + 0.1]
    verified = here.verify()
    return Stored(
        changes=changer.api.acknowledged,
        facts=len(changer.ledger),
        lost_changes=lost,
        unsettled=tuple(kept.fact.name for kept in changer.ledger if kept.fact.settled is None),
        issued=len(issued),
        lost_records=len(missing) - len(at_kill),
        lost_at_kill=len(at_kill),
        repeated_records=sum(number - 1 for number in records.values()),
        audited=verified.stdout.strip(),
        faults="" if verified.returncode == 0 else f"{verified.stdout}{verified.stderr}".strip(),
    )


def _compared(cluster: Cluster, ledger: Sequence[Kept]) -> tuple[tuple[str, ...], Counter[str]]:
    """Return what is not as it was acknowledged, and how often each token is in the records."""
    with cluster.connect(DATABASE) as connection:
        lost = []
        for kept in ledger:
            row = connection.execute(kept.query, (kept.parameter,)).fetchone()
            if kept.fact.settled is not None and row != (int(kept.fact.settled),):
                lost.append(kept.fact.name)
        found = connection.execute("SELECT jwt_id FROM token_record WHERE jwt_id IS NOT NULL")
        return tuple(lost), Counter(row[0] for row in found)
