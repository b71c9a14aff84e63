"""``authserver user``: people."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from authserver.auth import passwords
from authserver.cli import account_switches
from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import (
    ask_password,
    json_option,
    note,
    note_on_name,
    print_json,
    when,
    when_if,
    yes,
)
from authserver.cli.params import NEW_PASSWORDS, USER, Values
from authserver.cli.views import Columns, Described, Fields, list_command, show_command
from authserver.core import orders
from authserver.core.subjects import AccountKind, AdminTokens, SubjectKind
from authserver.db import accounts, app_tokens, invitations, lookup, models, rule_rows, rules
from authserver.runtime import settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.db.lists import Window

_password_stdin = click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input's first line, instead of asking for it.",
)


@click.group("user")
def command() -> None:
    """People: accounts with a password."""


@command.command("add", epilog=NEW_PASSWORDS)
@click.argument("name")
@_password_stdin
@click.option(
    "--admin",
    is_flag=True,
    help="Mark as an administrator, which lists show. The mark gives no right on any repository, "
    "rules do; and commands ask for no account: the owner of the data directory administers.",
)
@click.option(
    "--app-tokens-only", is_flag=True, help="The password opens the API, and gets no tokens."
)
@pass_context
def add(
    context: Context, name: str, password_stdin: bool, admin: bool, app_tokens_only: bool
) -> None:
    """Add the user NAME with a password."""
    with context.read() as session:
        lookup.free_name(session, models.AccountRow, name)
    password = ask_password(from_stdin=password_stdin)
    hashed = passwords.NewPasswords.of(context.settings).hash(password, name)
    with context.change() as change:
        row = accounts.add_user(change, name, hashed, admin=admin, app_tokens_only=app_tokens_only)
    note(f"Added the user {row.name}.")
    note_on_name(row.name)


@command.command("edit")
@click.argument("name")
@click.option("--admin/--no-admin", default=None, help="Whether the user may administer.")
@click.option(
    "--admin-tokens",
    type=Values(AdminTokens),
    help="With --admin: keep or revoke the app tokens that would administer from then on, "
    "instead of asking.",
)
@click.option(
    "--app-tokens-only/--passwords",
    "app_tokens_only",
    default=None,
    help="Have tokens for registries made with app tokens only, or with the password too. App "
    "tokens only ends the user's logins; the password still opens the API.",
)
@account_switches.force_last_option
@pass_context
def edit(
    context: Context,
    name: str,
    admin: bool | None,
    admin_tokens: AdminTokens | None,
    app_tokens_only: bool | None,
    force: bool,
) -> None:
    """Grant or revoke NAME's administrator role, or say what NAME logs in with.

    App tokens that were made with --admin while NAME was no administrator would administer as
    well: they are shown first.
    """
    if admin_tokens and not admin:
        raise click.UsageError("--admin-tokens goes with --admin")
    if admin and admin_tokens is None and sys.stdin.isatty():
        admin_tokens = _asked(context, name)
    if (admin, app_tokens_only) == (None, None):
        raise click.UsageError(
            "say what to change: --admin or --no-admin, --app-tokens-only or --passwords"
        )
    notes = []
    with context.change() as change:
        if admin is not None:
            changed = accounts.set_admin(
                change, name, admin=admin, admin_tokens=admin_tokens, force=force
            )
            state = "may administer" if admin else "may not administer"
            notes.append(f"{name} {state} now." if changed else f"{name} {state}, as before.")
        if app_tokens_only is not None:
            changed = accounts.set_app_tokens_only(change, name, only=app_tokens_only)
            state = "logs in with app tokens only" if app_tokens_only else "may use the password"
            notes.append(f"{name} {state} now." if changed else f"{name} {state}, as before.")
    for each in notes:
        note(each)


def _asked(context: Context, name: str) -> AdminTokens | None:
    """Show the app tokens that would administer, and ask about them; return None without any."""
    with context.read() as session:
        row = lookup.account(session, name, AccountKind.USER)
        tokens = [] if row.admin else app_tokens.administering(session, row, now())
    if not tokens:
        return None
    for token in tokens:
        until = f"until {when(token.expires_at)}" if token.expires_at else "for ever"
        used = f"last used {when(token.last_used_at)}" if token.last_used_at else "never used"
        note(f"The app token {token.id} ({token.name}) would administer, {until}; {used}.")
    return AdminTokens(click.prompt("Keep or revoke?", type=Values(AdminTokens), err=True))


@command.command("invite")
@click.argument("name", type=USER)
@click.option(
    "--reset",
    is_flag=True,
    help="For a user who has a password: it and its logins go on until the new one is set.",
)
@click.option("--now", is_flag=True, help="With --reset: they end at once.")
@account_switches.force_last_option
@json_option
@pass_context
def invite(context: Context, name: str, reset: bool, now: bool, force: bool, as_json: bool) -> None:
    """Print a link for the user NAME to set a password.

    It is good once, for 72 hours. The user is added if not there. An earlier invitation of the
    same user ends. A user who has a password gets a link with --reset only.
    """
    if now and not reset:
        raise click.UsageError("--now goes with --reset")
    until = (invitations.Reset.NOW if now else invitations.Reset.LATER) if reset else None
    with context.change() as change:
        row, code = invitations.invite(change, name, secrets.token_bytes, until, force=force)
    link = context.settings.invitation_link(code)
    if as_json:
        print_json({"user": row.name, "link": link, "code": code})
    else:
        click.echo(link)
        note(f"For {row.name} alone: anybody with the link sets the password. Good for 72 hours.")
    for doubt in settings.public_url.doubts("the link", context.settings.public_url):
        note(f"Warning: {doubt}")


@command.command("passwd", epilog=NEW_PASSWORDS)
@click.argument("name", type=USER)
@_password_stdin
@pass_context
def passwd(context: Context, name: str, password_stdin: bool) -> None:
    """Give the user NAME a new password.

    Logins with the old one end: their clients have to log in again. App tokens stay good.
    """
    with context.read() as session:
        lookup.account(session, name, AccountKind.USER)
    password = ask_password(from_stdin=password_stdin)
    hashed = passwords.NewPasswords.of(context.settings).hash(password, name)
    with context.change() as change:
        accounts.set_password(change, name, hashed)
    note(f"Changed the password of {name}.")


account_switches.add_to(command, AccountKind.USER)


def _state(user: Mapping[str, Any]) -> str:
    if user["disabled"]:
        return "disabled"
    until = user["invited_until"]
    if user["password"]:
        return f"enabled, reset until {when(until)}" if until else "enabled"
    return f"invited until {when(until)}" if until else "no password yet"


_COLUMNS: Columns[Described] = {
    "NAME": lambda user: user["name"],
    "ADMIN": lambda user: yes(user["admin"]),
    "STATE": _state,
    "GROUPS": lambda user: ", ".join(user["groups"]),
    "CREATED": lambda user: when(user["created_at"]),
    "LAST LOGIN": lambda user: when_if(user["last_login_at"]),
    "LAST USED": lambda user: when_if(user["last_used_at"]),
}


@command.add_command
@list_command(_COLUMNS, "There are no users.", orders=orders.USERS)
def _list(_: Context, session: Session, window: Window) -> Sequence[Described]:
    """List the users.

    A login is with the password; a use is with any credential, also a token that is gone.
    """
    invited = invitations.open_until(session, now())
    rows = accounts.listed(session, AccountKind.USER, window)
    return [accounts.described(row) | _invited(invited.get(row.id)) for row in rows]


@command.add_command
@show_command()
@click.argument("name", type=USER)
def _show(_: Context, session: Session, name: str) -> tuple[Described, Fields]:
    """Show the user NAME, its groups, and the rules that name it."""
    row = lookup.account(session, name, SubjectKind.USER)
    own = rules.naming(session, models.RuleSubjectRow.account_id == row.id)
    until = invitations.open_until(session, now()).get(row.id)
    user = accounts.described(row) | _invited(until)
    user["rules"] = [rule_rows.described(rule) for rule in own]
    fields = {
        "name": user["name"],
        "state": _state(user),
        "admin": yes(user["admin"]),
        "password": "set" if user["password"] else "none yet",
        "app tokens only": yes(user["app_tokens_only"]),
        "groups": ", ".join(user["groups"]) or "none",
        "created": when(user["created_at"]),
        "last login": when_if(user["last_login_at"]),
        "last used": when_if(user["last_used_at"]),
        "rules": account_switches.rules_of(own),
    }
    return user, fields


def _invited(until: datetime | None) -> dict[str, str | None]:
    return {"invited_until": until.isoformat() if until else None}
