"""``authserver group``: named sets of accounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import force_option, note, when
from authserver.cli.params import ACCOUNT, GROUP
from authserver.cli.views import (
    Columns,
    Described,
    Fields,
    list_command,
    remove_command,
    rename_command,
    show_command,
)
from authserver.core import orders
from authserver.db import groups, lookup

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.db.lists import Window


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


command.add_command(
    rename_command(
        "group",
        click.Argument(["name"], type=GROUP),
        "Give the group NAME the name NEW_NAME.\n\nIts members, rules and delegations stay. The "
        "former name is free, and a new group of that name inherits nothing.",
        lambda *words: groups.rename(*words),  # noqa: PLW0108 - loads when it is called
    )
)

command.add_command(
    remove_command(
        "group",
        click.Argument(["name"], type=GROUP),
        "Remove the group NAME and the rules that name it.",
        "Remove it even where a deny names it, so that its members gain.",
        lambda *words: lookup.group(*words),  # noqa: PLW0108 - loads when it is called
        lambda *words, force: groups.remove(*words, force=force),
    )
)

_COLUMNS: Columns[Described] = {
    "NAME": lambda group: group["name"],
    "SIZE": lambda group: len(group["members"]),
    "MEMBERS": lambda group: ", ".join(group["members"]),
    "CREATED": lambda group: when(group["created_at"]),
}


@command.add_command
@list_command(_COLUMNS, "There are no groups.", orders=orders.GROUPS)
def _list(_: Context, session: Session, window: Window) -> Sequence[Described]:
    """List the groups."""
    return [groups.described(row) for row in groups.listed(session, window)]


@command.add_command
@show_command()
@click.argument("name", type=GROUP)
def _show(_: Context, session: Session, name: str) -> tuple[Described, Fields]:
    """Show the group NAME."""
    group = groups.described(lookup.group(session, name))
    members = ", ".join(group["members"]) or "none"
    created = when(group["created_at"])
    return group, {"name": group["name"], "members": members, "created": created}


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
