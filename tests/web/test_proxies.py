"""A proxy in front that is not heeded: serve tells, so that nobody is locked out by others."""

import time

import pytest
from structlog.testing import capture_logs

from authserver.runtime.metrics.counters import MAX_WAITING, Observations
from authserver.runtime.settings import Settings
from authserver.web.app import create_app
from authserver.web.proxies import FEWEST, HOUR, WARNING, UnheededProxy, header_name
from authserver.web.wiring import wire
from tests.web.test_address import behind_a_proxy
from tests.world import ADMIN, PASSWORD, World

FORWARDED = {"X-Forwarded-For": "198.51.100.7"}
OTHERS = (FORWARDED, {"Forwarded": "for=198.51.100.7"}, {"X-Real-IP": "198.51.100.7"})


def ask(world: World, times: int, headers: dict[str, str], path: str = "/token") -> None:
    for _ in range(times):
        world.client.get(path, headers=headers)


def told(world: World) -> list[str]:
    """Return the warnings of /readyz about proxies, once the counts are added up."""
    world.wiring.maintenance.proxies.add_up()
    body = world.client.get("/readyz").json
    assert body is not None
    return [text for text in body["warnings"] if text.startswith(WARNING)]


@pytest.mark.parametrize("headers", OTHERS)
def test_a_proxy_that_nobody_named_is_told_of(world: World, headers: dict[str, str]) -> None:
    ask(world, FEWEST - 1, headers)
    assert told(world) == []
    ask(world, 1, headers)
    (warning,) = told(world)
    assert "AUTHSERVER_TRUSTED_PROXIES" in warning
    assert "127.0.0.1" in warning
    assert "lock out all" in warning


def test_it_is_no_proxy_where_most_requests_come_without(world: World) -> None:
    ask(world, FEWEST, FORWARDED)
    ask(world, FEWEST, {}, "/bundle.pem")
    assert told(world) == []
    ask(world, 1, FORWARDED)
    assert len(told(world)) == 1


def test_probes_count_for_nothing(world: World) -> None:
    ask(world, 20, {}, "/livez")
    ask(world, 20, {}, "/readyz")
    ask(world, FEWEST, FORWARDED, "/readyz")
    assert told(world) == []
    ask(world, FEWEST, FORWARDED)
    assert len(told(world)) == 1


def test_a_trusted_proxy_is_not_told_of(settings: Settings) -> None:
    world = behind_a_proxy(settings)
    ask(world, 20, FORWARDED)
    ask(world, 20, FORWARDED | OTHERS[1])
    assert told(world) == []
    world.close()


def test_a_trusted_proxy_that_sends_another_header_is_told_of(settings: Settings) -> None:
    world = behind_a_proxy(settings)
    ask(world, FEWEST, OTHERS[1])
    (warning,) = told(world)
    assert "sends Forwarded and no X-Forwarded-For" in warning
    assert "AUTHSERVER_PROXY_HEADER" in warning
    world.close()


def test_a_named_proxy_elsewhere_leaves_this_one_unheeded(settings: Settings) -> None:
    world = behind_a_proxy(settings, trusted_proxies="10.0.0.0/8")
    ask(world, FEWEST, FORWARDED)
    assert len(told(world)) == 1
    world.close()


def test_workers_count_together_and_one_of_them_logs_it_once_an_hour(world: World) -> None:
    watch = world.wiring.maintenance.proxies
    storage = watch.storage
    assert storage is not None
    other = type(watch)(storage)
    with capture_logs() as logs:
        ask(world, FEWEST - 1, FORWARDED)
        watch.add_up()
        assert logs[1:] == []  # The first one is told by the address itself.
        other.requests += 1
        other.unheeded += 1
        other.last = UnheededProxy("192.0.2.1", "HTTP_FORWARDED", "X-Real-IP", is_trusted=False)
        other.add_up()
        ask(world, FEWEST, FORWARDED)
        watch.add_up()
    lines = [line for line in logs if line["event"].startswith(WARNING)]
    assert [line["log_level"] for line in lines] == ["warning"]
    assert lines[0]["event"].count("Forwarded came from 192.0.2.1")
    later = time.monotonic() + HOUR + 1
    storage._clock = lambda: later
    assert told(world) == []
    with capture_logs() as logs:
        ask(world, FEWEST, FORWARDED)
        watch.add_up()
    assert [line["event"][: len(WARNING)] for line in logs] == [WARNING]


def test_unheeded_headers_are_counted_by_their_name(settings: Settings) -> None:
    wiring = wire(settings, Observations(MAX_WAITING))
    world = World(wiring, create_app(wiring).test_client())
    ask(world, 2, FORWARDED)
    ask(world, 1, {"Forwarded": "for=198.51.100.7"}, "/bundle.pem")
    ask(world, 1, {"Via": "1.1 proxy"})
    assert list(map(header_name, wiring.observations.unheeded)) == [
        *["X-Forwarded-For"] * 2,
        "Forwarded",
    ]
    world.close()


def test_wrong_passwords_of_one_client_lock_out_nobody_else_behind_a_heeded_proxy(
    settings: Settings,
) -> None:
    world = behind_a_proxy(settings)
    world.wiring.issuer.backends.lockout.tarpit.seconds = 0
    for number in range(40):
        world.get("", auth=(f"user{number}", "wrong"), headers={"X-Forwarded-For": "203.0.113.9"})
    assert world.get("", auth=(ADMIN, PASSWORD), headers=FORWARDED).status_code == 200
    world.close()
