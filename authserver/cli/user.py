"""``authserver user``: people."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from authserver.auth import passwords
from authserver.cli import account_switches, many, second_factor
from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import (
    ask_password,
    json_option,
    note,
    note_on_name,
    print_csv,
    print_json,
    when,
    when_if,
    yes,
)
from authserver.cli.params import NEW_PASSWORDS, USER, Values
from authserver.cli.tables import print_table
from authserver.cli.views import Columns, Described, Fields, list_command, show_command
from authserver.core import orders
from authserver.core.errors import Refused
from authserver.core.subjects import AccountKind, AdminTokens, Role, SubjectKind
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
    "--auditor",
    is_flag=True,
    help="Mark as an auditor, who reads over the API all that an administrator reads, and changes "
    "nothing. The mark gives no right on any repository either.",
)
@click.option(
    "--app-tokens-only", is_flag=True, help="The password opens the API, and gets no tokens."
)
@pass_context
def add(
    context: Context,
    name: str,
    password_stdin: bool,
    admin: bool,
    auditor: bool,
    app_tokens_only: bool,
) -> None:
    """Add the user NAME with a password."""
    with context.read() as session:
        lookup.free_name(session, models.AccountRow, name)
    password = ask_password(from_stdin=password_stdin)
    hashed = passwords.NewPasswords.of(context.settings).hash(password, name)
    with context.change() as change:
        row = accounts.add_user(
            change, name, hashed, admin=admin, auditor=auditor, app_tokens_only=app_tokens_only
        )
    note(f"Added the user {row.name}.")
    note_on_name(row.name)


@command.command("edit", short_help="Change what NAME may do, or logs in with.")
@click.argument("name", type=USER)
@click.option("--admin/--no-admin", default=None, help="Whether the user may administer.")
@click.option(
    "--auditor/--no-auditor",
    default=None,
    help="Whether the user may read all that an administrator reads.",
)
@click.option(
    "--admin-tokens",
    type=Values(AdminTokens),
    help="With --admin or --auditor: keep or revoke the app tokens that would open the "
    "administration from then on, instead of asking.",
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
    auditor: bool | None,
    admin_tokens: AdminTokens | None,
    app_tokens_only: bool | None,
    force: bool,
) -> None:
    """Change the role of the user NAME, or what it logs in with.

    App tokens that were made with --admin before NAME had the role would have it as well: they are
    shown first.
    """
    rises = bool(admin or auditor)
    if admin_tokens and not rises:
        raise click.UsageError("--admin-tokens goes with --admin or --auditor")
    if rises and admin_tokens is None and sys.stdin.isatty():
        admin_tokens = _asked(context, name, Role.of(admin=bool(admin), auditor=bool(auditor)))
    if (admin, auditor, app_tokens_only) == (None, None, None):
        raise click.UsageError(
            "say what to change: --admin or --no-admin, --auditor or --no-auditor, "
            "--app-tokens-only or --passwords"
        )
    notes = []
    with context.change() as change:
        if (admin, auditor) != (None, None):
            changed = accounts.set_role(
                change, name, admin=admin, auditor=auditor, admin_tokens=admin_tokens, force=force
            )
            state = _may(lookup.account(change.session, name, AccountKind.USER).role)
            notes.append(f"{name} {state} now." if changed else f"{name} {state}, as before.")
        if app_tokens_only is not None:
            changed = accounts.set_app_tokens_only(change, name, only=app_tokens_only)
            state = "logs in with app tokens only" if app_tokens_only else "may use the password"
            notes.append(f"{name} {state} now." if changed else f"{name} {state}, as before.")
    for each in notes:
        note(each)


def _may(role: Role) -> str:
    return {
        Role.NOBODY: "may not administer",
        Role.AUDITOR: "may read the administration and change nothing",
        Role.ADMINISTRATOR: "may administer",
    }[role]


def _asked(context: Context, name: str, to: Role) -> AdminTokens | None:
    """Show the app tokens that would rise with NAME, and ask about them; return None without."""
    with context.read() as session:
        row = lookup.account(session, name, AccountKind.USER)
        tokens = app_tokens.beyond_role(session, row, now()) if to > row.role else []
    if not tokens:
        return None
    for token in tokens:
        until = f"until {when(token.expires_at)}" if token.expires_at else "for ever"
        used = f"last used {when(token.last_used_at)}" if token.last_used_at else "never used"
        note(f"The app token {token.id} ({token.name}) would {to.what}, {until}; {used}.")
    return AdminTokens(click.prompt("Keep or revoke?", type=Values(AdminTokens), err=True))


@command.command("invite")
@many.selected(AccountKind.USER)
@click.option(
    "--reset",
    is_flag=True,
    help="For a user who has a password: it and its logins go on until the new one is set.",
)
@click.option("--now", is_flag=True, help="With --reset: they end at once.")
@account_switches.force_last_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for a mail merge.")
@json_option
@pass_context
def invite(
    context: Context,
    selection: many.Selection,
    reset: bool,
    now: bool,
    force: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print a link for the user NAME to set a password.

    It is good once, for 72 hours. The user is added if not there. An earlier invitation of the
    same user ends. A user who has a password gets a link with --reset only. Several users are one
    change: all of them, or none if one cannot be invited. With --all-in and --file users who have
    a password are left out, and with --all-in disabled ones.
    """
    if now and not reset:
        raise click.UsageError("--now goes with --reset")
    if as_csv and as_json:
        raise click.UsageError("say --csv or --json, not both")
    until = (invitations.Reset.NOW if now else invitations.Reset.LATER) if reset else None
    # Before the change: all other writers wait for a change.
    names = selection.find(context)
    with context.change() as change:
        selection.require_same(change, names)
        with many.together(change, names):
            invited = [name for name in names if _is_meant(change.session, name, selection, until)]
            if as_csv:
                _require_plain(invited)
            made = many.each(
                invited,
                lambda name: invitations.invite(
                    change, name, secrets.token_bytes, until, force=force
                ),
            )
        expires = change.at + invitations.LIFETIME
    link = context.settings.invitation_link
    links = [
        {"user": row.name, "link": link(code), "code": code, "expires_at": expires.isoformat()}
        for row, code in made
    ]
    if as_json:
        print_json(links[0] if selection.is_one else links)
    elif as_csv:
        rows = [[each["user"], each["link"], each["expires_at"]] for each in links]
        print_csv(["name", "link", "expires"], rows)
    elif selection.is_one:
        click.echo(links[0]["link"])
    else:
        rows = [[each["user"], each["link"]] for each in links]
        # A link that is left out or broken would be lost.
        print_table(("USER", "LINK"), rows, "Nobody was invited.", whole=True)
    _note_on_links(context, selection, len(names) - len(made), as_json=as_json)


