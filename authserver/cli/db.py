"""``authserver db``: the store."""

import click
from sqlalchemy import text
from sqlalchemy.orm import Session

from authserver.checks import failures
from authserver.cli.context import Context, pass_context
from authserver.cli.output import json_option, note, print_json
from authserver.core.errors import NotReady
from authserver.db import keys, schema
from authserver.sealing import read_master_key


@click.group("db")
def command() -> None:
    """The store: its schema and its health."""


@command.command("upgrade")
@pass_context
def upgrade(context: Context) -> None:
    """Bring the store's schema to what this version needs."""
    context.require_database()
    before, after = context.upgrade()
    note(f"The schema is at {after}." if before == after else f"Upgraded {before} to {after}.")


@command.command("check")
@json_option
@pass_context
def check(context: Context, as_json: bool) -> None:
    """Check the store and that its private keys open.

    Exit status 1 if its schema, its integrity, its foreign keys or a private key is not in order.
    """
    context.require_database()
    with context.store.read() as session:
        found = failures(
            {
                "schema": lambda: schema.require_head(session.connection()),
                "integrity": lambda: _integrity(session),
                "foreign keys": lambda: _foreign_keys(session),
                "private keys": lambda: _private_keys(session, context),
            }
        )
    if as_json:
        print_json({"ok": not any(found.values()), "checks": found})
    else:
        for name, failure in found.items():
            click.echo(f"{name}: {failure or 'ok'}")
    if any(found.values()):
        raise SystemExit(1)


def _integrity(session: Session) -> None:
    if session.get_bind().dialect.name != "sqlite":
        return
    found = session.scalars(text("PRAGMA integrity_check")).all()
    if found != ["ok"]:
        raise NotReady(f"{len(found)} faults, the first: {found[0]}; restore a backup")


def _foreign_keys(session: Session) -> None:
    if session.get_bind().dialect.name != "sqlite":
        return
    found = session.execute(text("PRAGMA foreign_key_check")).all()
    if found:
        raise NotReady(f"{len(found)} rows name something that is gone, the first in {found[0][0]}")


def _private_keys(session: Session, context: Context) -> None:
    schema.require_head(session.connection())
    keys.require_initialised(session)
    master = read_master_key(context.settings.master_key_path)
    keys.require_master_key(session, master)
    keys.open_all(session, master)
    context.store.trail.key(session)
