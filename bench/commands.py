"""How long commands take, in times of `python -c pass`: the processor's time, not the clock's."""

import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence

from bench.figures import Figure
from bench.installation import Installation
from bench.table import Line

_AUTHSERVER = (sys.executable, "-m", "authserver")
_NOTHING = (sys.executable, "-c", "pass")

# A bound and an aim, of what needs no store and of what reads it.
_LIGHT = (12, 12)
_READING = (44, 33)
COMMANDS = {
    "--help": _LIGHT,
    "user add --help": _LIGHT,
    "registry --help": _LIGHT,
    "serve --help": _LIGHT,
    "user list": _READING,
    "acl list": _READING,
    "registry list": _READING,
}


def lines(installation: Installation, rounds: int) -> list[Line]:
    """Return a line for each command."""
    environ = installation.environ
    found: dict[str, list[float]] = {command: [] for command in COMMANDS}
    for _ in range(rounds):
        for command, ratios in found.items():
            nothing = min(_seconds(_NOTHING, environ) for _ in range(3))
            ratios.append(_seconds((*_AUTHSERVER, *command.split()), environ) / nothing)
    return [
        Line(
            f"authserver {command}",
            "× python -c pass",
            Figure.of(ratios),
            *COMMANDS[command],
            lower_is_better=True,
        )
        for command, ratios in found.items()
    ]


def _seconds(command: Sequence[str], environ: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
