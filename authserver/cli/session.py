"""``authserver session``: refresh tokens, the logins of people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import client, last_used, note, require_losses, when, yes_option
from authserver.cli.params import ACCOUNT, SESSION
from authserver.cli.views import Columns, Described, list_command
from authserver.core import orders
from authserver.db import lookup, losses, refresh_tokens

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.db.lists import Window


@click.group("session")
def command() -> None:
    """Logins that go on without the password (refresh tokens)."""


def _logged_in(login: Described) -> str:
    by = client(login["created_client"])
    return f"{when(login['created_at'])} {login['created_address']} {by}"


_COLUMNS: Columns[Described] = {
    "ID": lambda login: login["id"],
    "ACCOUNT": lambda login: login["account"],
    "REGISTRY": lambda login: login["registry"],
    "LOGGED IN": _logged_in,
    "LAST USED": lambda login: last_used(login["last_used"]),
    "ENDS IF UNUSED": lambda login: when(login["expires_at"]),
}


@command.add_command
@list_command(_COLUMNS, "There are no sessions.", orders=orders.SESSIONS)
@click.argument("account", type=ACCOUNT, required=False)
def _list(_: Context, session: Session, account: str | None, window: Window) -> Sequence[Described]:
    """List the sessions, those of ACCOUNT if one is named."""
    rows = refresh_tokens.listed(session, account, window)
    return [refresh_tokens.described(row) for row in rows]


@command.command("revoke")
@click.argument("session_id", metavar="[ID]", type=SESSION, required=False)
@click.option("--account", metavar="NAME", type=ACCOUNT, help="End all sessions of this account.")
@yes_option
@pass_context
def revoke(context: Context, session_id: int | None, account: str | None, sure: bool) -> None:
    """End the session ID, or all of an --account, which it shows first.

    Its clients have to log in again.
    """
    if (session_id is None) == (account is None):
        raise click.UsageError("name one session by its ID, or an account with --account")
    if account is not None:
        with context.read() as session:
            ending = losses.logins_of(session, [lookup.account(session, account)])
        if ending:
            require_losses(f"End all sessions of {account}?", ending, sure=sure)
    with context.change() as change:
        if account is not None:
            row = lookup.account(change.session, account)
            sessions = f"{refresh_tokens.end_all(change, row)} sessions of {row.name}"
        elif session_id is not None:
            sessions = f"the session of {refresh_tokens.revoke(change, session_id)}"
    note(f"Ended {sessions}.")
