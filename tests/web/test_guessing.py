"""Guessing over HTTP: 429 for what would need bcrypt, and for nothing else."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import Any

import bcrypt
import pytest
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from authserver.audit import records
from authserver.audit.records import Filter
from authserver.auth.bcrypt_queue import Hashing
from authserver.auth.lockout import CHEAP_TRIES, MINUTE, Attempt, Lockout
from authserver.auth.rate_limits import SharedStorage, Windows
from authserver.db import accounts
from authserver.runtime.concurrency import Slots
from authserver.runtime.settings import Settings
from authserver.runtime.shared_memory import SharedMemory
from tests.unit.clocks import Seconds
from tests.web.answers import error_of, refused
from tests.web.test_invitation import invite, redeem
from tests.world import ADMIN, PASSWORD, World, basic, wait_until

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.1"
SECONDS = 10


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def over(settings: Settings) -> World:
    """Return an installation that refuses without holding anybody back."""
    made = World.over(settings)
    made.wiring.issuer.backends.lockout.tarpit.seconds = 0
    return made


@pytest.fixture
def world(settings: Settings, clock: Seconds) -> Iterator[World]:
    made = over(settings)
    made.user("alice")
    lockout(made).counts.local = Windows(SharedStorage(SharedMemory.make(), clock), clock)
    lockout(made).monotonic = clock
    yield made
    made.close()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that were checked by bcrypt from here on."""
    found: list[bytes] = []
    check = bcrypt.checkpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        found.append(password)
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return found


def lockout(world: World) -> Lockout:
    return world.wiring.issuer.backends.lockout


def log_in(world: World, password: str, name: str = "alice", address: str = HOME) -> TestResponse:
    return world.get(auth=(name, password), environ_overrides={"REMOTE_ADDR": address})


def post(world: World, password: str, name: str = "alice", address: str = HOME) -> TestResponse:
    form = {
        "grant_type": "password",
        "username": name,
        "password": password,
        "service": "registry",
        "client_id": "containerd-client",
    }
    return world.client.post("/token", data=form, environ_overrides={"REMOTE_ADDR": address})


def api(world: World, path: str, auth: tuple[str, str], **more: Any) -> TestResponse:
    headers = {"Authorization": basic(*auth)}
    method = "POST" if "json" in more else "GET"
    where = {"REMOTE_ADDR": HOME}
    url = f"/api/v1{path}"
    return world.client.open(url, method=method, headers=headers, environ_overrides=where, **more)


def exhaust(world: World, name: str = "alice", address: str = HOME) -> None:
    for number in range(10):
        refused(log_in(world, f"wrong {number}", name, address))


def limited(response: TestResponse) -> int:
    """Check the answer to a login that is not checked; return the seconds to wait."""
    message = error_of(response, 429)
    assert "too many failed logins" in message
    assert response.json is not None
    assert response.json["errors"][0]["code"] == "TOOMANYREQUESTS"
    return int(response.headers["Retry-After"])


def test_after_ten_wrong_passwords_nothing_is_checked_until_the_time_is_over(
    world: World, clock: Seconds, checked: list[bytes]
) -> None:
    exhaust(world)
    assert len(checked) == 10
    clock.at += 20
    for answer in (log_in(world, "wrong"), log_in(world, PASSWORD)):
        assert limited(answer) == MINUTE - 20
    assert len(checked) == 10
    clock.at += MINUTE - 20
    assert log_in(world, PASSWORD).status_code == 200


def test_a_post_is_told_in_the_words_of_oauth(world: World) -> None:
    exhaust(world)
    answer = post(world, PASSWORD)
    assert limited(answer) == MINUTE
    assert answer.json is not None
    assert answer.json["error"] == "temporarily_unavailable"
    assert answer.json["error_description"] == answer.json["details"]


def test_the_body_says_nothing_that_tells_accounts_apart(world: World) -> None:
    bodies = set()
    world.user("gone")
    world.disable("gone")
    for number, name in enumerate(("alice", "nobody", "gone")):
        exhaust(world, name, f"192.0.2.{number}")
        answer = log_in(world, PASSWORD, name, f"192.0.2.{number}")
        bodies.add((limited(answer), answer.text))
    assert len(bodies) == 1


