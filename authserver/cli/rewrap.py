"""``authserver key rewrap``: another master key."""

from pathlib import Path

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.init import alone
from authserver.cli.output import note
from authserver.keys import signing_keys
from authserver.keys.master_key import (
    MasterKey,
    beside,
    make_master_key,
    read_master_key,
    take_over,
)


@click.command("rewrap")
@pass_context
def command(context: Context) -> None:
    """Encrypt the private keys with another master key.

    The new one is made beside the old one's file, as FILE.new; one that is there is used. It takes
    the old one's place when the store is done: a crash leaves a pair of files of which one fits.
    Serving processes change over by themselves.
    """
    path = context.settings.master_key_path
    with alone(context):
        with context.read() as session:
            present = context.safe_of(session).master
        _finish(path, present)
        following = _next(path)
        with context.change() as change:
            count = signing_keys.rewrap(change, context.safe_of(change.session), following)
        context.store.overwrite_deleted()
        take_over(path)
    note(
        f"Encrypted {count} private keys with master key {following.id}, which is in {path}. Keep "
        f"a copy where the old one is kept. Backups made before need the old one ({present.id})."
    )


def _finish(path: Path, present: MasterKey) -> None:
    """Finish what an earlier call did not: the store may be with the next master key already."""
    if beside(path).exists() and read_master_key(beside(path)).id == present.id:
        take_over(path)


def _next(path: Path) -> MasterKey:
    following = beside(path)
    return read_master_key(following) if following.exists() else make_master_key(following)
