"""Disabling, enabling and removing: the same for users and robots."""

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import force_option, note, removed_rules
from authserver.cli.params import OF_KIND
from authserver.core.subjects import AccountKind
from authserver.db import accounts


def add_to(group: click.Group, kind: AccountKind) -> None:
    """Add the three commands to the group of that kind of account."""
    no_more = f"Disable the {kind} NAME: no credential of it is good any more."
    group.add_command(_switch(kind, "disable", no_more, disabled=True))
    group.add_command(_switch(kind, "enable", f"Enable the {kind} NAME again.", disabled=False))
    group.add_command(_remove(kind))


def _switch(kind: AccountKind, verb: str, what: str, *, disabled: bool) -> click.Command:
    @click.command(verb, help=what)
    @click.argument("name", type=OF_KIND[kind])
    @pass_context
    def switch(context: Context, name: str) -> None:
        with context.change() as change:
            changed = accounts.set_disabled(change, name, disabled=disabled, kind=kind)
        note(f"{verb.capitalize()}d {name}." if changed else f"{name} was {verb}d already.")

    return switch


def _remove(kind: AccountKind) -> click.Command:
    @click.command("remove", help=f"Remove the {kind} NAME with its tokens, memberships and rules.")
    @click.argument("name", type=OF_KIND[kind])
    @force_option("Remove it even where a deny names it, and that rule with it.")
    @pass_context
    def remove(context: Context, name: str, force: bool) -> None:
        with context.change() as change:
            removed = accounts.remove(change, name, force=force, kind=kind)
        removed_rules(removed)
        note(f"Removed the {kind} {name}.")

    return remove
