"""``authserver session``: refresh tokens, the logins of people."""

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import ID, json_option, note, print_json, print_table
from authserver.db import named, refresh_tokens


@click.group("session")
def command() -> None:
    """Logins that go on without the password (refresh tokens)."""


@command.command("list")
@click.argument("account", required=False)
@json_option
@pass_context
def list_(context: Context, account: str | None, as_json: bool) -> None:
    """List the sessions, those of ACCOUNT if one is named."""
    with context.read() as session:
        found = [refresh_tokens.described(row) for row in refresh_tokens.listed(session, account)]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            s["id"],
            s["account"],
            s["registry"],
            f"{s['created_at'][:16]} {s['created_address']} {s['created_client']}",
            f"{s['last_used']['at'][:16]} {s['last_used']['address']}"
            if s["last_used"]
            else "never",
            s["expires_at"][:16],
        )
        for s in found
    ]
    header = ("ID", "ACCOUNT", "REGISTRY", "LOGGED IN", "LAST USED", "ENDS IF UNUSED")
    print_table(header, rows, "There are no sessions.")


@command.command("revoke")
@click.argument("session_id", metavar="[ID]", type=ID, required=False)
@click.option("--account", metavar="NAME", help="End all sessions of this account.")
@pass_context
def revoke(context: Context, session_id: int | None, account: str | None) -> None:
    """End the session ID, or all of an --account: its clients have to log in again."""
    if (session_id is None) == (account is None):
        raise click.UsageError("name one session by its ID, or an account with --account")
    with context.change() as change:
        if account is not None:
            row = named.account(change.session, account)
            ended = refresh_tokens.end_all(change, row)
            said = f"{ended} sessions of {row.name}"
        elif session_id is not None:
            said = f"the session of {refresh_tokens.revoke(change, session_id)}"
    note(f"Ended {said}.")
