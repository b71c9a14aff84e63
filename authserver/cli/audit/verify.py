"""``audit verify`` and ``audit restart``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from authserver.audit import chain_walk, log_reader, recorder
from authserver.audit import restart as audit_restart
from authserver.audit import verify as audit_verify
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
from authserver.core.commands import program
from authserver.core.errors import ChainsLost, Refused
from authserver.core.names import printable

if TYPE_CHECKING:
    from authserver.audit.verify import VerificationReport


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
    the checkpoint shows only --against a log that is kept elsewhere. Faults in chains that `audit
    restart` has closed are listed, and are no alarm. The server may go on.
    """
    with context.read() as session:
        key = recorder.Trail.of(context.store).key(session)
    # Before the state of the store that is verified: what is logged later is not in it.
    logged = _read(log_reader.Logged(key), files) if files else None
    with context.read() as session, progress_bar("Verifying") as progress:
        report = audit_verify.Verification(session, key, logged, progress).run()
    if as_json:
        print_json(report.as_json())
    else:
        _print(report)
    if report.faults:
        note(
            "Look into it. If the records cannot be put right, begin new chains: "
            f"`{program()} audit restart --reason TEXT`."
        )
        raise SystemExit(1)


def _read(logged: log_reader.Logged, files: Sequence[Path]) -> log_reader.Logged:
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


def _print(report: VerificationReport) -> None:
    for fault in report.faults:
        click.echo(printable(str(fault), 1000))
    for restart in report.restarts:
        what = _counted(restart.faults) or "nothing was wrong"
        by = f"closed by {restart.actor} at {when(restart.at)} ({restart.reason})"
        click.echo(printable(f"{by}: {what}", 20_000))
    for fault in report.closed_faults:
        click.echo(printable(f"closed: {fault}", 1000))
    verdict = _number(len(report.faults)) if report.faults else "all as written"
    verified = f"{report.verified['change']} changes, {report.verified['token']} token requests"
    click.echo(f"{verified} in {report.chains} chains: {verdict}")
    if any(report.closed.values()):
        closed = f"{report.closed['change']} changes, {report.closed['token']} token requests"
        faults = _number(len(report.closed_faults))
        click.echo(f"{closed} in closed chains: {faults}, without alarm")
    if any(report.unchained.values()):
        before = report.unchained
        since = "in closed chains or " if report.restarts else ""
        click.echo(
            f"in no chain: {before['change']} changes, {before['token']} token requests "
            f"{since}from before there were chains; whether they were altered cannot be said"
        )
    if report.checkpoint_at is not None:
        click.echo(
            f"checkpoint {report.checkpoint} at {when(report.checkpoint_at)}, "
            f"{report.open} records since"
        )
    if report.logged is not None:
        click.echo(f"compared with {report.logged} lines")


def _counted(faults: Mapping[str, int]) -> str:
    return ", ".join(f"{what}: {count}" for what, count in faults.items())


@click.command("restart", short_help="Close all chains as they are, and begin new ones.")
@click.option("--reason", metavar="TEXT", required=True, help="Why; it is recorded.")
@yes_option
@json_option
@pass_context
def restart(context: Context, reason: str, sure: bool, as_json: bool) -> None:
    """Close the chains of the audit records as they are, and begin new ones.

    For records that were altered, deleted or moved, once you have looked into it. Verifies all
    records and shows what is wrong. Once you confirm, a change records who closed the chains, when,
    why, and how much was wrong. The alarm ends, and old records are pruned again. `audit verify`
    goes on to list what is wrong in closed chains. What is altered in the new ones is an alarm.

    It needs the master key. Where the chains or their key are gone, stop every server before.
    """
    reason = printable(reason, audit_restart.MAX_REASON + 1)
    audit_restart.require_reason(reason)
    faults = _verified(context)
    for fault in faults:
        click.echo(printable(str(fault), 1000), err=as_json)
    counts = audit_restart.counts(faults)
    if faults:
        require_sure(f"Close all chains with {_number(len(faults))} for good?", sure=sure)
        with context.change() as change:
            audit_restart.restart(change, counts, reason)
    if as_json:
        print_json({"restarted": bool(faults), "reason": reason, "faults": counts})
    note("Began new chains." if faults else "Nothing is wrong: the chains go on.")


def _verified(context: Context) -> list[chain_walk.Fault]:
    with context.read() as session, progress_bar("Verifying") as progress:
        try:
            key = recorder.Trail.of(context.store).key(session)
        except ChainsLost as error:
            return [chain_walk.Fault("", error.what)]
        return audit_verify.Verification(session, key, None, progress).run().faults


@click.command("accept", hidden=True)
@click.option("--reason")
@yes_option
@json_option
def accept(reason: str | None, sure: bool, as_json: bool) -> NoReturn:  # noqa: ARG001
    """Say what replaces this command."""
    raise click.UsageError(f"`{program()} audit restart --reason TEXT` replaces `audit accept`.")


def _number(count: int) -> str:
    return "1 fault" if count == 1 else f"{count} faults"


commands = (verify, restart, accept)
