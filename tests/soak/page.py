"""docs/bad-days.md, as a run writes it."""

import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bench import machine
from tests.postgres import programs
from tests.programs import which
from tests.soak.load import TIMEOUT
from tests.soak.outcome import Counted, Stored

HEAD = (
    "phase", "seconds", "token requests", "failed", "longest gap", "slowest",
    "by what was known before", "late grants", "wrong grants", "changes", "changes failed",
)  # fmt: skip

_PAGE = """\
# Bad days

What three replicas do behind nginx when what they need is restarted, stopped or killed. `make soak`
runs this and writes this page anew; it fails if a grant was wrong or something acknowledged is
lost.

## How

Three servers of one worker each, a PostgreSQL that they share, a Redis for the counts of wrong
passwords, and nginx in front as [postgresql.md](postgresql.md#replicas) says, all on one machine.
Clients ask all the time, about {rate:.0f} times a second in all: without credentials, by a password
that was checked before, by an app token, by a refresh grant (`POST`), by the app token of an
account that is disabled and enabled, and by app tokens and logins that were ended ("ended
credentials"). Another client guesses passwords from another address. A last one changes one thing
after the other through the admin API: rules, accounts, app tokens, logins; what fails it asks for
again.

Each token is verified: its signature, by the certificate that it carries and the authority in the
bundle, issuer, audience, account; and its grant, by what the rules and the account were at some
moment since a second before the request. Seconds in which PostgreSQL was gone do not count into
that one: nobody could read of a change then. Just before PostgreSQL is stopped all rights to push
are taken, so that the servers may not know of it.

At the end the store is asked, by SQL, for everything that was acknowledged, and for the record of
each token by its `jti`.

## What came of it

{table}

Failed are requests that got neither a token nor the refusal that the rules want; a request has
{timeout:.0f} s. A credential that the servers do not know is answered 503 while PostgreSQL is gone:
it may be newer than what they read ([operating.md](operating.md#when-the-store-is-gone)).

- *Longest gap*: for how long the clients of one way, whichever had it worst, got no answer.
- *By what was known before*: tokens with rights that were taken in the second before PostgreSQL
  went, while it was gone and until a second later; `AUTHSERVER_MAX_STALENESS` bounds it.
- *Late grants*: tokens with less than the rules had granted for over a second.

{failures}

| in the store at the end | |
|---|---|
{stored}

{verdict}

## Where

{where}
"""


def written(
    phases: Sequence[Counted], stored: Stored, rate: float, versions: Mapping[str, object]
) -> str:
    """Return the page."""
    return _PAGE.format(
        rate=rate,
        timeout=TIMEOUT,
        table=table(phases),
        failures=_failures(phases),
        stored="\n".join(f"| {name} | {value} |" for name, value in _stored(stored).items()),
        verdict=_verdict(phases, stored),
        where="\n".join(f"- {name}: {value}" for name, value in versions.items()),
    )


def table(phases: Sequence[Counted]) -> str:
    """Return the phases as a table."""
    lines = [HEAD, ["---"] * len(HEAD), *(_row(phase) for phase in phases)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(one: Counted) -> list[str]:
    figures = (one.stale, one.narrow, one.wrong, one.changes, sum(one.changes_failed.values()))
    return [
        one.phase, f"{one.seconds:.0f}", str(one.requests), str(sum(one.failed.values())),
        f"{one.gap:.2f} s", f"{one.slowest:.2f} s", *map(str, figures),
    ]  # fmt: skip


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


def _stored(stored: Stored) -> dict[str, object]:
    return {
        "changes acknowledged": stored.changes,
        "rules, accounts, app tokens and logins that they were about": stored.facts,
        "of these not as acknowledged": len(stored.lost_changes),
        "tokens issued": stored.issued,
        "without a record, issued in the last second of the killed server": stored.lost_at_kill,
        "without a record otherwise": stored.lost_records,
        "records that are there twice": stored.repeated_records,
    }


def problems(phases: Sequence[Counted], stored: Stored) -> list[str]:
    """Return what must not be."""
    wrong = sum(phase.wrong for phase in phases)
    found = {
        f"{wrong} wrong grants": wrong,
        f"changes lost: {', '.join(stored.lost_changes)}": len(stored.lost_changes),
        f"changes without an end: {', '.join(stored.unsettled)}": len(stored.unsettled),
        f"{stored.lost_records} tokens without a record": stored.lost_records,
    }
    return [text for text, number in found.items() if number]


def _verdict(phases: Sequence[Counted], stored: Stored) -> str:
    found = problems(phases, stored)
    good = "No grant was wrong, and nothing that was acknowledged is lost."
    return f"**Not as promised: {'; '.join(found)}.**" if found else good


def versions() -> dict[str, object]:
    """Return the machine, the versions and the time."""
    told = {
        "PostgreSQL": [f"{programs()}/postgres", "--version"],
        "nginx": [str(which("nginx")), "-v"],
        "Redis": ["redis-server", "--version"],
    }
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%MZ"),
        **machine.described(),
        **{name: _version(command) for name, command in told.items()},
    }


def _version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).strip()