def test_others_are_not_limited_with_it(world: World) -> None:
    exhaust(world)
    assert log_in(world, PASSWORD, address=ELSEWHERE).status_code == 200
    assert log_in(world, PASSWORD, ADMIN).status_code == 200
    assert world.get(environ_overrides={"REMOTE_ADDR": HOME}).status_code == 200


def test_an_address_that_tries_many_names_is_limited_for_each(world: World) -> None:
    for number in range(30):
        refused(log_in(world, "wrong", f"user-{number}"))
    assert limited(log_in(world, PASSWORD)) == MINUTE
    assert log_in(world, PASSWORD, address=ELSEWHERE).status_code == 200


def test_what_needs_no_bcrypt_is_neither_limited_nor_counted(
    world: World, checked: list[bytes]
) -> None:
    _, app_token = world.app_token("alice")
    refresh = world.log_in("alice")
    exhaust(world)
    checked.clear()
    for secret in (app_token, PASSWORD):  # the password is remembered
        assert log_in(world, secret).status_code == 200
    assert world.post(grant_type="refresh_token", refresh_token=refresh).status_code == 200
    for shown in ("authserver_app_x", "authserver_refresh_x", app_token[:-1], ""):
        for _ in range(40):
            refused(log_in(world, shown, address=ELSEWHERE))
    refused(log_in(world, "wrong", address=ELSEWHERE))
    assert checked == [b"wrong"]


def test_clients_that_try_twice_are_limited_no_sooner(world: World) -> None:
    for number in range(9):
        for way in (post, log_in):
            refused(way(world, f"wrong {number}"))
    refused(post(world, "the tenth"))
    limited(log_in(world, "the tenth"))


def test_a_machine_that_tries_an_old_password_for_ever_is_never_limited(
    world: World, clock: Seconds
) -> None:
    for _ in range(100):
        refused(log_in(world, "the old password"))
        clock.at += 45
    assert log_in(world, PASSWORD).status_code == 200


def test_whoever_tries_on_while_limited_does_not_find_a_remembered_password(
    world: World, checked: list[bytes]
) -> None:
    assert log_in(world, PASSWORD).status_code == 200
    exhaust(world, address=ELSEWHERE)
    checked.clear()
    assert log_in(world, PASSWORD, address=ELSEWHERE).status_code == 200
    for number in range(CHEAP_TRIES):
        limited(log_in(world, f"guess {number}", address=ELSEWHERE))
    limited(log_in(world, PASSWORD, address=ELSEWHERE))
    assert log_in(world, PASSWORD).status_code == 200
    assert checked == []


def test_the_client_behind_a_proxy_is_counted(settings: Settings) -> None:
    chosen = Settings(**settings.model_dump() | {"trusted_proxies": "192.0.2.0/24"})
    world = over(chosen)
    for number in range(11):
        headers = {"X-Forwarded-For": "203.0.113.9"}
        where = {"REMOTE_ADDR": HOME}
        auth = (ADMIN, f"wrong {number}")
        answer = world.get(auth=auth, headers=headers, environ_overrides=where)
    limited(answer)
    assert log_in(world, PASSWORD, ADMIN).status_code == 200
    world.close()


def test_the_numbers_are_settings(settings: Settings) -> None:
    few = {"failures_per_account": 2, "failures_per_address": 3}
    world = over(settings.model_copy(update=few))
    statuses = [log_in(world, str(n), name).status_code for n, name in enumerate("aaabb")]
    assert statuses == [401, 401, 429, 401, 429]
    world.close()


