"""Measure the token endpoint: `python -m bench`, or `make bench`."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from authserver.web.server.maintenance import MANY_RECORDS
from bench import commands, console, machine, rows, steady, table, worst
from bench.figures import Figure, Round, Row
from bench.flood import Flood, flood
from bench.installation import COST, Installation, Server, made, serving
from bench.rows import COLD, POSTGRESQL, SMALL, Measurement
from bench.table import Line
from bench.wrk import Load, Request, Wrk, finished
from tests import postgres
from tests.postgres import DURABLE

IMPORTS = (sys.executable, "-c", "import flask, sqlalchemy, cryptography, jwt")
LARGE = "100,000 rules and accounts"
SIZES = {
    "1,000 rules": (1_000, 10),
    "100,000 rules": (100_000, 10),
    "100,000 accounts": (10, 100_000),
    LARGE: (100_000, 100_000),
}
QUICK_LARGE = "1,000 rules and accounts"
QUICK_SIZES = {QUICK_LARGE: (1_000, 1_000)}


@dataclass(frozen=True)
class Plan:
    """How much is measured; ``seconds`` is for one row in one round.

    Wrong passwords come for ``flooded`` seconds. Plain pulls on many connections come for
    ``steady``, also where there are so many ``records``; one client does its worst for ``worst``.
    """

    rounds: int
    seconds: int
    sizes: Mapping[str, tuple[int, int]]
    large: str
    flooded: int
    steady: int
    worst: int
    records: int = MANY_RECORDS

    @property
    def measurements(self) -> list[Measurement]:
        return list(rows.all_rows(self.sizes, self.large))


FULL = Plan(5, 5, SIZES, LARGE, flooded=60, steady=60, worst=120)
QUICK = Plan(1, 2, QUICK_SIZES, QUICK_LARGE, flooded=10, steady=5, worst=10, records=10_000)

Part = tuple[dict[str, Any], list[Line]]


def main() -> None:
    """Measure, print and store."""
    chosen = _arguments()
    plan = QUICK if chosen.quick else FULL
    plan = replace(plan, rounds=chosen.rounds or plan.rounds)
    parts, result, found = chosen.part or list(PARTS), dict[str, Any](), list[Line]()
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="authserver-bench-") as directory:
            more, lines = PARTS[part](plan, Path(directory))
        result |= more
        found += lines
    _say("", *map(str, found))
    result |= {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.described(),
        "plan": asdict(plan),
        "table": [asdict(line) | {"verdict": line.verdict} for line in found],
    }
    chosen.output.write_text(json.dumps(result, indent=1) + "\n")
    _say("", f"stored in {chosen.output}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: is it all there?")
    parser.add_argument("--rounds", type=int, help="how often each row is measured")
    parser.add_argument("--part", action="append", choices=PARTS, help="only that; may be repeated")
    parser.add_argument("--output", type=Path, default=Path("bench-results.json"))
    return parser.parse_args()


def _rows(plan: Plan, directory: Path) -> Part:
    measured, startup, others = _measure(plan, directory)
    number = sum(plan.sizes[plan.large])
    found = table.lines(measured, machine.cores(), plan.large, number, startup)
    _say("", *table.details(measured))
    if any(row.is_disturbed for row in measured.values()):
        _say("", "Other processes were busy in every round of the rows marked DISTURBED.")
    rounds = {name: [asdict(one) for one in row.rounds] for name, row in measured.items()}
    return {"rows": rounds, "flood": asdict(others)}, [*found, *table.of_flood(others)]


def _steady(plan: Plan, directory: Path) -> Part:
    found = []
    for number in (0, plan.records):
        for name, served in (("SQLite", _on_sqlite), ("PostgreSQL", _on_postgresql)):
            place, of = directory / f"{name}-{number}", f"{number} records before, {name}"
            _say(f"{steady.CONNECTIONS} connections a core, {of} …")
            with served(place, number) as server:
                found.append(steady.steady(of, server, directory, plan.steady))
            _say(str(found[-1]))
    lines = [line for one in found for line in table.of_steady(one)]
    return {"steady": [asdict(one) for one in found]}, lines


def _worst(plan: Plan, directory: Path) -> Part:
    found = []
    for one in worst.measured(directory, plan.worst):
        _say(str(one))
        found.append(one)
    lines = [line for one in found for line in table.of_worst(one)]
    return {"worst": [asdict(one) for one in found]}, lines


def _commands(plan: Plan, directory: Path) -> Part:
    found = commands.lines(made(directory / "commands", 10, 10), plan.rounds)
    return {}, found


def _console(plan: Plan, directory: Path) -> Part:
    installation = made(directory / "console", 10, 10)
    return {}, console.lines(installation, directory, plan.rounds, plan.seconds)


PARTS = {
    "rows": _rows,
    "steady": _steady,
    "worst": _worst,
    "commands": _commands,
    "console": _console,
}


def _measure(plan: Plan, directory: Path) -> tuple[dict[str, Row], Figure, Flood]:
    servers: dict[str, Server] = {}
    with ExitStack() as stack:
        for name, (rules, accounts) in {SMALL: (10, 10), **plan.sizes}.items():
            _say(f"making an installation: {name} …")
            installation = made(directory / name.replace(" ", "-"), rules, accounts)
            servers[name] = stack.enter_context(serving(installation))
        small = servers[SMALL].installation
        cold = made(directory / COLD, 10, 10, rows.EACH_BY_BCRYPT)
        servers[COLD] = stack.enter_context(serving(cold))
        servers[POSTGRESQL] = stack.enter_context(_on_postgresql(directory / POSTGRESQL))
        found: dict[str, list[Round]] = {m.name: [] for m in plan.measurements}
        for number in range(plan.rounds):
            for measurement in plan.measurements:
                one = _round(measurement, servers, plan.seconds, directory)
                found[measurement.name].append(one)
                quiet = "" if one.is_quiet else f"  (others took {one.others:.0%} of the cores)"
                done = f"round {number + 1} of {plan.rounds}: {measurement.name:60}"
                _say(f"{done} {one.rate:8.0f}/s {one.processor * 1e6:7.1f} µs{quiet}")
        _say(f"wrong passwords for {plan.flooded} s …")
        others = flood(servers[SMALL], directory, plan.flooded)
        _say(str(others))
    startup = Figure.of([_startup(small) for _ in range(plan.rounds + 1)])
    return {name: Row(name, tuple(rounds)) for name, rounds in found.items()}, startup, others


@contextmanager
def _on_sqlite(data_dir: Path, records: int = 0) -> Iterator[Server]:
    installation = made(data_dir, 10, 10)
    steady.fill(installation, records)
    with serving(installation) as server:
        yield server


@contextmanager
def _on_postgresql(data_dir: Path, records: int = 0) -> Iterator[Server]:
    with postgres.stopped_cluster() as cluster, postgres.running(cluster, **DURABLE) as process:
        cluster.create("bench")
        url = cluster.url("bench").render_as_string(hide_password=False)
        installation = made(data_dir, 10, 10, {"AUTHSERVER_DATABASE_URL": url})
        steady.fill(installation, records)
        with serving(installation) as server:
            cluster.disconnect()
            yield replace(server, beside=process)


def _round(
    measurement: Measurement, servers: Mapping[str, Server], seconds: int, directory: Path
) -> Round:
    server, seconds = servers[measurement.on], seconds * measurement.times
    installation = server.installation
    pids = [pid for each in servers.values() for pid in each.pids]
    es256, bcrypt = machine.es256_rate(0.2), machine.bcrypt_rate(COST, 0.5)
    wrk = Wrk(installation.url, directory)
    request = measurement.making(installation)
    _warm(wrk, request)
    server.settle()
    busy, worked, began = machine.Busy.now(pids), server.worked(), time.monotonic()
    with ExitStack() as stack:
        if measurement.changing:
            stack.enter_context(rows.changing(installation))
        beside = _beside(measurement, wrk, installation, seconds)
        load = finished(wrk.start(request, seconds, measurement.connections * machine.cores()))
        other = finished(beside) if beside is not None else None
    return Round(
        rate=load.rate,
        p50=load.p50,
        p99=load.p99,
        processor=(server.worked() - worked) / max(1, load.requests),
        resident=server.resident(),
        others=machine.Busy.now(pids).others_since(busy)
        / (machine.cores() * (time.monotonic() - began)),
        es256=es256,
        bcrypt=bcrypt,
        beside=None if other is None else other.rate,
        failed=load.failed,
    )


def _beside(
    measurement: Measurement, wrk: Wrk, installation: Installation, seconds: int
) -> "subprocess.Popen[str] | None":
    if measurement.beside is None:
        return None
    return wrk.start(measurement.beside(installation), seconds, 8 * machine.cores())


def _warm(wrk: Wrk, request: Request) -> Load:
    return finished(wrk.start(request, 1, machine.cores()))


def _startup(installation: Installation) -> float:
    """Return how many times as long as the imports alone it takes to the first token."""
    with serving(installation) as server:
        first = server.seconds
    began = time.monotonic()
    subprocess.run(IMPORTS, check=True)
    return first / (time.monotonic() - began)


def _say(*texts: str) -> None:
    for text in texts:
        print(text, flush=True)


if __name__ == "__main__":
    main()
