"""``authserver session``: refresh tokens, the logins of people."""

from collections.abc import Mapping
from typing import Any

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import ID, client, json_option, last_used, note, print_list, when
from authserver.cli.params import ACCOUNT
from authserver.db import lookup, refresh_tokens


@click.group("session")
def command() -> None:
    """Logins that go on without the password (refresh tokens)."""


@command.command("list")
@click.argument("account", type=ACCOUNT, required=False)
@json_option
@pass_context
def list_(context: Context, account: str | None, as_json: bool) -> None:
    """List the sessions, those of ACCOUNT if one is named."""
    with context.read() as session:
        found = [refresh_tokens.described(row) for row in refresh_tokens.listed(session, account)]
    columns = {
        "ID": lambda s: s["id"],
        "ACCOUNT": lambda s: s["account"],
        "REGISTRY": lambda s: s["registry"],
        "LOGGED IN": _logged_in,
        "LAST USED": lambda s: last_used(s["last_used"]),
        "ENDS IF UNUSED": lambda s: when(s["expires_at"]),
    }
    print_list(found, columns, "There are no sessions.", as_json=as_json)


def _logged_in(session: Mapping[str, Any]) -> str:
    by = client(session["created_client"])
    return f"{when(session['created_at'])} {session['created_address']} {by}"


@command.command("revoke")
@click.argument("session_id", metavar="[ID]", type=ID, required=False)
@click.option("--account", metavar="NAME", type=ACCOUNT, help="End all sessions of this account.")
@pass_context
def revoke(context: Context, session_id: int | None, account: str | None) -> None:
    """End the session ID, or all of an --account.

    Its clients have to log in again.
    """
    if (session_id is None) == (account is None):
        raise click.UsageError("name one session by its ID, or an account with --account")
    with context.change() as change:
        if account is not None:
            row = lookup.account(change.session, account)
            ended = refresh_tokens.end_all(change, row)
            said = f"{ended} sessions of {row.name}"
        elif session_id is not None:
            said = f"the session of {refresh_tokens.revoke(change, session_id)}"
    note(f"Ended {said}.")
