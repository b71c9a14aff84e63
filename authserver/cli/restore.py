"""``authserver restore``: a new store from a backup."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authserver.audit import retention
from authserver.cli import new_store
from authserver.cli.context import Context, now, pass_context
from authserver.cli.data_dir import alone, make_data_dir
from authserver.cli.inputs import passphrase, passphrase_option, read_input
from authserver.cli.output import note, progress_bar, when
from authserver.core.commands import program
from authserver.core.errors import NotReady, Refused
from authserver.db import models, schema, store
from authserver.db.backup import archive, dump
from authserver.keys import signing_keys

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@click.command("restore", short_help="Set a new store up from a backup.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@passphrase_option
@pass_context
def command(context: Context, file: Path, secret: Path | None) -> None:
    """Set the store of the settings up from the backup FILE (- for standard input).

    The store must be new: a data directory without one, or an empty PostgreSQL database, whichever
    the backup was of. It is brought to what this version needs. If the master key is in its place,
    all private keys are opened. What `age -d` made of FILE is taken too, without a passphrase.

    Everything is again as it was: what was disabled, revoked or changed since the backup is not.
    """
    content = read_input(file)
    try:
        header = _from(context, content, secret)
    except (NotReady, Refused) as error:
        raise type(error)(f"the backup {file}: {error}") from None
    note(f"Restored {header.total} rows, as they were at {when(header.at)}.")
    note("What was disabled, revoked or changed since then is not: look it through.")
    with context.store.read() as session:
        if not _has_chains(session):
            note(f"It has no audit chains: `{program()} audit restart` begins them.")
    if not context.settings.master_key_path.exists():
        note("Without the master key no audit record could be made of this.")
        note(f"Now bring the master key to {context.settings.master_key_path}.")


def _from(context: Context, content: bytes, secret: Path | None) -> dump.Header:
    if archive.is_encrypted(content):
        content = archive.decrypt(content, passphrase(secret, new=False))
    records = archive.unpack(content)
    header = dump.Header.read(next(records, {}))
    if context.store.file is not None:
        make_data_dir(context.settings.data_dir)
    with alone(context), progress_bar("Restoring") as progress:
        _restore(context, header, records, progress)
    return header


def _restore(
    context: Context,
    header: dump.Header,
    records: Iterator[dump.Record],
    progress: Callable[[int, int], None],
) -> None:
    """Fill the store in one transaction: whatever cuts it off, nothing is left there."""
    with schema.restoring(context.store.engine, header.revision) as connection:
        for done in dump.load(connection, header, records):
            progress(done, header.total)
        schema.to_head(connection)
        with store.session_on(connection) as session:
            change = store.Change(session, context.actor, now(), context.store.trail)
            has_key = context.settings.master_key_path.exists()
            if has_key:
                signing_keys.open_all(session, context.safe_of(session))
                new_store.bring_chains_over(change, header.revision)
            if has_key and _has_chains(session):
                _record(change, header)
            else:
                _go_without_record(change)
    context.store.trail.committed(session)
    context.copy_records()


def _has_chains(session: Session) -> bool:
    return session.get(models.AuditState, 1) is not None


def _record(change: store.Change, header: dump.Header) -> None:
    """Record what was restored, as the next of its chain."""
    left_out = retention.are_left_out(change.session)
    if left_out:
        retention.leave_out(change)
    after = {"at": header.at.isoformat()} | ({"token_records": "left out"} if left_out else {})
    change.record("store.restore", "store", after=after)
    change.seal()


def _go_without_record(change: store.Change) -> None:
    """Have other processes look again; without master key and chains nothing can be recorded.

    Raises:
        Refused: the chains would not be verified, for the records of token requests are left out.
    """
    if retention.are_left_out(change.session):
        raise Refused(
            "it is without the records of token requests, and where their chains go on is sealed "
            "with the master key: bring it first"
        )
    change.raise_version(1)
