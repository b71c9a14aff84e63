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

This page shows what clients notice while PostgreSQL, Redis or one of three replicas behind nginx
is restarted, stopped, killed or cut off. `make soak` runs this and writes the page anew. It fails
if:

- a grant was wrong, or came too long after a server had lost the store;
- clients noticed anything at the end of a phase in which a server was well;
- something acknowledged is lost, or the audit records do not verify.

[long-run.md](long-run.md) has half an hour in which nothing bad happens.

## How

Three servers of one worker each share a PostgreSQL and a Redis for the counts of wrong passwords,
behind nginx as in [postgresql.md](postgresql.md#replicas), all on one machine. Clients request
tokens all the time, about {rate:.0f} times a second in all: without credentials, with a
remembered password, an app token, a refresh grant (`POST`), the app token of an account that is
disabled and enabled, and with app tokens and logins that were ended ("ended credentials").
Another client guesses passwords from another address. A last one makes one change after the other
through the admin API: rules, accounts, app tokens, logins, once a minute the signing key. It
repeats a change that fails.

The test verifies each token: its signature, by the certificate in it and the authority in the
bundle; its issuer, audience and account; and its grant, by the rules and the account at some
moment since one second before the request. That second does not include time in which the server
could not reach PostgreSQL and read a change. More than `AUTHSERVER_MAX_STALENESS` (60 s) after it
lost PostgreSQL a server must grant nothing. Just before PostgreSQL stops, all rights to push are
taken, so that the servers may not know of it. While one server cannot reach PostgreSQL, changes
go on through the others.

Each server reaches PostgreSQL by a network path of its own. "Cut off" means that connections end
and new ones are refused. "Packets are lost" means that the kernel drops every packet silently:
open connections hang, and new ones get no answer.

At the end the test looks up in the store, by SQL, everything that was acknowledged, and the
record of each token by its `jti`. Then `audit verify` compares the records with the second copies
([audit.md](audit.md#the-second-copy)) of all three servers, the killed one's too.

## What came of it

{table}

A request failed if it got neither a token nor the refusal that the rules demand; a request has
{timeout:.0f} s. While PostgreSQL is gone a credential that the servers do not know gets 503:
it may be newer than their state ([operating.md](operating.md#when-the-store-is-gone)).

- *Longest gap*: the longest time in which one kind of client got no answer.
- *By what was known before*: tokens with rights that were taken less than a second before the
  server lost PostgreSQL, or while it was lost; `AUTHSERVER_MAX_STALENESS` bounds this.
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
