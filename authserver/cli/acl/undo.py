"""Undoing the latest change of rules."""

from __future__ import annotations

import click

from authserver.cli.acl import preview
from authserver.cli.context import Context, pass_context
from authserver.cli.output import json_option, note, print_json, require_sure, when, yes_option
from authserver.db import rule_history
from authserver.policy.files import preview as policy_preview


@click.command("undo", short_help="Undo the latest change of rules.")
@preview.dry_run_option
@yes_option
@json_option
@pass_context
def undo(context: Context, dry_run: bool, sure: bool, as_json: bool) -> None:
    """Undo the latest change of rules: one rule that was added, edited, switched or removed.

    The command shows the change, and who would gain or lose, and asks. A removed rule comes back
    under its id. Undoing once more does the change again. What changed more than one rule is
    refused, as is a rule that now would name somebody else.
    """
    with context.read() as session:
        done = rule_history.latest(session)
        steps = policy_preview.UndoSteps.of(done)
        rehearsal = policy_preview.Rehearsal.of(session, steps.after, steps.before)
    previewed = rehearsal.preview()
    if not as_json:
        click.echo(f"Change {done.id}, by {done.actor}, {when(done.at)}:")
        preview.line(steps.done)
        click.echo("Undoing it would:")
        preview.print_preview(previewed)
    if not dry_run:
        require_sure("Undo this?", sure=sure)
        with context.change() as change:
            rule_history.undo(change, done.id)
        note(f"Undone: rule {done.rule_id} is as it was.")
    if as_json:
        change_made = {"id": done.id, "at": done.at.isoformat(), "by": done.actor}
        told = {"rule": done.rule_id, "undoes": done.undoes, "change": steps.done.as_json()}
        print_json(change_made | told | {"undoing": previewed.as_json()})


commands = (undo,)