def test_only_logins_that_are_refused_unchecked_are_held_back(world: World) -> None:
    held: list[float] = []
    tarpit = world.wiring.issuer.backends.lockout.tarpit
    tarpit.sleep, tarpit.seconds = held.append, 1
    _, app_token = world.app_token("alice")
    assert log_in(world, PASSWORD).status_code == 200
    exhaust(world)
    for good in (PASSWORD, app_token):
        assert log_in(world, good).status_code == 200
    assert held == []
    limited(log_in(world, "wrong"))
    no_place(world)
    error_of(log_in(world, "wrong", address=ELSEWHERE), 503)
    assert held == [1, 1]
    tarpit.places.total = 0
    limited(log_in(world, "wrong"))
    assert held == [1, 1]


# The admin API.


def test_the_api_counts_and_is_limited_with_the_token_endpoint(world: World) -> None:
    for number in range(5):
        assert api(world, "/me", ("alice", f"wrong {number}")).status_code == 401
        refused(log_in(world, f"other {number}"))
    answer = api(world, "/me", ("alice", PASSWORD))
    assert answer.status_code == 429
    assert answer.mimetype == "application/problem+json"
    assert answer.headers["Retry-After"] == str(MINUTE)
    assert answer.json is not None
    assert "too many failed logins" in answer.json["detail"]
    limited(log_in(world, PASSWORD))


def test_a_login_that_is_not_checked_is_recorded(world: World) -> None:
    exhaust(world)
    api(world, "/me", ("alice", PASSWORD))
    limited(log_in(world, PASSWORD))
    world.wiring.maintenance.tick()
    with world.wiring.store.read() as session:
        reasons = [record["reason"] for record in records.listed(session, Filter("token"))[-2:]]
    said = f"too many failed logins, for another {MINUTE} s"
    assert reasons == [f"admin API: {said}", said]


