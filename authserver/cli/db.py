"""``authserver db``: the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authserver.audit import checkpoints, recorder
from authserver.cli.context import Context, now, pass_context
from authserver.cli.data_dir import alone
from authserver.cli.output import json_option, note, print_json, red
from authserver.core.commands import program
from authserver.core.errors import NotReady, Refused
from authserver.db import dialects, schema, store
from authserver.db.backup import copy as store_copy
from authserver.keys import signing_keys
from authserver.runtime import checks as runtime_checks
from authserver.runtime import settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


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


@command.command("copy")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@pass_context
def copy(context: Context, file: Path) -> None:
    """Move the SQLite store FILE to PostgreSQL.

    AUTHSERVER_DATABASE_URL names the database, which must be empty; every row is compared after it
    was copied, and if anything fails nothing is kept. Stop the server before: what is changed
    meanwhile stays behind. The master key stays the same. FILE is not changed.
    """
    if context.store.file is not None:
        raise Refused("AUTHSERVER_DATABASE_URL names no PostgreSQL database to copy into")
    source = store.open_store(settings.sqlite_url(file), now)
    with source.read() as session, alone(context):
        _private_keys(session, context)
        moved = (session.connection(), context.store, context.actor, now())
        counts = store_copy.move(*moved, _progress)
    source.engine.dispose()
    context.copy_records()
    note(f"Copied and compared {sum(counts.values())} rows.")


def _progress(table: str, done: int, total: int) -> None:
    """Show how far a table is: on a terminal as it goes, elsewhere once it is done."""
    if sys.stderr.isatty():
        click.echo(f"\r{table}: {done} of {total}", err=True, nl=done == total)
    elif done == total:
        note(f"{table}: {total}")


@command.command("check")
@json_option
@pass_context
def check(context: Context, as_json: bool) -> None:
    """Check the store and that its private keys open.

    Exit status 1 if its schema, its integrity, its foreign keys, a private key or what seals the
    audit records is not in order. The records themselves are for `audit verify`.
    """
    context.require_database()
    with context.store.read() as session:
        checks = runtime_checks.failures(
            {
                "schema": lambda: schema.require_head(session.connection()),
                "integrity": lambda: _integrity(session),
                "foreign keys": lambda: _foreign_keys(session),
                "private keys": lambda: _private_keys(session, context),
                "audit chains": lambda: _audit_chains(session, context),
            }
        )
    if as_json:
        print_json({"ok": not any(checks.values()), "checks": checks})
    else:
        for name, failure in checks.items():
            click.echo(f"{name}: {red(failure) if failure else 'ok'}")
    if any(checks.values()):
        raise SystemExit(1)


def _integrity(session: Session) -> None:
    if damage := dialects.dialect_of(session.connection()).damage(session):
        raise NotReady(damage)


def _foreign_keys(session: Session) -> None:
    if broken := dialects.dialect_of(session.connection()).broken_references(session):
        raise NotReady(broken)


def _private_keys(session: Session, context: Context) -> None:
    schema.require_head(session.connection())
    schema.require_initialised(session)
    signing_keys.open_all(session, context.safe_of(session))
    recorder.Trail.of(context.store).key(session)


def _audit_chains(session: Session, context: Context) -> None:
    schema.require_head(session.connection())
    key, state = recorder.Trail.of(context.store).key(session), checkpoints.state_of(session)
    if trouble := checkpoints.trouble(session, key, state):
        raise NotReady(f"{trouble}: run `{program()} audit verify`")
