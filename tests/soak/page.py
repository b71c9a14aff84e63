"""docs/bad-days.md, as a run writes it."""

from collections.abc import Mapping, Sequence

from tests.soak import tables
from tests.soak.bad_days import Run
from tests.soak.load import TIMEOUT
from tests.soak.machine import listed
from tests.soak.outcome import Answering, Counted
from tests.soak.tables import store_table, table, verdict

NAME = "bad-days.md"
HEAD = (
    "phase", "seconds", "token requests", "failed", "longest gap", "slowest",
    "by what was known before", "late grants", "wrong grants", "changes", "changes failed",
)  # fmt: skip
SERVERS = ("phase", "tokens of the three servers", "the last after", "`/readyz` at the end")

GOOD = (
    "No grant was wrong, none came too long after the store was lost, nothing that was acknowledged"
    " is lost, and the audit records are as they were written."
)

_PAGE = """\
# Bad days

What three replicas do behind nginx when what they need is restarted, stopped, killed or cut off.
`make soak` runs this and writes this page anew. It fails if a grant was wrong, if a server granted
anything too long after it had lost the store, if clients noticed anything at the end of a phase in
which a server was well, if something acknowledged is lost, or if the audit records do not verify.
[long-run.md](long-run.md) has half an hour in which nothing bad happens.

## How

Three servers of one worker each, a PostgreSQL that they share, a Redis for the counts of wrong
passwords, and nginx in front as [postgresql.md](postgresql.md#replicas) says, all on one machine.
Clients ask all the time, about {rate:.0f} times a second in all: without credentials, by a password
that was checked before, by an app token, by a refresh grant (`POST`), by the app token of an
account that is disabled and enabled, and by app tokens and logins that were ended ("ended
credentials"). Another client guesses passwords from another address. A last one changes one thing
after the other through the admin API: rules, accounts, app tokens, logins, once a minute the
signing key; what fails it asks for again.

Each token is verified: its signature, by the certificate that it carries and the authority in the
bundle, issuer, audience, account; and its grant, by what the rules and the account were at some
moment since a second before the request. Seconds in which the server that answered could not reach
PostgreSQL do not count into that one: it could not read of a change then. More than
`AUTHSERVER_MAX_STALENESS` (60 s) after it lost PostgreSQL it must grant nothing. Just before
PostgreSQL is stopped all rights to push are taken, so that the servers may not know of it; while
one server cannot reach it the others go on being changed.

Each server reaches PostgreSQL by a way of its own. "Cut off" is that connections end and new ones
are refused. "Packets are lost" is that the kernel drops every packet and nobody is told: what is
open hangs, what is new is not answered.

At the end the store is asked, by SQL, for everything that was acknowledged, and for the record of
each token by its `jti`; then `audit verify` compares it with the second copies
([audit.md](audit.md#the-second-copy)) of all three servers, the killed one's too.

## What came of it

{table}

Failed are requests that got neither a token nor the refusal that the rules want; a request has
{timeout:.0f} s. A credential that the servers do not know is answered 503 while PostgreSQL is gone:
it may be newer than what they read ([operating.md](operating.md#when-the-store-is-gone)).

- *Longest gap*: for how long the clients of one way, whichever had it worst, got no answer.
- *By what was known before*: tokens of a server with rights that were taken in the second before
  it lost PostgreSQL, or until it had it back for a second; `AUTHSERVER_MAX_STALENESS` bounds it.
- *Late grants*: tokens with less than the rules had granted for over a second.

{failures}

Which server it was:

{servers}

{stored}

{verdict}

## Where

{where}
"""


def written(run: Run, versions: Mapping[str, object]) -> str:
    """Return the page."""
    return _PAGE.format(
        rate=run.rate,
        timeout=TIMEOUT,
        table=table(HEAD, map(_row, run.phases)),
        servers=table(SERVERS, map(_answered, run.phases)),
        failures=_failures(run.phases),
        stored=store_table(run.stored),
        verdict=verdict(problems(run), GOOD),
        where=listed(versions),
    )


def _row(one: Counted) -> list[object]:
    figures = (one.stale, one.narrow, one.wrong, one.changes, sum(one.changes_failed.values()))
    return [
        one.phase, f"{one.seconds:.0f}", one.requests, sum(one.failed.values()),
        f"{one.gap:.2f} s", f"{one.slowest:.2f} s", *figures,
    ]  # fmt: skip


def _answered(one: Counted) -> list[object]:
    tokens = ", ".join(str(server.tokens) for server in one.servers)
    return [one.phase, tokens, ", ".join(map(_last, one.servers)), ", ".join(one.statuses)]


def _last(server: Answering) -> str:
    return "-" if server.last is None else f"{server.last:.1f} s"


def _failures(phases: Sequence[Counted]) -> str:
    lines = [line for phase in phases for line in _named(phase)]
    if not lines:
        return "No request failed."
    return "\n".join(["The failed requests by name:", "", *lines])


def _named(one: Counted) -> list[str]:
    changes = {f"{kind} (changes)": number for kind, number in one.changes_failed.items()}
    named = sorted((one.failed | changes).items(), key=lambda item: -item[1])
    told = ", ".join(f"{number} × {kind}" for kind, number in named)
    return [f"- {one.phase}: {told}"] if named else []


def problems(run: Run) -> list[str]:
    """Return what must not be."""
    found = tables.problems(run.phases, run.stored)
    for phase in run.phases:
        if phase.statuses != phase.wanted:
            found.append(f"{phase.phase}: the servers said {', '.join(phase.statuses)} at its end")
        if phase.unsettled:
            found.append(f"{phase.phase}: {phase.unsettled} requests failed at its end")
    return found
