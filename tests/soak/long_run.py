"""Half an hour in which nothing bad happens: does what the servers hold stay level?"""

import os
import time
from dataclasses import dataclass

from tests.soak import outcome
from tests.soak.outcome import Counted, Period, Stored
from tests.soak.place import Place
from tests.soak.traffic import Pace, Traffic
from tests.soak.usage import Usage, Watch

PACE = Pace(asks=0.15, changes=0.5)
MINUTES = 30.0
LOGS_MOVED = 6
"""How many times the audit logs are moved away."""


@dataclass(frozen=True)
class Run:
    """What came of it; ``clients`` is how much of a core the clients took."""

    counted: Counted
    stored: Stored
    usages: list[Usage]
    wrong: list[str]
    rate: float
    rotations: int
    clients: float


def run(here: Place, shorter: float) -> Run:
    """Load the servers for MINUTES, and look at what they hold."""
    traffic = Traffic.to(here, PACE)
    watch = Watch(here)
    began, worked = time.monotonic(), time.process_time()
    with traffic.running(), watch.watching():
        for _ in range(LOGS_MOVED):
            time.sleep(MINUTES * 60 * shorter / LOGS_MOVED)
            here.move_audit_logs()
            print(watch.usages[-1], os.getloadavg(), flush=True)
    clients = (time.process_time() - worked) / (time.monotonic() - began)
    here.stop_replicas()
    noted, period = traffic.noted, Period("half an hour", began, time.monotonic())
    return Run(
        counted=outcome.count(period, noted.samples, [at for at, _ in noted.wrong]),
        stored=outcome.stored(here, traffic.changer, noted.samples),
        usages=watch.usages,
        wrong=[text for _, text in noted.wrong],
        rate=traffic.rate,
        rotations=traffic.changer.rotations,
        clients=clients,
    )
