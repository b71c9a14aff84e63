"""The rate limit of requests: by address, in front of everything, without a record of each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs
from werkzeug.test import Client, TestResponse

from authserver.runtime.metrics.counters import MAX_WAITING, Observations
from authserver.runtime.settings import Settings
from authserver.web import api, app
from authserver.web.api.models import ApiProblem
from authserver.web.app import create_app
from authserver.web.server import front
from authserver.web.server.front import ADDRESSES, BURST, SAID_EVERY, Rates
from authserver.web.server.gateway import AT_ONCE
from authserver.web.wiring import wire
from tests.unit.clocks import Seconds
from tests.web.answers import error_of
from tests.world import World, basic

RATE = 5
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.1"


def admitted(rates: Rates, client: str, times: int) -> int:
    return sum(rates.admits(client) for _ in range(times))


def test_a_burst_is_let_in_and_then_what_the_rate_says() -> None:
    clock = Seconds()
    rates = Rates(RATE, clock)
    assert admitted(rates, HOME, 1000) == RATE * BURST
    for _ in range(10):
        clock.at += 1
        assert admitted(rates, HOME, 1000) in (RATE, RATE + 1)
    clock.at += BURST
    assert admitted(rates, HOME, 1000) == RATE * BURST


def test_others_are_let_in_meanwhile() -> None:
    rates = Rates(RATE, Seconds())
    admitted(rates, HOME, 1000)
    assert admitted(rates, ELSEWHERE, 1000) == RATE * BURST


def test_a_client_within_the_rate_is_never_refused() -> None:
    clock = Seconds()
    rates = Rates(RATE, clock)
    for _ in range(100 * RATE):
        assert rates.admits(HOME)
        clock.at += 1 / RATE


def test_many_addresses_take_no_more_memory_and_free_nobody_who_is_limited() -> None:
    clock = Seconds()
    rates = Rates(RATE, clock)
    admitted(rates, HOME, 1000)
    for number in range(5 * ADDRESSES):
        assert rates.admits(str(number))
        clock.at += 1 / 10_000
    assert len(rates._over) <= ADDRESSES
    assert admitted(rates, HOME, 1000) <= RATE * 6, "five seconds have gone by"


# What it stands in front of.


@dataclass
class Limits:
    """Makes installations where one request may come at once, and the next a second later."""

    settings: Settings
    clock: Seconds = field(default_factory=Seconds)

    @contextmanager
    def world(self, **more: Any) -> Iterator[World]:
        chosen = Settings(**self.settings.model_dump() | {"requests_per_address": 1} | more)
        wiring = wire(chosen, Observations(MAX_WAITING))
        made = World(wiring, create_app(wiring).test_client())
        yield made
        made.close()


@pytest.fixture
def limits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Limits:
    made = Limits(settings)
    monkeypatch.setattr(front, "BURST", 1)
    monkeypatch.setattr(app, "Rates", lambda rate: Rates(rate, made.clock))
    return made


@pytest.fixture
def clock(limits: Limits) -> Seconds:
    return limits.clock


@pytest.fixture
def world(limits: Limits) -> Iterator[World]:
    with limits.world() as made:
        yield made


def ask(world: World, path: str, address: str = HOME, method: str = "GET", **more: Any) -> Any:
    where = {"REMOTE_ADDR": address, **more.pop("environ", {})}
    return world.client.open(path, method=method, environ_overrides=where, **more)


EVERYTHING = [
    ("GET", "/token"),
    ("POST", "/token"),
    ("PUT", "/token"),
    ("GET", "/auth/token/"),
    ("GET", "/invitation"),
    ("POST", "/invitation"),
    ("GET", "/bundle.pem"),
    ("GET", "/nothing"),
    ("GET", "/api/v1/me"),
    ("POST", "/api/v1/invitations/redeem"),
    ("GET", "/api/v1/openapi.json"),
]


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_every_path_is_limited_by_one_count(
    world: World, clock: Seconds, method: str, path: str
) -> None:
    assert ask(world, "/token").status_code == 200
    answer = ask(world, path, method=method)
    if path.startswith(api.PREFIX):
        problem(answer)
    else:
        assert "too many requests" in error_of(answer, 429)
    assert answer.headers["Retry-After"] == "1"
    assert ask(world, path, ELSEWHERE, method).status_code != 429
    clock.at += 1
    assert ask(world, path, method=method).status_code != 429


def problem(answer: TestResponse) -> None:
    """Check that the API tells it as its other errors."""
    assert (answer.status_code, answer.mimetype) == (429, "application/problem+json")
    told = ApiProblem.model_validate_json(answer.text)
    assert told.status == 429
    assert "too many requests" in told.detail


def test_a_post_is_told_in_the_words_of_oauth(world: World) -> None:
    ask(world, "/token")
    answer = ask(world, "/token", method="POST")
    assert answer.json["error"] == "temporarily_unavailable"
    assert answer.json["error_description"] == answer.json["details"]


def test_a_household_is_one_client(world: World) -> None:
    assert ask(world, "/token", "2001:db8::1").status_code == 200
    assert ask(world, "/token", "2001:db8::ffff:2").status_code == 429
    assert ask(world, "/token", "2001:db8:0:1::1").status_code == 200


def test_probes_have_a_count_of_their_own(world: World) -> None:
    for _ in range(2):
        ask(world, "/token")
    assert ask(world, "/livez").status_code == 200
    assert ask(world, "/readyz").status_code == 429
    assert ask(world, "/token").status_code == 429


def test_a_request_that_could_not_be_answered_at_once_counts_once(world: World) -> None:
    assert ask(world, "/token", environ={AT_ONCE: True}).status_code == 200
    assert ask(world, "/token", environ={AT_ONCE: False}).status_code == 200
    assert ask(world, "/token", environ={AT_ONCE: True}).status_code == 429


def test_the_client_behind_a_proxy_is_counted(limits: Limits) -> None:
    clients = (ELSEWHERE, "203.0.113.9", ELSEWHERE)
    with limits.world(trusted_proxies="192.0.2.0/24") as world:
        answers = [ask(world, "/token", headers={"X-Forwarded-For": who}) for who in clients]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


def test_the_administrations_own_listener_has_a_count_of_its_own(limits: Limits) -> None:
    with limits.world(admin_listen="127.0.0.1:5002") as world:
        administration = Client(app.create_administration(world.wiring))
        assert [ask(world, "/token").status_code for _ in range(2)] == [200, 429]
        where = {"REMOTE_ADDR": HOME}
        asked = [administration.get("/api/v1/me", environ_overrides=where) for _ in range(2)]
        assert asked[0].status_code == 401
        problem(asked[1])


def test_0_is_no_limit(limits: Limits) -> None:
    with limits.world(requests_per_address=0) as world:
        assert {ask(world, "/token").status_code for _ in range(50)} == {200}


def test_what_is_refused_is_neither_looked_at_nor_recorded_but_counted(world: World) -> None:
    ask(world, "/token")
    before = len(world.wiring.state.journal.pending)
    for _ in range(20):
        shown = {"Authorization": basic("made-up", "wrong")}
        assert ask(world, "/token", headers=shown).status_code == 429
    assert len(world.wiring.state.journal.pending) == before
    assert not world.wiring.observations.passwords
    assert list(world.wiring.observations.responses) == [("token", 200)] + [("limited", 429)] * 20


def test_it_is_said_once_a_minute(world: World, clock: Seconds) -> None:
    with capture_logs() as logs:
        for _ in range(10):
            ask(world, "/token")
        assert [line["address"] for line in logs] == [HOME]
        assert "AUTHSERVER_TRUSTED_PROXIES" in logs[0]["event"]
        clock.at += SAID_EVERY
        for _ in range(10):
            ask(world, "/token")
        assert len(logs) == 2
