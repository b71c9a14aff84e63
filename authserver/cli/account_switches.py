"""What `user` and `robot` share: `disable`, `enable`, `remove`, and how `show` lists rules."""

from collections.abc import Sequence
from functools import partial

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import note
from authserver.cli.params import OF_KIND
from authserver.cli.views import remove_command
from authserver.core.subjects import AccountKind
from authserver.db import accounts, rule_rows
from authserver.db.models import RuleRow


def add_to(group: click.Group, kind: AccountKind) -> None:
    """Add the three commands to the group of that kind of account."""
    no_more = f"Disable the {kind} NAME: no credential of it is good any more."
    group.add_command(_switch(kind, "disable", no_more, disabled=True))
    group.add_command(_switch(kind, "enable", f"Enable the {kind} NAME again.", disabled=False))
    group.add_command(
        remove_command(
            kind,
            click.Argument(["name"], type=OF_KIND[kind]),
            f"Remove the {kind} NAME with its tokens, memberships and rules.",
            "Remove it even where a deny names it, and that rule with it.",
            partial(accounts.remove, kind=kind),
        )
    )


def rules_of(rows: Sequence[RuleRow]) -> str:
    """Return the rules that name an account, as `show` has them."""
    rules = (f"{row.id} ({rule_rows.as_rule(row)})" for row in rows)
    return "; ".join(rules) or "none of its own"


def _switch(kind: AccountKind, verb: str, what: str, *, disabled: bool) -> click.Command:
    @click.command(verb, help=what)
    @click.argument("name", type=OF_KIND[kind])
    @pass_context
    def switch(context: Context, name: str) -> None:
        with context.change() as change:
            changed = accounts.set_disabled(change, name, disabled=disabled, kind=kind)
        note(f"{verb.capitalize()}d {name}." if changed else f"{name} was {verb}d already.")

    return switch
