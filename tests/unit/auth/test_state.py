"""What a serving process holds in memory, and how it keeps up with the store."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Executable, select, text, update
from structlog.testing import capture_logs

from authserver.audit import accept, journal, retention
from authserver.audit.journal import Journal
from authserver.audit.recorder import Trail
from authserver.audit.token_event import TokenEvent
from authserver.audit.verify import Verification
from authserver.auth import state
from authserver.auth.state import RECORDS_WAIT, STALE_AFTER, Live
from authserver.core.errors import NotReady
from authserver.db import accounts, snapshot
from authserver.db.models import (
    AuditChain,
    AuditMark,
    AuditRecord,
    AuditState,
    AuthorityRow,
    SigningKeyRow,
    StoreStateRow,
    TokenRecord,
)
from authserver.db.snapshot import Snapshot
from authserver.db.store import Store, open_store
from authserver.keys import signing_keys as key_store
from authserver.keys.master_key import MasterKey, beside, make_master_key, take_over
from authserver.keys.private_keys import Safe
from authserver.runtime.settings import Settings
from authserver.web.wiring import wire
from tests.unit.clocks import Seconds
from tests.world import ADMIN, Clock


@dataclass
class Process:
    """A serving process whose thread does not run, by clocks that are moved by hand."""

    settings: Settings
    clock: Clock
    monotonic: Seconds = field(default_factory=Seconds)

    def __post_init__(self) -> None:
        self.live = wire(self.settings).live
        # The first round of the thread.
        self.live.tick()
        self.store = self.live.store = replace(
            self.live.store, clock=self.clock, time=lambda _: self.clock()
        )
        self.monotonic.at = self.live._pruning.last = self.live.current.read_at
        self.live.monotonic = self.monotonic

    @property
    def accounts(self) -> set[str]:
        return set(self.live.current.snapshot.accounts)


@pytest.fixture
def process(settings: Settings, clock: Clock) -> Iterator[Process]:
    started = Process(settings, clock)
    yield started
    started.store.engine.dispose()


@pytest.fixture
def other(settings: Settings, clock: Clock) -> Iterator[Process]:
    started = Process(settings, clock)
    yield started
    started.store.engine.dispose()


@pytest.fixture
def gone(tmp_path: Path, clock: Clock) -> Store:
    return open_store(f"sqlite:///{tmp_path}/gone/authserver.db", clock)


def add_user(store: Store, name: str) -> None:
    with store.change("test") as change:
        accounts.add_user(change, name, None)


def test_before_the_first_look_nothing_can_be_answered(process: Process) -> None:
    new = replace(process.live, _state=None)
    with pytest.raises(NotReady, match="cannot be reached"):
        new.current  # noqa: B018


def test_a_change_is_seen_at_the_next_look(process: Process, store: Store) -> None:
    add_user(store, "alice")
    assert process.accounts == {ADMIN}
    process.live.refresh()
    assert process.accounts == {ADMIN, "alice"}


def test_every_process_sees_it(process: Process, other: Process) -> None:
    add_user(other.store, "alice")
    for each in (process, other):
        each.live.refresh()
        assert each.accounts == {ADMIN, "alice"}


def test_a_state_is_replaced_as_a_whole(process: Process, store: Store) -> None:
    held = process.live.current
    add_user(store, "alice")
    process.live.refresh()
    assert set(held.snapshot.accounts) == {ADMIN}
    assert process.live.current.snapshot.version == held.snapshot.version + 1


def test_where_nothing_changed_nothing_is_loaded_again(process: Process) -> None:
    before = process.live.current
    process.monotonic.at += 1
    process.live.refresh()
    assert process.live.current.snapshot is before.snapshot
    assert process.live.current.signer is before.signer
    assert process.live.current.read_at == before.read_at + 1


def stale(process: Process) -> bool:
    return process.live.current.stale


def late(process: Process) -> bool:
    return process.live.records_late


def lose(process: Process, gone: Store) -> None:
    process.live.store = gone
    with pytest.raises(NotReady, match="there is no store"):
        process.live.refresh()


def test_without_the_store_the_last_state_answers_for_a_while(
    process: Process, gone: Store
) -> None:
    assert not stale(process)
    lose(process, gone)
    process.monotonic.at += 60
    assert process.accounts == {ADMIN}
    assert stale(process)
    process.monotonic.at += 0.1
    with pytest.raises(NotReady, match="cannot be reached"):
        process.accounts  # noqa: B018


def test_the_while_begins_when_the_store_was_last_known_to_agree(
    process: Process, gone: Store
) -> None:
    process.monotonic.at += 5
    process.live.refresh()
    process.monotonic.at += 59
    lose(process, gone)
    assert process.live.age == 59
    process.monotonic.at += 2
    with pytest.raises(NotReady, match="cannot be reached"):
        process.accounts  # noqa: B018


def test_staleness_can_be_turned_off(process: Process, gone: Store) -> None:
    process.live.max_staleness = 0
    assert process.accounts == {ADMIN}
    lose(process, gone)
    with pytest.raises(NotReady, match="cannot be reached"):
        process.accounts  # noqa: B018


@pytest.mark.parametrize("most", [0, 3, 60])
def test_a_store_that_hangs_makes_the_state_stale(process: Process, most: int) -> None:
    """Nobody can say then that a look has failed."""
    process.live.max_staleness = most
    process.monotonic.at += min(STALE_AFTER, most or STALE_AFTER)
    assert not stale(process)
    process.monotonic.at += 0.1
    assert process.live.stale
    if most > STALE_AFTER:
        assert stale(process)
        return
    with pytest.raises(NotReady, match="cannot be reached"):
        process.accounts  # noqa: B018


def test_nobody_waits_for_long_with_one_who_hangs(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "LOOK_WAITS", 0.01)
    with (
        process.live._looking(),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(NotReady, match="too long"),
    ):
        pool.submit(process.live.refresh).result(30)
    process.live.refresh()
    assert not stale(process)


def test_what_is_pending_when_it_ends_is_no_error(
    process: Process, gone: Store, one: TokenEvent
) -> None:
    process.live.journal.add(one)
    process.live.store = gone
    with capture_logs() as logs:
        process.live.stop()
    assert [line["event"] for line in logs] == ["the last records could not be stored"]
    assert process.live.journal.take() == [one]


def test_records_are_late_when_the_store_has_taken_none_for_a_second(
    process: Process, store: Store, gone: Store
) -> None:
    process.live.tick()
    process.monotonic.at += RECORDS_WAIT
    assert not late(process)
    process.monotonic.at += 0.1
    assert late(process)
    process.live.store = gone
    with pytest.raises(NotReady):
        process.live.tick()
    assert late(process)
    process.live.store = store
    process.live.tick()
    assert not late(process)


def test_when_the_store_is_back_it_answers_again(
    process: Process, store: Store, gone: Store
) -> None:
    process.live.store = gone
    process.monotonic.at += 100
    with pytest.raises(NotReady):
        process.live.tick()
    process.live.store = store
    process.live.tick()
    assert process.accounts == {ADMIN}
    assert not stale(process)


def test_the_time_of_day_makes_nothing_stale(process: Process, clock: Clock) -> None:
    clock.move(timedelta(days=1))
    assert process.accounts == {ADMIN}


@pytest.mark.parametrize(
    "break_it",
    [
        lambda process: _execute(
            process.store, update(SigningKeyRow).values(private_key=b"x" * 50)
        ),
        lambda process: _execute(
            process.store, update(StoreStateRow).values(master_key_id="other")
        ),
    ],
)
def test_keys_that_do_not_open_leave_the_old_state(
    process: Process, break_it: Callable[[Process], None]
) -> None:
    break_it(process)
    add_user(process.store, "alice")
    with pytest.raises(NotReady, match="master key"):
        process.live.refresh()
    assert process.accounts == {ADMIN}


def _execute(store: Store, statement: Executable) -> None:
    with store.append() as session:
        session.execute(statement)


# The signing key.


def signing_keys(store: Store) -> int:
    with store.read() as session:
        return len(session.scalars(select(SigningKeyRow.id)).all())


@pytest.mark.parametrize(("days", "keys_after"), [(29.9, 1), (30, 2), (44, 2), (46, 2)])
def test_the_signing_key_is_rotated_every_30_days(
    process: Process, store: Store, clock: Clock, days: float, keys_after: int
) -> None:
    clock.move(timedelta(days=days))
    process.live.tick()
    assert signing_keys(store) == keys_after
    process.live.current.signer.require_usable(clock.at)


def test_a_new_key_signs_at_once_and_is_recorded(
    process: Process, store: Store, clock: Clock
) -> None:
    before = process.live.current.signer
    clock.move(timedelta(days=31))
    with capture_logs() as logs:
        process.live.tick()
        process.live.tick()
    assert process.live.current.signer.not_after > before.not_after
    assert [line["event"] for line in logs] == ["made a new signing key"]
    with store.read() as session:
        last = session.scalars(select(AuditRecord).order_by(AuditRecord.id.desc())).fetchmany(2)
    told = [(record.actor, record.action, record.target) for record in last]
    assert told == [("system", "key.retire", "key:1"), ("system", "key.add", "key:2")]


def test_replicas_rotate_once(process: Process, other: Process, store: Store, clock: Clock) -> None:
    clock.move(timedelta(days=31))
    process.live.refresh()
    other.live.refresh()
    # Both know that the key is due.
    process.live._rotate()
    other.live._rotate()
    assert signing_keys(store) == 2
    assert other.live.current.signer.headers == process.live.current.signer.headers


def test_many_processes_that_rotate_at_the_same_moment_make_one_rotation(
    process: Process, settings: Settings, clock: Clock, store: Store
) -> None:
    others = [Process(settings, clock) for _ in range(3)]
    clock.move(timedelta(days=31))
    for each in others:
        each.live.refresh()
    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(lambda each: each.live._rotate(), others))
    assert signing_keys(store) == 2
    assert len({each.live.current.signer.headers["kid"] for each in others}) == 1
    for each in others:
        each.store.engine.dispose()


def test_a_key_that_cannot_be_followed_goes_on_signing(
    process: Process, store: Store, clock: Clock
) -> None:
    _execute(store, update(AuthorityRow).values(private_key=b"x" * 50))
    clock.move(timedelta(days=31))
    with capture_logs() as logs:
        process.live.tick()
        process.live.tick()
    assert [line["event"] for line in logs] == ["the signing key is due and cannot be rotated"]
    process.live.current.signer.require_usable(clock.at)
    process.monotonic.at += 61
    with capture_logs() as logs:
        process.live.tick()
    assert len(logs) == 1


def test_rotation_is_by_the_stores_clock(process: Process, store: Store, clock: Clock) -> None:
    wrong = Clock(clock.at + timedelta(days=31))
    process.live.store = replace(process.live.store, clock=wrong)
    process.live.tick()
    assert signing_keys(store) == 1
    clock.move(timedelta(days=31))
    wrong.move(timedelta(days=-60))
    process.live.tick()
    assert signing_keys(store) == 2


@pytest.mark.sqlite
def test_the_private_half_of_a_rotated_key_is_gone_from_the_files(
    process: Process, store: Store, settings: Settings, clock: Clock
) -> None:
    with store.read() as session:
        sealed = session.scalars(select(SigningKeyRow.private_key)).one()
    assert sealed is not None
    files = [settings.data_dir / f"authserver.db{suffix}" for suffix in ("", "-wal")]
    assert any(sealed in path.read_bytes() for path in files)
    clock.move(timedelta(days=31))
    process.live.tick()
    assert not any(sealed in path.read_bytes() for path in files if path.exists())


def test_a_master_key_that_was_changed_is_read_anew(
    process: Process, store: Store, safe: Safe
) -> None:
    new = make_master_key(beside(safe.master_key_path))
    with store.change("test") as change:
        key_store.rewrap(change, safe, new)
    process.live.refresh()
    assert process.live.safe.master == new
    take_over(safe.master_key_path)
    add_user(store, "alice")
    process.live.refresh()
    assert process.accounts == {ADMIN, "alice"}


# The clocks.


@pytest.mark.parametrize("seconds", [5.1, -5.1, 3600])
def test_a_clock_that_is_off_is_not_ready(process: Process, clock: Clock, seconds: float) -> None:
    process.live.store = replace(
        process.live.store, clock=Clock(clock.at + timedelta(seconds=seconds))
    )
    process.live.refresh()
    with pytest.raises(NotReady, match="off the store's"):
        process.live.current.require_clock()


@pytest.mark.parametrize("seconds", [5, -5, 0])
def test_a_clock_that_is_nearly_right_is_ready(
    process: Process, clock: Clock, seconds: float
) -> None:
    process.live.store = replace(
        process.live.store, clock=Clock(clock.at + timedelta(seconds=seconds))
    )
    process.live.refresh()
    process.live.current.require_clock()


def test_the_stores_own_clock_is_the_databases(settings: Settings) -> None:
    opened = open_store(settings.store_url, Clock())
    before = datetime.now(UTC)
    with opened.read() as session:
        found = opened.time(session)
    opened.engine.dispose()
    # SQLite knows milliseconds.
    assert before - timedelta(milliseconds=1) <= found <= datetime.now(UTC)


# Warnings.


def test_an_end_that_is_near_is_warned_of_once_a_day(process: Process, clock: Clock) -> None:
    clock.move(timedelta(days=3652 - 179))
    told = []
    with capture_logs() as logs:
        for seconds in (0, 1, 86400, 1):
            process.monotonic.at += seconds
            process.live.tick()
            told.append(sum("authority 1 ends" in line["event"] for line in logs))
    assert told == [1, 1, 2, 2]
    (warning,) = process.live.current.warnings
    assert "authserver key authority rotate" in warning


def test_nothing_is_warned_of_before(process: Process, clock: Clock) -> None:
    clock.move(timedelta(days=3652 - 181))
    process.live.tick()
    assert process.live.current.warnings == []


def test_a_signing_key_that_was_not_rotated_is_warned_of(process: Process, clock: Clock) -> None:
    clock.move(timedelta(days=36))
    process.live.refresh()
    (warning,) = process.live.current.warnings
    assert "signing key 1 ends" in warning
    process.live.tick()
    assert process.live.current.warnings == []


# Records.


def recorded(store: Store) -> int:
    with store.read() as session:
        return len(session.scalars(select(TokenRecord.id)).all())


def test_records_are_written_at_each_tick(process: Process, store: Store, one: TokenEvent) -> None:
    process.live.journal.add(one)
    process.live.tick()
    assert recorded(store) == 1


def test_a_spool_that_cannot_be_read_keeps_nothing_else_from_being_done(
    process: Process, store: Store, clock: Clock, one: TokenEvent
) -> None:
    process.live.spool.keep([one])
    (file,) = process.live.spool._files
    os.close(file.descriptor)
    file.descriptor = -1
    clock.move(timedelta(days=31))
    with pytest.raises(NotReady, match="spool"):
        process.live.tick()
    assert signing_keys(store) == 2


def test_records_make_no_process_load_anew(process: Process, one: TokenEvent) -> None:
    before = process.live.current.snapshot
    process.live.journal.add(one)
    process.live.tick()
    process.live.tick()
    assert process.live.current.snapshot is before


def test_old_records_are_pruned_every_hour(
    process: Process, store: Store, clock: Clock, one: TokenEvent
) -> None:
    left = []
    clock.move(timedelta(days=31))
    for seconds in (0, 3599, 2):
        process.monotonic.at += seconds
        process.live.journal.add(one)
        process.live.tick()
        left.append(recorded(store))
    assert left == [1, 2, 0]


def test_a_process_keeps_up_while_it_prunes_much(
    process: Process, store: Store, clock: Clock, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    for _ in range(5):
        process.live.journal.add(one)
    process.live.tick()
    clock.move(timedelta(days=31))
    process.monotonic.at += 3601
    left = []
    for _ in range(3):
        process.live.tick()
        left.append(recorded(store))
    assert left == [3, 1, 0]


def test_pruning_gives_way_to_writing_until_it_is_much_that_is_due(
    process: Process, store: Store, clock: Clock, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_BATCH", 4)
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    monkeypatch.setattr(state, "MANY_RECORDS", 10)
    clock.move(timedelta(days=31))
    process.live._pruning.last = None
    for _ in range(20):
        process.live.journal.add(one)
    left = []
    for _ in range(8):
        process.monotonic.at += 61
        process.live.tick()
        left.append(recorded(store))
    # In the end as many go as come, and then the others.
    assert left == [4, 8, 10, 10, 10, 10, 10, 8]


def test_a_store_with_too_many_records_is_pruned_at_the_next_checkpoint(
    process: Process, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not for an hour that as many come as like."""
    monkeypatch.setattr(journal, "MAX_RECORDS", 2)
    for _ in range(5):
        process.live.journal.add(one)
    process.monotonic.at += 61
    process.live.tick()
    assert recorded(store) == 2


