"""The commands `list`, `show`, `rename` and `remove`, made from what is particular to a noun.

Each noun's file says what it finds and which columns or fields a person sees. Here is the rest: the
flags, reading the store, JSON, tables, and notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import (
    force_option,
    json_option,
    note,
    print_fields,
    print_json,
    removed_rules,
    require_losses,
    yes_option,
)
from authserver.cli.params import Duration
from authserver.cli.tables import print_table, wide_option
from authserver.db import lists, losses, store

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.core.orders import Orders
    from authserver.db.lists import Window
    from authserver.db.losses import Removable

_Item = TypeVar("_Item")

Described = Mapping[str, Any]
"""An item as ``--json`` has it."""

Fields = Mapping[str, object]
"""What a person sees of one item."""

Columns = Mapping[str, Callable[[_Item], object]]
"""A table's columns: the header, and what a row shows of an item."""

_PARAMS = "__click_params__"

_WithSession = Callable[..., _Item]
"""Takes the context, a session, and the values of the command's own parameters."""


def list_command(
    columns: Columns[_Item],
    empty: str | Callable[..., str],
    *,
    name: str = "list",
    in_json: Callable[[_Item], object] = lambda item: item,
    orders: Orders | None = None,
) -> Callable[[_WithSession[Sequence[_Item]]], click.Command]:
    """Make a command of a function that returns items.

    ``empty`` is the note where there are none, or returns it for the command's flags; ``in_json``
    returns an item as ``--json`` has it. With ``orders`` the command can search, sort and limit,
    and the function takes the ``window`` that this comes to.
    """

    def made(find: _WithSession[Sequence[_Item]]) -> click.Command:
        def run(context: Context, /, *, as_json: bool, **params: Any) -> None:  # noqa: ANN401 - the command's own
            limit = params.get("limit") if orders else None
            if orders is not None:
                params["window"] = _window(params)
            with context.read() as session:
                items = find(context, session, **params)
            shown = items[:limit]
            if as_json:
                print_json([in_json(item) for item in shown])
            else:
                rows = [[cell(item) for cell in columns.values()] for item in shown]
                nothing = empty if isinstance(empty, str) else empty(**params)
                if orders is not None and params["window"].narrows:
                    nothing = "Nothing matches."
                print_table(list(columns), rows, nothing)
            if len(items) > len(shown):
                note(f"There are more than the {limit} of --limit.")

        if orders is not None:
            for option in reversed(_listing_options(orders)):
                option(find)
        return wide_option(_command(name, find, run))

    return made


def _listing_options(orders: Orders) -> list[Callable[[Any], Any]]:
    """Return the options of a list that can be searched."""
    first, *others = orders.names
    options = [
        click.option(
            "--search", metavar="TEXT", default="", help="Only with this text, in any case."
        ),
        click.option(
            "--limit", metavar="N", type=click.IntRange(min=1), help="How many to show at most."
        ),
        click.option(
            "--sort",
            metavar="BY",
            type=click.Choice(orders.choices),
            help=f"By {first} if left out, or {', '.join(others)}; -{others[0]} is the other way.",
        ),
    ]
    if orders.knows_use:
        options.append(
            click.option(
                "--inactive",
                metavar="90d",
                type=Duration(),
                help="Only what was not used for that long, nor made since.",
            )
        )
    return options


def _window(params: dict[str, Any]) -> Window:
    """Take the options of a list out of ``params``; return the window that they ask for."""
    limit, unused = params.pop("limit"), params.pop("inactive", None)
    return lists.Window(
        # One more tells whether there are more.
        limit=None if limit is None else limit + 1,
        search=params.pop("search"),
        sort=params.pop("sort"),
        unused_since=None if unused is None else now() - unused,
    )


def show_command(
    short_help: str | None = None,
) -> Callable[[_WithSession[tuple[Described, Fields]]], click.Command]:
    """Make a command of a function that returns an item for JSON, and its fields for a person."""

    def made(describe: _WithSession[tuple[Described, Fields]]) -> click.Command:
        def run(context: Context, /, *, as_json: bool, **params: Any) -> None:  # noqa: ANN401 - the command's own
            with context.read() as session:
                item, fields = describe(context, session, **params)
            if as_json:
                print_json(item)
            else:
                print_fields(fields)

        return _command("show", describe, run, short_help)

    return made


def _command(
    name: str,
    function: Callable[..., Any],
    run: Callable[..., None],
    short_help: str | None = None,
) -> click.Command:
    """Make ``run`` a command with the flags and the help of ``function``, and then ``--json``."""
    run.__doc__ = function.__doc__
    # Click reads the flags of a function from the last to the first.
    params = [*json_option(lambda: None).__click_params__, *getattr(function, _PARAMS, ())]  # type: ignore[attr-defined]
    setattr(run, _PARAMS, params)
    return click.command(name, short_help=short_help)(pass_context(run))


def rename_command(
    kind: str,
    name: click.Argument,
    help_text: str,
    rename: Callable[[store.Change, str, str], bool],
    consequences: Callable[[Session, str, str], None] | None = None,
) -> click.Command:
    """Make a command that gives an item another name.

    ``consequences`` takes a session, the former name and the new one, and notes what follows.
    """

    @click.command("rename", help=help_text)
    @click.argument("new_name")
    @pass_context
    def run(context: Context, name: str, new_name: str) -> None:
        with context.change() as change:
            renamed = rename(change, name, new_name)
            if renamed and consequences is not None:
                consequences(change.session, name, new_name)
        note(
            f"Renamed the {kind} {name} to {new_name}. A policy file that names {name} must "
            f"say {new_name} before it is applied again."
            if renamed
            else f"The {kind} is called {new_name} already."
        )

    run.params.insert(0, name)
    return run


def remove_command(
    kind: str,
    name: click.Argument,
    help_text: str,
    force: str,
    find: Callable[[Session, str], Removable],
    remove: Callable[..., Sequence[str]],
) -> click.Command:
    """Make a command that removes an item with the rules that name it.

    It says what goes with the item, and asks. ``remove`` takes the change, the item's name and
    ``force``, and returns the rules that went.
    """

    @click.command("remove", help=f"{help_text}\n\nIt says what goes with it, and asks.")
    @force_option(force)
    @yes_option
    @pass_context
    def run(context: Context, /, *, force: bool, sure: bool, **params: str) -> None:
        (item,) = params.values()
        with context.read() as session:
            going = losses.of(session, [find(session, item)])
        if not sure:
            context.rehearse(lambda change: remove(change, item, force=force))
        require_losses(f"Remove the {kind} {item}?", going, sure=sure)
        with context.change() as change:
            rules = remove(change, item, force=force)
        removed_rules(rules)
        # What became of the rules was said.
        numbers = ", ".join(loss.number for loss in going if loss.what != "rule")
        note(f"Removed the {kind} {item}{numbers and f' with {numbers}'}.")

    run.params.insert(0, name)
    return run
