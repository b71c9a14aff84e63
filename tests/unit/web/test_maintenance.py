"""The jobs of a serving process, and the thread that does them."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import select, text, update
from structlog.testing import capture_logs

from authserver.audit import journal, restart, retention
from authserver.audit.journal import Journal
from authserver.audit.recorder import Trail
from authserver.audit.token_event import TokenEvent
from authserver.audit.verify import Verification
from authserver.core.errors import NotReady
from authserver.db.models import (
    AuditChain,
    AuditMark,
    AuditRecord,
    AuditState,
    AuthorityRow,
    SigningKeyRow,
    TokenRecord,
)
from authserver.db.store import Store
from authserver.keys.master_key import MasterKey
from authserver.runtime.settings import Settings
from authserver.web.server import maintenance
from authserver.web.server.maintenance import RECORDS_WAIT, Maintenance
from authserver.web.wiring import wire
from tests.unit.processes import Process, add_user, execute
from tests.world import ADMIN, Clock


def late(process: Process) -> bool:
    return process.maintenance.records_late


def test_what_is_pending_when_it_ends_is_no_error(
    process: Process, gone: Store, one: TokenEvent
) -> None:
    process.state.journal.add(one)
    process.state.store = gone
    with capture_logs() as logs:
        process.maintenance.stop()
    assert [line["event"] for line in logs] == ["the last records could not be stored"]
    assert process.state.journal.take() == [one]


def test_records_are_late_when_the_store_has_taken_none_for_a_second(
    process: Process, store: Store, gone: Store
) -> None:
    process.maintenance.tick()
    process.monotonic.at += RECORDS_WAIT
    assert not late(process)
    process.monotonic.at += 0.1
    assert late(process)
    process.state.store = gone
    with pytest.raises(NotReady):
        process.maintenance.tick()
    assert late(process)
    process.state.store = store
    process.maintenance.tick()
    assert not late(process)


def test_when_the_store_is_back_it_answers_again(
    process: Process, store: Store, gone: Store
) -> None:
    process.state.store = gone
    process.monotonic.at += 100
    with pytest.raises(NotReady):
        process.maintenance.tick()
    process.state.store = store
    process.maintenance.tick()
    assert process.accounts == {ADMIN}
    assert not process.state.current.stale


def signing_keys(store: Store) -> int:
    with store.read() as session:
        return len(session.scalars(select(SigningKeyRow.id)).all())


@pytest.mark.parametrize(("days", "keys_after"), [(29.9, 1), (30, 2), (44, 2), (46, 2)])
def test_the_signing_key_is_rotated_every_30_days(
    process: Process, store: Store, clock: Clock, days: float, keys_after: int
) -> None:
    clock.move(timedelta(days=days))
    process.maintenance.tick()
    assert signing_keys(store) == keys_after
    process.state.current.signer.require_usable(clock.at)


def test_a_new_key_signs_at_once_and_is_recorded(
    process: Process, store: Store, clock: Clock
) -> None:
    before = process.state.current.signer
    clock.move(timedelta(days=31))
    with capture_logs() as logs:
        process.maintenance.tick()
        process.maintenance.tick()
    assert process.state.current.signer.not_after > before.not_after
    assert [line["event"] for line in logs] == ["made a new signing key"]
    with store.read() as session:
        last = session.scalars(select(AuditRecord).order_by(AuditRecord.id.desc())).fetchmany(2)
    told = [(record.actor, record.action, record.target) for record in last]
    assert told == [("system", "key.retire", "key:1"), ("system", "key.add", "key:2")]


def test_replicas_rotate_once(process: Process, other: Process, store: Store, clock: Clock) -> None:
    clock.move(timedelta(days=31))
    process.state.refresh()
    other.state.refresh()
    # Both know that the key is due.
    process.maintenance._rotate()
    other.maintenance._rotate()
    assert signing_keys(store) == 2
    assert other.state.current.signer.headers == process.state.current.signer.headers


def test_many_processes_that_rotate_at_the_same_moment_make_one_rotation(
    process: Process, settings: Settings, clock: Clock, store: Store
) -> None:
    others = [Process(settings, clock) for _ in range(3)]
    clock.move(timedelta(days=31))
    for each in others:
        each.state.refresh()
    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(lambda each: each.maintenance._rotate(), others))
    assert signing_keys(store) == 2
    assert len({each.state.current.signer.headers["kid"] for each in others}) == 1
    for each in others:
        each.store.engine.dispose()


def test_a_key_that_cannot_be_followed_goes_on_signing(
    process: Process, store: Store, clock: Clock
) -> None:
    execute(store, update(AuthorityRow).values(private_key=b"x" * 50))
    clock.move(timedelta(days=31))
    with capture_logs() as logs:
        process.maintenance.tick()
        process.maintenance.tick()
    assert [line["event"] for line in logs] == ["the signing key is due and cannot be rotated"]
    process.state.current.signer.require_usable(clock.at)
    process.monotonic.at += 61
    with capture_logs() as logs:
        process.maintenance.tick()
    assert len(logs) == 1


def test_rotation_is_by_the_stores_clock(process: Process, store: Store, clock: Clock) -> None:
    wrong = Clock(clock.at + timedelta(days=31))
    process.state.store = replace(process.state.store, clock=wrong)
    process.maintenance.tick()
    assert signing_keys(store) == 1
    clock.move(timedelta(days=31))
    wrong.move(timedelta(days=-60))
    process.maintenance.tick()
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
    process.maintenance.tick()
    assert not any(sealed in path.read_bytes() for path in files if path.exists())


def test_an_end_that_is_near_is_warned_of_once_a_day(process: Process, clock: Clock) -> None:
    clock.move(timedelta(days=3652 - 179))
    told = []
    with capture_logs() as logs:
        for seconds in (0, 1, 86400, 1):
            process.monotonic.at += seconds
            process.maintenance.tick()
            told.append(sum("authority 1 ends" in line["event"] for line in logs))
    assert told == [1, 1, 2, 2]
    (warning,) = process.state.current.warnings
    assert "authserver key authority rotate" in warning


def recorded(store: Store) -> int:
    with store.read() as session:
        return len(session.scalars(select(TokenRecord.id)).all())


def test_records_are_written_at_each_tick(process: Process, store: Store, one: TokenEvent) -> None:
    process.state.journal.add(one)
    process.maintenance.tick()
    assert recorded(store) == 1


def test_a_spool_that_cannot_be_read_keeps_nothing_else_from_being_done(
    process: Process, store: Store, clock: Clock, one: TokenEvent
) -> None:
    process.maintenance.spool.keep([one])
    (file,) = process.maintenance.spool._files
    os.close(file.descriptor)
    file.descriptor = -1
    clock.move(timedelta(days=31))
    with pytest.raises(NotReady, match="spool"):
        process.maintenance.tick()
    assert signing_keys(store) == 2


def test_records_make_no_process_load_anew(process: Process, one: TokenEvent) -> None:
    before = process.state.current.snapshot
    process.state.journal.add(one)
    process.maintenance.tick()
    process.maintenance.tick()
    assert process.state.current.snapshot is before


def test_old_records_are_pruned_every_hour(
    process: Process, store: Store, clock: Clock, one: TokenEvent
) -> None:
    left = []
    clock.move(timedelta(days=31))
    for seconds in (0, 3599, 2):
        process.monotonic.at += seconds
        process.state.journal.add(one)
        process.maintenance.tick()
        left.append(recorded(store))
    assert left == [1, 2, 0]


def test_a_process_keeps_up_while_it_prunes_much(
    process: Process, store: Store, clock: Clock, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    for _ in range(5):
        process.state.journal.add(one)
    process.maintenance.tick()
    clock.move(timedelta(days=31))
    process.monotonic.at += 3601
    left = []
    for _ in range(3):
        process.maintenance.tick()
        left.append(recorded(store))
    assert left == [3, 1, 0]


def test_pruning_gives_way_to_writing_until_it_is_much_that_is_due(
    process: Process, store: Store, clock: Clock, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_BATCH", 4)
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    monkeypatch.setattr(maintenance, "MANY_RECORDS", 10)
    clock.move(timedelta(days=31))
    process.maintenance.jobs["prune"].hasten()
    for _ in range(20):
        process.state.journal.add(one)
    left = []
    for _ in range(8):
        process.monotonic.at += 61
        process.maintenance.tick()
        left.append(recorded(store))
    # In the end as many go as come, and then the others.
    assert left == [4, 8, 10, 10, 10, 10, 10, 8]


def test_a_store_with_too_many_records_is_pruned_at_the_next_checkpoint(
    process: Process, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not for an hour that as many come as like."""
    monkeypatch.setattr(journal, "MAX_RECORDS", 2)
    for _ in range(5):
        process.state.journal.add(one)
    process.monotonic.at += 61
    process.maintenance.tick()
    assert recorded(store) == 2


