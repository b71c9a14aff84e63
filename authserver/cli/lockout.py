"""``authserver lockout``: addresses and accounts whose passwords are not checked for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import note, when
from authserver.cli.params import ACCOUNT
from authserver.cli.views import Columns, Described, list_command
from authserver.core.addresses import parse_address, parse_network
from authserver.core.errors import Refused
from authserver.db import lockouts

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@click.group("lockout")
def command() -> None:
    """Passwords that are not checked for a while, because too many were wrong."""


_COLUMNS: Columns[Described] = {
    "ID": lambda lockout: lockout["id"],
    "ADDRESS": lambda lockout: lockout["address"],
    "ACCOUNT": lambda lockout: lockout["account"] or "(all)",
    "UNTIL": lambda lockout: when(lockout["until"]),
    "WHY": lambda lockout: lockout["why"],
}


@command.add_command
@list_command(_COLUMNS, "There are no lockouts.")
def _list(context: Context, session: Session) -> Sequence[Described]:
    """List the lockouts that refused a login, up to a thousand.

    A name that no account has is hashed, as in audit records: people type passwords there.
    """
    now = context.store.time(session)
    return [lockouts.described(row) for row in lockouts.listed(session, now)]


@command.command("lift")
@click.argument("address")
@click.option(
    "--account",
    metavar="NAME",
    type=ACCOUNT,
    help="Only for this account, as the list shows it.",
)
@pass_context
def lift(context: Context, address: str, account: str | None) -> None:
    """End the lockouts of ADDRESS: its wrong passwords are forgotten.

    Servers that run notice within a second. Of an IPv6 address it is the /64, as the list shows it.
    """
    if parse_address(address) is None:
        address = _of_network(address)
    with context.change() as change:
        rows = lockouts.lift_all(change, address, account)
    note(f"Lifted {len(rows)} lockout{'' if len(rows) == 1 else 's'} of {address}.")


def _of_network(text: str) -> str:
    """Return an address of a network that the list shows."""
    try:
        return str(parse_network(text).network_address)
    except Refused:
        raise click.BadParameter(f"{text!r} is no address", param_hint="ADDRESS") from None
