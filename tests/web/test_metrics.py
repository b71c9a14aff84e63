"""What a worker reports of the requests that it answered."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from authserver.audit.recorder import Trail
from authserver.audit.sinks import LogFile
from authserver.audit.tallies import STORED_EACH
from authserver.auth.bcrypt_queue import Hashing
from authserver.auth.lockout import limits
from authserver.auth.rate_limits import counts
from authserver.core.errors import Busy, NotReady
from authserver.db.dialects.dialect import Space
from authserver.runtime.metrics.counters import MAX_WAITING, Observations
from authserver.runtime.metrics.exposition import WorkerSheets
from authserver.runtime.settings import Settings
from authserver.runtime.shared_memory import SharedMemory
from authserver.web.app import create_app
from authserver.web.server.metrics_reporter import Reporter
from authserver.web.wiring import wire
from tests.programs import free_port
from tests.web.conftest import populate
from tests.world import PASSWORD, World, basic

ALICE = ("alice", PASSWORD)


@dataclass
class Reported:
    """A world, and what it reports."""

    world: World
    reporter: Reporter

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        """Report, and return a metric's values by their labels."""
        self.reporter.report()
        found = self.reporter.sheets.added_up(0.0)
        return {labels: v[0] for (family, labels), v in found.items() if family == name}

    def value(self, name: str) -> float:
        return self.values(name)[()]

    def requests(self) -> dict[tuple[str, ...], float]:
        return self.values("authserver_token_requests_total")


@pytest.fixture
def reported(settings: Settings, tmp_path: Path) -> Iterator[Reported]:
    wiring = wire(settings, Observations(MAX_WAITING))
    world = World(wiring, create_app(wiring).test_client())
    populate(world)
    (tmp_path / "sheets").mkdir()
    sheets = WorkerSheets(tmp_path / "sheets")
    used = wiring.issuer.backends.lockout.counts
    reporter = Reporter("1", sheets, wiring.maintenance, wiring.observations, used, world_now)
    yield Reported(world, reporter)
    world.close()


def world_now() -> datetime:
    return datetime.now(UTC)


def test_token_requests_are_counted_by_registry_outcome_and_credential(reported: Reported) -> None:
    world = reported.world
    world.get("scope=repository:team/app:pull", auth=ALICE)
    world.get("scope=repository:team/app:pull,delete", auth=ALICE)
    world.get("scope=repository:other/app:pull", auth=ALICE)
    world.get("scope=repository:public/app:pull")
    world.get("", auth=("alice", "wrong"))
    world.client.get("/token", headers={"Authorization": "Bearer x"})
    world.post(grant_type="refresh_token", refresh_token="x")
    assert reported.requests() == {
        ("registry", "granted", "password"): 1,
        ("registry", "partial", "password"): 1,
        ("registry", "denied", "password"): 1,
        ("registry", "granted", "none"): 1,
        ("", "unauthorized", "password"): 1,
        ("", "unauthorized", "malformed"): 1,
        ("registry", "unauthorized", "refresh_token"): 1,
    }


def test_what_clients_name_makes_no_labels(reported: Reported) -> None:
    for number in range(20):
        reported.world.get(f"service=made-up-{number}", auth=(f"made-up-{number}", "x"))
        reported.world.get(f"service=made-up-{number}")
    assert reported.requests() == {
        ("", "unauthorized", "password"): 20,
        ("", "bad_request", "none"): 20,
    }


def test_app_tokens_are_told_from_passwords(reported: Reported) -> None:
    _, secret = reported.world.app_token("alice", "repository:team/**:pull")
    reported.world.get("scope=repository:team/app:pull", auth=("alice", secret))
    assert reported.requests() == {("registry", "granted", "app_token"): 1}


