"""``authserver init``."""

import fcntl
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from authserver import passwords
from authserver.cli.context import Context, pass_context, require_owner
from authserver.cli.output import ask_password, note, program
from authserver.core.errors import NotReady, Refused
from authserver.core.names import account_name, service_name
from authserver.db import keys, schema, setup
from authserver.db.setup import First
from authserver.sealing import MasterKey, make_master_key, read_master_key

DEFAULT_ADMIN, DEFAULT_REGISTRY = "admin", "registry"


@click.command("init")
@click.option(
    "--admin",
    metavar="NAME",
    default=DEFAULT_ADMIN,
    show_default=True,
    help="Name of the first administrator.",
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
    default=DEFAULT_REGISTRY,
    show_default=True,
    help="The first registry's service string.",
)
@click.option(
    "--print-password",
    is_flag=True,
    help="Print a generated password even where standard output is no terminal.",
)
@pass_context
def command(
    context: Context, admin: str, admin_password_stdin: bool, service: str, print_password: bool
) -> None:
    """Set up: keys, a first registry entry, a first administrator.

    Run again it changes nothing; after a crash it completes. Without --admin-password-stdin a
    password is generated and printed once, to a terminal or with --print-password; elsewhere
    the administrator has none until `authserver user passwd`.
    """
    admin, service = account_name(admin), service_name(service)
    chosen = context.settings
    try:
        chosen.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"the data directory {chosen.data_dir}: {error.strerror}") from None
    require_owner(chosen.data_dir)
    with _alone(chosen.data_dir):
        if _is_done(context):
            note("This store is set up already; nothing was changed.")
            return
        password = _password(from_stdin=admin_password_stdin, shown=print_password)
        hashed = passwords.hash_password(password, chosen.bcrypt_cost) if password else None
        schema.upgrade(context.store.engine)
        master = _master_key(chosen.master_key_path)
        with context.store.change(context.actor) as change:
            setup.initialise(change, master, First(chosen.issuer, service, admin, hashed))
    click.echo(f"Set up in {chosen.data_dir.absolute()}.")
    if password is None:
        note(f"The administrator {admin} has no password yet: {program()} user passwd {admin}")
    elif not admin_password_stdin:
        click.echo("\nThe first administrator; the password is shown once and stored nowhere:\n")
        click.echo(f"    user      {admin}\n    password  {password}")
    _next_steps(service, chosen.master_key_path)


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    with (data_dir / ".init.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_done(context: Context) -> bool:
    with context.store.read() as session:
        connection = session.connection()
        if schema.current(connection) is None:
            return False
        schema.require_head(connection)
        try:
            keys.require_initialised(session)
        except NotReady:
            return False
    return True


def _password(*, from_stdin: bool, shown: bool) -> str | None:
    if from_stdin:
        password = ask_password(from_stdin=True)
        passwords.new_password(password)
        return password
    return secrets.token_urlsafe(18) if shown or sys.stdout.isatty() else None


def _master_key(path: Path) -> MasterKey:
    # The store has no keys yet, so a master key that is there can only be waiting for them.
    return read_master_key(path) if path.exists() else make_master_key(path)


def _next_steps(service: str, master_key: Path) -> None:
    run = program()
    click.echo(f"""
Next steps:

    the registry's section   {run} registry config {service} --output-dir DIR
    a user                   {run} user add alice
    who may do what          {run} acl allow user:alice 'team/**' pull,push
    and why                  {run} acl explain alice repository:team/app:push

Keep {master_key.absolute()} safe, and apart from backups of the store:
without it the private keys do not open.""")
