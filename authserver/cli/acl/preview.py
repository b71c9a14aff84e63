"""``--dry-run`` of the commands that change a rule: who would gain and who would lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from authserver.cli.output import note, print_json
from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.policy.files import preview

if TYPE_CHECKING:
    from authserver.cli.context import Context
    from authserver.policy.files.document import RuleEntry
    from authserver.policy.files.preview import RulePreview

MAX_LINE = 2000

_F = TypeVar("_F", bound=Callable[..., Any])


def dry_run_option(command: _F) -> _F:
    """Add ``--dry-run``."""
    return click.option(
        "--dry-run", is_flag=True, help="Show who would gain or lose, and change nothing."
    )(command)


def dry_run_options(command: _F) -> _F:
    """Add ``--dry-run``, and ``--json`` for its answer."""
    as_json = click.option(
        "--json", "as_json", is_flag=True, help="With --dry-run: print one JSON value."
    )
    return dry_run_option(as_json(command))


def require_dry_run(*, dry_run: bool, as_json: bool) -> None:
    """Check that ``--json`` has something to print.

    Raises:
        Refused: there is no ``--dry-run``.
    """
    if as_json and not dry_run:
        raise Refused("--json is for --dry-run; `acl show ID --json` prints the rule")


def show(
    context: Context, before: RuleEntry | None, after: RuleEntry | None, *, as_json: bool
) -> None:
    """Print what a change of a rule would do."""
    with context.read() as session:
        rehearsal = preview.Rehearsal.of(session, before, after)
    previewed = rehearsal.preview()
    print_json(previewed.as_json()) if as_json else print_preview(previewed)


def print_preview(previewed: RulePreview) -> None:
    """Print a preview as a plan of a policy file is printed."""
    if previewed.step is None:
        click.echo("Nothing to change.")
        return
    line(previewed.step)
    for change in previewed.effects.changes:
        line(f"    {change}")
    if previewed.effects.more:
        line("    … and perhaps more: too much to tell")
    if not previewed.effects.changes and not previewed.effects.more:
        line("    Nobody gains or loses.")
    for error in previewed.warnings:
        note(f"Warning: {printable(error.text, MAX_LINE)} ({error.code}).")


def line(text: object) -> None:
    """Print one line, without what commands a terminal."""
    click.echo(printable(str(text), MAX_LINE))
