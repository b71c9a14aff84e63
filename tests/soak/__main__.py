"""Three replicas on a bad day: `python -m tests.soak`, or `make soak`."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.e2e.fetching import fetch
from tests.e2e.lab import PASSWORD
from tests.soak import outcome, page
from tests.soak.changing import Api, Changer
from tests.soak.facts import Fact
from tests.soak.grants import Judge, Question, Rights
from tests.soak.load import Load, Noted
from tests.soak.outcome import Counted, Period
from tests.soak.place import ROOT, Place, place
from tests.soak.questions import (
    ALWAYS,
    LOGIN_PATH,
    anonymous_question,
    basic_question,
    refresh_question,
)
from tests.world import basic, wait_until

INTERVAL = 0.04
WARM_SECONDS = 3.0
CLIENTS = 2
"""How many clients each of the ways has."""

NEWEST = 12
"""How many of the credentials that are ended or will be are asked about."""


@dataclass
class Run:
    """A run: the programs, who changes things, and the phases so far."""

    place: Place
    changer: Changer
    noted: Noted
    shorter: float
    periods: list[Period] = field(default_factory=list)
    killed: float = 0.0

    def phase(self, name: str, seconds: float, begin: Callable[[], None] = lambda: None) -> None:
        """Do something, let the load go on for a time, and tell what came of it."""
        began = time.monotonic()
        begin()
        left = began + seconds * self.shorter - time.monotonic()
        time.sleep(max(0.0, left))
        self.periods.append(Period(name, began, time.monotonic()))
        print(asdict(self.counted(self.periods[-1])), flush=True)

    def counted(self, period: Period) -> Counted:
        return outcome.count(period, self.noted.samples, [at for at, _ in self.noted.wrong])

    def restart_database(self) -> None:
        with self.changer.narrowed():
            self.place.stop_database(signal.SIGQUIT)
        self.place.start_database()

    def stop_database(self) -> None:
        with self.changer.narrowed():
            self.place.stop_database(signal.SIGINT)

    def kill(self) -> None:
        self.place.kill_replica(1)
        self.killed = time.monotonic()

    def phases(self) -> None:
        """Let everything happen that is to be outlived."""
        here = self.place
        self.phase("all is well", 20)
        self.phase("PostgreSQL crashes and is started again", 20, self.restart_database)
        self.phase("PostgreSQL is stopped", 30, self.stop_database)
        self.phase("PostgreSQL is there again", 20, here.start_database)
        self.phase("one replica is killed (-9)", 20, self.kill)
        self.phase("it is started again", 20, lambda: here.start_replica(1))
        self.phase("Redis is stopped", 20, lambda: void(here.redis.stop()))


def void(_: object) -> None:
    """Return nothing."""


def administrator(here: Place) -> str:
    """Return an app token that may administer."""
    made = here.replicas[0].authserver.run("token", "create", "admin", "--name", "soak", "--admin")
    return made.stdout.strip()


def rule(api: Api, subject: str, pattern: str, *actions: str) -> int:
    """Add a rule; return its id."""
    said = {"effect": "allow", "subjects": [subject], "patterns": [pattern], "actions": actions}
    answer = api.once("POST", "/api/v1/rules", said)
    assert answer is not None, subject
    return int(answer.json()["id"])


def questions(api: Api, changer: Changer) -> list[Question]:
    """Set up the rules and the accounts, and return what the clients ask."""
    never = Fact.of("right to push", value=False)
    rights = {}
    for name in ("alice", "bob", "carol", "dave"):
        rule(api, f"user:{name}", f"{name}/**", "pull")
        push = Fact.of(f"right to push of {name}", value=True)
        changer.changes_rule(rule(api, f"user:{name}", f"{name}/**", "push"), push)
        rights[name] = Rights(f"{name}/app", ALWAYS, push)
    public = Fact.of("right to pull of anybody", value=True)
    changer.changes_rule(rule(api, "anonymous", "public/**", "pull"), public)
    alive = Fact.of("account dave", value=True)
    changer.changes_account("dave", alive)
    return [
        anonymous_question("anonymous", Rights("public/app", public, never)),
        basic_question("password", "alice", PASSWORD, rights=rights["alice"]),
        basic_question("app token", "bob", app_token(api, "bob"), rights=rights["bob"]),
        refresh_question("refresh grant", "carol", log_in(api, "carol"), rights=rights["carol"]),
        basic_question("disabled account", "dave", app_token(api, "dave"), alive, rights["dave"]),
    ]


def app_token(api: Api, account: str) -> str:
    """Return an app token of an account."""
    answer = api.once("POST", "/api/v1/tokens", {"account": account, "name": "soak"})
    assert answer is not None, account
    return str(answer.json()["token"])


def log_in(api: Api, account: str) -> str:
    """Return a refresh token of an account."""
    headers = {"Authorization": basic(account, PASSWORD)}
    return str(fetch(api.url + LOGIN_PATH, headers=headers).json()["refresh_token"])


def run(here: Place, shorter: float) -> tuple[list[Counted], outcome.Stored, Noted, float]:
    """Load the servers, let everything happen, and count."""
    noted = Noted()
    api = Api(here.url, administrator(here), noted)
    changer = Changer(api)
    asked = questions(api, changer)
    api.acknowledged = 0
    bundle = fetch(f"{here.url}/bundle.pem").body.decode()
    load = Load(here.url, Judge(bundle, here.reach), noted, INTERVAL)

    def ask_ended(number: int) -> None:
        if newest := changer.credentials[-NEWEST:]:
            load.ask(newest[number % len(newest)])

    asking = [lambda _, one=one: load.ask(one) for one in asked for _ in range(CLIENTS)]
    doing = Run(here, changer, noted, shorter)
    # Guesses and changes are no load: they come a few times a second.
    slow = Load(here.url, load.judge, noted, 5 * INTERVAL)
    with load.running(*asking, ask_ended), slow.running(changer.work, slow.guess):
        time.sleep(WARM_SECONDS)
        doing.phases()
    assert wait_until(here.all_ready, 10)
    here.stop_replicas()
    found = outcome.stored(
        here.cluster, changer.ledger, api.acknowledged, noted.samples, doing.killed
    )
    counted = [doing.counted(period) for period in doing.periods]
    return counted, found, noted, (len(asking) + 1) / INTERVAL


def main() -> None:
    """Run, print, and write the page; exit with 1 if something was not as promised."""
    chosen = _arguments()
    with place() as here:
        phases, stored, noted, rate = run(here, 0.2 if chosen.quick else 1.0)
    versions = page.versions()
    print(page.table(phases), asdict(stored), sep="\n", flush=True)
    for _, text in noted.wrong[:20]:
        print(text)
    if not chosen.quick:
        (ROOT / "docs" / "bad-days.md").write_text(page.written(phases, stored, rate, versions))
    told = {"versions": versions, "phases": [asdict(one) for one in phases]}
    told |= {"stored": asdict(stored), "wrong": [text for _, text in noted.wrong]}
    chosen.output.write_text(json.dumps(told, indent=1) + "\n")
    if found := page.problems(phases, stored):
        sys.exit("not as promised: " + "; ".join(found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the time; no page")
    parser.add_argument("--output", type=Path, default=Path("soak-results.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
