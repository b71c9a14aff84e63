"""What a serving process holds in memory, and how it keeps up with the store."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Executable, select, update
from structlog.testing import capture_logs

from authserver import live
from authserver.audit.sinks import LogFile
from authserver.core.errors import NotReady
from authserver.db import accounts, keys
from authserver.db.models import (
    AuditChain,
    AuditMark,
    AuditRecord,
    AuditState,
    SigningKey,
    StoreState,
    TokenRecord,
)
from authserver.db.store import Store, open_store
from authserver.journal import Journal, TokenEvent
from authserver.live import STALE_AFTER, Live
from authserver.sealing import MasterKey
from authserver.settings import Settings
from authserver.web.app import wire
from tests.unit.clocks import Seconds
from tests.world import ADMIN, Clock

LIFE = timedelta(days=45)


@dataclass
class Process:
    """A serving process whose thread does not run, by clocks that are moved by hand."""

    settings: Settings
    clock: Clock
    monotonic: Seconds = field(default_factory=Seconds)

    def __post_init__(self) -> None:
        self.live = wire(self.settings).live
        self.store = self.live.store = replace(self.live.store, clock=self.clock)
        self.monotonic.at = self.live.current.read_at
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


def test_without_the_store_the_last_state_answers_for_a_moment(
    process: Process, gone: Store
) -> None:
    process.live.store = gone
    with pytest.raises(NotReady, match="store"):
        process.live.refresh()
    process.monotonic.at += STALE_AFTER
    assert process.accounts == {ADMIN}
    process.monotonic.at += 0.1
    with pytest.raises(NotReady, match="cannot be reached"):
        process.accounts  # noqa: B018


def test_when_the_store_is_back_it_answers_again(
    process: Process, store: Store, gone: Store
) -> None:
    process.live.store = gone
    process.monotonic.at += 2 * STALE_AFTER
    with pytest.raises(NotReady):
        process.live.tick()
    process.live.store = store
    process.live.tick()
    assert process.accounts == {ADMIN}


def test_the_time_of_day_makes_nothing_stale(process: Process, clock: Clock) -> None:
    clock.move(timedelta(days=1))
    assert process.accounts == {ADMIN}


@pytest.mark.parametrize(
    "break_it",
    [
        lambda process: setattr(process.live, "master", MasterKey(b"w" * 32)),
        lambda process: _execute(process.store, update(SigningKey).values(private_key=b"x" * 50)),
        lambda process: _execute(process.store, update(StoreState).values(master_key_id="other")),
    ],
)
def test_keys_that_do_not_open_leave_the_old_state(
    process: Process, store: Store, break_it: Callable[[Process], None]
) -> None:
    break_it(process)
    add_user(store, "alice")
    with pytest.raises(NotReady, match="master key"):
        process.live.refresh()
    assert process.accounts == {ADMIN}


def _execute(store: Store, statement: Executable) -> None:
    with store.append() as session:
        session.execute(statement)


# The signing key.


def signing_keys(store: Store) -> int:
    with store.read() as session:
        return len(session.scalars(select(SigningKey.id)).all())


@pytest.mark.parametrize(("left", "keys_after"), [(16, 1), (15, 2), (1, 2), (-1, 2)])
def test_the_signing_key_is_renewed_with_less_than_a_third_of_its_life_left(
    process: Process, store: Store, clock: Clock, left: int, keys_after: int
) -> None:
    clock.move(LIFE - timedelta(days=left))
    process.live.tick()
    assert signing_keys(store) == keys_after
    process.live.current.signer.require_usable(clock.at)


def test_a_renewed_key_signs_at_once_and_is_recorded(
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
        last = session.scalars(select(AuditRecord).order_by(AuditRecord.id.desc())).first()
    assert last is not None
    assert (last.actor, last.action, last.target) == ("system", "key.add", "key:2")


def test_who_comes_second_to_renew_takes_the_key_that_is_there(
    process: Process, other: Process, store: Store, master: MasterKey, clock: Clock
) -> None:
    clock.move(timedelta(days=31))
    process.live.tick()
    with store.change("test") as change:
        assert not keys.renew_leaf(change, master)
    other.live._renew_signing_key()
    assert signing_keys(store) == 2
    assert other.live.current.signer.headers == process.live.current.signer.headers


# Records.


def recorded(store: Store) -> int:
    with store.read() as session:
        return len(session.scalars(select(TokenRecord.id)).all())


def test_records_are_written_at_each_tick(process: Process, store: Store, one: TokenEvent) -> None:
    process.live.journal.add(one)
    process.live.tick()
    assert recorded(store) == 1


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


def test_a_second_copy_that_cannot_be_written_is_told_once_and_caught_up_with(
    process: Process, one: TokenEvent, tmp_path: Path
) -> None:
    log = tmp_path / "new" / "audit.jsonl"
    process.store.trail.outbox.sink = LogFile(log)
    with capture_logs() as logged:
        for _ in range(2):
            process.live.journal.add(one)
            process.live.tick()
        log.parent.mkdir()
        process.live.tick()
    assert [line["log_level"] for line in logged] == ["error", "info"]
    assert len(log.read_text().splitlines()) == 2


def test_at_most_a_second_of_records_is_lost_with_the_process(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[float] = []
    monkeypatch.setattr(Journal, "write", lambda *_: written.append(process.monotonic.at))

    class Rounds:
        """Waits by the clock that is moved by hand, for some rounds."""

        def wait(self, seconds: float) -> bool:
            process.monotonic.at += seconds
            return len(written) >= 200

    process.live._ended = Rounds()  # type: ignore[assignment]
    process.live._run()
    assert len(written) >= 200
    assert max(b - a for a, b in pairwise(written)) <= 1.0


# The thread.


def test_the_thread_keeps_up_and_writes_what_is_left_when_it_ends(
    process: Process, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticked = threading.Event()
    monkeypatch.setattr(live, "INTERVAL", 0.001)
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

    monkeypatch.setattr(live, "INTERVAL", 0.001)
    monkeypatch.setattr(Live, "tick", tick)
    with capture_logs() as logs:
        process.live.start()
        assert done.wait(30)
        process.live.stop()
    assert [line["event"] for line in logs] == [
        "cannot keep up with the store",
        "the store can be used again",
    ]


def test_a_process_that_never_started_its_thread_can_be_stopped(process: Process) -> None:
    process.live.stop()


def test_the_master_key_is_not_shown(process: Process, master: MasterKey) -> None:
    assert str(master.secret) not in repr(process.live)
