"""Delegation: delegate, delegations, undelegate."""

import click

from authserver.cli.acl.rules import PatternCommand
from authserver.cli.context import Context, pass_context
from authserver.cli.output import ID, json_option, note, print_json, print_table
from authserver.core.errors import Refused
from authserver.core.subjects import SubjectKind, subject
from authserver.db import delegations


@click.command("delegate", cls=PatternCommand, short_help="Let a group write allows within bounds.")
@click.argument("group", metavar="group:NAME")
@click.argument("pattern")
@click.option("--actions", default="all", show_default=True, help="What they may allow at most.")
@click.option("--registry", "service", metavar="SERVICE", required=True, help="On this registry.")
@click.option("--comment", default="", help="Why.")
@pass_context
def delegate(
    context: Context, group: str, pattern: str, actions: str, service: str, comment: str
) -> None:
    """Let the members of a group write allows within PATTERN on one registry.

    They do so through the API, for accounts and groups that exist, never for anonymous,
    authenticated or everyone; they write no denies, delegate nothing further, and touch only
    what they wrote themselves.
    """
    to = subject(group)
    if to.kind is not SubjectKind.GROUP:
        raise Refused(f"a delegation is to a group, as in group:payments, not to {to}")
    extent = delegations.extent(pattern, actions)
    with context.change() as change:
        row = delegations.add(change, to.name, service, extent, comment)
        said = f"Delegation {row.id}: {to} may allow {delegations.str_delegation(row)}."
    note(said)


@click.command("delegations")
@json_option
@pass_context
def list_(context: Context, as_json: bool) -> None:
    """List the delegations."""
    with context.read() as session:
        found = [delegations.described(row) for row in delegations.listed(session)]
    if as_json:
        print_json(found)
        return
    rows = [
        (d["id"], f"group:{d['group']}", d["pattern"], ",".join(d["actions"]), d["registry"])
        for d in found
    ]
    header = ("ID", "TO", "PATTERN", "ACTIONS", "REGISTRY")
    print_table(header, rows, "No delegations.")


@click.command("undelegate", short_help="End a delegation.")
@click.argument("delegation_id", metavar="ID", type=ID)
@pass_context
def undelegate(context: Context, delegation_id: int) -> None:
    """End the delegation ID: the rules that were written under it are disabled."""
    with context.change() as change:
        disabled = delegations.end(change, delegation_id)
    for text in disabled:
        note(f"rule {text}")
    note(f"Ended the delegation {delegation_id}.")


commands = (delegate, list_, undelegate)
