"""/livez and /readyz: whether the process answers, and whether it can issue tokens."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from authserver.auth.state import SCHEMA_EVERY, STALE_AFTER
from authserver.core.errors import NotReady
from authserver.core.signatures import HeaderMode, KeyType
from authserver.db.dialects.dialect import Space
from authserver.keys import registry_keys
from authserver.registry import entries
from tests.web.faults import put_out_of_reach
from tests.world import Clock, World, take_schema_back

CHECKS = {"store", "schema", "signing_key", "clock"}


def ready(world: World) -> tuple[int, dict[str, str]]:
    """Return the status of /readyz and the reason of each check that fails."""
    response = world.client.get("/readyz")
    elsewhere = world.client.get("/readyz", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert (elsewhere.status_code, elsewhere.json) == (
        response.status_code,
        {"status": response.json["status"]} if response.json else None,
    )
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    body: Any = response.json
    said = {200: ("ok", "stale"), 503: ("failing",)}[response.status_code]
    assert body["status"] in said
    assert body["checks"].keys() == CHECKS
    bad = {n: check for n, check in body["checks"].items() if check != {"status": "ok"}}
    assert all(check["status"] == body["status"] for check in bad.values())
    return response.status_code, {name: check["reason"] for name, check in bad.items()}


def pass_by(world: World, seconds: float) -> None:
    cache = world.wiring.state
    late = cache.current.read_at + seconds
    cache.monotonic = lambda: late


def look_again(world: World) -> None:
    """Do what the thread does some seconds later."""
    pass_by(world, SCHEMA_EVERY + 1)
    with suppress(NotReady):
        world.wiring.state.refresh()


def test_a_process_that_answers_is_alive(world: World) -> None:
    response = world.client.get("/livez")
    body: Any = response.json
    assert (response.status_code, body["status"]) == (200, "ok")


def test_a_new_installation_is_ready(world: World) -> None:
    assert ready(world) == (200, {})


@pytest.mark.parametrize("probe", ["/livez", "/readyz"])
def test_probes_need_no_credentials_and_heed_none(world: World, probe: str) -> None:
    response = world.client.get(probe, headers={"Authorization": "Bearer x"})
    assert response.status_code == 200


def test_an_expired_signing_key_is_not_ready(world: World) -> None:
    cache = world.wiring.state
    clock = Clock(cache.current.signer.not_after)
    cache.store = replace(cache.store, clock=clock, time=lambda _: clock())
    status, reasons = ready(world)
    assert status == 503
    assert reasons.keys() == {"signing_key"}
    assert "expired" in reasons["signing_key"]
    clock.move(timedelta(seconds=-1))
    assert ready(world) == (200, {})


def test_a_signing_key_of_the_future_is_not_ready(world: World) -> None:
    cache = world.wiring.state
    clock = Clock(cache.store.clock() - timedelta(days=1))
    cache.store = replace(cache.store, clock=clock, time=lambda _: clock())
    assert ready(world)[1].keys() == {"signing_key"}


def test_a_clock_that_is_off_is_not_ready(world: World) -> None:
    cache = world.wiring.state
    cache.store = replace(cache.store, clock=Clock(cache.store.clock() - timedelta(seconds=6)))
    cache.refresh()
    status, reasons = ready(world)
    assert status == 503
    assert reasons.keys() == {"clock"}
    assert "-6 s off the store's" in reasons["clock"]


def test_an_end_that_is_near_is_told_and_is_ready(world: World) -> None:
    cache = world.wiring.state
    assert warnings(world) == []
    clock = Clock(cache.store.clock() + timedelta(days=36))
    cache.store = replace(cache.store, clock=clock, time=lambda _: clock())
    cache.refresh()
    (warning,) = warnings(world)
    assert "signing key 1 ends" in warning
    assert ready(world) == (200, {})


def test_a_registrys_own_key_that_is_gone_is_told_and_the_others_are_served(world: World) -> None:
    wiring = world.wiring
    with wiring.store.change("test") as change:
        row = entries.add(change, "other")
        made = registry_keys.add(change, wiring.state.safe, row, HeaderMode.LIBTRUST, KeyType.P256)
        registry_keys.activate(change, row, made.id).private_key = None
    wiring.state.refresh()
    (warning,) = warnings(world)
    assert warning.startswith("no tokens for the registry other: the private key of signing key 2")
    assert ready(world) == (200, {})
    assert world.get("service=registry").status_code == 200
    refused = world.get("service=other")
    assert refused.status_code == 503
    assert "PRIVATE_KEY" not in refused.text


def warnings(world: World) -> list[str]:
    body: Any = world.client.get("/readyz").json
    found: list[str] = body["warnings"]
    return found


def test_a_schema_that_is_behind_is_not_ready(world: World) -> None:
    take_schema_back(world.wiring.settings)
    look_again(world)
    status, reasons = ready(world)
    assert status == 503
    assert "authserver db upgrade" in reasons["schema"]


def test_a_schema_that_is_ahead_is_not_ready(world: World) -> None:
    engine = world.wiring.store.engine.execution_options(authserver_write=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    look_again(world)
    status, reasons = ready(world)
    assert status == 503
    assert reasons.keys() == {"schema"}
    assert "newer" in reasons["schema"]


def test_without_the_store_it_says_so_and_is_ready_as_long_as_tokens_go_on(world: World) -> None:
    """Where all replicas lose the store, a balancer that took all of them out would end it all."""
    put_out_of_reach(world)
    look_again(world)
    pass_by(world, 12)
    status, reasons = ready(world)
    assert status == 200
    assert reasons.keys() == {"store", "schema"}
    assert "is 12 s old, and may be 60" in reasons["store"]
    pass_by(world, 61)
    status, reasons = ready(world)
    assert status == 503
    assert {"store", "schema"} <= reasons.keys()


def test_a_lack_of_space_is_a_warning_while_tokens_are_issued(world: World) -> None:
    capacity = world.wiring.maintenance.capacity
    capacity.full = True
    (full,) = warnings(world)
    assert "the store is full" in full
    capacity.full, capacity.is_low, capacity.space = False, True, Space(0, 5 << 20)
    (low,) = warnings(world)
    assert low.startswith("5 MiB are free for the store, less than AUTHSERVER_MIN_FREE")
    capacity.is_low, capacity.most = False, 1000
    (early,) = warnings(world)
    assert "AUTHSERVER_TOKEN_RECORD_SIZE" in early
    assert ready(world)[0] == 200


@pytest.mark.parametrize("seconds", [0, STALE_AFTER + 1, 61])
def test_readiness_never_waits_for_the_store(world: World, seconds: float) -> None:
    nothing: Any = None
    world.wiring.state.store = replace(world.wiring.state.store, engine=nothing)
    pass_by(world, seconds)
    assert ready(world)[0] == (200 if seconds < 60 else 503)


def test_a_store_that_hangs_is_told(world: World) -> None:
    pass_by(world, STALE_AFTER + 1)
    status, reasons = ready(world)
    assert status == 200
    assert "does not answer" in reasons["store"]


def test_it_is_ready_again_when_the_store_is_read_again(world: World) -> None:
    pass_by(world, 61)
    status, reasons = ready(world)
    assert status == 503
    assert "store" in reasons
    world.wiring.state.refresh()
    assert ready(world) == (200, {})


def test_where_nothing_can_be_recorded_it_is_not_ready(world: World) -> None:
    world.wiring.state.journal.stuck = True
    status, reasons = ready(world)
    assert status == 503
    assert "spool" in reasons["store"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-For": ""},
        {"Forwarded": "for=127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"Host": "auth.example.com"},
        {"Host": "localhost.example.com:5001"},
        {"Host": "["},
        {"Host": "192.0.2.1"},
        {"Host": ""},
    ],
    ids=str,
)
def test_what_a_proxy_on_this_machine_passes_on_gets_no_reasons(
    world: World, headers: dict[str, str]
) -> None:
    assert world.client.get("/readyz", headers=headers).json == {"status": "ok"}


@pytest.mark.parametrize("host", ["localhost", "localhost:5001", "127.0.0.1:5001", "[::1]:5001"])
def test_this_machine_gets_the_reasons(world: World, host: str) -> None:
    body: Any = world.client.get("/readyz", headers={"Host": host}).json
    assert body["checks"].keys() == CHECKS


def test_a_process_stays_alive_whatever_is_not_ready(world: World) -> None:
    cache = world.wiring.state
    late = cache.current.read_at + STALE_AFTER + 1
    cache.monotonic = lambda: late
    put_out_of_reach(world)
    assert world.client.get("/livez").status_code == 200
