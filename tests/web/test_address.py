"""The client's address, and a path prefix."""

from ipaddress import ip_network

import pytest
from structlog.testing import capture_logs

from authserver.runtime.metrics.counters import Observations
from authserver.runtime.settings import Settings
from authserver.web.client_address import UNKNOWN, ClientAddress
from tests.world import ADMIN, PASSWORD, World

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.7, evil", "unknown"),
        ("10.0.0.1", "", "unknown"),
        ("10.0.0.1", "unknown", "unknown"),
        ("10.0.0.1", "fe80::1%eth0 and more", "unknown"),
        ("10.0.0.1", "198.51.100.7:port", "unknown"),
        ("10.0.0.1", "[198.51.100.7]x", "unknown"),
        ("10.0.0.1", "evil, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("fd00::1", "198.51.100.7", "198.51.100.7"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("", "198.51.100.7", ""),
    ],
)
def test_only_trusted_peers_are_believed_and_from_the_right(
    peer: str, forwarded: str | None, expected: str
) -> None:
    assert ClientAddress(TRUSTED, "X-Forwarded-For").of(peer, forwarded) == expected


def test_an_unnamed_peer_that_sends_the_header_is_warned_of_once() -> None:
    address = ClientAddress(TRUSTED, "X-Forwarded-For")
    with capture_logs() as logs:
        address.of("192.0.2.1", "198.51.100.7")
        address.of("192.0.2.1", "198.51.100.7")
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert "AUTHSERVER_TRUSTED_PROXIES" in logs[0]["event"]


UNREADABLE = (
    "for=198.51.100.7",
    "",
    "unknown",
    "198.51.100.7, https",
    "198.51.100.7;by=x",
    "x" * 99,
)


@pytest.mark.parametrize("forwarded", UNREADABLE)
def test_a_trusted_proxys_header_that_cannot_be_read_is_told_once_and_counted(
    forwarded: str,
) -> None:
    seen = Observations(10)
    address = ClientAddress(TRUSTED, "X-Real-IP", observations=seen)
    with capture_logs() as logs:
        for _ in range(3):
            environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_REAL_IP": forwarded}
            for _ in range(2):  # each part of the application asks
                assert address.of_request(environ) == UNKNOWN
    (line,) = logs
    assert line["log_level"] == "error"
    assert line["peer"] == "10.0.0.1"
    assert line["event"].startswith("X-Real-IP cannot be read")
    assert "AUTHSERVER_PROXY_HEADER" in line["event"]
    assert list(seen.unreadable) == ["X-Real-IP"] * 3


def test_what_an_untrusted_peer_writes_is_not_told() -> None:
    address = ClientAddress(TRUSTED, "X-Real-IP", observations=Observations(10))
    for environ in (
        {"REMOTE_ADDR": "192.0.2.1", "HTTP_X_REAL_IP": "nonsense"},
        {"REMOTE_ADDR": "10.0.0.1"},
    ):
        assert address.of_request(environ) == environ["REMOTE_ADDR"]
    assert not address.observations.unreadable


def recorded_address(world: World, headers: dict[str, str]) -> str:
    world.get(auth=(ADMIN, PASSWORD), headers=headers)
    return world.wiring.issuer.journal.pending[-1].address


def behind_a_proxy(settings: Settings, **more: str) -> World:
    values = settings.model_dump() | {"trusted_proxies": "127.0.0.1/32"} | more
    return World.over(Settings(**values))


def test_the_record_has_the_forwarded_address(settings: Settings) -> None:
    world = behind_a_proxy(settings)
    assert recorded_address(world, {"X-Forwarded-For": "198.51.100.7"}) == "198.51.100.7"
    world.close()


def test_other_forwarding_headers_are_ignored(settings: Settings) -> None:
    world = behind_a_proxy(settings)
    others = {"X-Real-IP": "198.51.100.7", "Forwarded": "for=198.51.100.7"}
    assert recorded_address(world, others) == "127.0.0.1"
    world.close()


def test_the_named_header_is_the_one_that_is_read(settings: Settings) -> None:
    world = behind_a_proxy(settings, proxy_header="X-Real-IP")
    both = {"X-Real-IP": "198.51.100.7", "X-Forwarded-For": "203.0.113.9"}
    assert recorded_address(world, both) == "198.51.100.7"
    world.close()


def test_nobody_is_believed_unless_named(world: World) -> None:
    assert recorded_address(world, {"X-Forwarded-For": "198.51.100.7"}) == "127.0.0.1"


@pytest.mark.parametrize("path", ["/auth/token", "/registry/auth/token", "/registry/token"])
def test_a_path_prefix_may_be_passed_on_or_taken_off(settings: Settings, path: str) -> None:
    values = settings.model_dump() | {"public_url": "https://example.com/registry"}
    world = World.over(Settings(**values))
    assert world.client.get(path).status_code == 200
    assert world.client.get(f"/other{path}").status_code == 404
    for start in ("", "/registry"):
        assert world.client.get(f"{start}/").get_json()["token"] == "/registry/token"
        assert world.client.get(f"{start}/api/v1/").get_json()["me"] == "/registry/api/v1/me"
    world.close()


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        (None, UNKNOWN),
        ("", UNKNOWN),
        ("x", UNKNOWN),
        ("192.0.2.1, 198.51.100.7", "198.51.100.7"),
        ("192.0.2.1, 10.0.0.1", "192.0.2.1"),
    ],
)
def test_on_a_unix_socket_whoever_connects_is_believed(forwarded: str | None, found: str) -> None:
    trusted = [ip_network("10.0.0.0/8")]
    assert ClientAddress(trusted, "X-Forwarded-For", unix_socket=True).of("", forwarded) == found


def test_without_a_unix_socket_a_peer_without_an_address_is_not_believed() -> None:
    assert ClientAddress((), "X-Forwarded-For").of("", "192.0.2.1") == ""
