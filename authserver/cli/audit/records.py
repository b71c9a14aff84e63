"""``audit list``, ``audit show``, ``audit tail`` and ``audit export``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar

import click

from authserver.audit import KINDS, OUTCOMES, chain, record_rows, records
from authserver.audit import export as audit_export
from authserver.cli.context import Context, pass_context
from authserver.cli.output import (
    MAX_CELL,
    note,
    progress_bar,
    safe_json,
    when,
)
from authserver.cli.params import ACCOUNT, REGISTRY, Moment
from authserver.cli.tables import marked
from authserver.cli.views import Columns, Described, Fields, list_command, show_command
from authserver.core.commands import program
from authserver.core.errors import NotReady
from authserver.core.names import printable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.audit.records import Record

_OPTIONS = (
    click.option("--kind", type=click.Choice(KINDS), help="Only changes, or only tokens."),
    click.option("--account", metavar="NAME", type=ACCOUNT, help="About this account."),
    click.option("--action", metavar="ACTION", help="Changes of this kind, like user.add."),
    click.option("--outcome", type=click.Choice(OUTCOMES), help="Token requests that ended so."),
    click.option(
        "--registry", metavar="SERVICE", type=REGISTRY, help="Token requests for this registry."
    ),
    click.option(
        "--repository", metavar="NAME", help="Token requests that asked for this repository."
    ),
    click.option("--address", metavar="IP", help="Token requests from this address."),
    click.option(
        "--since",
        metavar="TIME",
        type=Moment(past=True),
        help="From then on: 2026-11-24, 2026-11-24T18:00Z, or 12h, which is 12 hours ago.",
    ),
    click.option(
        "--until", metavar="TIME", type=Moment(past=True), help="From before then; as --since."
    ),
)

_R = TypeVar("_R")

LOOK_EVERY = 1.0
# Replicas may commit in another order than they were given ids.
OVERLAP = 1000


def filtered(command: Callable[..., _R]) -> Callable[..., _R]:
    """Add the flags; the command takes them as the one argument ``wanted``."""

    @wraps(command)
    def asked(*args: Any, **flags: Any) -> _R:  # noqa: ANN401 - click passes what it has
        wanted = records.Filter(**{name: flags.pop(name) for name in records.Filter.__slots__})
        return command(*args, wanted=wanted, **flags)

    for option in reversed(_OPTIONS):
        asked = option(asked)
    return asked


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
def tail(context: Context, wanted: records.Filter, follow: bool, limit: int, as_json: bool) -> None:
    """Show the latest records, a line each, the newest last."""
    show = safe_json if as_json else _line
    with context.read() as session:
        following = Following.now(session, wanted)
        first = records.listed(session, wanted, limit) if limit else []
    for record in first:
        click.echo(show(record))
    # It ends with Ctrl-C.
    with suppress(KeyboardInterrupt):
        while follow:
            sleep(LOOK_EVERY)
            _show_new(context, following, show)


def _show_new(
    context: Context, following: Following, show: Callable[[Mapping[str, Any]], str]
) -> None:
    with context.read() as session:
        rows = following.look(session)
    for record in rows:
        click.echo(show(record.fields))


@dataclass
class Following:
    """Finds what has come since it looked last."""

    wanted: records.Filter
    _newest: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    _seen: set[tuple[str, int]] = field(default_factory=set)

    @classmethod
    def now(cls, session: Session, wanted: records.Filter) -> Following:
        """Return one that has seen all that is there."""
        following = cls(wanted)
        following._newest |= records.newest(session)
        following.look(session)
        return following

    def look(self, session: Session) -> list[Record]:
        """Return the records that have come, oldest first."""
        places = [max(0, self._newest[kind] - OVERLAP) for kind in KINDS]
        rows = records.newer(session, self.wanted, *places)
        keys = {(record.fields["kind"], record.id): record for record in rows}
        new = [record for key, record in keys.items() if key not in self._seen]
        self._seen = set(keys)
        for kind, record_id in keys:
            self._newest[kind] = max(self._newest[kind], record_id)
        return new


def _line(record: Mapping[str, Any]) -> str:
    shown = (
        marked(printable(str(show(record)), MAX_CELL), name) for name, show in _COLUMNS.items()
    )
    return "  ".join(shown)


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


_COLUMNS: Columns[Described] = {
    "AT": lambda record: when(record["at"]),
    "WHO": _who,
    "WHAT": _what,
    "ON": _on,
}


@list_command(_COLUMNS, "There are no such records.")
@filtered
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="How many, the latest.",
)
def list_(
    _: Context, session: Session, /, wanted: records.Filter, limit: int
) -> Sequence[Described]:
    """List the latest records, the newest last."""
    return records.listed(session, wanted, limit)


@show_command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("record_id", metavar="ID", type=click.IntRange(0))
def show(_: Context, session: Session, /, kind: str, record_id: int) -> tuple[Described, Fields]:
    """Show one record with all that it says.

    `audit list --json` has the ids.
    """
    record = records.one(session, chain.RecordKind(kind), record_id).fields
    fields = {
        name.replace("_", " "): value if isinstance(value, str) else safe_json(value)
        for name, value in record.items()
    }
    return record, fields


@click.command("export", short_help="Print records as JSON lines, with their place in the chains.")
@filtered
@pass_context
def export(context: Context, wanted: records.Filter) -> None:
    """Print the records as JSON lines, oldest first, each with its chain, number and HMAC.

    This is the form of AUTHSERVER_AUDIT_LOG: `audit verify --against` takes an export as well.
    """
    done = 0
    unread: list[str] = []
    with context.read() as session, progress_bar("Exporting") as progress:
        total = record_rows.count(session, wanted)
        for line in audit_export.lines(session, wanted, unread):
            done += 1
            if line:
                click.echo(line)
            progress(done, total)
    if unread:
        raise NotReady(
            f"{len(unread)} records cannot be read, the first is {unread[0]}: "
            f"run `{program()} audit verify`"
        )
    note(f"Exported {done} records.")


commands = (list_, show, tail, export)
