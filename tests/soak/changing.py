"""Who changes rules, accounts, app tokens and logins meanwhile, and writes down what was done."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

from authserver.core.secret_tokens import digest
from tests.e2e.fetching import Answer
from tests.e2e.lab import PASSWORD
from tests.soak.facts import Fact, Turn
from tests.soak.grants import Question
from tests.soak.load import CHANGE, Noted, Sample, sent
from tests.soak.questions import LOGIN_PATH, basic_question, refresh_question
from tests.world import basic

RETRY_SECONDS = 0.05
GIVE_UP_SECONDS = 120.0
KEPT = 5
"""How many of the accounts, app tokens and logins that are made are good at a time."""

ROTATE_SECONDS = 60.0

RULE = "SELECT count(*) FROM rule WHERE id = %s AND disabled_at IS NULL"
ENABLED = "SELECT count(*) FROM account WHERE name = %s AND disabled_at IS NULL"
APP_TOKEN = "SELECT count(*) FROM app_token WHERE secret_hash = %s"
KEY = "SELECT count(*) FROM signing_key WHERE id = %s AND NOT revoked"
LOGIN = "SELECT count(*) FROM refresh_token WHERE secret_hash = %s"


@dataclass(frozen=True)
class Kept:
    """A fact that the store must know: ``query`` counts one row if it is true."""

    fact: Fact
    query: str
    parameter: str | int


@dataclass
class Api:
    """The admin API through nginx. It is asked again until a change is acknowledged."""

    url: str
    secret: str = field(repr=False)
    noted: Noted
    acknowledged: int = 0

    def until_done(self, method: str, path: str, body: Any, *turns: Turn) -> Answer | None:
        """Ask for a change; None if it was not acknowledged for GIVE_UP_SECONDS."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            done = self.once(method, path, body, *turns)
            if done is not None:
                return done
            time.sleep(RETRY_SECONDS)
        return None

    def once(self, method: str, path: str, body: Any, *turns: Turn) -> Answer | None:
        """Ask for a change once; None if it was not acknowledged."""
        began = time.monotonic()
        headers = {"Authorization": basic("admin", self.secret)}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        headers |= {"If-Match": "*"} if method in ("PATCH", "DELETE") else {}
        encoded = None if body is None else json.dumps(body).encode()
        answer = sent(self.url + path, method, headers, encoded)
        if isinstance(answer, str):
            self.note(began, answer)
            return None
        # What was deleted by an attempt whose answer was lost is not there any more.
        if answer.status >= 300 and (method, answer.status) != ("DELETE", 404):
            self.note(began, str(answer.status))
            return None
        for turn in turns:
            turn.acknowledged = time.monotonic()
        if method != "GET":
            self.acknowledged += 1
            self.note(began, "done")
        return answer

    def note(self, began: float, kind: str) -> None:
        """Note what came of a change."""
        self.noted.samples.append(Sample(CHANGE, began, time.monotonic(), kind))


