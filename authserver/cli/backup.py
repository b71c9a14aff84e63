"""``authserver backup``: the whole store in one encrypted file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING

import click

from authserver import __version__
from authserver.cli.context import Context, now, pass_context
from authserver.cli.inputs import STDIN, passphrase, passphrase_option
from authserver.cli.output import note, progress_bar
from authserver.core.errors import Refused
from authserver.db import models
from authserver.db.backup import archive, dump

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from authserver.db.backup.dump import Header


@click.command("backup", short_help="Write the whole store to one encrypted file.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@passphrase_option
@click.option(
    "--no-token-records",
    is_flag=True,
    help="Leave out the records of token requests, which are most of it.",
)
@pass_context
def command(context: Context, file: Path, secret: Path | None, no_token_records: bool) -> None:
    """Write the whole store, as it is at one moment, to FILE (- for standard output).

    The server may run meanwhile. FILE is encrypted with a passphrase and does not hold the master
    key, which the private keys in it are sealed with: keep both, in different places.
    """
    context.require_database()
    if file != STDIN and file.exists():
        raise Refused(f"{file} is there already: name a new file, or remove it")
    secret_text = passphrase(secret, new=True)
    without = {models.TokenRecord.__tablename__} if no_token_records else set()
    with context.store.read() as session, progress_bar("Backing up") as progress:
        connection = session.connection()
        header = dump.header(connection, now(), __version__, without)
        content = archive.pack(_watched(connection, header, progress), secret_text)
    _write(file, content)
    note(f"Backed up {header.total} rows.")
    note(f"Keep the master key {context.settings.master_key_path} too, in another place.")


def _watched(
    connection: Connection, header: Header, progress: Callable[[int, int], None]
) -> Iterator[dump.Record]:
    done = 0
    for record in dump.dump(connection, header):
        yield record
        done += len(record["rows"]) if "table" in record else 0
        progress(done, header.total)


def _write(file: Path, content: bytes) -> None:
    """Write a file that is there wholly or not at all, for its owner only."""
    if file == STDIN:
        sys.stdout.buffer.write(content)
        return
    try:
        descriptor, partial = mkstemp(dir=file.absolute().parent, prefix=f".{file.name}.")
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(descriptor)
        Path(partial).replace(file)
    except OSError as error:
        raise Refused(f"the backup cannot be written to {file}: {error.strerror}") from None