def test_nothing_safe_to_answer_from_is_an_outcome(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise NotReady("gone")

    monkeypatch.setattr(type(reported.world.wiring.state), "current", property(gone))
    reported.world.get("")
    assert reported.requests() == {("", "unavailable", "none"): 1}


def test_an_unexpected_error_is_an_outcome(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(reported.world.wiring.state), "current", property(broken))
    reported.world.get("")
    assert reported.requests() == {("", "failed", "none"): 1}


def test_durations_are_counted_with_the_requests(reported: Reported) -> None:
    for _ in range(3):
        reported.world.get("")
    reported.reporter.report()
    found = reported.reporter.sheets.added_up(0.0)
    cells = found["authserver_token_request_duration_seconds", ("none",)]
    assert sum(cells[:-1]) == 3
    assert 0 < cells[-1] < 3


def test_passwords_are_counted_by_how_they_were_checked(reported: Reported) -> None:
    for password in (PASSWORD, PASSWORD, "wrong"):
        reported.world.get("", auth=("alice", password))
    assert reported.values("authserver_password_checks_total") == {
        ("right",): 1,
        ("remembered",): 1,
        ("wrong",): 1,
    }


def test_responses_are_counted_by_part_and_code(reported: Reported) -> None:
    client = reported.world.client
    client.get("/livez")
    client.put("/token")
    client.get("/made-up")
    client.get("/api/v1/users", headers={"Authorization": basic("alice", "wrong")})
    assert reported.values("authserver_http_responses_total") == {
        ("livez", "200"): 1,
        ("token", "405"): 1,
        ("none", "404"): 1,
        ("api", "401"): 1,
    }


def test_clients_whose_address_cannot_be_read_are_counted(settings: Settings) -> None:
    trusting = Settings(**settings.model_dump() | {"trusted_proxies": "127.0.0.1/32"})
    wiring = wire(trusting, Observations(MAX_WAITING))
    world = World(wiring, create_app(wiring).test_client())
    for path in ("/token", "/bundle.pem", "/api/v1/me"):
        world.client.get(path, headers={"X-Forwarded-For": "for=192.0.2.1"})
    assert list(wiring.observations.unreadable) == ["X-Forwarded-For"] * 3
    world.close()


def test_logins_that_are_turned_away_are_counted_by_the_limit_that_was_hit(
    reported: Reported,
) -> None:
    backends = reported.world.wiring.issuer.backends
    backends.lockout.tarpit.seconds = 0
    backends.lockout.limits = limits(per_address=3, per_account=2)
    for name in ("alice", "alice", "alice", "nobody", "gone"):
        reported.world.get("", auth=(name, f"wrong for {name} {secrets.token_hex(4)}"))
    assert reported.values("authserver_limited_logins_total") == {("account",): 1, ("address",): 1}
    assert reported.requests() == {
        ("", "unauthorized", "password"): 3,
        ("", "limited", "password"): 2,
    }
    assert reported.values("authserver_http_responses_total") == {
        ("token", "401"): 3,
        ("token", "429"): 2,
    }


def test_passwords_that_wait_for_too_long_are_an_outcome(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise Busy("too many")

    monkeypatch.setattr(Hashing, "once", busy)
    reported.world.wiring.issuer.backends.lockout.tarpit.seconds = 0
    reported.world.get("", auth=ALICE)
    assert reported.requests() == {("", "busy", "password"): 1}


def test_a_common_store_of_counts_that_is_away_is_told_of(reported: Reported) -> None:
    used = reported.world.wiring.issuer.backends.lockout.counts
    assert reported.value("authserver_limits_alone") == 0
    used.remote = counts(SharedMemory.make(), f"redis://127.0.0.1:{free_port()}/0").remote
    reported.world.get("", auth=("alice", "wrong"))
    assert reported.value("authserver_limits_alone") == 1


def test_app_tokens_that_expire_are_counted_by_days(reported: Reported) -> None:
    world = reported.world
    assert reported.values("authserver_app_token_expiry_timestamp_seconds") == {}
    for days in (0.5, 3, 10, 60, None):
        lifetime = None if days is None else timedelta(days=days)
        world.app_token("alice", "repository:team/**:pull", name=f"t{days}", lifetime=lifetime)
    assert reported.value("authserver_app_tokens") == 5
    assert reported.values("authserver_app_tokens_expiring") == {("1",): 1, ("7",): 2, ("30",): 3}
    next_one = reported.value("authserver_app_token_expiry_timestamp_seconds")
    assert next_one == pytest.approx((world_now() + timedelta(days=0.5)).timestamp(), abs=60)
    world.disable("alice")
    assert reported.value("authserver_app_tokens") == 0


def test_keys_and_the_snapshot_are_told_of(reported: Reported) -> None:
    cache = reported.world.wiring.state
    state = cache.current
    expiry = reported.value("authserver_signing_key_expiry_timestamp_seconds")
    assert expiry == state.signer.not_after.timestamp()
    assert reported.values("authserver_key_expiry_timestamp_seconds") == {
        (ending.name,): ending.at.timestamp() for ending in state.keys.endings
    }
    assert min(ending.at for ending in state.keys.endings).timestamp() == expiry
    before = reported.value("authserver_snapshot_version")
    reported.world.user("bob")
    assert reported.value("authserver_snapshot_version") > before
    assert reported.value("authserver_snapshot_age_seconds") == cache.current.read_at


def test_records_that_wait_and_that_were_lost_are_counted(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authserver.audit.journal.MAX_PENDING", 2)
    for _ in range(5):
        reported.world.get("")
    assert reported.value("authserver_audit_records_pending") == 2
    reported.world.wiring.maintenance.tick()
    assert reported.value("authserver_audit_records_pending") == 0
    assert reported.value("authserver_audit_records_lost_total") == 3


def test_space_and_its_want_are_told_of(reported: Reported) -> None:
    capacity = reported.world.wiring.maintenance.capacity
    capacity.space, capacity.pruned, capacity.full = Space(4096, 8192), 7, True
    assert reported.value("authserver_audit_records_bytes") == 4096
    assert reported.value("authserver_store_free_bytes") == 8192
    assert reported.value("authserver_audit_records_pruned_early_total") == 7
    assert reported.value("authserver_store_full") == 1


def test_requests_that_are_only_counted_are_told_of(reported: Reported) -> None:
    for _ in range(50):
        reported.world.get("scope=x")
    assert reported.value("authserver_audit_requests_counted_total") == 50 - STORED_EACH


def test_a_store_that_cannot_be_reached_is_told_of(reported: Reported) -> None:
    cache = reported.world.wiring.state
    assert reported.value("authserver_store_unreachable") == 0
    cache.trouble = "gone"
    assert reported.value("authserver_store_unreachable") == 1


def test_records_on_the_disk_and_no_room_for_more_are_told_of(reported: Reported) -> None:
    maintenance = reported.world.wiring.maintenance
    assert reported.value("authserver_audit_spool_bytes") == 0
    reported.world.get("")
    maintenance.spool.keep(maintenance.journal.take())
    assert reported.value("authserver_audit_spool_bytes") == maintenance.spool.waiting > 0
    assert reported.value("authserver_audit_records_full") == 0
    maintenance.journal.stuck = True
    assert reported.value("authserver_audit_records_full") == 1


def test_altered_records_and_an_audit_log_that_is_not_written_are_told_of(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authserver.audit.log_writer.MAX_WAITING", 2)
    maintenance = reported.world.wiring.maintenance
    assert reported.value("authserver_audit_records_altered") == 0
    maintenance.altered = "the chain changes"
    assert reported.value("authserver_audit_records_altered") == 1
    outbox = Trail.of(maintenance.store).outbox
    outbox.sink = LogFile(Path("/nowhere/audit.jsonl"))
    outbox.add(["a", "b", "c"])
    assert reported.value("authserver_audit_log_pending") == 2
    assert reported.value("authserver_audit_log_lost_total") == 1


def test_a_report_that_cannot_be_written_loses_nothing(reported: Reported) -> None:
    reported.world.get("")
    directory = reported.reporter.sheets.directory
    directory.rmdir()
    with pytest.raises(OSError, match="No such file"):
        reported.reporter.report()
    directory.mkdir()
    reported.world.get("")
    assert reported.requests() == {("registry", "granted", "none"): 2}


def test_without_metrics_nothing_is_kept(world: World) -> None:
    world.get("")
    assert not world.wiring.observations.token_requests
    assert not world.wiring.observations.responses
