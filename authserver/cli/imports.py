"""``authserver import``: moving in from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.import_docker_auth import from_docker_auth
from authserver.cli.inputs import read_input
from authserver.cli.output import json_option, note, note_on_name, print_json, progress_bar
from authserver.core.commands import program
from authserver.core.rules import Effect, Rule, new_rule
from authserver.core.subjects import Subject, SubjectKind
from authserver.db import accounts, lookup, models, rule_rows, rules
from authserver.importers import htpasswd

if TYPE_CHECKING:
    from authserver.db.store import Change
    from authserver.importers.htpasswd import HtpasswdEntry


@click.group("import")
def command() -> None:
    """Move in from another way of keeping accounts."""


command.add_command(from_docker_auth)


@dataclass
class ImportOutcome:
    """What an import did, or in a dry run would do."""

    dry_run: bool
    imported: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    refused: list[htpasswd.UnusableLine] = field(default_factory=list)
    rule: str | None = None


@command.command("htpasswd")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--allow",
    nargs=2,
    metavar="PATTERN ACTIONS",
    help="Also let everyone who logs in do ACTIONS on PATTERN, as in --allow '**' all.",
)
@click.option("--partial", is_flag=True, help="Exit with 0 even if lines are refused.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")
@json_option
@pass_context
def from_htpasswd(
    context: Context,
    file: Path,
    allow: tuple[str, str] | None,
    partial: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take over the users of an htpasswd FILE with their passwords.

    FILE is - for standard input. Only bcrypt hashes (htpasswd -B) can be taken. The command imports
    the rest, names every other line with its reason, and then exits with 1. Existing accounts stay
    as they are, so a second run changes nothing. The first login of each user hashes the password
    anew at the configured cost.
    """
    lines = [*htpasswd.parse(read_input(file), str(file))]
    everyone = Subject(SubjectKind.AUTHENTICATED)
    rule = new_rule(Effect.ALLOW, [everyone], allow[:1], allow[1]) if allow else None
    outcome = ImportOutcome(dry_run)
    with context.change() as change:
        _import(change, lines, outcome)
        if rule:
            outcome.rule = _allow(change, rule)
        if dry_run:
            change.session.rollback()
    for name in outcome.imported:
        note_on_name(name)
    if as_json:
        print_json(asdict(outcome))
    else:
        _print(outcome)
    if allow is None:
        note(
            "\nAn htpasswd registry gives everything to everyone who logs in. "
            "This rule does so:\n\n"
            f"    {program()} acl allow authenticated '**' all"
        )
    if outcome.refused and not partial:
        raise click.exceptions.Exit(1)


def _import(
    change: Change, lines: Sequence[HtpasswdEntry | htpasswd.UnusableLine], outcome: ImportOutcome
) -> None:
    with progress_bar("Importing") as progress:
        for done, item in enumerate(lines, 1):
            _import_line(change, item, outcome)
            progress(done, len(lines))


def _import_line(
    change: Change, item: HtpasswdEntry | htpasswd.UnusableLine, outcome: ImportOutcome
) -> None:
    if isinstance(item, htpasswd.UnusableLine):
        outcome.refused.append(item)
        return
    existing = lookup.similar(change.session, models.AccountRow, item.name)
    if existing is None:
        accounts.add_user(change, item.name, item.hash, source="htpasswd")
        outcome.imported.append(item.name)
    elif existing.name == item.name:
        outcome.existing.append(item.name)
    else:
        why = f"{existing.name} is there already: names must differ in more than case"
        outcome.refused.append(htpasswd.UnusableLine(item.line, item.name, why))


def _allow(change: Change, rule: Rule) -> str | None:
    """Write the rule, unless it is there already."""
    if rules.same(change.session, rule):
        return None
    return str(rule_rows.as_rule(rules.add(change, rule, "from htpasswd")))


def _print(outcome: ImportOutcome) -> None:
    imported, written, left = (
        ("would be imported", "would be written", "would not be taken")
        if outcome.dry_run
        else ("imported", "written", "not taken")
    )
    for name in outcome.existing:
        note(f"{name}: there already, left alone")
    for name in outcome.imported:
        note(f"{name}: {imported}")
    if outcome.rule:
        note(f"rule {outcome.rule}: {written}")
    for item in outcome.refused:
        note(f"line {item.line}: {item.name or '(no name)'}: {left}: {item.reason}")
    click.echo(
        f"{len(outcome.imported)} {imported}, {len(outcome.existing)} there already, "
        f"{len(outcome.refused)} {left}"
    )
    if outcome.dry_run:
        note("This was a dry run: nothing was changed.")
