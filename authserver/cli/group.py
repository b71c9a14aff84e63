"""``authserver group``: named sets of accounts."""

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import (
    force_option,
    json_option,
    note,
    print_fields,
    print_json,
    print_table,
    removed_rules,
)
from authserver.db import groups, named


@click.group("group")
def command() -> None:
    """Groups of accounts, for rules that hold for several."""


@command.command("add")
@click.argument("name")
@pass_context
def add(context: Context, name: str) -> None:
    """Add the group NAME."""
    with context.change() as change:
        row = groups.add(change, name)
    note(f"Added the group {row.name}.")


@command.command("remove")
@click.argument("name")
@force_option
@pass_context
def remove(context: Context, name: str, force: bool) -> None:
    """Remove the group NAME and the rules that name it."""
    with context.change() as change:
        removed = groups.remove(change, name, force=force)
    removed_rules(removed)
    note(f"Removed the group {name}.")


@command.command("list")
@json_option
@pass_context
def list_(context: Context, as_json: bool) -> None:
    """List the groups."""
    with context.read() as session:
        found = [groups.described(row) for row in groups.listed(session)]
    if as_json:
        print_json(found)
        return
    rows = [(g["name"], len(g["members"]), ", ".join(g["members"])) for g in found]
    print_table(("NAME", "SIZE", "MEMBERS"), rows, "There are no groups.")


@command.command("show")
@click.argument("name")
@json_option
@pass_context
def show(context: Context, name: str, as_json: bool) -> None:
    """Show the group NAME."""
    with context.read() as session:
        found = groups.described(named.group(session, name))
    if as_json:
        print_json(found)
    else:
        members = ", ".join(found["members"]) or "none"
        print_fields({"name": found["name"], "members": members, "created": found["created_at"]})


@command.command("add-member")
@click.argument("group")
@click.argument("account")
@pass_context
def add_member(context: Context, group: str, account: str) -> None:
    """Put ACCOUNT into GROUP."""
    with context.change() as change:
        added = groups.add_member(change, group, account)
    note(f"{account} is in {group} now." if added else f"{account} was in {group} already.")


@command.command("remove-member")
@click.argument("group")
@click.argument("account")
@force_option
@pass_context
def remove_member(context: Context, group: str, account: str, force: bool) -> None:
    """Take ACCOUNT out of GROUP."""
    with context.change() as change:
        groups.remove_member(change, group, account, force=force)
    note(f"{account} is not in {group} any more.")
