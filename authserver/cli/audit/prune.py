"""``audit prune``."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import click

from authserver.audit import retention
from authserver.cli.context import Context, pass_context
from authserver.cli.output import (
    json_option,
    note,
    print_json,
    progress_bar,
    require_sure,
    yes_option,
)
from authserver.cli.params import Moment
from authserver.core.errors import NotReady
from authserver.db import space

_BEGINNING = datetime.fromtimestamp(0, UTC)
_ALL = 2**63 - 1


@click.command("prune", short_help="Delete the oldest records of token requests.")
@click.option(
    "--before",
    metavar="TIME",
    type=Moment(past=True),
    help="Those from before then: 2026-11-24, 2026-11-24T18:00Z, or 7d, which is 7 days ago.",
)
@click.option("--keep", metavar="N", type=click.IntRange(0), help="All but so many, the latest.")
@yes_option
@json_option
@pass_context
def prune(
    context: Context, before: datetime | None, keep: int | None, sure: bool, as_json: bool
) -> None:
    """Delete the oldest records of token requests before AUTHSERVER_TOKEN_RECORD_DAYS are over.

    A store that is full takes new ones then. They are verified first: records that were altered
    stay. The chains go on to verify, and a change `audit.prune` says who did it. Changes are never
    deleted. The file of an embedded store does not become smaller; new records take the place.
    """
    if before is None and keep is None:
        raise click.UsageError("say which: --before TIME, --keep N, or both")
    context.require_database()
    # Where a disk is full even reading may take space.
    reserve = space.reserve_of(context.store)
    released = reserve.release()
    with suppress(NotReady):
        space.reclaim(context.store)
    bounds = {"before": before and before.isoformat(), "keep": keep}
    cutoff, most = before or _BEGINNING, _ALL if keep is None else keep
    with context.read() as session:
        number = retention.due(session, cutoff, most)
    done = 0
    if number > 0:
        require_sure(f"Delete {number} records of token requests for good?", sure=sure)
        done = _prune(context, cutoff, most, {"records": number, **bounds})
    with suppress(NotReady):
        reserve.keep(released)
    if as_json:
        print_json({"deleted": done})
    note(f"Deleted {done} records of token requests.")


def _prune(context: Context, cutoff: datetime, most: int, recorded: dict[str, Any]) -> int:
    with progress_bar("Deleting") as progress:
        with context.change() as change:
            # First: then there is space to record it.
            done = retention.prune_by_hand(change, cutoff, most)
            change.record("audit.prune", "token records", after=recorded)
        progress(done, max(done, recorded["records"]))
        while some := retention.prune(context.store, cutoff, most):
            done += some
            progress(done, max(done, recorded["records"]))
    space.reclaim(context.store)
    return done


commands = (prune,)
