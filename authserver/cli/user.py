"""``authserver user``: people."""

import secrets

import click

from authserver import passwords
from authserver.cli import switches
from authserver.cli.context import Context, pass_context
from authserver.cli.output import (
    ask_password,
    json_option,
    note,
    note_on_name,
    print_fields,
    print_json,
    print_table,
    yes,
)
from authserver.core.subjects import AccountKind, SubjectKind
from authserver.db import accounts, invitations, named, rules
from authserver.db.models import Account, RuleSubject

_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input's first line."
)


@click.group("user")
def command() -> None:
    """People: accounts with a password."""


@command.command("add")
@click.argument("name")
@_password_stdin
@click.option(
    "--admin", is_flag=True, help="May administer; this gives no right on any repository."
)
@pass_context
def add(context: Context, name: str, password_stdin: bool, admin: bool) -> None:
    """Add the user NAME."""
    with context.read() as session:
        named.free_name(session, Account, name)
    password = ask_password(from_stdin=password_stdin)
    hashed = passwords.hash_password(password, context.settings.bcrypt_cost)
    with context.change() as change:
        row = accounts.add_user(change, name, hashed, admin=admin)
    note(f"Added the user {row.name}.")
    note_on_name(row.name)


@command.command("edit")
@click.argument("name")
@click.option("--admin/--no-admin", required=True, help="Whether the user may administer.")
@pass_context
def edit(context: Context, name: str, admin: bool) -> None:
    """Let the user NAME administer, or no longer."""
    with context.change() as change:
        changed = accounts.set_admin(change, name, admin=admin)
    state = "may administer" if admin else "may not administer"
    note(f"{name} {state} now." if changed else f"{name} {state}, as before.")


@command.command("invite")
@click.argument("name")
@json_option
@pass_context
def invite(context: Context, name: str, as_json: bool) -> None:
    """Invite the user NAME to set a first password: prints a link that is good once, for 72 hours.

    The user is added if not there. An earlier invitation of the same user ends.
    """
    with context.change() as change:
        row, code = invitations.invite(change, name, secrets.token_bytes)
    link = context.settings.invitation_link(code)
    if as_json:
        print_json({"user": row.name, "link": link, "code": code})
    else:
        click.echo(link)
        note(f"For {row.name} alone: whoever has the link sets the password. Good for 72 hours.")


@command.command("passwd")
@click.argument("name")
@_password_stdin
@pass_context
def passwd(context: Context, name: str, password_stdin: bool) -> None:
    """Give the user NAME a new password."""
    with context.read() as session:
        named.account(session, name, AccountKind.USER)
    password = ask_password(from_stdin=password_stdin)
    hashed = passwords.hash_password(password, context.settings.bcrypt_cost)
    with context.change() as change:
        accounts.set_password(change, name, hashed)
    note(f"Changed the password of {name}.")


switches.add_to(command, AccountKind.USER)


@command.command("list")
@json_option
@pass_context
def list_(context: Context, as_json: bool) -> None:
    """List the users."""
    with context.read() as session:
        found = [accounts.described(row) for row in accounts.listed(session, AccountKind.USER)]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            u["name"],
            yes(u["admin"]),
            "disabled" if u["disabled"] else "enabled",
            ", ".join(u["groups"]),
        )
        for u in found
    ]
    print_table(("NAME", "ADMIN", "STATE", "GROUPS"), rows, "There are no users.")


@command.command("show")
@click.argument("name")
@json_option
@pass_context
def show(context: Context, name: str, as_json: bool) -> None:
    """Show the user NAME, its groups, and the rules that name it."""
    with context.read() as session:
        row = named.account(session, name, SubjectKind.USER)
        own = rules.naming(session, RuleSubject.account_id == row.id)
        found = accounts.described(row) | {"rules": [rules.described(rule) for rule in own]}
        lines = [f"{rule.id} ({rules.as_rule(rule)})" for rule in own]
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "name": found["name"],
            "state": "disabled" if found["disabled"] else "enabled",
            "admin": yes(found["admin"]),
            "password": "set" if found["password"] else "none yet",
            "groups": ", ".join(found["groups"]) or "none",
            "created": found["created_at"],
            "rules": "; ".join(lines) or "none of its own",
        }
    )
