"""``authserver user second-factor``: what users prove beside the password, and its reset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import (
    json_option,
    note,
    print_json,
    require_sure,
    when,
    when_if,
    yes_option,
)
from authserver.cli.params import USER
from authserver.cli.views import Columns, Described, list_command
from authserver.core.subjects import AccountKind
from authserver.db import lookup, second_factors

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@click.group("second-factor")
def command() -> None:
    """Second factors of users: list and reset them.

    Users set them up in the console.
    """


_COLUMNS: Columns[Described] = {
    "ID": lambda factor: factor["id"],
    "KIND": lambda factor: factor["kind"],
    "NAME": lambda factor: factor["name"],
    "CREATED": lambda factor: when(factor["created_at"]),
    "LAST USED": lambda factor: when_if(factor["last_used_at"]),
}


@command.add_command
@list_command(_COLUMNS, "The user has no second factor.")
@click.argument("name", type=USER)
def _list(_: Context, session: Session, name: str) -> Sequence[Described]:
    """List the second factors of the user NAME, without their secrets."""
    row = lookup.account(session, name, AccountKind.USER)
    return [second_factors.described(each) for each in second_factors.listed(session, row.id)]


@command.command("reset")
@click.argument("name", type=USER)
@yes_option
@json_option
@pass_context
def reset(context: Context, name: str, sure: bool, as_json: bool) -> None:
    """Remove all second factors and recovery codes of the user NAME, and end the user's logins.

    For somebody who lost the phone: make sure who asks. From then on the password is enough, unless
    AUTHSERVER_SECOND_FACTOR demands another factor.
    """
    with context.read() as session:
        row = lookup.account(session, name, AccountKind.USER)
        count = len(second_factors.listed(session, row.id))
    if count:
        goes = f"{count} second factor{'' if count == 1 else 's'}"
        require_sure(f"Remove {goes} of {name}, and end the logins?", sure=sure)
    with context.change() as change:
        account = lookup.account(change.session, name, AccountKind.USER)
        count = second_factors.reset(change, account)
    if as_json:
        print_json({"user": name, "removed": count})
    elif count:
        note(f"Removed {count} second factor{'' if count == 1 else 's'} of {name}.")
    else:
        note(f"{name} has no second factor, as before.")
