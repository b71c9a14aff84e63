"""``authserver robot``: programs."""

from collections.abc import Mapping

import click

from authserver.cli import account_switches
from authserver.cli.context import Context, pass_context
from authserver.cli.output import (
    json_option,
    note,
    note_on_name,
    print_fields,
    print_json,
    print_list,
    program,
    when,
    yes,
)
from authserver.cli.params import ROBOT, USER
from authserver.core.subjects import AccountKind
from authserver.db import accounts, app_tokens, lookup, rule_rows, rules
from authserver.db.models import RuleSubjectRow

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
    note(f"Added the robot {row.name}; its token: {program()} token create {row.name} --name NAME")


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


@command.command("list")
@json_option
@pass_context
def list_(context: Context, as_json: bool) -> None:
    """List the robots."""
    with context.read() as session:
        found = [accounts.described(row) for row in accounts.listed(session, _ROBOT)]
    columns = {
        "NAME": lambda r: r["name"],
        "STATE": _state,
        "OWNER": lambda r: r["owner"] or "nobody",
        "GROUPS": lambda r: ", ".join(r["groups"]),
        "DESCRIPTION": lambda r: r["description"],
    }
    print_list(found, columns, "There are no robots.", as_json=as_json)


@command.command("show")
@click.argument("name", type=ROBOT)
@json_option
@pass_context
def show(context: Context, name: str, as_json: bool) -> None:
    """Show the robot NAME, its tokens, and the rules that name it."""
    with context.read() as session:
        row = lookup.account(session, name, _ROBOT)
        own = rules.naming(session, RuleSubjectRow.account_id == row.id)
        at = context.store.clock()
        found = accounts.described(row) | {
            "tokens": [app_tokens.described(t, at) for t in app_tokens.listed(session, name)],
            "rules": [rule_rows.described(rule) for rule in own],
        }
        lines = [f"{rule.id} ({rule_rows.as_rule(rule)})" for rule in own]
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "name": found["name"],
            "state": _state(found),
            "owner": found["owner"] or "nobody",
            "outlives its owner": yes(found["outlives_owner"]),
            "description": found["description"],
            "groups": ", ".join(found["groups"]) or "none",
            "created": when(found["created_at"]),
            "tokens": ", ".join(f"{t['id']} {t['name']}" for t in found["tokens"]) or "none",
            "rules": "; ".join(lines) or "none of its own",
        }
    )


def _state(robot: Mapping[str, object]) -> str:
    if robot["disabled"]:
        return "disabled"
    if robot["owner_disabled"] and not robot["outlives_owner"]:
        return "disabled with its owner"
    return "enabled"
