"""``audit accept``."""

import click

from authserver.audit import accept as audit_accept
from authserver.audit.chain_walk import Fault
from authserver.audit.recorder import Trail
from authserver.audit.verify import Verification
from authserver.cli.audit.verify import told_faults
from authserver.cli.context import Context, pass_context
from authserver.cli.output import json_option, note, print_json, require_sure, yes_option
from authserver.cli.progress import progress_bar
from authserver.core.errors import ChainsLost
from authserver.core.names import printable


@click.command("accept", short_help="Accept what `audit verify` has found, and seal what there is.")
@click.option("--reason", metavar="TEXT", required=True, help="Why; it is recorded.")
@yes_option
@json_option
@pass_context
def accept(context: Context, reason: str, sure: bool, as_json: bool) -> None:
    """Accept that audit records were altered, deleted or moved, once that was looked into.

    Verifies all records and shows what is wrong. If that is confirmed it is recorded as a change,
    with the reason, and what there is now is sealed: the alarm ends, and old records are pruned
    again. Nothing is hidden: `audit verify` goes on telling what was accepted, and by whom; what is
    altered afterwards is a fault again; and a copy of AUTHSERVER_AUDIT_LOG still shows what
    differs. It needs the master key.

    Where the chains or their key are gone, they begin anew, and records that are left are in none:
    stop every server before.
    """
    reason = printable(reason, audit_accept.MAX_REASON + 1)
    found, faults = _looked(context)
    for fault in faults:
        click.echo(printable(str(fault), 1000), err=as_json)
    if faults:
        audit_accept.require_acceptable(faults, reason)
        require_sure(f"Accept {_number(len(faults))} for good?", sure=sure)
        with context.change() as change:
            if found is None:
                audit_accept.begin_anew(change, faults, reason)
            else:
                audit_accept.accept(change, found, faults, reason)
    if as_json:
        print_json({"reason": reason, "accepted": told_faults(faults)})
    note(f"Accepted {_number(len(faults))}." if faults else "There is nothing to accept.")


def _looked(context: Context) -> tuple[Verification | None, list[Fault]]:
    """Return what was looked at, and what is wrong; None where no chain is left to look at."""
    with context.read() as session, progress_bar("Verifying") as progress:
        try:
            key = Trail.of(context.store).key(session)
        except ChainsLost as error:
            return None, [Fault("", error.what)]
        found = Verification(session, key, None, progress)
        return found, found.run().faults


def _number(count: int) -> str:
    return "1 fault" if count == 1 else f"{count} faults"


commands = (accept,)