def _note_on_links(
    context: Context, selection: many.Selection, left_out: int, *, as_json: bool
) -> None:
    if left_out:
        note(f"{left_out} who have a password or are disabled were left out.")
    if not as_json:
        links = f"For {selection.names[0]}" if selection.is_one else "Each for one user"
        note(f"{links} alone: anybody with the link sets the password. Good for 72 hours.")
    for doubt in settings.public_url.doubts("the link", context.settings.public_url):
        note(f"Warning: {doubt}")


def _is_meant(
    session: Session, name: str, selection: many.Selection, reset: invitations.Reset | None
) -> bool:
    """Whether a user is to be invited who was named, or is one of a group or a file."""
    if selection.names:
        return True
    row = lookup.similar(session, models.AccountRow, name)
    if row is None:
        return True
    disabled = row.disabled_at is not None and selection.group is not None
    return not disabled and (row.password_hash is None or reset is not None)


def _require_plain(names: Sequence[str]) -> None:
    """Check that no name is a formula to a spreadsheet. Raises Refused if one is."""
    if wrong := [name for name in names if name.startswith(("=", "+", "-", "@"))]:
        raise Refused(
            f"a spreadsheet would take these names for formulas: {', '.join(wrong)}; say --json"
        )


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
command.add_command(second_factor.command)


_INVITATIONS: Columns[Described] = {
    "USER": lambda invitation: invitation["user"],
    "FOR": lambda invitation: "another password" if invitation["reset"] else "a first password",
    "INVITED": lambda invitation: when(invitation["created_at"]),
    "UNTIL": lambda invitation: when(invitation["expires_at"]),
}


@command.add_command
@list_command(_INVITATIONS, "There are no open invitations.", name="invitations")
def _invitations(_: Context, session: Session) -> Sequence[Described]:
    """List the invitations that were not used and have not expired."""
    return [invitations.described(each) for each in invitations.listed(session, now())]


@command.command("uninvite")
@click.argument("name", type=USER)
@pass_context
def uninvite(context: Context, name: str) -> None:
    """End the invitation of the user NAME.

    Its link is no longer good.
    """
    with context.change() as change:
        name = invitations.end(change, name)
    note(f"Ended the invitation of {name}.")


def _state(user: Mapping[str, Any]) -> str:
    if user["disabled"]:
        return "disabled"
    until = user["invited_until"]
    if user["password"]:
        return f"enabled, reset until {when(until)}" if until else "enabled"
    return f"invited until {when(until)}" if until else "no password yet"


def _roles(user: Mapping[str, Any]) -> str:
    marks = {"administrator": user["admin"], "auditor": user["auditor"]}
    return ", ".join(name for name, marked in marks.items() if marked) or "none"


_COLUMNS: Columns[Described] = {
    "NAME": lambda user: user["name"],
    "ROLE": _roles,
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
        "role": _roles(user),
        "password": "set" if user["password"] else "none yet",
        "app tokens only": yes(user["app_tokens_only"]),
        "second factor": yes(user["second_factor"]),
        "groups": ", ".join(user["groups"]) or "none",
        "created": when(user["created_at"]),
        "last login": when_if(user["last_login_at"]),
        "last used": when_if(user["last_used_at"]),
        "rules": account_switches.rules_of(own),
    }
    return user, fields


def _invited(until: datetime | None) -> dict[str, str | None]:
    return {"invited_until": until.isoformat() if until else None}