@pytest.mark.sqlite
def test_another_writer_is_no_trouble_while_records_are_not_late(
    process: Process, store: Store, one: TokenEvent
) -> None:
    process.state.journal.add(one)
    with capture_logs() as logged, store.change("somebody"):
        assert process.maintenance.attempt() is True
        process.monotonic.at += RECORDS_WAIT + 0.5
        assert process.maintenance.attempt() is False
    assert process.maintenance.attempt() is False
    assert [line["event"] for line in logged] == ["cannot keep up with the store"]
    assert recorded(store) == 1


@pytest.mark.sqlite
def test_a_process_starts_while_another_writes(settings: Settings, store: Store) -> None:
    with store.change("somebody"):
        started = wire(settings)
        assert started.state.current.snapshot.version
        with pytest.raises(NotReady, match="another writer holds the store"):
            started.maintenance.tick()
    started.store.engine.dispose()


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
            process.state.journal.add(one)
        process.monotonic.at += seconds
        process.maintenance.tick()
        numbers.append(checkpoint(store) - numbers[0])
    # The first record begins a chain, which is sealed at once.
    assert numbers[1:] == [1, 2, 2, 3]


def test_what_is_written_last_is_sealed_when_the_process_ends(
    process: Process, store: Store, one: TokenEvent
) -> None:
    process.state.journal.add(one)
    process.maintenance.stop()
    with store.read() as session:
        heads = select(AuditChain.seq).where(AuditChain.id == 2)
        marks = select(AuditMark.sealed_seq).where(AuditMark.chain_id == 2)
        assert session.scalars(heads).one() == session.scalars(marks).one() == 1


