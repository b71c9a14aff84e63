"""``audit verify``."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from authserver.audit import accepted_faults
from authserver.audit.chain_walk import Fault
from authserver.audit.log_reader import Logged
from authserver.audit.recorder import Trail
from authserver.audit.verify import Report, Verification
from authserver.cli.context import Context, pass_context
from authserver.cli.output import json_option, note, print_json, when
from authserver.cli.progress import progress_bar
from authserver.core.errors import Refused
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


commands = (verify,)
