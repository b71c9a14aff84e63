"""Lint: what in the rules deserves a second look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import MAX_CELL, json_option, note, print_json
from authserver.core.names import printable
from authserver.db import snapshot
from authserver.policy.lint import checks, rule_usage, stale
from authserver.policy.lint.findings import MAX_DAYS, Code, Level

if TYPE_CHECKING:
    from authserver.policy.lint.findings import LintReport


@click.command("lint", short_help="Find rules without effect, too wide, or left over.")
@click.option(
    "--level",
    type=click.Choice(Level, case_sensitive=False),
    default=Level.WARNING,
    show_default=True,
    help="Exit with 1 on findings of this level or a higher one.",
)
@click.option("--quiet", is_flag=True, help="Leave out the findings below that level.")
@click.option(
    "--ignore",
    "ignored",
    metavar="CODE",
    type=click.Choice([code.value for code in Code]),
    multiple=True,
    help="Leave out findings of this kind; may be repeated.",
)
@click.option(
    "--unused-days",
    "days",
    metavar="N",
    type=click.IntRange(1, MAX_DAYS),
    help="Report rules that no token request touched, or that were disabled, for so many days; "
    "unless given, for as long as records of token requests are kept (token_record_days).",
)
@json_option
@pass_context
def lint(
    context: Context,
    level: Level,
    quiet: bool,
    ignored: tuple[str, ...],
    days: int | None,
    as_json: bool,
) -> None:
    """Look for rules without effect, wider than is often meant, or left over.

    Exits with 1 if there are any of --level. Each finding has a code, by which --ignore leaves
    it out, and mostly the command that mends it.
    """
    days_kept = context.settings.token_record_days
    ages = stale.LintAges(now(), days or days_kept, days_kept)
    with context.read() as session:
        state, usage = snapshot.load(session), rule_usage.load(session, ages.since)
    report = checks.lint(state, usage, ages, frozenset(map(Code, ignored)))
    if as_json:
        print_json(report.as_json(level if quiet else Level.INFO))
    else:
        _print(report, level if quiet else Level.INFO, len(state.rules))
    if report.at_least(level):
        raise SystemExit(1)


def _print(report: LintReport, least: Level, looked_at: int) -> None:
    findings = report.at_least(least)
    for finding in findings:
        click.echo(printable(str(finding), MAX_CELL))
        if finding.remedy:
            click.echo(printable(f"  {finding.remedy}", MAX_CELL))
    for text in report.notes:
        note(text)
    counts = [(level, sum(f.level is level for f in report.findings)) for level in Level]
    summary = ", ".join(f"{number} {level}" for level, number in reversed(counts) if number)
    note(f"{looked_at} rules: {summary or 'no findings'}.")


commands = (lint,)
