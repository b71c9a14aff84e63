"""What `user` and `robot` share: switching, renaming, removing, and how `show` lists rules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from authserver.cli import many
from authserver.cli.context import Context, pass_context
from authserver.cli.output import force_option, note, note_on_name, require_sure, yes_option
from authserver.cli.params import OF_KIND
from authserver.cli.views import remove_command, rename_command
from authserver.core.names import is_path_component
from authserver.core.subjects import AccountKind
from authserver.db import accounts, lookup, models, rule_rows

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


_OR_LAST = {AccountKind.USER: "; and even the last administrator", AccountKind.ROBOT: ""}

force_last_option = force_option("Do it even to the last administrator that can log in.")


def add_to(group: click.Group, kind: AccountKind) -> None:
    """Add the four commands to the group of that kind of account."""
    all_or_none = f"Several {kind}s are one change: all of them, or none if one cannot be."
    no_more = f"Disable the {kind} NAME: no credential of it is good any more.\n\n{all_or_none}"
    group.add_command(_switch(kind, "disable", no_more, disabled=True))
    again = f"Enable the {kind} NAME again.\n\n{all_or_none}"
    group.add_command(_switch(kind, "enable", again, disabled=False))
    group.add_command(
        rename_command(
            kind,
            click.Argument(["name"], type=OF_KIND[kind]),
            f"Give the {kind} NAME the name NEW_NAME.\n\nRules, groups, tokens and sessions stay. "
            "With a password or an app token, clients send the new name from then on. The former "
            "name is free, and a new account of that name inherits nothing.",
            lambda *words: accounts.rename(*words, kind=kind),
            _note_on_repositories,
        )
    )
    group.add_command(
        remove_command(
            kind,
            click.Argument(["name"], type=OF_KIND[kind]),
            f"Remove the {kind} NAME with its tokens, memberships and rules.",
            f"Remove it even where a deny names it, and that rule with it{_OR_LAST[kind]}.",
            lambda session, name: lookup.account(session, name, kind),
            lambda *words, force: accounts.remove(*words, force=force, kind=kind),
        )
    )


def rules_of(rows: Sequence[models.RuleRow]) -> str:
    """Return the rules that name an account, as `show` has them."""
    rules = (f"{row.id} ({rule_rows.as_rule(row)})" for row in rows)
    return "; ".join(rules) or "none of its own"


def _note_on_repositories(session: Session, name: str, new_name: str) -> None:
    """Say which repositories follow a name and not the account, if any do."""
    if not rule_rows.any_by_name(session):
        return
    note_on_name(new_name)
    if is_path_component(name):
        note(
            f"{{account}} in patterns stands for {new_name} now: repositories under {name}/ stay "
            f"where they are, and an account that is called {name} later may reach them."
        )


def _switch(kind: AccountKind, verb: str, what: str, *, disabled: bool) -> click.Command:
    @click.command(verb, help=what)
    @many.selected(kind)
    @pass_context
    def switch(
        context: Context, selection: many.Selection, *, force: bool = False, sure: bool = False
    ) -> None:
        # Before the change: all other writers wait for a change.
        names = selection.find(context)
        if disabled and not selection.is_one:
            require_sure(f"Disable {len(names)} {kind}s, and end their logins?", sure=sure)
        with context.change() as change:
            selection.require_same(change, names)
            set_one = partial(
                accounts.set_disabled, change, disabled=disabled, kind=kind, force=force
            )
            with many.together(change, names):
                changed = many.each(names, set_one)
        if selection.is_one:
            (name,) = names
            note(f"{verb.capitalize()}d {name}." if changed[0] else f"{name} was {verb}d already.")
        else:
            done = sum(changed)
            note(f"{verb.capitalize()}d {done} {kind}s; {len(names) - done} were {verb}d already.")

    if disabled:
        switch = yes_option(switch)
    return force_last_option(switch) if disabled and kind is AccountKind.USER else switch
