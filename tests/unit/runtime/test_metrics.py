"""Metrics: counting, the workers' sheets, and what Prometheus is told."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from authserver.core.errors import Refused
from authserver.runtime.metrics import families
from authserver.runtime.metrics.counters import Observations, Totals, taken
from authserver.runtime.metrics.exposition import FRESH_SECONDS, WorkerSheets, expose
from authserver.runtime.metrics.listener import THREADS_EACH, metrics_listener
from tests.programs import free_port
from tests.world import wait_until

SECONDS = "authserver.runtime.metrics.listener.SECONDS"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def sheets(tmp_path: Path) -> WorkerSheets:
    return WorkerSheets(tmp_path)


def samples(sheets: WorkerSheets, now: float = 0.0) -> dict[tuple[str, str], float]:
    """Return each sample of a scrape by its name and its labels' values."""
    body, _ = expose(sheets.added_up(now), now, "")
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
    }


def test_counters_of_all_workers_are_added_up(sheets: WorkerSheets) -> None:
    for name, number in (("1", 2), ("2", 3)):
        totals = Totals()
        totals.count(families.PASSWORD_CHECKS, "wrong", by=number)
        totals.count(families.PASSWORD_CHECKS, "right")
        sheets.write(name, totals, 0.0)
    found = samples(sheets)
    assert found["authserver_password_checks_total", "wrong"] == 5
    assert found["authserver_password_checks_total", "right"] == 2


def test_what_a_worker_counted_stays_when_it_has_ended_and_its_gauges_go(
    sheets: WorkerSheets,
) -> None:
    for name, at in (("ended", 0.0), ("lives", FRESH_SECONDS)):
        totals = Totals()
        totals.count(families.PASSWORD_CHECKS, "wrong")
        totals.observe(families.TOKEN_REQUEST_DURATION, "none", seconds=0.1)
        totals.gauge(families.WORKERS, value=1)
        totals.gauge(families.SNAPSHOT_AGE, value=at)
        sheets.write(name, totals, at)
    found = samples(sheets, FRESH_SECONDS + 2)
    assert found["authserver_password_checks_total", "wrong"] == 2
    assert found["authserver_token_request_duration_seconds_count", "none"] == 2
    assert found["authserver_workers", ""] == 1
    assert found["authserver_snapshot_age_seconds", ""] == 2


def test_a_worker_has_one_sheet_the_last_one(sheets: WorkerSheets) -> None:
    totals = Totals()
    for _ in range(3):
        totals.count(families.PASSWORD_CHECKS, "wrong")
        sheets.write("1", totals, 0.0)
    assert samples(sheets)["authserver_password_checks_total", "wrong"] == 3


def test_the_worst_worker_is_told_of(sheets: WorkerSheets) -> None:
    for name, version, read_at, pending in (("1", 8, 5.0, 1), ("2", 9, 7.0, 2)):
        totals = Totals()
        totals.gauge(families.SNAPSHOT_VERSION, value=version)
        totals.gauge(families.SNAPSHOT_AGE, value=read_at)
        totals.gauge(families.RECORDS_PENDING, value=pending)
        sheets.write(name, totals, 8.0)
    found = samples(sheets, 8.0)
    assert found["authserver_snapshot_version", ""] == 8
    assert found["authserver_snapshot_age_seconds", ""] == 3
    assert found["authserver_audit_records_pending", ""] == 3


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, "0.0005"), (0.001, "0.001"), (0.0011, "0.0025"), (11, "+Inf")]
)
def test_a_duration_is_in_the_bucket_that_ends_at_or_above_it(
    sheets: WorkerSheets, seconds: float, bucket: str
) -> None:
    totals = Totals()
    totals.observe(families.TOKEN_REQUEST_DURATION, "none", seconds=seconds)
    sheets.write("1", totals, 0.0)
    found = samples(sheets)
    name = "authserver_token_request_duration_seconds_bucket"
    filled = [le for le in (*map(str, families.BUCKETS), "+Inf") if found[name, f"none,{le}"]]
    assert filled[0] == bucket
    assert filled[-1] == "+Inf"


def test_openmetrics_is_told_to_whoever_asks_for_it(sheets: WorkerSheets) -> None:
    totals = Totals()
    totals.count(families.HTTP_RESPONSES, "token", "200")
    totals.observe(families.TOKEN_REQUEST_DURATION, "none", seconds=0.1)
    sheets.write("1", totals, 0.0)
    body, kind = expose(sheets.added_up(0.0), 0.0, OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(body.decode())} == {  # type: ignore[no-untyped-call]
        name.removesuffix("_total") for name in families.FAMILIES
    }


def test_counters_without_labels_begin_at_nought(sheets: WorkerSheets) -> None:
    assert samples(sheets)["authserver_store_errors_total", ""] == 0


def test_what_nobody_adds_up_does_not_grow() -> None:
    kept, off = Observations(3), Observations()
    for number in range(5):
        kept.passwords.append(str(number))
        off.passwords.append(str(number))
    assert list(taken(kept.passwords)) == ["2", "3", "4"]
    assert not kept.passwords
    assert not off.passwords


def test_a_taken_address_is_refused_by_name() -> None:
    port = free_port()
    with (
        metrics_listener("127.0.0.1", port) as first,
        pytest.raises(Refused, match=f"cannot serve metrics on 127.0.0.1:{port}: Address already"),
        metrics_listener("127.0.0.1", port),
    ):
        assert first.sheets.directory.stat().st_mode & 0o777 == 0o700
    assert not first.sheets.directory.exists()


@pytest.fixture
def listening() -> Iterator[tuple[str, int]]:
    """Answer scrapes; give the address."""
    with metrics_listener("127.0.0.1", free_port()) as made:
        server = made.serve(lambda: (200, {"status": "ok"}))
        yield made.listener.getsockname()
        server.shutdown()


def connected(address: tuple[str, int], source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(address, timeout=20, source_address=(source, 0))


def answered(connection: socket.socket) -> bytes:
    """Return all that comes until the connection ends."""
    connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
    with suppress(ConnectionResetError):
        return b"".join(iter(lambda: connection.recv(65536), b""))
    return b""


def test_no_address_takes_all_threads_for_scrapes(
    listening: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(source: str) -> bytes:
        with connected(listening, source) as connection:
            return answered(connection)

    monkeypatch.setattr(SECONDS, 1000.0)
    before = threading.active_count()
    with ExitStack() as held:
        slow = [held.enter_context(connected(listening)) for _ in range(THREADS_EACH)]
        assert [ask("127.0.0.1") for _ in range(50)] == [b""] * 50
        assert threading.active_count() <= before + THREADS_EACH
        assert b'"ok"' in ask("127.0.0.5")
        monkeypatch.setattr(SECONDS, 0.0)
        for connection in slow:
            assert connection.recv(1) == b""
        monkeypatch.setattr(SECONDS, 1000.0)
        assert wait_until(lambda: b'"ok"' in ask("127.0.0.1"), 10)


def test_a_scrape_has_so_long_however_little_comes_at_a_time(
    listening: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SECONDS, 1.0)
    begun = time.monotonic()
    with connected(listening) as slow, suppress(OSError):
        while time.monotonic() - begun < 30:
            slow.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() - begun < 30
