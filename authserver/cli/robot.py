"""``authserver robot``: programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from authserver.cli import account_switches
from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import note, note_on_name, when, when_if, yes
from authserver.cli.params import ROBOT, USER
from authserver.cli.views import Columns, Described, Fields, list_command, show_command
from authserver.core import orders
from authserver.core.commands import shell_command
from authserver.core.subjects import AccountKind
from authserver.db import accounts, app_tokens, lookup, models, rule_rows, rules

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.db.lists import Window

_ROBOT = AccountKind.ROBOT


@click.group("robot")
def command() -> None:
    """Programs: accounts without a password, which show app tokens."""


@command.command("add")
@click.argument("name")
@click.option("--owner", metavar="USER", type=USER, help="Who answers for it.")
@click.option("--description", default="", help="What it is for.")
@click.option("--outlives-owner", is_flag=True, help="Stays enabled when its owner is disabled.")
@pass_context
def add(
    context: Context, name: str, owner: str | None, description: str, outlives_owner: bool
) -> None:
    """Add the robot NAME. It is disabled with its owner unless it --outlives-owner."""
    with context.change() as change:
        row = accounts.add_robot(
            change, name, owner=owner, description=description, outlives_owner=outlives_owner
        )
    note_on_name(row.name)
    create = shell_command("token", "create", "--name", "NAME", operand=row.name)
    note(f"Added the robot {row.name}; its token: {create}")


@command.command("edit")
@click.argument("name", type=ROBOT)
@click.option("--owner", metavar="USER", type=USER, help="Who answers for it.")
@click.option("--description", help="What it is for.")
@click.option(
    "--outlives-owner/--ends-with-owner",
    default=None,
    help="Whether it stays enabled when its owner is disabled.",
)
@pass_context
def edit(
    context: Context,
    name: str,
    owner: str | None,
    description: str | None,
    outlives_owner: bool | None,
) -> None:
    """Change the robot NAME."""
    if owner is None and description is None and outlives_owner is None:
        raise click.UsageError(
            "say what to change: --owner, --description, --outlives-owner or --ends-with-owner"
        )
    with context.change() as change:
        accounts.edit_robot(
            change, name, owner=owner, description=description, outlives_owner=outlives_owner
        )
    note(f"Changed the robot {name}.")


account_switches.add_to(command, _ROBOT)


def _state(robot: Mapping[str, object]) -> str:
    if robot["disabled"]:
        return "disabled"
    if robot["owner_disabled"] and not robot["outlives_owner"]:
        return "disabled with its owner"
    return "enabled"


_COLUMNS: Columns[Described] = {
    "NAME": lambda robot: robot["name"],
    "STATE": _state,
    "OWNER": lambda robot: robot["owner"] or "nobody",
    "GROUPS": lambda robot: ", ".join(robot["groups"]),
    "DESCRIPTION": lambda robot: robot["description"],
    "CREATED": lambda robot: when(robot["created_at"]),
    "LAST USED": lambda robot: when_if(robot["last_used_at"]),
}


@command.add_command
@list_command(_COLUMNS, "There are no robots.", orders=orders.ROBOTS)
def _list(_: Context, session: Session, window: Window) -> Sequence[Described]:
    """List the robots."""
    return [accounts.described(row) for row in accounts.listed(session, _ROBOT, window)]


@command.add_command
@show_command()
@click.argument("name", type=ROBOT)
def _show(_: Context, session: Session, name: str) -> tuple[Described, Fields]:
    """Show the robot NAME, its tokens, and the rules that name it."""
    row = lookup.account(session, name, _ROBOT)
    own = rules.naming(session, models.RuleSubjectRow.account_id == row.id)
    at = now()
    robot = accounts.described(row) | {
        "tokens": [app_tokens.described(t, at) for t in app_tokens.listed(session, name)],
        "rules": [rule_rows.described(rule) for rule in own],
    }
    fields = {
        "name": robot["name"],
        "state": _state(robot),
        "owner": robot["owner"] or "nobody",
        "outlives its owner": yes(robot["outlives_owner"]),
        "description": robot["description"],
        "groups": ", ".join(robot["groups"]) or "none",
        "created": when(robot["created_at"]),
        "last used": when_if(robot["last_used_at"]),
        "tokens": ", ".join(f"{t['id']} {t['name']}" for t in robot["tokens"]) or "none",
        "rules": account_switches.rules_of(own),
    }
    return robot, fields
