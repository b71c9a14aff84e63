"""How many records there may be, and a store that is full: on disks that are."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import event, select
from structlog.testing import capture_logs

from authserver.audit import capacity
from authserver.audit.recorder import Trail
from authserver.audit.token_event import TokenEvent
from authserver.audit.verify import Verification
from authserver.db.models import TokenRecord
from authserver.db.store import Store
from authserver.web.server.maintenance import Maintenance
from authserver.web.wiring import wire
from tests import stores
from tests.disks import MIB, Disk, small_disk
from tests.postgres import USER, Cluster
from tests.stores import Engine
from tests.unit.clocks import Seconds

MORE = 5 * MIB
"""More than takes until a store is full on its disk."""


@pytest.fixture
def disk() -> Iterator[Disk]:
    with small_disk(64) as made:
        yield made


@dataclass
class Served:
    """A serving process whose thread does not run, and its disk."""

    maintenance: Maintenance
    one: TokenEvent
    monotonic: Seconds = field(default_factory=Seconds)
    sent: int = 0

    def __post_init__(self) -> None:
        self.maintenance.capacity.monotonic = self.monotonic

    @property
    def store(self) -> Store:
        return self.maintenance.store

    def round(self, records: int = 500) -> None:
        """Take so many requests, and do what is due, as the thread does."""
        for _ in range(records):
            self.sent += 1
            self.maintenance.journal.add(replace(self.one, request_id=str(self.sent)))
        while self.maintenance.attempt():
            pass

    def minute(self) -> None:
        """Let a minute go by, so that records are sealed, and do what is due."""
        self.monotonic.at += 61
        self.maintenance.jobs["seal"].hasten()
        self.round(0)

    def fill(self) -> None:
        """Take requests until the store was full."""
        for _ in range(400):
            self.round()
            if self.maintenance.capacity.pruned:
                return
        pytest.fail("the store does not become full")

    @property
    def kept(self) -> tuple[int, int]:
        """The first and the last of the requests that have a record; none between is missing."""
        with self.store.read() as session:
            found = session.scalars(select(TokenRecord.request_id).order_by(TokenRecord.id)).all()
        numbers = list(map(int, found))
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        return numbers[0], numbers[-1]

    @property
    def faults(self) -> list[str]:
        with self.store.read() as session:
            key = Trail.of(self.store).key(session)
            report = Verification(session, key, None, lambda _, __: None).run()
        return list(map(str, report.faults))


@contextmanager
def served(data_dir: Path, one: TokenEvent, **more: object) -> Iterator[Served]:
    made = Served(wire(stores.settings(data_dir, **more)).maintenance, one)
    try:
        made.round(0)
        yield made
    finally:
        made.store.engine.dispose()


@pytest.fixture
def cramped(
    template: Path,
    disk: Disk,
    tmp_path: Path,
    one: TokenEvent,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Served]:
    """One whose store is on the disk, where less than 2 MiB are left."""
    monkeypatch.setattr(capacity, "LEAST_RECORDS", 1000)
    if Engine.cluster is None:
        data_dir = stores.copied(template, disk.path / "data")
    else:
        data_dir = stores.copied(template, tmp_path / "data")
        _move(Engine.cluster, Engine.made[data_dir], disk)
    with served(data_dir, one, min_free=0) as made:
        disk.fill(leaving=2 * MIB)
        yield made
    if Engine.cluster is not None:
        Engine.cluster.drop(Engine.made.pop(data_dir))
        Engine.cluster.do("DROP TABLESPACE {}", "small")


def _move(cluster: Cluster, database: str, disk: Disk) -> None:
    """Have a database of PostgreSQL lie on the disk; its log of what is written stays elsewhere."""
    place = disk.path / "tablespace"
    place.mkdir()
    shutil.chown(place, USER, USER)
    cluster.do(f"CREATE TABLESPACE small LOCATION '{place}'")
    cluster.end_connections(database)
    cluster.do("ALTER DATABASE {} SET TABLESPACE small", database)


def test_a_full_store_takes_new_records_in_place_of_the_oldest(cramped: Served) -> None:
    cramped.fill()
    assert not cramped.maintenance.capacity.full
    for _ in range(10):
        cramped.round()
        assert len(cramped.maintenance.journal.pending) == 0
    first, last = cramped.kept
    assert first > 1
    assert last == cramped.sent
    assert cramped.maintenance.journal.lost == 0
    assert cramped.faults == []


def test_a_store_goes_on_where_others_take_what_is_left(cramped: Served, disk: Disk) -> None:
    cramped.fill()
    for _ in range(10):
        disk.fill()
        cramped.round()
        assert len(cramped.maintenance.journal.pending) == 0
    assert cramped.kept[1] == cramped.sent
    assert cramped.faults == []


def test_it_is_said_once_that_a_store_is_full_and_that_it_is_not_any_more(cramped: Served) -> None:
    with capture_logs() as logged:
        cramped.fill()
    told = [line["event"] for line in logged]
    assert told == [
        "the store is full: the oldest records of token requests are pruned",
        "the store takes records again",
    ]


def test_after_a_while_a_store_that_was_full_grows_again(cramped: Served, disk: Disk) -> None:
    cramped.fill()
    disk.clear()
    for _ in range(2):
        cramped.round()
    first, _ = cramped.kept
    cramped.monotonic.at += capacity.TIGHT_FOR
    for _ in range(5):
        cramped.round()
    assert cramped.kept[0] == first


def test_what_was_altered_stays_in_a_full_store_and_no_record_is_lost(cramped: Served) -> None:
    cramped.round()
    with cramped.store.append() as session:
        session.scalars(select(TokenRecord).limit(1)).one().account = "somebody"
    for _ in range(400):
        if cramped.maintenance.journal.pending:
            break
        cramped.round()
    assert cramped.kept[1] + len(cramped.maintenance.journal.pending) == cramped.sent
    assert cramped.maintenance.capacity.pruned == 0
    assert cramped.maintenance.capacity.full


@pytest.mark.sqlite
def test_a_file_that_may_not_grow_is_a_full_store(data_dir: Path, one: TokenEvent) -> None:
    with served(data_dir, one) as made:
        with made.store.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one() + 300
        made.store.engine.dispose()
        event.listen(
            made.store.engine,
            "connect",
            lambda driver, _: driver.execute(f"PRAGMA max_page_count = {pages}"),
        )
        made.fill()
        for _ in range(10):
            made.round()
        assert made.kept[1] == made.sent
        assert made.faults == []


# Bounds that are kept before a disk is full.


def test_records_that_take_more_than_they_may_go_before_their_days_are_over(
    data_dir: Path, one: TokenEvent
) -> None:
    with served(data_dir, one, token_record_size=1) as made:
        made.round(4000)
        made.minute()
        assert made.maintenance.capacity.space is not None
        assert made.maintenance.capacity.space.used > MIB
        assert made.maintenance.capacity.most < 4000
        for _ in range(5):
            made.minute()
        assert made.maintenance.capacity.space.used <= MIB * 1.2
        first, last = made.kept
        assert first > 1
        assert last == made.sent
        assert made.maintenance.capacity.pruned == first - 1
        assert made.faults == []


@given(steps=st.lists(st.integers(0, 1500), min_size=3, max_size=8))
@hypothesis.settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_law_however_many_records_come_they_take_what_they_may_and_the_latest_stay(
    template: Path, tmp_path_factory: pytest.TempPathFactory, one: TokenEvent, steps: list[int]
) -> None:
    data_dir = stores.copied(template, tmp_path_factory.mktemp("law") / "data")
    with served(data_dir, one, token_record_size=1) as made:
        for number in steps:
            made.round(number)
            made.minute()
        for _ in range(len(steps) * 2):
            made.minute()
        assert made.maintenance.capacity.space is not None
        assert made.maintenance.capacity.space.used <= MIB * 1.2
        if made.sent:
            assert made.kept[1] == made.sent
    stores.drop_below(data_dir.parent)


@pytest.mark.sqlite
def test_with_little_space_left_a_store_does_not_grow(
    template: Path, disk: Disk, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "LEAST_RECORDS", 1000)
    with served(stores.copied(template, disk.path / "data"), one, min_free=20) as made:
        made.round(2000)
        made.minute()
        assert made.maintenance.capacity.warnings == []
        disk.fill(leaving=10 * MIB)
        made.minute()
        before = disk.free
        for _ in range(10):
            made.round()
            made.minute()
        assert disk.free > before - 5 * MIB
        (warning,) = made.maintenance.capacity.warnings
        assert "AUTHSERVER_MIN_FREE" in warning
        first, last = made.kept
        assert last == made.sent
        assert last - first <= 2600
        disk.clear()
        made.minute()
        assert made.maintenance.capacity.warnings == []


@pytest.mark.sqlite
def test_however_little_space_is_left_some_records_are_kept(
    template: Path, disk: Disk, one: TokenEvent
) -> None:
    with served(stores.copied(template, disk.path / "data"), one, min_free=1000) as made:
        for _ in range(4):
            made.round()
            made.minute()
        assert made.kept == (1, 2000)
