"""``audit list`` and ``audit tail``."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import sleep
from typing import Any

import click
from sqlalchemy.orm import Session

from authserver.audit import records
from authserver.audit.records import Filter, Record
from authserver.cli.audit.filters import filtered
from authserver.cli.context import Context, pass_context
from authserver.cli.output import MAX_CELL, json_option, print_list, safe_json, when
from authserver.core.names import printable

LOOK_EVERY = 1.0
# Replicas may commit in another order than they were given ids.
OVERLAP = 1000


@click.command("list")
@filtered
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="How many, the latest.",
)
@json_option
@pass_context
def list_(context: Context, wanted: Filter, limit: int, as_json: bool) -> None:
    """List the latest records, the newest last."""
    with context.read() as session:
        found = records.listed(session, wanted, limit)
    print_list(found, _COLUMNS, "There are no such records.", as_json=as_json)


@click.command("tail", short_help="Show the latest records, and go on with those that come.")
@filtered
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option(
    "-n",
    "--lines",
    "limit",
    metavar="N",
    type=click.IntRange(0, 100_000),
    default=20,
    show_default=True,
    help="How many to begin with.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each record as one line of JSON.")
@pass_context
def tail(context: Context, wanted: Filter, follow: bool, limit: int, as_json: bool) -> None:
    """Show the latest records, a line each, the newest last."""
    show = safe_json if as_json else _line
    with context.read() as session:
        following = Following.now(session, wanted)
        first = records.listed(session, wanted, limit) if limit else []
    for told in first:
        click.echo(show(told))
    # It ends with Ctrl-C.
    with suppress(KeyboardInterrupt):
        while follow:
            sleep(LOOK_EVERY)
            _show_new(context, following, show)


def _show_new(
    context: Context, following: "Following", show: Callable[[Mapping[str, Any]], str]
) -> None:
    with context.read() as session:
        found = following.look(session)
    for record in found:
        click.echo(show(record.told))


@dataclass
class Following:
    """Finds what has come since it looked last."""

    wanted: Filter
    _newest: dict[str, int] = field(default_factory=lambda: dict.fromkeys(records.KINDS, 0))
    _seen: set[tuple[str, int]] = field(default_factory=set)

    @classmethod
    def now(cls, session: Session, wanted: Filter) -> "Following":
        """Return one that has seen all that is there."""
        made = cls(wanted)
        made._newest |= records.newest(session)
        made.look(session)
        return made

    def look(self, session: Session) -> list[Record]:
        """Return the records that have come, oldest first."""
        places = [max(0, self._newest[kind] - OVERLAP) for kind in records.KINDS]
        found = records.newer(session, self.wanted, *places)
        keys = {(record.told["kind"], record.id): record for record in found}
        new = [record for key, record in keys.items() if key not in self._seen]
        self._seen = set(keys)
        for kind, record_id in keys:
            self._newest[kind] = max(self._newest[kind], record_id)
        return new


def _line(record: Mapping[str, Any]) -> str:
    return "  ".join(printable(str(show(record)), MAX_CELL) for show in _COLUMNS.values())


def _who(record: Mapping[str, Any]) -> str:
    return str(record["actor"] if record["kind"] == "change" else record["account"] or "anonymous")


def _what(record: Mapping[str, Any]) -> str:
    if record["kind"] == "change":
        return str(record["action"])
    times = f", {record['requests']} times" if record["requests"] > 1 else ""
    return f"token {record['outcome']}{times}"


def _on(record: Mapping[str, Any]) -> str:
    if record["kind"] == "change":
        return str(record["target"])
    granted = f"{record['registry']} {record['granted'] or '-'}"
    return f"{granted} from {record['address']} {record['reason']}".rstrip()


_COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "AT": lambda record: when(record["at"]),
    "WHO": _who,
    "WHAT": _what,
    "ON": _on,
}

commands = (list_, tail)
