"""Token requests while the store is gone: what goes on, what does not, and what is recorded."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from authserver.auth.state import AuthState
from authserver.core import secret_tokens
from authserver.core.addresses import parse_address
from authserver.core.conditions import Circumstances
from authserver.core.decision import decide
from authserver.core.errors import NotReady
from authserver.core.rule_index import RuleIndex
from authserver.db.models import TokenRecord
from authserver.runtime.settings import Settings
from tests import postgres
from tests.unit import strategies
from tests.unit.clocks import Seconds
from tests.unit.strategies import expand
from tests.web.answers import error_of, refused
from tests.web.faults import put_out_of_reach, put_within_reach, unwritable
from tests.world import PASSWORD, SERVICE, Clock, World, basic, set_up

SCOPE = "repository:team/app:pull,push"
ASKED = f"service={SERVICE}&scope={SCOPE}"
ALICE = ("alice", PASSWORD)


@dataclass
class Lost:
    """An installation whose store goes and comes back; its threads do not run, its clock stands."""

    world: World
    lose: Callable[[], object]
    restore: Callable[[], object]
    clock: Seconds = field(default_factory=Seconds)

    def __post_init__(self) -> None:
        cache = self.world.wiring.state
        # Whole seconds can be added up and taken off again without a rest.
        self.clock.at = math.ceil(cache.current.read_at)
        cache.monotonic = self.clock
        self.world.user("alice")
        self.world.user("bob")
        self.world.robot("ci")
        self.world.allow("user:alice", "team/**", "push")
        self.world.allow("robot:ci", "team/**", "pull")
        self.world.allow("everyone", "public/**", "pull")
        _, self.secret = self.world.app_token("ci")
        self.refresh_token = self.world.log_in("alice")
        self.world.wiring.maintenance.tick()

    def go(self) -> None:
        """Have the store go, and the process see it."""
        self.lose()
        self.tick()

    def come_back(self) -> None:
        self.restore()
        self.tick()

    def tick(self) -> None:
        """Do what the threads do, a little more than a second later."""
        self.clock.at += 1.1
        with suppress(NotReady):
            self.world.wiring.maintenance.tick()
        self.world.wiring.spooler.tick()

    def ask(self, name: str, secret: str, scope: str = SCOPE) -> TestResponse:
        return self.world.get(f"service={SERVICE}&scope={scope}", auth=(name, secret))

    def log_on(self, refresh_token: str) -> TestResponse:
        return self.world.post(
            grant_type="refresh_token", refresh_token=refresh_token, scope=SCOPE, service=SERVICE
        )

    def make_token(self) -> str:
        """Make an app token that this process does not know of, as another process would."""
        held = self.world.wiring.state._state
        _, secret = self.world.app_token("ci", name="later")
        self.world.wiring.state._state = held
        return secret

    def recorded(self) -> list[str | None]:
        """Return the ``jti`` of each record in the store, oldest first."""
        with self.world.wiring.store.read() as session:
            query = select(TokenRecord.jwt_id).order_by(TokenRecord.at, TokenRecord.id)
            return list(session.scalars(query))


@pytest.fixture
def lost(world: World) -> Lost:
    return Lost(world, lambda: put_out_of_reach(world), lambda: put_within_reach(world))


def claims(answer: TestResponse) -> dict[str, Any]:
    assert answer.json is not None, answer.text
    read: dict[str, Any] = jwt.decode(answer.json["token"], options={"verify_signature": False})
    return read


def granted(answer: TestResponse) -> dict[str, list[str]]:
    assert answer.status_code == 200, answer.text
    access = claims(answer)["access"]
    return {f"{entry['type']}:{entry['name']}": entry["actions"] for entry in access}


# What goes on.


def test_app_tokens_logins_and_anonymous_go_on(lost: Lost) -> None:
    lost.go()
    assert granted(lost.ask("ci", lost.secret)) == {"repository:team/app": ["pull"]}
    assert granted(lost.log_on(lost.refresh_token)) == {"repository:team/app": ["pull", "push"]}
    public = lost.world.get(f"service={SERVICE}&scope=repository:public/a:pull,push")
    assert granted(public) == {"repository:public/a": ["pull"]}


def test_a_password_that_was_checked_lately_goes_on(lost: Lost) -> None:
    lost.go()
    assert granted(lost.ask(*ALICE)) == {"repository:team/app": ["pull", "push"]}


@pytest.mark.parametrize(
    ("name", "password"),
    [("bob", PASSWORD), ("alice", "wrong password"), ("nobody", PASSWORD)],
)
def test_other_passwords_are_told_to_come_again_whoever_they_are_for(
    lost: Lost, name: str, password: str
) -> None:
    """401 would have clients forget a login that is good."""
    lost.go()
    body = error_of(lost.ask(name, password), 503)
    assert body == error_of(lost.ask("bob", PASSWORD), 503)


def test_a_token_that_may_be_new_is_told_to_come_again(lost: Lost) -> None:
    secret = lost.make_token()
    lost.go()
    error_of(lost.ask("ci", secret), 503)
    lost.come_back()
    assert lost.ask("ci", secret).status_code == 200


def test_what_is_wrong_in_any_state_is_refused(lost: Lost) -> None:
    lost.world.disable("bob")
    _, bobs = lost.world.app_token("ci", name="other")
    lost.go()
    refused(lost.ask("alice", lost.secret))
    refused(lost.ask("alice", ""))
    refused(lost.ask("ci", bobs[:-1] + ("a" if bobs[-1] != "a" else "b")))
    refused(lost.world.get(ASKED, headers={"Authorization": "Basic x"}))


def test_a_token_that_ends_meanwhile_ends(lost: Lost) -> None:
    wiring = lost.world.wiring
    lost.go()
    known = wiring.state.current.snapshot.app_tokens[secret_tokens.digest(lost.secret)]
    assert known.expires_at is not None
    object.__setattr__(wiring.issuer.backends, "clock", Clock(known.expires_at))
    refused(lost.ask("ci", lost.secret))


def test_new_logins_get_no_refresh_token(lost: Lost) -> None:
    lost.go()
    answer = lost.world.get(f"{ASKED}&offline_token=true", auth=ALICE)
    assert answer.status_code == 200
    assert "refresh_token" not in (answer.json or {})


def test_the_administration_needs_the_store(lost: Lost) -> None:
    lost.go()
    headers = {"Authorization": basic(*ALICE)}
    assert lost.world.client.get("/api/v1/me", headers=headers).status_code == 503


def test_nobody_asks_a_store_that_is_known_to_be_gone(lost: Lost) -> None:
    """It may hang, and so would whoever asks it."""
    secret = lost.make_token()
    lost.go()
    wiring = lost.world.wiring
    nothing: Any = None
    wiring.state.store = replace(wiring.store, engine=nothing)
    object.__setattr__(wiring.issuer, "store", wiring.state.store)
    error_of(lost.ask("ci", secret), 503)
    assert lost.world.get(f"{ASKED}&offline_token=true", auth=ALICE).status_code == 200
    headers = {"Authorization": basic(*ALICE)}
    assert lost.world.client.get("/api/v1/me", headers=headers).status_code == 503
    assert lost.world.client.get("/readyz").status_code == 200


# For how long.


def test_it_goes_on_for_max_staleness_by_the_monotonic_clock(lost: Lost) -> None:
    read_at = lost.clock.at
    lost.go()
    lost.clock.at = read_at + 60
    assert lost.ask("ci", lost.secret).status_code == 200
    lost.clock.at += 0.1
    error_of(lost.ask("ci", lost.secret), 503)
    lost.come_back()
    assert lost.ask("ci", lost.secret).status_code == 200
    assert lost.ask("bob", PASSWORD).status_code == 200


def test_it_can_be_turned_off(lost: Lost) -> None:
    lost.world.wiring.state.max_staleness = 0
    lost.go()
    error_of(lost.ask("ci", lost.secret), 503)
    error_of(lost.world.get(ASKED), 503)
    lost.come_back()
    assert lost.ask("ci", lost.secret).status_code == 200


# What is recorded.


def test_every_token_of_that_time_is_in_the_store_afterwards(lost: Lost) -> None:
    before = lost.recorded()
    lost.go()
    answers = []
    for _ in range(3):
        answers.append(lost.ask("ci", lost.secret))
        lost.tick()
    error_of(lost.ask("bob", PASSWORD), 503)
    lost.tick()
    assert not lost.world.wiring.issuer.journal.pending
    lost.come_back()
    assert lost.recorded() == [*before, *(claims(answer)["jti"] for answer in answers), None]
    assert lost.world.wiring.maintenance.spool.waiting == 0


def test_a_process_that_ends_meanwhile_leaves_its_records_to_the_next(
    lost: Lost, settings: Settings
) -> None:
    lost.go()
    first = claims(lost.ask("ci", lost.secret))["jti"]
    lost.tick()
    second = claims(lost.ask("ci", lost.secret))["jti"]
    with capture_logs():
        lost.world.wiring.stop()
    for file in lost.world.wiring.maintenance.spool._files:
        os.close(file.descriptor)  # as the system does when a process ends
    lost.restore()
    following = World.over(settings)
    following.wiring.maintenance.spool.take_over()
    following.wiring.maintenance.tick()
    following.close()
    assert lost.recorded()[-2:] == [first, second]


def test_a_full_spool_ends_tokens_until_the_store_is_back(lost: Lost) -> None:
    wiring = lost.world.wiring
    wiring.maintenance.spool.max_bytes = 100
    lost.go()
    last = claims(lost.ask("ci", lost.secret))["jti"]
    lost.tick()
    error_of(lost.ask("ci", lost.secret), 503)
    error_of(lost.world.get(ASKED), 503)
    assert lost.world.client.get("/readyz").status_code == 503
    lost.come_back()
    assert lost.ask("ci", lost.secret).status_code == 200
    assert last in lost.recorded()


def test_a_store_that_takes_no_writes_stops_nobody(lost: Lost) -> None:
    with unwritable(lost.world):
        lost.tick()
        assert lost.ask("bob", PASSWORD).status_code == 200
        lost.tick()
        assert not lost.world.wiring.state.stale
        assert lost.world.wiring.maintenance.spool.waiting
    lost.tick()
    lost.tick()
    assert not lost.world.wiring.maintenance.spool.waiting
    assert None not in lost.recorded()


# A PostgreSQL that is stopped.


@pytest.fixture
def stopping(tmp_path: Path) -> Iterator[Lost]:
    with postgres.stopped_cluster() as cluster, ExitStack() as server:
        server.enter_context(postgres.running(cluster))
        cluster.create("stopping")
        url = cluster.url("stopping").render_as_string(hide_password=False)
        chosen = {"data_dir": tmp_path / "data", "database_url": url, "bcrypt_cost": 4}
        (tmp_path / "data").mkdir(mode=0o700)
        set_up(Settings.model_validate(chosen))
        world = World.over(Settings.model_validate(chosen))

        def stop() -> None:
            cluster.disconnect()
            server.close()

        yield Lost(world, stop, lambda: server.enter_context(postgres.running(cluster)))
        world.close()


@pytest.mark.sqlite
def test_tokens_outlive_a_postgresql_that_is_stopped(stopping: Lost) -> None:
    """Once for both engines: it has a PostgreSQL of its own."""
    stopping.go()
    answer = stopping.ask("ci", stopping.secret)
    assert granted(answer) == {"repository:team/app": ["pull"]}
    error_of(stopping.ask("bob", PASSWORD), 503)
    stopping.tick()
    stopping.come_back()
    assert stopping.ask("bob", PASSWORD).status_code == 200
    assert claims(answer)["jti"] in stopping.recorded()


# The law.


@dataclass(frozen=True)
class Drawn:
    """A request, and what the state says when the store goes."""

    question: strategies.Question
    shown: str


_drawn = st.builds(
    Drawn,
    strategies.questions(anybody=False),
    st.sampled_from(["nothing", "app token", "remembered", "forgotten", "wrong"]),
)


@given(drawn=_drawn)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_stale_answer_is_the_fresh_one_or_none(lost: Lost, drawn: Drawn) -> None:
    cache = lost.world.wiring.state
    question = replace(drawn.question, service=SERVICE, circumstances=_here(lost))
    held = _state(lost, question)
    auth = {
        "nothing": None,
        "app token": ("ci", lost.secret),
        "remembered": ALICE,
        "forgotten": ("bob", PASSWORD),
        "wrong": ("alice", "wrong password"),
    }[drawn.shown]
    cache._state = held
    assert lost.ask(*ALICE).status_code == 200
    lost.world.wiring.issuer.backends.passwords._until.pop(_tag(lost, "bob"), None)
    cache.trouble = "gone"
    stale = _answer(lost, question, auth)
    cache.trouble = None
    fresh = _answer(lost, question, auth)
    assert stale in (503, fresh)
    if not isinstance(stale, int):
        known = held.snapshot.accounts[auth[0]].account if auth else None
        ceiling = question.ceiling if drawn.shown == "app token" else None
        decision = decide(
            held.snapshot.rules, known, SERVICE, question.scope, ceiling, question.circumstances
        )
        kind = question.scope.type
        assert expand(kind, stale) <= expand(kind, decision.granted)
    elif drawn.shown in ("nothing", "app token", "remembered"):
        pytest.fail("this goes on without the store")


def _here(lost: Lost) -> Circumstances:
    return Circumstances(parse_address("127.0.0.1"), lost.world.wiring.issuer.clock())


def _tag(lost: Lost, name: str) -> bytes:
    known = lost.world.wiring.state.current.snapshot.accounts[name]
    assert known.password_hash is not None
    return lost.world.wiring.issuer.backends.passwords._tag(known.id, known.password_hash, PASSWORD)


def _state(lost: Lost, question: strategies.Question) -> AuthState:
    """Return a state that holds the question's rules, groups and ceiling."""
    held = lost.world.wiring.state._state
    assert held is not None
    snapshot, digest = held.snapshot, secret_tokens.digest(lost.secret)
    groups = question.account.groups if question.account else frozenset()
    accounts = {
        name: replace(known, account=replace(known.account, groups=groups))
        for name, known in snapshot.accounts.items()
    }
    ceiling = None if question.ceiling is None else tuple(question.ceiling)
    narrowed = replace(snapshot.app_tokens[digest], ceiling=ceiling)
    changed = replace(
        snapshot,
        rules=RuleIndex.of(question.rules),
        accounts=accounts,
        app_tokens={**snapshot.app_tokens, digest: narrowed},
        # What was answered to another example holds no more.
        basis=object(),
    )
    return replace(held, snapshot=changed)


def _answer(
    lost: Lost, question: strategies.Question, auth: tuple[str, str] | None
) -> int | tuple[str, ...]:
    """Return what was granted of the question's scope, or the status if it was no 200."""
    answer = lost.world.get(f"service={SERVICE}&scope={question.scope}", auth=auth)
    if answer.status_code != 200:
        return answer.status_code
    return tuple(action for actions in granted(answer).values() for action in actions)
