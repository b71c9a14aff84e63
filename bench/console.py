"""What the console costs while nobody uses it: a worker with it beside one without it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench import machine
from bench.figures import Figure
from bench.installation import Installation, serving
from bench.rows import anonymous
from bench.table import Line
from bench.wrk import Wrk, finished

BOUND = 1.03


@dataclass(frozen=True)
class _Served:
    """What was measured of one server of one worker."""

    seconds: float
    rate: float
    resident: int


def lines(installation: Installation, directory: Path, rounds: int, seconds: int) -> list[Line]:
    """Return a line each for start-up, rate and memory, as times of those without the console.

    ``seconds`` is how long plain pulls come in each round.
    """
    pairs = list(_pairs(installation, directory, rounds, seconds))
    start = Figure.of([on.seconds / off.seconds for off, on in pairs])
    resident = Figure.of([on.resident / off.resident for off, on in pairs])
    rate = Figure.of([on.rate / off.rate for off, on in pairs])
    name, times = "the console, not used", "× without it"
    return [
        Line(f"{name}: start-up", times, start, BOUND, BOUND, lower_is_better=True),
        Line(f"{name}: resident memory", times, resident, BOUND, BOUND, lower_is_better=True),
        Line(f"{name}: anonymous pull", times, rate, 1 / BOUND, 1 / BOUND),
    ]


def _pairs(
    installation: Installation, directory: Path, rounds: int, seconds: int
) -> Iterator[tuple[_Served, _Served]]:
    """Give what was measured without the console and with it, right after each other."""
    off, on = (
        replace(installation, settings={**installation.settings, "AUTHSERVER_CONSOLE": each})
        for each in ("off", "on")
    )
    for _ in range(rounds):
        yield _served(off, directory, seconds), _served(on, directory, seconds)


def _served(installation: Installation, directory: Path, seconds: int) -> _Served:
    wrk, request = Wrk(installation.url, directory), anonymous()(installation)
    with serving(installation, "--workers", "1") as server:
        finished(wrk.start(request, 1, 1))
        load = finished(wrk.start(request, seconds, 8 * machine.cores()))
        return _Served(server.seconds, load.rate, server.resident())
