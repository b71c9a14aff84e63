"""docs/long-run.md, as a run writes it."""

from collections.abc import Mapping

from tests.soak import tables
from tests.soak.long_run import LOGS_MOVED, MINUTES, PACE, Run
from tests.soak.machine import listed
from tests.soak.tables import store_table, table, verdict
from tests.soak.usage import EVERY_SECONDS, SIXTHS, Course, courses, worked_share

NAME = "long-run.md"
MIB = 2**20
ROOM = {"memory": 2 * MIB, "descriptors": 2, "threads": 1}
"""How much higher a median may be and still be level."""

GOOD = (
    "Memory, descriptors and threads are level: no median of the last third is more than 2 MiB, "
    "2 descriptors or 1 thread above those of the third before. No grant was wrong, no request "
    "failed, nothing that was acknowledged is lost, and the audit records are as they were written."
)

_PAGE = """\
# A long run

What three replicas hold of the machine in {minutes:.0f} minutes of mixed load. `make soak
SOAK=--long` runs this and writes this page anew; it fails if memory, open descriptors or threads
grow, or on anything that [bad-days.md](bad-days.md) fails on.

## How

The programs and the clients are those of [bad-days.md](bad-days.md#how), at a slower pace: about
{rate:.0f} token requests a second, {changes:.0f} wrong passwords and at most as many changes. Rules
and accounts are enabled and disabled; accounts, app tokens and logins come and go, five of each at
a time; once a minute there is a new signing key, {rotations} in all, under the same authority. The
audit logs are moved away {moved} times, as logrotate does. Every {every:.0f} seconds each server's
metrics are asked for, and its processes are looked at.

The servers took {servers:.0f} % of one core, the clients {clients:.0f} %.

## What came of it

{requests} token requests, {failed} failed; {changes_done} changes, {changes_failed} failed;
{guesses} wrong passwords refused; {wrong} wrong grants.

Medians of each {part:.0f} minutes; the first two parts are warm-up.

{memory}

{others}

{stored}

{verdict}

## Where

{where}
"""


def written(run: Run, versions: Mapping[str, object]) -> str:
    """Return the page."""
    one, measured = run.counted, courses(run.usages)
    minutes = one.seconds / 60
    parts = tuple(f"to minute {minutes * (n + 1) / SIXTHS:.0f}" for n in range(SIXTHS))
    return _PAGE.format(
        minutes=MINUTES,
        rate=run.rate,
        changes=1 / PACE.changes,
        rotations=run.rotations,
        moved=LOGS_MOVED,
        every=EVERY_SECONDS,
        servers=100 * worked_share(run.usages),
        clients=100 * run.clients,
        requests=one.requests,
        failed=sum(one.failed.values()),
        changes_done=one.changes,
        changes_failed=sum(one.changes_failed.values()),
        guesses=one.guesses_refused,
        wrong=one.wrong,
        part=minutes / SIXTHS,
        memory=table(
            ("resident memory in MiB", *parts),
            [_row(each) for each in measured if each.measure == "memory"],
        ),
        others=table(
            ("open descriptors and threads", *parts),
            [_row(each) for each in measured if each.measure != "memory"],
        ),
        stored=store_table(run.stored),
        verdict=verdict(problems(run), GOOD),
        where=listed(versions),
    )


def _row(course: Course) -> list[str]:
    if course.measure == "memory":
        return [course.process, *(f"{median / MIB:.1f}" for median in course.medians)]
    return [f"{course.process}, {course.measure}", *(f"{one:.0f}" for one in course.medians)]


def problems(run: Run) -> list[str]:
    """Return what must not be."""
    found = tables.problems([run.counted], run.stored)
    if run.counted.failed:
        found.append(f"{sum(run.counted.failed.values())} requests failed")
    for course in courses(run.usages):
        if course.grown() > ROOM[course.measure]:
            found.append(f"{course.process}: {course.measure} grew by {course.grown():.0f}")
    return found
