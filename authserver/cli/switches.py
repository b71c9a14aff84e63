"""Disabling, enabling and removing: the same for users and robots."""

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import force_option, note, removed_rules
from authserver.core.subjects import AccountKind
from authserver.db import accounts


def add_to(group: click.Group, kind: AccountKind) -> None:
    """Add the three commands to the group of that kind of account."""

    @group.command(
        "disable", help=f"Disable the {kind} NAME: no credential of it is good any more."
    )
    @click.argument("name")
    @pass_context
    def disable(context: Context, name: str) -> None:
        with context.change() as change:
            changed = accounts.set_disabled(change, name, disabled=True, kind=kind)
        note(f"Disabled {name}." if changed else f"{name} was disabled already.")

    @group.command("enable", help=f"Enable the {kind} NAME again.")
    @click.argument("name")
    @pass_context
    def enable(context: Context, name: str) -> None:
        with context.change() as change:
            changed = accounts.set_disabled(change, name, disabled=False, kind=kind)
        note(f"Enabled {name}." if changed else f"{name} was enabled already.")

    @group.command("remove", help=f"Remove the {kind} NAME with its tokens, memberships and rules.")
    @click.argument("name")
    @force_option
    @pass_context
    def remove(context: Context, name: str, force: bool) -> None:
        with context.change() as change:
            removed = accounts.remove(change, name, force=force, kind=kind)
        removed_rules(removed)
        note(f"Removed the {kind} {name}.")
