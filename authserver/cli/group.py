"""``authserver group``: named sets of accounts."""

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import (
    force_option,
    json_option,
    note,
    print_fields,
    print_json,
    print_list,
    removed_rules,
    when,
)
from authserver.cli.params import ACCOUNT, GROUP
from authserver.db import groups, lookup


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
@click.argument("name", type=GROUP)
@force_option("Remove it even where a deny names it, so that its members gain.")
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
    columns = {
        "NAME": lambda g: g["name"],
        "SIZE": lambda g: len(g["members"]),
        "MEMBERS": lambda g: ", ".join(g["members"]),
    }
    print_list(found, columns, "There are no groups.", as_json=as_json)


@command.command("show")
@click.argument("name", type=GROUP)
@json_option
@pass_context
def show(context: Context, name: str, as_json: bool) -> None:
    """Show the group NAME."""
    with context.read() as session:
        found = groups.described(lookup.group(session, name))
    if as_json:
        print_json(found)
    else:
        members = ", ".join(found["members"]) or "none"
        created = when(found["created_at"])
        print_fields({"name": found["name"], "members": members, "created": created})


@command.command("add-member")
@click.argument("group", type=GROUP)
@click.argument("account", type=ACCOUNT)
@pass_context
def add_member(context: Context, group: str, account: str) -> None:
    """Put ACCOUNT into GROUP."""
    with context.change() as change:
        added = groups.add_member(change, group, account)
    note(f"{account} is in {group} now." if added else f"{account} was in {group} already.")


@command.command("remove-member")
@click.argument("group", type=GROUP)
@click.argument("account", type=ACCOUNT)
@force_option("Do it even where a deny names the group, so that the account gains.")
@pass_context
def remove_member(context: Context, group: str, account: str, force: bool) -> None:
    """Take ACCOUNT out of GROUP."""
    with context.change() as change:
        groups.remove_member(change, group, account, force=force)
    note(f"{account} is not in {group} any more.")
