"""Lockouts as operators see them, and what lifting one does."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from authserver.auth.lockout import MINUTE
from authserver.db import lockouts
from authserver.db.lockouts import Noted
from authserver.db.models import LockoutRow
from authserver.runtime.settings import Settings
from tests.cli.commands import Commands
from tests.unit.clocks import Seconds
from tests.web.answers import refused
from tests.web.test_api import call, got
from tests.web.test_guessing import ELSEWHERE, HOME, exhaust, limited, log_in, over
from tests.world import PASSWORD, World

FLOOD = "2001:db8::1"
ANYHOW = {"If-Match": "*"}


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def world(settings: Settings, clock: Seconds) -> Iterator[World]:
    """A server that notices at once. alice is locked out at HOME."""
    made = over(settings)
    made.user("alice")
    tick(made)
    made.wiring.issuer.backends.lockout.monotonic = clock
    exhaust(made)
    limited(log_in(made, PASSWORD))
    tick(made)
    yield made
    made.close()


@pytest.fixture
def run(world: World) -> Commands:
    return Commands(world.wiring.settings.data_dir)


def tick(world: World) -> None:
    for name in ("refresh", "write", "lockouts"):
        world.wiring.maintenance.jobs[name].action()


def test_a_lockout_is_listed_with_address_account_end_and_reason(run: Commands) -> None:
    (lockout,) = run.json("lockout", "list")
    assert (lockout["address"], lockout["account"]) == (HOME, "alice")
    assert lockout["why"] == "too many wrong passwords for this account from this address"
    left = datetime.fromisoformat(lockout["until"]) - datetime.fromisoformat(lockout["began_at"])
    assert timedelta(0) < left <= timedelta(seconds=MINUTE)
    shown = run("lockout", "list").splitlines()[-1]
    assert shown.split()[1:3] == [HOME, "alice"]


def test_a_lockout_that_is_over_is_not_listed(world: World, run: Commands) -> None:
    with world.wiring.store.append() as session:
        session.execute(update(LockoutRow).values(until=LockoutRow.began_at))
    assert run.json("lockout", "list") == []
    assert "There are no lockouts." in (run("lockout", "list"), run.err)[1]
    run("lockout", "lift", HOME, status=1)


def test_an_address_is_listed_for_all_accounts(world: World, run: Commands) -> None:
    for number in range(40):
        log_in(world, f"wrong {number}", f"nobody{number % 5}", FLOOD)
    tick(world)
    found = run.json("lockout", "list")
    (of_all,) = [each for each in found if each["account"] is None]
    assert of_all["address"] == "2001:db8::/64"
    assert "from this address" in of_all["why"]
    assert "(all)" in run("lockout", "list")


def test_a_name_that_no_account_has_is_hashed_as_in_records(world: World, run: Commands) -> None:
    typed = "Tr0ub4dor&3"
    exhaust(world, typed, ELSEWHERE)
    limited(log_in(world, PASSWORD, typed, ELSEWHERE))
    tick(world)
    found = run.json("lockout", "list")
    (unknown,) = [each for each in found if each["address"] == ELSEWHERE]
    assert unknown["account"] == world.wiring.state.journal.hashed(typed)
    listed = got(world, "/lockouts")["items"]
    assert typed not in str(found) + run("lockout", "list") + str(listed)
    # It is lifted by what is listed, without knowing what was typed.
    run("lockout", "lift", ELSEWHERE, "--account", unknown["account"])
    tick(world)
    refused(log_in(world, "wrong again", typed, ELSEWHERE))


def test_who_is_lifted_logs_in_again_and_others_do_not(world: World, run: Commands) -> None:
    exhaust(world, "alice", ELSEWHERE)
    limited(log_in(world, PASSWORD, "alice", ELSEWHERE))
    tick(world)
    run("lockout", "lift", HOME)
    assert run.err.endswith(f"Lifted 1 lockout of {HOME}.\n")
    limited(log_in(world, PASSWORD))
    tick(world)
    assert log_in(world, PASSWORD).status_code == 200
    limited(log_in(world, "another one", "alice", ELSEWHERE))
    assert [each["address"] for each in run.json("lockout", "list")] == [ELSEWHERE]


def test_after_a_lift_the_count_begins_anew(world: World, run: Commands) -> None:
    run("lockout", "lift", HOME, "--account", "alice")
    tick(world)
    for number in range(10):
        refused(log_in(world, f"another {number}"))
    limited(log_in(world, PASSWORD))
    # Another change does not lift it once more.
    world.user("bob")
    tick(world)
    limited(log_in(world, PASSWORD))
    assert len(run.json("lockout", "list")) == 1


def test_a_server_that_starts_lifts_nothing_a_second_time(world: World, run: Commands) -> None:
    run("lockout", "lift", HOME)
    other = World.over(world.wiring.settings)
    tick(other)
    assert other.wiring.maintenance.lockouts._lifted == frozenset({1})
    other.close()


def test_an_ipv6_address_lifts_its_network(world: World, run: Commands) -> None:
    exhaust(world, "alice", FLOOD)
    limited(log_in(world, PASSWORD, "alice", FLOOD))
    tick(world)
    run("lockout", "lift", "2001:db8::ffff")
    exhaust_again = run.json("lockout", "list")
    assert [each["address"] for each in exhaust_again] == [HOME]


def test_the_network_that_is_listed_can_be_pasted(world: World, run: Commands) -> None:
    exhaust(world, "alice", FLOOD)
    limited(log_in(world, PASSWORD, "alice", FLOOD))
    tick(world)
    run("lockout", "lift", "2001:db8::/64")
    run("lockout", "lift", "my house", status=2)
    assert "is no address" in run.err


def test_a_lift_is_recorded(run: Commands) -> None:
    run("lockout", "lift", HOME)
    record = run.last_change()
    assert (record["action"], record["target"]) == ("lockout.lift", "lockout:1")
    assert (record["before"]["address"], record["before"]["account"]) == (HOME, "alice")
    assert "key" not in record["before"]


@pytest.mark.parametrize("args", [(ELSEWHERE,), (HOME, "--account", "bob")])
def test_what_is_not_locked_out_is_not_lifted(run: Commands, args: tuple[str, ...]) -> None:
    run("lockout", "lift", *args, status=1)
    assert "no lockout" in run.err
    assert len(run.json("lockout", "list")) == 1


def test_over_the_api(world: World) -> None:
    (lockout,) = got(world, "/lockouts")["items"]
    assert (lockout["address"], lockout["account"]) == (HOME, "alice")
    assert "key" not in lockout
    path = f"/lockouts/{lockout['id']}"
    call(world, "DELETE", path, status=204, headers=ANYHOW)
    call(world, "DELETE", path, status=404, headers=ANYHOW)
    assert got(world, "/lockouts")["items"] == []
    tick(world)
    assert log_in(world, PASSWORD).status_code == 200
    call(world, "GET", "/lockouts", ("alice", PASSWORD), 403)


def test_very_many_lockouts_do_not_fill_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockouts, "MAX_LOCKOUTS", 3)
    later = world.wiring.store.clock() + timedelta(hours=1)
    many = [Noted(f"{number}", f"192.0.2.{number}", "", later) for number in range(9)]
    with world.wiring.store.append() as session:
        lockouts.note(session, world.wiring.store.time(session), many)
    assert len(got(world, "/lockouts")["items"]) == 3


def test_the_same_lockout_of_two_workers_is_there_once(world: World) -> None:
    def note(until: datetime) -> Any:
        with world.wiring.store.append() as session:
            at = world.wiring.store.time(session)
            lockouts.note(session, at, [Noted("k", ELSEWHERE, "bob", until)])
        return [each["until"] for each in got(world, "/lockouts")["items"][1:]]

    later = world.wiring.store.clock() + timedelta(hours=1)
    (first,) = note(later)
    (second,) = note(later + timedelta(minutes=1))
    assert second > first
    assert note(later) == [second]


def test_without_the_store_the_lockout_holds_and_is_noted_later(
    world: World, run: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    exhaust(world, "alice", ELSEWHERE)
    limited(log_in(world, PASSWORD, "alice", ELSEWHERE))
    log = world.wiring.maintenance.lockouts
    with monkeypatch.context() as broken:
        broken.setattr(lockouts, "note", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            log.write(world.wiring.store)
    tick(world)
    assert len(run.json("lockout", "list")) == 2