def test_the_chain_of_a_process_that_ends_is_left_to_the_next(
    process: Process, store: Store, one: TokenEvent
) -> None:
    process.state.journal.add(one)
    process.maintenance.stop()
    with store.read() as session:
        ended = session.execute(select(AuditChain.id, AuditChain.ended)).all()
    assert list(ended) == [(1, False), (2, True)]


def test_seals_that_were_altered_are_told_in_the_log(process: Process, store: Store) -> None:
    with store.append() as session:
        session.execute(update(AuditState).values(mac="0"))
    add_user(store, "alice")
    process.monotonic.at += 61
    with capture_logs() as logged:
        process.maintenance.tick()
    assert [line["event"] for line in logged] == [
        "audit records were altered in the store: run `authserver audit verify`"
    ]
    assert process.maintenance.altered == "checkpoint 2 was altered, or a mark that it covers"


def test_the_alarm_ends_when_the_chains_are_restarted(process: Process, store: Store) -> None:
    execute(store, update(AuditState).values(mac="0"))
    process.monotonic.at += 61
    with capture_logs() as logged:
        process.maintenance.tick()
    assert [line["log_level"] for line in logged] == ["error"]
    with store.read() as session:
        found = Verification(session, Trail.of(store).key(session), None, lambda *_: None)
        faults = found.run().faults
    with store.change("test") as change:
        restart.restart(change, restart.counts(faults), "looked into")
    process.monotonic.at += 61
    with capture_logs() as logged:
        process.maintenance.tick()
    assert process.maintenance.altered is None
    assert logged == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "spoilt", ["audit_state SET at", "audit_mark SET mac", "audit_chain SET seq"]
)
def test_a_process_goes_on_where_what_seals_the_records_cannot_be_read(
    process: Process, store: Store, one: TokenEvent, spoilt: str
) -> None:
    execute(store, text(f"UPDATE {spoilt} = x'ff'"))
    process.state.journal.add(one)
    process.monotonic.at += 61
    with capture_logs() as logged:
        process.maintenance.tick()
    row = f"row 1 of {spoilt.split(maxsplit=1)[0]}"
    assert row in str(process.maintenance.altered)
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

    monkeypatch.setattr(process.maintenance._thread, "_pause", Rounds().wait)
    process.maintenance._thread._run()
    assert len(written) >= 200
    assert max(b - a for a, b in pairwise(written)) <= 1.0


