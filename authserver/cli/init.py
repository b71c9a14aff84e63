"""``authserver init``."""

from __future__ import annotations

import secrets
import sys
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authserver.auth import passwords
from authserver.cli import new_store
from authserver.cli.context import Context, pass_context
from authserver.cli.data_dir import alone, make_data_dir
from authserver.cli.new_store import First
from authserver.cli.output import ask_password, note, note_on_name
from authserver.cli.params import NEW_PASSWORDS
from authserver.core.commands import program, shell_command
from authserver.core.errors import NotReady
from authserver.core.names import account_name, service_name
from authserver.db import schema
from authserver.keys import master_key as master_keys
from authserver.keys import private_keys

if TYPE_CHECKING:
    from authserver.keys.master_key import MasterKey
    from authserver.runtime.settings import Settings


@click.command("init", epilog=NEW_PASSWORDS)
@click.option(
    "--admin",
    metavar="NAME",
    help="Name of the first administrator; otherwise AUTHSERVER_ADMIN, or admin.",
)
@click.option(
    "--admin-password-stdin",
    is_flag=True,
    help="Read the administrator's password from standard input's first line.",
)
@click.option(
    "--registry",
    "service",
    metavar="SERVICE",
    help="The first registry's service string; otherwise AUTHSERVER_REGISTRY, or main.",
)
@click.option(
    "--print-password",
    is_flag=True,
    help="Print a generated password even where standard output is no terminal.",
)
@pass_context
def command(
    context: Context,
    admin: str | None,
    admin_password_stdin: bool,
    service: str | None,
    print_password: bool,
) -> None:
    """Set up: keys, a first registry entry, a first administrator.

    Run again it changes nothing; after a crash it completes. The administrator's password comes
    from --admin-password-stdin or AUTHSERVER_ADMIN_PASSWORD_FILE; otherwise one is generated and
    printed once, to a terminal or with --print-password. Elsewhere the administrator has no
    password until `authserver user passwd`.
    """
    settings = context.settings
    admin, service = admin or settings.admin, service or settings.registry
    password_given = (
        ask_password(from_stdin=True) if admin_password_stdin else configured_password(settings)
    )
    generate = print_password or sys.stdout.isatty()
    password_made = _generated(settings) if generate and password_given is None else None
    password = password_made if password_given is None else password_given
    if not set_up(context, admin, service, password):
        note("This store is set up already; nothing was changed.")
        return
    click.echo(f"Set up in {settings.data_dir.absolute()}.")
    if password is None:
        passwd = shell_command("user", "passwd", operand=admin)
        note(f"The administrator {admin} has no password yet: {passwd}")
    elif password_made:
        click.echo("\nThe first administrator; the password is shown once and stored nowhere:\n")
        click.echo(f"    user      {admin}\n    password  {password}")
    note_on_name(admin)
    _next_steps(service, settings)


def _generated(settings: Settings) -> str:
    # Three bytes make four characters, and a minimum of 64 characters stays below 72 bytes.
    return secrets.token_urlsafe(max(18, ceil(settings.password_min_length * 3 / 4)))


def configured_password(settings: Settings) -> str | None:
    return settings.admin_password.get_secret_value() if settings.admin_password else None


def set_up(context: Context, admin: str, service: str, password: str | None) -> bool:
    """Set the store up, alone; False if it is set up already.

    Raises:
        Refused: a name or the password is no good, or the directory cannot be made.
        NotReady: there is a store that this version cannot work with.
    """
    settings = context.settings
    admin, service = account_name(admin), service_name(service)
    if settings.database_url is None or settings.master_key_file is None:
        make_data_dir(settings.data_dir)
    with alone(context):
        if _is_done(context):
            return False
        # Not before: a password that is there for `serve --init` is not looked at twice.
        hashed = (
            None if password is None else passwords.NewPasswords.of(settings).hash(password, admin)
        )
        schema.upgrade(context.store.engine)
        master = _master_key(settings.master_key_path)
        safe = private_keys.Safe(master, settings.master_key_path, settings.private_key_dir)
        with context.store.change(context.actor) as change:
            new_store.initialise(change, safe, First(settings.issuer, service, admin, hashed))
        context.copy_records()
    return True


def _is_done(context: Context) -> bool:
    if context.store.file is not None and not context.store.file.exists():
        return False
    with context.store.read() as session:
        connection = session.connection()
        if schema.current(connection) is None:
            return False
        try:
            schema.require_initialised(session)
        except NotReady:
            return False
        schema.require_head(connection)
    return True


def _master_key(path: Path) -> MasterKey:
    # The store has no keys yet, so a master key that is there can only be waiting for them.
    return master_keys.read_master_key(path) if path.exists() else master_keys.make_master_key(path)


def _next_steps(service: str, settings: Settings) -> None:
    run, url = program(), settings.console_url
    console = f"\n    the console              {url}, while it serves" if url else ""
    section = shell_command("registry", "config", "--output-dir", "DIR", operand=service)
    click.echo(f"""
Next steps:

    the registry's section   {section}
    a user                   {run} user add alice
    who may do what          {run} acl allow user:alice 'team/**' pull,push
    and why                  {run} acl explain alice team/app:push{console}

Keep {settings.master_key_path.absolute()} safe, and apart from backups of the store:
without it the private keys do not open.""")
