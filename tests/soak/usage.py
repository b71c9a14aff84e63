"""What the processes of the servers hold of the machine, and whether it stays level."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Event

from bench.machine import cpu_seconds, resident_bytes
from tests.e2e.fetching import fetch
from tests.soak.place import Place

EVERY_SECONDS = 5.0
SIXTHS = 6
"""In how many parts a run is told; the first two are its warm-up."""

MEASURES = ("memory", "descriptors", "threads")


@dataclass(frozen=True)
class Usage:
    """What a process held at a moment: ``memory`` resident in bytes, open descriptors, threads.

    ``at`` is of the monotonic clock; ``worked`` the processor seconds so far.
    """

    process: str
    at: float
    memory: int
    descriptors: int
    threads: int
    worked: float

    @classmethod
    def of(cls, process: str, pid: int) -> "Usage":
        """Look at a process."""
        entries = {
            name: len(list(Path(f"/proc/{pid}/{name}").iterdir())) for name in ("fd", "task")
        }
        return cls(
            process,
            time.monotonic(),
            resident_bytes(pid),
            entries["fd"],
            entries["task"],
            cpu_seconds(pid),
        )


@dataclass
class Watch:
    """Looks at all processes every few seconds, and asks for the metrics of each server."""

    here: Place
    usages: list[Usage] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look until the block ends; what went wrong meanwhile is raised then."""
        ended = Event()
        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(self._repeat, ended)
            try:
                yield
            finally:
                ended.set()
            looking.result()

    def _repeat(self, ended: Event) -> None:
        while not ended.wait(EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        for number, replica in enumerate(self.here.replicas, 1):
            assert replica.process is not None
            self.usages.append(Usage.of(f"server {number}", replica.process.inner.pid))
            for pid in replica.process.workers:
                self.usages.append(Usage.of(f"worker of server {number}", pid))
            listen = replica.authserver.env["AUTHSERVER_METRICS_LISTEN"]
            assert fetch(f"http://{listen}/metrics").status == 200


@dataclass(frozen=True)
class Course:
    """How a measure of a process went: its median in each sixth of the run."""

    process: str
    measure: str
    medians: tuple[float, ...]

    def grown(self) -> float:
        """Return how much higher it is in the last third than in the one before."""
        return max(self.medians[4:]) - max(self.medians[2:4])


def courses(usages: Sequence[Usage]) -> list[Course]:
    """Return how each measure of each process went."""
    began, ended = usages[0].at, usages[-1].at
    edges = [began + (ended - began) * number / SIXTHS for number in range(SIXTHS)]
    edges.append(float("inf"))
    found = []
    for measure in MEASURES:
        for process in sorted({one.process for one in usages}):
            mine = [one for one in usages if one.process == process]
            parts = [
                [getattr(one, measure) for one in mine if edges[n] <= one.at < edges[n + 1]]
                for n in range(SIXTHS)
            ]
            found.append(Course(process, measure, tuple(median(part) for part in parts)))
    return found


def worked_share(usages: Sequence[Usage]) -> float:
    """Return how much of one core all processes took together, 1 being all of it."""
    share = 0.0
    for process in {one.process for one in usages}:
        mine = [one for one in usages if one.process == process]
        share += (mine[-1].worked - mine[0].worked) / (mine[-1].at - mine[0].at)
    return share
