"""``authserver session``: the logins of people, with docker and to the console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import client, last_used, note, require_losses, when, yes_option
from authserver.cli.params import ACCOUNT, SESSION
from authserver.cli.views import Columns, Described, list_command
from authserver.core import orders
from authserver.db import console_sessions, lookup, losses, refresh_tokens

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.db.lists import Window


@click.group("session")
def command() -> None:
    """Logins that go on without the password: docker, console."""


DOCKER, CONSOLE = "docker", "console"
_kinds = click.Choice((DOCKER, CONSOLE))


def _logged_in(login: Described) -> str:
    by = client(login["created_client"])
    return f"{when(login['created_at'])} {login['created_address']} {by}"


def _last_used(login: Described) -> str:
    seen = login.get("seen_at")
    return last_used(login["last_used"]) if seen is None else when(seen)


_COLUMNS: Columns[Described] = {
    "ID": lambda login: login["id"],
    "ACCOUNT": lambda login: login["account"],
    "REGISTRY": lambda login: login.get("registry", "the console"),
    "LOGGED IN": _logged_in,
    "LAST USED": _last_used,
    "ENDS IF UNUSED": lambda login: when(login["expires_at"]),
}


@command.add_command
@list_command(_COLUMNS, "There are no sessions.", orders=orders.SESSIONS)
@click.argument("account", type=ACCOUNT, required=False)
@click.option(
    "--kind",
    type=_kinds,
    default=DOCKER,
    show_default=True,
    help="Logins with docker, or to the console.",
)
def _list(
    _: Context, session: Session, account: str | None, kind: str, window: Window
) -> Sequence[Described]:
    """List the sessions, those of ACCOUNT if one is named."""
    if kind == CONSOLE:
        found = console_sessions.listed(session, now(), account, window)
        return [console_sessions.described(row) for row in found]
    rows = refresh_tokens.listed(session, account, window)
    return [refresh_tokens.described(row) for row in rows]


@command.command("revoke")
@click.argument("session_id", metavar="[ID]", type=SESSION, required=False)
@click.option("--account", metavar="NAME", type=ACCOUNT, help="End all sessions of this account.")
@click.option(
    "--kind",
    type=_kinds,
    help="A login with docker, or to the console. Without it, ID is one with docker, and "
    "--account ends both kinds.",
)
@yes_option
@pass_context
def revoke(
    context: Context, session_id: int | None, account: str | None, kind: str | None, sure: bool
) -> None:
    """End the session ID, or all of an --account, which it shows first.

    Its clients have to log in again.
    """
    if (session_id is None) == (account is None):
        raise click.UsageError("name one session by its ID, or an account with --account")
    if account is not None:
        with context.read() as session:
            row = lookup.account(session, account)
            ending = losses.logins_of(session, [row]) if kind != CONSOLE else []
            if kind != DOCKER:
                ending += losses.console_logins_of(session, [row])
        if ending:
            require_losses(f"End all sessions of {account}?", ending, sure=sure)
    with context.change() as change:
        if account is not None:
            row, ended = lookup.account(change.session, account), 0
            if kind != CONSOLE:
                ended += refresh_tokens.end_all(change, row)
            if kind != DOCKER:
                ended += console_sessions.end_all(change, row)
            sessions = f"{ended} sessions of {row.name}"
        elif session_id is not None and kind == CONSOLE:
            found = console_sessions.get(change.session, session_id)
            sessions = f"the console session of {found.account.name}"
            console_sessions.end(change, found)
        elif session_id is not None:
            sessions = f"the session of {refresh_tokens.revoke(change, session_id)}"
    note(f"Ended {sessions}.")