@pytest.mark.sqlite
def test_another_writer_is_no_trouble_while_records_are_not_late(
    process: Process, store: Store, one: TokenEvent
) -> None:
    process.live.journal.add(one)
    with capture_logs() as logged, store.change("somebody"):
        assert process.live._try() is True
        process.monotonic.at += state.RECORDS_WAIT + 0.5
        assert process.live._try() is False
    assert process.live._try() is False
    assert [line["event"] for line in logged] == ["cannot keep up with the store"]
    assert recorded(store) == 1


@pytest.mark.sqlite
def test_a_process_starts_while_another_writes(settings: Settings, store: Store) -> None:
    with store.change("somebody"):
        started = wire(settings)
        assert started.live.current.snapshot.version
        with pytest.raises(NotReady, match="another writer holds the store"):
            started.live.tick()
    started.store.engine.dispose()


def first_snapshot(settings: Settings, known: Snapshot | None = None) -> Snapshot:
    started = wire(settings, known=known)
    started.store.engine.dispose()
    return started.live.current.snapshot


def test_a_worker_goes_on_from_what_its_server_has_read(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = first_snapshot(settings)
    monkeypatch.setattr(snapshot, "load", lambda _: pytest.fail("all was read again"))
    assert first_snapshot(settings, known) is known
    with store.change("test") as change:
        accounts.add_user(change, "later", None)
    later = first_snapshot(settings, known)
    assert later.accounts.keys() - known.accounts.keys() == {"later"}
    assert later.rules is known.rules


def test_old_records_are_pruned_at_the_start(
    settings: Settings, clock: Clock, store: Store, one: TokenEvent
) -> None:
    earlier = Journal(b"k" * 32)
    earlier.add(replace(one, at=clock.at - timedelta(days=31)))
    earlier.write(store)
    Process(settings, clock).store.engine.dispose()
    assert recorded(store) == 0


def checkpoint(store: Store) -> int:
    with store.read() as session:
        return session.scalars(select(AuditState.number)).one()


def test_records_are_sealed_once_a_minute_if_there_are_any(
    process: Process, store: Store, one: TokenEvent
) -> None:
    numbers = [checkpoint(store)]
    for add, seconds in ((True, 59), (False, 2), (False, 61), (True, 61)):
        if add:
            process.live.journal.add(one)
        process.monotonic.at += seconds
        process.live.tick()
        numbers.append(checkpoint(store) - numbers[0])
    # The first record begins a chain, which is sealed at once.
    assert numbers[1:] == [1, 2, 2, 3]


def test_what_is_written_last_is_sealed_when_the_process_ends(
    process: Process, store: Store, one: TokenEvent
) -> None:
    process.live.journal.add(one)
    process.live.stop()
    with store.read() as session:
        heads = select(AuditChain.seq).where(AuditChain.id == 2)
        marks = select(AuditMark.sealed_seq).where(AuditMark.chain_id == 2)
        assert session.scalars(heads).one() == session.scalars(marks).one() == 1


def test_the_chain_of_a_process_that_ends_is_left_to_the_next(
    process: Process, store: Store, one: TokenEvent
) -> None:
    process.live.journal.add(one)
    process.live.stop()
    with store.read() as session:
        ended = session.execute(select(AuditChain.id, AuditChain.ended)).all()
    assert list(ended) == [(1, False), (2, True)]


def test_seals_that_were_altered_are_told_in_the_log(process: Process, store: Store) -> None:
    with store.append() as session:
        session.execute(update(AuditState).values(mac="0"))
    add_user(store, "alice")
    process.monotonic.at += 61
    with capture_logs() as logged:
        process.live.tick()
    assert [line["event"] for line in logged] == [
        "audit records were altered in the store: run `authserver audit verify`"
    ]
    assert process.live.altered == "checkpoint 2 was altered, or a mark that it covers"


def test_the_alarm_ends_when_what_was_altered_is_accepted(process: Process, store: Store) -> None:
    _execute(store, update(AuditState).values(mac="0"))
    process.monotonic.at += 61
    with capture_logs() as logged:
        process.live.tick()
    assert [line["log_level"] for line in logged] == ["error"]
    with store.read() as session:
        found = Verification(session, Trail.of(store).key(session), None, lambda *_: None)
        faults = found.run().faults
    with store.change("test") as change:
        accept.accept(change, found, faults, "looked into")
    process.monotonic.at += 61
    with capture_logs() as logged:
        process.live.tick()
    assert process.live.altered is None
    assert logged == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "spoilt", ["audit_state SET at", "audit_mark SET mac", "audit_chain SET seq"]
)
def test_a_process_goes_on_where_what_seals_the_records_cannot_be_read(
    process: Process, store: Store, one: TokenEvent, spoilt: str
) -> None:
    _execute(store, text(f"UPDATE {spoilt} = x'ff'"))
    process.live.journal.add(one)
    process.monotonic.at += 61
    with capture_logs() as logged:
        process.live.tick()
    row = f"row 1 of {spoilt.split(maxsplit=1)[0]}"
    assert row in str(process.live.altered)
    assert [line["event"] for line in logged] == [
        "audit records were altered in the store: run `authserver audit verify`"
    ]
    with store.read() as session:
        assert session.scalars(select(TokenRecord.request_id)).all() == ["r1"]


