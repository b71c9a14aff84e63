"""``audit verify`` and ``audit accept``."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from authserver.audit import accept as audit_accept
from authserver.audit import accepted_faults
from authserver.audit.chain_walk import Fault
from authserver.audit.log_reader import Logged
from authserver.audit.recorder import Trail
from authserver.audit.verify import Report, Verification
from authserver.cli.context import Context, pass_context
from authserver.cli.output import (
    json_option,
    note,
    print_json,
    progress_bar,
    require_sure,
    when,
    yes_option,
)
from authserver.core.errors import ChainsLost, Refused
from authserver.core.names import printable


@click.command("verify", short_help="Check that no audit record was altered, deleted or moved.")
@click.option(
    "--against",
    "files",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Compare with this audit log or export, from oldest to newest; may be repeated.",
)
@json_option
@pass_context
def verify(context: Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Check the chains of the audit records and the checkpoint over them.

    Exits with 1 if records were altered, deleted or moved, and says which. What was cut off after
    the checkpoint shows only --against a log that is kept elsewhere. The server may go on.
    """
    with context.read() as session:
        key = Trail.of(context.store).key(session)
        accepted = accepted_faults.read(session, key)
    # Before the state of the store that is verified: what is logged later is not in it.
    logged = _read(Logged(key, accepted_faults.places(accepted)), files) if files else None
    with context.read() as session, progress_bar("Verifying") as progress:
        report = Verification(session, key, logged, progress).run()
    if as_json:
        print_json(_told(report))
    else:
        _print(report)
    if report.faults:
        note("Look into it. What cannot be put right can be accepted: `authserver audit accept`.")
        raise SystemExit(1)


def _read(logged: Logged, files: Sequence[Path]) -> Logged:
    for path in files:
        try:
            with path.open("rb") as file, progress_bar(f"Reading {path}") as progress:
                size = os.fstat(file.fileno()).st_size
                logged.read(str(path), _lines(file, size, progress))
        except OSError as error:
            raise Refused(f"the log {path} cannot be read: {error.strerror}") from None
    return logged


def _lines(file: Iterable[bytes], size: int, progress: Callable[[int, int], None]) -> Iterator[str]:
    done = 0
    for line in file:
        yield line.decode(errors="replace")
        done += len(line)
        progress(done, max(done, size))


def _told(report: Report) -> dict[str, Any]:
    at = report.checkpoint_at
    told = asdict(report) | {"checkpoint_at": at and at.isoformat()}
    told["faults"] = told_faults(report.faults)
    told["accepted"] = [
        {"at": one.at.isoformat(), "actor": one.actor, "reason": one.reason}
        | {"record": one.record, "faults": told_faults(one.faults)}
        for one in report.accepted
    ]
    return {"ok": not report.faults} | told


def told_faults(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """Return faults as ``--json`` has them."""
    return [asdict(fault) | {"text": str(fault)} for fault in faults]


def _print(report: Report) -> None:
    for fault in report.faults:
        click.echo(printable(str(fault), 1000))
    for one in report.accepted:
        by = f"accepted by {one.actor} at {when(one.at)} ({one.reason})"
        for fault in one.faults:
            click.echo(printable(f"{by}: {fault}", 2500))
    found = f"{len(report.faults)} faults" if report.faults else "all as written"
    if accepted := sum(len(one.faults) for one in report.accepted):
        found += f", except {accepted} that are accepted"
    verified = f"{report.verified['change']} changes, {report.verified['token']} token requests"
    click.echo(f"{verified} in {report.chains} chains: {found}")
    if any(report.unchained.values()):
        before = report.unchained
        click.echo(
            f"in no chain: {before['change']} changes, {before['token']} token requests from "
            "before there were chains; whether they were altered cannot be said"
        )
    if report.checkpoint_at is not None:
        click.echo(
            f"checkpoint {report.checkpoint} at {when(report.checkpoint_at)}, "
            f"{report.open} records since"
        )
    if report.logged is not None:
        click.echo(f"compared with {report.logged} lines")


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


commands = (verify, accept)
