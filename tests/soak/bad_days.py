"""What the servers need is stopped, killed and cut off, one after the other."""

import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from tests.soak import outcome
from tests.soak.outcome import Counted, Period, Stored
from tests.soak.place import Place
from tests.soak.traffic import Pace, Traffic
from tests.world import wait_until

PACE = Pace(asks=0.04, changes=0.2)
WARM_SECONDS = 3.0

KILLED, CUT_OFF = 1, 2
"""Which of the servers is killed, and which is cut off from PostgreSQL."""

WELL, STALE, FAILING = ("ok",) * 3, ("stale",) * 3, ("failing",) * 3
ONE_GONE, ONE_FAILING = ("ok", "gone", "ok"), ("ok", "ok", "failing")
"""What the servers say of themselves at the end of a phase."""


@dataclass(frozen=True)
class Run:
    """What came of it; ``rate`` is how many token requests there were in a second."""

    phases: list[Counted]
    stored: Stored
    wrong: list[str]
    rate: float


@dataclass
class Day:
    """The programs, who asks and changes things, and the phases so far."""

    place: Place
    traffic: Traffic
    shorter: float
    periods: list[Period] = field(default_factory=list)
    killed: float = 0.0

    def phase(
        self,
        name: str,
        seconds: float,
        begin: Callable[[], object] = lambda: None,
        statuses: tuple[str, ...] = WELL,
    ) -> None:
        """Do something, let the load go on for a time, and tell what came of it.

        ``statuses`` is what the servers are to say of themselves at the end.
        """
        began = time.monotonic()
        begin()
        time.sleep(max(0.0, began + seconds * self.shorter - time.monotonic()))
        ended, said = time.monotonic(), tuple(self.place.statuses())
        self.periods.append(Period(name, began, ended, said, statuses))
        print(asdict(self.counted(self.periods[-1])), flush=True)

    def counted(self, period: Period) -> Counted:
        """Count what came within a phase."""
        noted = self.traffic.noted
        wrong = [at for at, _ in noted.wrong]
        return outcome.count(period, noted.samples, wrong, list(self.place.reaches_by_address))

    def phases(self) -> None:
        """Let everything happen that is to be outlived."""
        here = self.place
        self.phase("all is well", 20)
        self.phase("PostgreSQL crashes and is started again", 20, self.restart_database)
        self.phase("PostgreSQL is stopped", 30, self.stop_database, STALE)
        self.phase("PostgreSQL is there again", 20, here.start_database)
        self.phase("PostgreSQL is stopped for longer", 80, self.stop_database, FAILING)
        self.phase("PostgreSQL is there again, later", 20, here.start_database)
        self.phase(
            "one replica is cut off from PostgreSQL", 80, lambda: here.cut(CUT_OFF), ONE_FAILING
        )
        self.phase("it reaches PostgreSQL again", 20, lambda: here.connect(CUT_OFF))
        self.phase("all its packets are lost", 80, lambda: here.lose_packets(CUT_OFF), ONE_FAILING)
        self.phase("they arrive again", 20, lambda: here.connect(CUT_OFF))
        self.phase("one replica is killed (-9)", 20, self.kill, ONE_GONE)
        self.phase("it is started again", 20, lambda: here.start_replica(KILLED))
        self.phase("Redis is stopped", 20, here.redis.stop)

    def restart_database(self) -> None:
        with self.traffic.changer.narrowed():
            self.place.stop_database(signal.SIGQUIT)
        self.place.start_database()

    def stop_database(self) -> None:
        with self.traffic.changer.narrowed():
            self.place.stop_database(signal.SIGINT)

    def kill(self) -> None:
        self.place.kill_replica(KILLED)
        self.killed = time.monotonic()


def run(here: Place, shorter: float) -> Run:
    """Load the servers, let everything happen, and count."""
    traffic = Traffic.to(here, PACE)
    day = Day(here, traffic, shorter)
    with traffic.running():
        time.sleep(WARM_SECONDS)
        day.phases()
    assert wait_until(here.all_ready, 10)
    here.stop_replicas()
    return Run(
        phases=[day.counted(period) for period in day.periods],
        stored=outcome.stored(here, traffic.changer, traffic.noted.samples, day.killed),
        wrong=[text for _, text in traffic.noted.wrong],
        rate=traffic.rate,
    )
