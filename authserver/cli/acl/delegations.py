"""Delegation: delegate, delegations, undelegate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from authserver.cli.acl.rules import PatternCommand
from authserver.cli.context import Context, pass_context
from authserver.cli.output import note
from authserver.cli.params import ACTIONS, DELEGATION, GROUP_SUBJECT, REGISTRY
from authserver.cli.views import Columns, Described, list_command
from authserver.core.errors import Refused
from authserver.core.subjects import SubjectKind, subject
from authserver.db import delegations

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@click.command("delegate", cls=PatternCommand, short_help="Let a group write allows within bounds.")
@click.argument("group", metavar="group:NAME", type=GROUP_SUBJECT)
@click.argument("pattern")
@click.option(
    "--actions", type=ACTIONS, default="all", show_default=True, help="What they may allow at most."
)
@click.option(
    "--registry",
    "service",
    metavar="SERVICE",
    type=REGISTRY,
    required=True,
    help="On this registry.",
)
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
        text = f"Delegation {row.id}: {to} may allow {delegations.str_delegation(row)}."
    note(text)


_COLUMNS: Columns[Described] = {
    "ID": lambda delegation: delegation["id"],
    "TO": lambda delegation: f"group:{delegation['group']}",
    "PATTERN": lambda delegation: delegation["pattern"],
    "ACTIONS": lambda delegation: ",".join(delegation["actions"]),
    "REGISTRY": lambda delegation: delegation["registry"],
}


@list_command(_COLUMNS, "No delegations.", name="delegations")
def list_(_: Context, session: Session) -> Sequence[Described]:
    """List the delegations."""
    return [delegations.described(row) for row in delegations.listed(session)]


@click.command("undelegate", short_help="End a delegation.")
@click.argument("delegation_id", metavar="ID", type=DELEGATION)
@pass_context
def undelegate(context: Context, delegation_id: int) -> None:
    """End the delegation ID: the rules that were written under it are disabled."""
    with context.change() as change:
        disabled = delegations.end(change, delegation_id)
    for text in disabled:
        note(f"rule {text}")
    note(f"Ended the delegation {delegation_id}.")


commands = (delegate, list_, undelegate)