@dataclass
class Changer:
    """Changes one thing after the other."""

    api: Api
    rules: dict[int, Fact] = field(default_factory=dict)
    """Rules that are enabled and disabled, by id."""
    accounts: dict[str, Fact] = field(default_factory=dict)
    """Accounts that are enabled and disabled, by name."""
    ledger: list[Kept] = field(default_factory=list)
    """All that was changed."""
    credentials: list[Question] = field(default_factory=list)
    """Questions with credentials that were ended or will be, the newest last."""
    rotations: int = 0
    _rotate_at: float = 0.0
    _people: list[tuple[Fact, str]] = field(default_factory=list)
    _tokens: list[tuple[Fact, int]] = field(default_factory=list)
    _logins: list[Fact] = field(default_factory=list)
    _made: int = 0
    _turn: RLock = field(default_factory=RLock)

    def work(self, number: int) -> None:
        """Change one thing."""
        steps = (
            self._change_a_rule, self._change_an_account, self._change_a_rule,
            self._change_people, self._change_app_tokens, self._change_logins,
        )  # fmt: skip
        with self._turn:
            self._made += 1
            steps[number % len(steps)]()
            self._rotate_if_due()

    @contextmanager
    def narrowed(self) -> Iterator[None]:
        """Disable all rules; nothing is changed until the block ends."""
        with self._turn:
            for rule, fact in self.rules.items():
                self._enable_rule(rule, fact, value=False)
            yield

    def changes_rule(self, rule: int, fact: Fact) -> None:
        """Have a rule enabled and disabled now and then."""
        self.rules[rule] = fact
        self.ledger.append(Kept(fact, RULE, rule))

    def changes_account(self, name: str, fact: Fact) -> None:
        """Have an account enabled and disabled now and then."""
        self.accounts[name] = fact
        self.ledger.append(Kept(fact, ENABLED, name))

    def _change_a_rule(self) -> None:
        rule = sorted(self.rules)[self._made % len(self.rules)]
        fact = self.rules[rule]
        self._enable_rule(rule, fact, value=not fact.settled)

    def _enable_rule(self, rule: int, fact: Fact, *, value: bool) -> None:
        turn = fact.begin(value=value)
        self.api.until_done("PATCH", f"/api/v1/rules/{rule}", {"enabled": value}, turn)

    def _change_an_account(self) -> None:
        for name, fact in self.accounts.items():
            turn = fact.begin(value=not fact.settled)
            path = f"/api/v1/users/{name}"
            self.api.until_done("PATCH", path, {"disabled": not turn.value}, turn)

    def _change_people(self) -> None:
        """Add an account, and remove the oldest if there are enough."""
        name = f"person-{self._made}"
        fact = Fact.of(f"account {name}", value=False)
        self.ledger.append(Kept(fact, ENABLED, name))
        self.api.until_done("PUT", f"/api/v1/users/{name}", {}, fact.begin(value=True))
        self._people.append((fact, name))
        if len(self._people) > KEPT:
            oldest, former = self._people.pop(0)
            ending = oldest.begin(value=False)
            self.api.until_done("DELETE", f"/api/v1/users/{former}?confirm=true", None, ending)

    def _rotate_if_due(self) -> None:
        """Make a new signing key now and then; the authority stays."""
        if time.monotonic() < self._rotate_at:
            return
        self._rotate_at = time.monotonic() + ROTATE_SECONDS
        listed = self.api.once("GET", "/api/v1/keys", None)
        if listed is None:
            return
        key = next(key["id"] for key in listed.json()["items"] if key["signs"])
        fact = Fact.of(f"the key after signing key {key}", value=False)
        turn = fact.begin(value=True)
        made = self.api.once("POST", f"/api/v1/keys/{key}/rotate", {}, turn)
        if made is not None:
            self.rotations += 1
            self.ledger.append(Kept(fact, KEY, made.json()["id"]))

    def _change_app_tokens(self) -> None:
        """Make an app token, and revoke the oldest if there are enough."""
        fact = Fact.of(f"app token {self._made}", value=False)
        turn = fact.begin(value=True)
        wanted = {"account": "bob", "name": f"token-{self._made}"}
        # One whose making was not acknowledged may be there; no name is taken twice.
        made = self.api.once("POST", "/api/v1/tokens", wanted, turn)
        if made is None:
            return
        told = made.json()
        self.ledger.append(Kept(fact, APP_TOKEN, digest(told["token"])))
        self.credentials.append(basic_question("ended credentials", "bob", told["token"], fact))
        self._tokens.append((fact, told["id"]))
        if len(self._tokens) > KEPT:
            oldest, token_id = self._tokens.pop(0)
            ending = oldest.begin(value=False)
            self.api.until_done("DELETE", f"/api/v1/tokens/{token_id}", None, ending)

    def _change_logins(self) -> None:
        """Log in, or end all logins if there are enough."""
        if len(self._logins) < KEPT:
            self._log_in()
            return
        turns = [fact.begin(value=False) for fact in self._logins]
        self.api.until_done(
            "POST", "/api/v1/sessions/revoke?confirm=true", {"account": "erin"}, *turns
        )
        self._logins.clear()

    def _log_in(self) -> None:
        fact = Fact.of(f"login {self._made}", value=False)
        turn = fact.begin(value=True)
        headers = {"Authorization": basic("erin", PASSWORD)}
        answer = sent(self.api.url + LOGIN_PATH, "GET", headers, None)
        if isinstance(answer, str) or answer.status != 200:
            kind = answer if isinstance(answer, str) else str(answer.status)
            self.api.note(turn.begun, kind)
            return
        secret = answer.json().get("refresh_token")
        self.api.note(turn.begun, "done" if secret else "no refresh token")
        if secret is None:
            return
        turn.acknowledged = time.monotonic()
        self.api.acknowledged += 1
        self.ledger.append(Kept(fact, LOGIN, digest(secret)))
        self.credentials.append(refresh_question("ended credentials", "erin", secret, fact))
        self._logins.append(fact)