def test_the_current_password_is_not_guessed_with_an_app_token(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", admin=True)
    world.wiring.state.refresh()
    assert log_in(world, PASSWORD, address=ELSEWHERE).status_code == 200
    auth = ("alice", PASSWORD)
    with capture_logs() as logs:
        statuses = [
            api(world, "/me/password", auth, json={"current": f"{n}", "new": "x" * 8}).status_code
            for n in range(12)
        ]
    assert statuses == [403] * 10 + [429] * 2
    # Each guess has its record and its line, as a guess at a login.
    assert [line["event"] for line in logs] == ["request refused"] * 12
    assert [line["reason"] for line in logs][:10] == ["wrong password"] * 10


# Turns.


def no_place(world: World) -> None:
    world.wiring.issuer.backends.hashing.places.total = 0


def test_where_too_many_wait_that_is_said_at_once(world: World) -> None:
    _, app_token = world.app_token("alice")
    assert log_in(world, PASSWORD).status_code == 200
    no_place(world)
    for way in (log_in, post):
        with capture_logs() as logs:
            answer = way(world, "wrong")
        error_of(answer, 503)
        assert answer.headers["Retry-After"] == "5"
        assert [line["log_level"] for line in logs] == ["warning"], "a flood is no fault of ours"
    with capture_logs() as logs:
        answer = api(world, "/me", (ADMIN, PASSWORD))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert [line["log_level"] for line in logs] == ["warning"], "a flood is no fault of ours"
    for secret in (PASSWORD, app_token):
        assert log_in(world, secret).status_code == 200


def test_whoever_has_logged_in_from_an_address_is_a_guest_there(world: World) -> None:
    places = world.wiring.issuer.backends.hashing.places
    assert log_in(world, PASSWORD).status_code == 200
    with ExitStack() as others:
        for number in range(places.total - places.total // 4):
            assert others.enter_context(places.take(f"203.0.113.{number}"))
        assert log_in(world, "wrong").status_code == 401
        assert log_in(world, "wrong", address=ELSEWHERE).status_code == 503
        assert log_in(world, "wrong", ADMIN).status_code == 503


CHANGES: dict[str, Callable[[World, str], TestResponse]] = {
    "invitation page": redeem,
    "invitation by the API": lambda world, code: world.client.post(
        "/api/v1/invitations/redeem", json={"code": code, "password": "a new password"}
    ),
    "somebody's password": lambda world, _: api(
        world, "/users/alice/password", (ADMIN, PASSWORD), json={"password": "a new password"}
    ),
    "one's own password": lambda world, _: api(
        world,
        "/me/password",
        (ADMIN, PASSWORD),
        json={"current": PASSWORD, "new": "a new password"},
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_new_passwords_are_hashed_by_turns_too(
    world: World, change: Callable[[World, str], TestResponse]
) -> None:
    code = invite(world)
    assert api(world, "/me", (ADMIN, PASSWORD)).status_code == 200
    hashing = world.wiring.issuer.backends.hashing
    places, hashing.places.total = hashing.places.total, 0
    answer = change(world, code)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    hashing.places.total = places
    assert change(world, code).status_code < 300


def one_turn(world: World) -> Hashing:
    hashing = Hashing(SharedMemory.make(), 1, Slots(64, 64))
    object.__setattr__(world.wiring.issuer.backends, "hashing", hashing)
    return hashing


def test_many_who_come_when_a_password_is_no_longer_remembered_share_one_check(
    world: World, checked: list[bytes]
) -> None:
    hashing, go = one_turn(world), Event()
    with ThreadPoolExecutor(16) as threads:
        blocking = threads.submit(hashing.run, "203.0.113.1", lambda: go.wait(SECONDS), guest=False)
        addresses = [f"192.0.2.{number}" for number in range(12)]
        asked = [threads.submit(lone_log_in, world, PASSWORD, address) for address in addresses]
        assert wait_until(lambda: hashing.places.taken == 13, SECONDS)
        go.set()
        assert blocking.result(SECONDS)
        assert {future.result(SECONDS) for future in asked} == {200}
    assert checked == [PASSWORD.encode()]


def test_a_flood_lets_no_more_passwords_be_checked_than_a_trickle(
    world: World, checked: list[bytes]
) -> None:
    hashing, go = one_turn(world), Event()
    with ThreadPoolExecutor(32) as threads:
        blocking = threads.submit(hashing.run, "203.0.113.1", lambda: go.wait(SECONDS), guest=False)
        asked = [threads.submit(lone_log_in, world, f"wrong {n}", HOME) for n in range(24)]
        assert wait_until(lambda: hashing.places.taken == 25, SECONDS)
        go.set()
        assert blocking.result(SECONDS)
        statuses = [future.result(SECONDS) for future in asked]
    assert sorted(statuses) == [401] * 10 + [429] * 14
    assert len(checked) == 10


def lone_log_in(world: World, password: str, address: str) -> int:
    """Log in by a client of one's own, as each thread needs one; return the status."""
    client = world.client.application.test_client()
    headers = {"Authorization": basic("alice", password)}
    where = {"REMOTE_ADDR": address}
    return client.get("/token", headers=headers, environ_overrides=where).status_code


def locked_out(world: World, name: str) -> None:
    assert [log_in(world, f"wrong {n}", name).status_code for n in range(11)][-1] == 429


def rename(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.rename(change, "alice", "alicia")


def remove(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.remove(change, "alice")


@pytest.mark.parametrize("leave", [rename, remove])
def test_counts_stay_with_the_account_and_a_new_one_of_its_name_inherits_none(
    world: World, leave: Callable[[World], None]
) -> None:
    assert log_in(world, PASSWORD).status_code == 200
    locked_out(world, "alice")
    leave(world)
    world.user("alice", "another")
    known = world.wiring.state.current.snapshot.accounts
    attempt = Attempt(lockout(world), HOME, str(known["alice"].id), exists=True)
    guest_before = attempt.is_guest
    assert log_in(world, "another").status_code == 200
    assert (guest_before, attempt.is_guest) == (False, True)
    if "alicia" in known:
        assert log_in(world, "wrong", "alicia").status_code == 429


def test_a_name_that_is_written_like_an_id_locks_nobody_out(world: World) -> None:
    locked_out(world, str(world.wiring.state.current.snapshot.accounts["alice"].id))
    assert log_in(world, PASSWORD).status_code == 200
