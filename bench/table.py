"""The table: what must hold, what is aimed at, and what was measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.figures import Figure, Row, paired
from bench.flood import Flood
from bench.rows import ON_POSTGRESQL
from bench.steady import CONNECTIONS, Steady
from bench.worst import Worst

MEMORY = 160
"""Megabytes of a worker that is attacked; the bound of one that is not is 120."""

STORED = 64
"""Megabytes of records and log that one client may leave in two minutes."""


@dataclass(frozen=True)
class Line:
    """One line: what was measured, and the bounds that it is held against if there are any."""

    name: str
    unit: str
    figure: Figure
    bound: float | None = None
    aim: float | None = None
    lower_is_better: bool = False

    @property
    def verdict(self) -> str:
        """Return how far the median got."""
        if self.bound is None or self.aim is None:
            return ""
        if self._reaches(self.aim):
            return "aim"
        return "holds" if self._reaches(self.bound) else "MISSED"

    def _reaches(self, value: float) -> bool:
        return self.figure.median <= value if self.lower_is_better else self.figure.median >= value

    def __str__(self) -> str:
        spread = f"{self.figure.low:.3g}…{self.figure.high:.3g}"
        bounds = "" if self.bound is None else f"{self.bound:g} / {self.aim:g}"
        return (
            f"{self.name:64} {self.figure.median:9.3g} {self.unit:18} {spread:>16} "
            f"{bounds:>13} {self.verdict}"
        ).rstrip()


Rows = Mapping[str, Row]


def lines(rows: Rows, cores: int, large: str, number: int, startup: Figure) -> list[Line]:
    """Return the lines that the rows allow.

    ``large`` is the large installation's name, ``number`` how many rules and accounts it has.
    """
    found = [
        *_rates(rows),
        *_bcrypt(rows, cores),
        *_sizes(rows, large),
        *_memory(rows, large, number),
    ]
    times = "× the imports"
    found.append(Line("start-up to the first token", times, startup, 3, 2, lower_is_better=True))
    return found


def _rates(rows: Rows) -> list[Line]:
    bounds = {
        "anonymous pull": (0.30, 0.42),
        "app token": (0.26, 0.36),
        "password remembered": (0.26, 0.36),
        "refresh grant": (0.20, 0.30),
    }
    return [
        Line(name, "× ES256", rows[name].to_es256(), *bounds.get(name, (None, None)))
        for name in rows
        if name not in ("password cold", "wrong password")
    ]


def _bcrypt(rows: Rows, cores: int) -> list[Line]:
    cold, wrong, app_token = rows["password cold"], rows["wrong password"], rows["app token"]
    kept = [
        (one.beside or 0.0) / other.rate
        for one, other in zip(cold.rounds, app_token.rounds, strict=False)
    ]
    return [
        Line("wrong password", "× bcrypt, all cores", wrong.to_bcrypt(cores)),
        Line("password cold", "× bcrypt, all cores", cold.to_bcrypt(cores), 0.45, 0.45),
        Line("app tokens beside cold passwords", "× unloaded", Figure.of(kept), 0.4, 0.4),
    ]


def _sizes(rows: Rows, large: str) -> list[Line]:
    found = [
        Line(
            "50 scopes against 1",
            "× the time",
            paired(rows["anonymous pull"], rows["50 scopes"], lambda one: one.rate),
            6,
            4,
            lower_is_better=True,
        )
    ]
    for name in ("app token", "app token, another repository each time"):
        other = f"{name}, {large}"
        figure = paired(rows[other], rows[name], lambda one: one.rate)
        found.append(Line(f"{other}, against few", "× the rate", figure, 0.85, 0.85))
    figure = paired(rows[ON_POSTGRESQL.name], rows["app token"], lambda one: one.rate)
    found.append(Line("PostgreSQL against SQLite", "× the rate", figure, 0.95, 0.95))
    changed = rows[f"app token, {large}, a rule changed every second"]
    unchanged = rows[f"app token, {large}"]
    figure = paired(changed, unchanged, lambda one: one.p99)
    found.append(
        Line(
            "p99 while a rule changes every second", "× without", figure, 3, 3, lower_is_better=True
        )
    )
    return found


def _memory(rows: Rows, large: str, number: int) -> list[Line]:
    of_small = rows["app token"].figure(lambda one: one.resident / 1e6)
    of_large = rows[f"app token, {large}"]
    beside = of_large.figure(lambda one: one.resident / 1e6 - number / 1e3)
    name = "resident memory of a worker"
    return [
        Line(f"{name}, {large}", "MB", of_large.figure(lambda one: one.resident / 1e6)),
        Line(f"{name}, beside 1 KB for each of them", "MB", beside, 120, 80, lower_is_better=True),
        Line(name, "MB", of_small, 120, 80, lower_is_better=True),
    ]


def of_flood(flood: Flood) -> list[Line]:
    wrong = "wrong passwords on 64 connections"
    kept, grown = Figure.of([flood.kept]), Figure.of([flood.grown / 1e6])
    return [
        Line(f"app tokens beside {wrong}", "× unloaded", kept, 0.4, 0.4),
        Line(f"a worker grows in the second half of {wrong}", "MB", grown),
        Line("people who log in meanwhile", "seconds", Figure.of(flood.logins)),
        Line("of these failed", f"of {len(flood.logins)}", Figure.of([flood.refused])),
    ]


def of_steady(steady: Steady) -> list[Line]:
    """Return the lines of many connections: nothing may be refused, and nothing lost."""
    name, of_all = f"{CONNECTIONS} connections a core, {steady.name}", f"of {steady.requests}"
    return [
        Line(f"{name}: rate", "a second", Figure.of([steady.rate])),
        Line(f"{name}: p99", "seconds", Figure.of([steady.p99])),
        _at_most(f"{name}: refused", of_all, steady.refused, 0),
        _at_most(f"{name}: lost", of_all, steady.lost, 0),
    ]


def of_worst(worst: Worst) -> list[Line]:
    """Return the lines of what others notice of a client that does its worst."""
    name, kept = f"a client at its worst, {worst.name}", Figure.of([worst.kept])
    return [
        Line(f"{name}: app tokens of others", "× without it", kept, 0.4, 0.4),
        _at_most(f"{name}: their p99", "seconds", worst.p99, 1),
        _at_most(f"{name}: of these failed", "", worst.failed, 0),
        _at_most(f"{name}: logins that failed", f"of {len(worst.logins)}", worst.refused, 0),
        _at_most(f"{name}: a worker", "MB", worst.resident / 1e6, MEMORY),
        _at_most(f"{name}: stored of it", "MB", worst.stored / 1e6, STORED),
    ]


def _at_most(name: str, unit: str, value: float, bound: float) -> Line:
    return Line(name, unit, Figure.of([value]), bound, bound, lower_is_better=True)


def details(rows: Rows) -> list[str]:
    """Return what was measured of each row, in plain units."""
    head = f"{'':64} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU µs':>8} {'MB':>6}"
    return [head, *(_detail(row) for row in rows.values())]


def _detail(row: Row) -> str:
    def middle(of: Callable[..., float]) -> float:
        return row.figure(of).median

    return (
        f"{row.name:64} {middle(lambda r: r.rate):8.0f} {middle(lambda r: r.p50 * 1e3):8.2f} "
        f"{middle(lambda r: r.p99 * 1e3):8.2f} {middle(lambda r: r.processor * 1e6):8.1f} "
        f"{middle(lambda r: r.resident / 1e6):6.0f}{'  DISTURBED' if row.is_disturbed else ''}"
    )