def test_while_there_are_more_records_it_goes_on_and_reads_what_changed(
    process: Process, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_BATCH", 2)
    for number in range(5):
        process.state.journal.add(replace(one, request_id=str(number)))
    seen: list[tuple[float, int, bool]] = []

    class Rounds:
        """Waits for nothing; after the second round there is an account more."""

        def wait(self, seconds: float) -> bool:
            seen.append((seconds, recorded(store), "alice" in process.accounts))
            if len(seen) == 2:
                add_user(store, "alice")
            return len(seen) < 4

    monkeypatch.setattr(process.maintenance._thread, "_pause", Rounds().wait)
    process.maintenance._thread._run()
    waits = [maintenance.INTERVAL, 0.0, 0.0, maintenance.INTERVAL]
    assert seen == list(zip(waits, [0, 2, 4, 5], [False, False, True, True], strict=True))


def test_it_is_woken_where_answers_wait_for_it(
    process: Process, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MANY_PENDING", 1)
    monkeypatch.setattr(process.maintenance._thread, "interval", 3600.0)
    ticked = threading.Event()
    monkeypatch.setattr(process.maintenance._thread, "work", ticked.set)
    process.maintenance.start()
    process.state.journal.add(one)
    process.state.journal.give_way()
    assert ticked.wait(30)
    process.maintenance.stop()
    assert recorded(store) == 1


def test_it_is_not_woken_while_the_store_fails(
    process: Process, gone: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes in, a store that is in trouble is asked no more often than ever."""
    monkeypatch.setattr(journal, "MANY_PENDING", 1)
    process.state.store = gone
    assert process.maintenance.attempt() is False
    process.state.journal.add(one)
    process.state.journal.give_way()
    assert not process.maintenance._thread._woken.is_set()


def test_the_thread_keeps_up_and_writes_what_is_left_when_it_ends(
    process: Process, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticked = threading.Event()
    monkeypatch.setattr(maintenance, "INTERVAL", 0.001)
    monkeypatch.setattr(Maintenance, "tick", lambda _: ticked.set())
    process.maintenance.start()
    assert ticked.wait(30)
    process.state.journal.add(one)
    process.maintenance.stop()
    assert recorded(store) == 1


def test_the_thread_outlives_an_error_and_says_so_once(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([OSError("the disk is full"), OSError("again"), None])
    done = threading.Event()

    def tick(_: Maintenance) -> None:
        error = next(ticks, None)
        if error is not None:
            raise error
        done.set()

    monkeypatch.setattr(maintenance, "INTERVAL", 0.001)
    monkeypatch.setattr(Maintenance, "tick", tick)
    with capture_logs() as logs:
        process.maintenance.start()
        assert done.wait(30)
        process.maintenance.stop()
    assert [line["event"] for line in logs] == [
        "cannot keep up with the store",
        "the store can be used again",
    ]


def test_a_process_ends_though_its_thread_hangs_with_the_store(
    process: Process, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, back = threading.Event(), threading.Event()

    def tick(_: Maintenance) -> None:
        hangs.set()
        back.wait(60)

    monkeypatch.setattr(maintenance, "INTERVAL", 0.001)
    monkeypatch.setattr(maintenance, "STOP_WAITS", 0.01)
    monkeypatch.setattr(Maintenance, "tick", tick)
    process.state.journal.add(one)
    process.maintenance.start()
    assert hangs.wait(30)
    process.maintenance.stop()
    assert process.state.journal.take() == [one]
    back.set()


def test_a_process_that_never_started_its_thread_can_be_stopped(process: Process) -> None:
    process.maintenance.stop()


def test_the_master_key_is_not_shown(process: Process, master: MasterKey) -> None:
    assert str(master.secret) not in repr(process.state)
