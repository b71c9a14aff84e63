"""``audit export``."""

import click

from authserver.audit import export as audit_export
from authserver.audit import record_rows
from authserver.audit.records import Filter
from authserver.cli.audit.filters import filtered
from authserver.cli.context import Context, pass_context
from authserver.cli.output import note
from authserver.cli.progress import progress_bar
from authserver.core.errors import NotReady


@click.command("export", short_help="Print records as JSON lines, with their place in the chains.")
@filtered
@pass_context
def export(context: Context, wanted: Filter) -> None:
    """Print the records as JSON lines, oldest first, each with its chain, number and HMAC.

    This is the form of AUTHSERVER_AUDIT_LOG: `audit verify --against` takes an export as well.
    """
    done = 0
    unread: list[str] = []
    with context.read() as session, progress_bar("Exporting") as progress:
        total = record_rows.count(session, wanted)
        for line in audit_export.lines(session, wanted, unread):
            done += 1
            if line:
                click.echo(line)
            progress(done, total)
    if unread:
        raise NotReady(
            f"{len(unread)} records cannot be read, the first is {unread[0]}: "
            "run `authserver audit verify`"
        )
    note(f"Exported {done} records.")


commands = (export,)
