"""/livez and /readyz: whether the process answers, and whether it can issue tokens."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from authserver.live import STALE_AFTER
from tests.web.faults import put_out_of_reach
from tests.world import Clock, World, take_schema_back

CHECKS = {"store", "schema", "signing_key"}


def ready(world: World) -> tuple[int, dict[str, str]]:
    """Return the status of /readyz and the reason of each check that fails."""
    response = world.client.get("/readyz")
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    body: Any = response.json
    assert body["status"] == ("ok" if response.status_code == 200 else "failing")
    assert body["checks"].keys() == CHECKS
    failing = {n: check for n, check in body["checks"].items() if check != {"status": "ok"}}
    assert all(check["status"] == "failing" for check in failing.values())
    return response.status_code, {name: check["reason"] for name, check in failing.items()}


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
    live = world.wiring.live
    clock = Clock(live.current.signer.not_after)
    live.store = replace(live.store, clock=clock)
    status, reasons = ready(world)
    assert status == 503
    assert reasons.keys() == {"signing_key"}
    assert "expired" in reasons["signing_key"]
    clock.move(timedelta(seconds=-1))
    assert ready(world) == (200, {})


def test_a_signing_key_of_the_future_is_not_ready(world: World) -> None:
    live = world.wiring.live
    live.store = replace(live.store, clock=Clock(live.store.clock() - timedelta(days=1)))
    assert ready(world)[1].keys() == {"signing_key"}


def test_a_schema_that_is_behind_is_not_ready(world: World) -> None:
    take_schema_back(world.wiring.settings)
    status, reasons = ready(world)
    assert status == 503
    assert "authserver db upgrade" in reasons["schema"]


def test_a_schema_that_is_ahead_is_not_ready(world: World) -> None:
    engine = world.wiring.store.engine.execution_options(authserver_write=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    status, reasons = ready(world)
    assert status == 503
    assert reasons.keys() == {"schema"}
    assert "newer" in reasons["schema"]


def test_a_store_that_cannot_be_opened_is_not_ready(world: World) -> None:
    put_out_of_reach(world)
    status, reasons = ready(world)
    assert status == 503
    assert {"store", "schema"} <= reasons.keys()


def test_a_state_that_is_too_old_is_not_ready_until_the_store_is_read_again(world: World) -> None:
    live = world.wiring.live
    late = live.current.read_at + STALE_AFTER + 1
    live.monotonic = lambda: late
    status, reasons = ready(world)
    assert status == 503
    assert "store" in reasons
    live.refresh()
    assert ready(world) == (200, {})


def test_a_process_stays_alive_whatever_is_not_ready(world: World) -> None:
    live = world.wiring.live
    late = live.current.read_at + STALE_AFTER + 1
    live.monotonic = lambda: late
    put_out_of_reach(world)
    assert world.client.get("/livez").status_code == 200
