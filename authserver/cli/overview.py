"""``authserver overview``: what needs attention."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import MAX_CELL, json_option, note, print_json, red
from authserver.core.names import printable
from authserver.policy.lint import findings
from authserver.web.overview import from_store, items, lint_memory

if TYPE_CHECKING:
    from authserver.web.overview.items import OverviewItem

INDENT = " " * len("warning  ")


@click.command("overview")
@json_option
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Show what needs attention, the gravest first, each with the command that helps.

    It looks for keys, certificates, app tokens and invitations that end soon, for lint's findings,
    lockouts, registries whose last check failed, and altered records. GET /overview of the API has
    the troubles of a server as well: records that the store does not take, proxies that are not
    heeded, little space.
    """
    with context.read() as session:
        memory = lint_memory.LintMemory(time.monotonic)
        view = from_store.StoreView(session, context.store, context.settings, memory)
        found = items.in_order(from_store.items(view))
    if as_json:
        print_json([item.as_json() for item in found])
        return
    for item in found:
        _print(item)
    if not found:
        note("Nothing needs attention.")


def _print(item: OverviewItem) -> None:
    level = f"{item.level:<7}"
    shown = red(level) if item.level is findings.Level.ERROR else level
    click.echo(f"{shown}  {printable(item.text, MAX_CELL)}")
    more = item.count - len(item.first)
    if item.count > 1 or item.code.startswith("lint"):
        names = [*item.first, *([f"… and {more:,} more"] if more else [])]
        for name in names:
            click.echo(f"{INDENT}- {printable(name)}")
    if item.remedy:
        click.echo(INDENT + item.remedy)