def test_at_most_a_second_of_records_is_lost_with_the_process(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[float] = []
    monkeypatch.setattr(Journal, "write", lambda *_: written.append(process.monotonic.at))

    class Rounds:
        """Waits by the clock that is moved by hand, for some rounds."""

        def wait(self, seconds: float) -> bool:
            process.monotonic.at += seconds
            return len(written) < 200

    monkeypatch.setattr(process.live._thread, "_pause", Rounds().wait)
    process.live._thread._run()
    assert len(written) >= 200
    assert max(b - a for a, b in pairwise(written)) <= 1.0


def test_while_there_are_more_records_it_goes_on_and_reads_what_changed(
    process: Process, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_BATCH", 2)
    for number in range(5):
        process.live.journal.add(replace(one, request_id=str(number)))
    seen: list[tuple[float, int, bool]] = []

    class Rounds:
        """Waits for nothing; after the second round there is an account more."""

        def wait(self, seconds: float) -> bool:
            seen.append((seconds, recorded(store), "alice" in process.accounts))
            if len(seen) == 2:
                add_user(store, "alice")
            return len(seen) < 4

    monkeypatch.setattr(process.live._thread, "_pause", Rounds().wait)
    process.live._thread._run()
    waits = [state.INTERVAL, 0.0, 0.0, state.INTERVAL]
    assert seen == list(zip(waits, [0, 2, 4, 5], [False, False, True, True], strict=True))


# The thread.


def test_it_is_woken_where_answers_wait_for_it(
    process: Process, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MANY_PENDING", 1)
    monkeypatch.setattr(process.live._thread, "interval", 3600.0)
    ticked = threading.Event()
    monkeypatch.setattr(process.live._thread, "work", ticked.set)
    process.live.start()
    process.live.journal.add(one)
    process.live.journal.give_way()
    assert ticked.wait(30)
    process.live.stop()
    assert recorded(store) == 1


def test_it_is_not_woken_while_the_store_fails(
    process: Process, gone: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes in, a store that is in trouble is asked no more often than ever."""
    monkeypatch.setattr(journal, "MANY_PENDING", 1)
    process.live.store = gone
    assert process.live._try() is False
    process.live.journal.add(one)
    process.live.journal.give_way()
    assert not process.live._thread._woken.is_set()


def test_the_thread_keeps_up_and_writes_what_is_left_when_it_ends(
    process: Process, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticked = threading.Event()
    monkeypatch.setattr(state, "INTERVAL", 0.001)
    monkeypatch.setattr(Live, "tick", lambda _: ticked.set())
    process.live.start()
    assert ticked.wait(30)
    process.live.journal.add(one)
    process.live.stop()
    assert recorded(store) == 1


def test_the_thread_outlives_an_error_and_says_so_once(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([OSError("the disk is full"), OSError("again"), None])
    done = threading.Event()

    def tick(_: Live) -> None:
        error = next(ticks, None)
        if error is not None:
            raise error
        done.set()

    monkeypatch.setattr(state, "INTERVAL", 0.001)
    monkeypatch.setattr(Live, "tick", tick)
    with capture_logs() as logs:
        process.live.start()
        assert done.wait(30)
        process.live.stop()
    assert [line["event"] for line in logs] == [
        "cannot keep up with the store",
        "the store can be used again",
    ]


def test_a_process_ends_though_its_thread_hangs_with_the_store(
    process: Process, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, back = threading.Event(), threading.Event()

    def tick(_: Live) -> None:
        hangs.set()
        back.wait(60)

    monkeypatch.setattr(state, "INTERVAL", 0.001)
    monkeypatch.setattr(state, "STOP_WAITS", 0.01)
    monkeypatch.setattr(Live, "tick", tick)
    process.live.journal.add(one)
    process.live.start()
    assert hangs.wait(30)
    process.live.stop()
    assert process.live.journal.take() == [one]
    back.set()


def test_a_process_that_never_started_its_thread_can_be_stopped(process: Process) -> None:
    process.live.stop()


def test_the_master_key_is_not_shown(process: Process, master: MasterKey) -> None:
    assert str(master.secret) not in repr(process.live)
