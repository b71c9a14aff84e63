"""The spool: what it keeps, how much, who takes it over, and how it gets to the store."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select, text
from structlog.testing import capture_logs

from authserver.audit import spool as audit_spool
from authserver.audit.journal import Journal
from authserver.audit.spool import Spool, Spooler, _event, _line
from authserver.audit.token_event import TokenEvent
from authserver.core.errors import NotReady
from authserver.db.models import TokenRecord
from authserver.db.store import Store, open_store
from tests.world import Clock

ROOM = 1 << 20


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(directory: Path) -> Spool:
    return opened(directory)


@pytest.fixture
def gone(tmp_path: Path, clock: Clock) -> Store:
    return open_store(f"sqlite:///{tmp_path}/gone/authserver.db", clock)


def opened(directory: Path, room: int = ROOM) -> Spool:
    made = Spool(directory, room)
    made.open()
    made.take_over()
    return made


def end_process(spool: Spool) -> None:
    """Let go of a spool's files, as the system does when a process ends."""
    for file in spool._files:
        os.close(file.descriptor)


def events(one: TokenEvent, *request_ids: str) -> list[TokenEvent]:
    return [replace(one, request_id=request_id) for request_id in request_ids]


def stored(store: Store) -> list[str]:
    with store.read() as session:
        return list(session.scalars(select(TokenRecord.request_id).order_by(TokenRecord.id)))


def files(directory: Path) -> list[str]:
    return sorted(path.suffix for path in directory.iterdir())


def test_what_was_kept_is_stored_in_its_order_and_the_file_is_gone(
    spool: Spool, store: Store, directory: Path, one: TokenEvent
) -> None:
    spool.keep(events(one, "a", "b"))
    spool.keep(events(one, "c"))
    assert spool.waiting > 0
    spool.write(store)
    assert stored(store) == ["a", "b", "c"]
    assert spool.waiting == 0
    assert files(directory) == []
    spool.write(store)
    assert stored(store) == ["a", "b", "c"]


@pytest.mark.parametrize("requests", [None, 37])
def test_each_field_comes_back_as_it_was(
    spool: Spool, store: Store, one: TokenEvent, requests: int | None
) -> None:
    one.requests = requests
    spool.keep([one])
    spool.write(store)
    with store.read() as session:
        row = session.scalars(select(TokenRecord)).one()
    for name in TokenEvent.__slots__:
        assert getattr(row, name) == getattr(one, name)


@given(said=st.text(st.characters(codec=None), max_size=40), jwt_id=st.none() | st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_one_line_and_comes_back(
    one: TokenEvent, said: str, jwt_id: str | None
) -> None:
    """Also what is no Unicode text: clients send anything."""
    kept = replace(one, account=said + "\n\x00\ud800", jwt_id=jwt_id)
    line = _line(kept)
    assert line.count(b"\n") == 1
    assert _event(line) == kept


def test_only_the_owner_may_read_it(spool: Spool, directory: Path, one: TokenEvent) -> None:
    spool.keep([one])
    (file,) = directory.iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


def test_while_the_store_does_not_take_it_it_is_kept(
    spool: Spool, store: Store, gone: Store, one: TokenEvent
) -> None:
    spool.keep(events(one, "a"))
    for _ in range(2):
        with pytest.raises(NotReady):
            spool.write(gone)
    spool.keep(events(one, "b"))
    spool.write(store)
    assert stored(store) == ["a", "b"]


def test_much_is_stored_in_parts(
    spool: Spool, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_spool, "READ_BYTES", 3 * len(_line(one)))
    names = [f"r{n}" for n in range(7)]
    spool.keep(events(one, *names))
    parts = []
    while spool.waiting:
        before = len(stored(store))
        spool.write(store)
        parts.append(len(stored(store)) - before)
    assert stored(store) == names
    assert len(parts) > 2


def test_what_comes_in_while_the_rest_is_stored_is_kept(
    spool: Spool, store: Store, one: TokenEvent
) -> None:
    spool.keep(events(one, "a"))
    event.listen(store.engine, "commit", lambda _: spool.keep(events(one, "b")), once=True)
    spool.write(store)
    assert stored(store) == ["a"]
    spool.write(store)
    assert stored(store) == ["a", "b"]


# How much.


def test_a_full_spool_takes_nothing_and_says_so(directory: Path, one: TokenEvent) -> None:
    small = opened(directory, 2 * len(_line(one)))
    small.keep([one, one])
    with pytest.raises(NotReady, match="is full: see AUTHSERVER_SPOOL_SIZE"):
        small.keep([one])


def test_there_is_room_again_when_it_was_stored(
    directory: Path, store: Store, one: TokenEvent
) -> None:
    small = opened(directory, len(_line(one)))
    for _ in range(2):
        small.keep([one])
        small.write(store)


def test_a_full_disk_leaves_whole_lines(
    spool: Spool, store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.keep(events(one, "a"))
    real = os.pwrite

    def half(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) < 50:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[: len(data) - 40], offset)

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(NotReady, match="No space left on device; see AUTHSERVER_SPOOL_DIR"):
        spool.keep(events(one, "b"))
    monkeypatch.undo()
    (file,) = spool._files
    assert file.path.stat().st_size == file.size == len(_line(replace(one, request_id="a")))
    spool.keep(events(one, "c"))
    spool.write(store)
    assert stored(store) == ["a", "c"]


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotReady, match=f"{tmp_path}/file/spool.*AUTHSERVER_SPOOL_DIR"):
        opened(tmp_path / "file" / "spool")


def test_a_directory_where_everybody_may_write_is_not_used(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(NotReady, match="chmod 700"):
        opened(directory)


# What processes leave behind.


def test_what_is_no_file_of_ours_is_left_alone(directory: Path, tmp_path: Path) -> None:
    directory.mkdir()
    (tmp_path / "elsewhere").write_text("{}\n")
    (directory / "1-link.jsonl").symlink_to(tmp_path / "elsewhere")
    assert opened(directory).waiting == 0


def test_who_starts_takes_over_what_others_left(
    spool: Spool, store: Store, directory: Path, one: TokenEvent
) -> None:
    spool.keep(events(one, "a"))
    end_process(spool)
    later = opened(directory)
    later.keep(events(one, "b"))
    for _ in range(2):
        later.write(store)
    assert stored(store) == ["a", "b"]
    assert files(directory) == []


def test_what_a_process_still_holds_is_left_to_it(
    spool: Spool, directory: Path, one: TokenEvent
) -> None:
    spool.keep([one])
    assert opened(directory).waiting == 0


def test_what_was_stored_before_a_process_ended_is_not_stored_again(
    spool: Spool, store: Store, directory: Path, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.keep(events(one, "a", "b"))
    monkeypatch.setattr(spool, "_finish", lambda _: None)
    spool.write(store)
    end_process(spool)
    opened(directory).write(store)
    assert stored(store) == ["a", "b"]
    assert files(directory) == []


def test_a_line_that_was_cut_off_is_told_and_the_file_is_kept(
    spool: Spool, store: Store, directory: Path, one: TokenEvent
) -> None:
    spool.keep(events(one, "a", "b"))
    (file,) = directory.iterdir()
    end_process(spool)
    os.truncate(file, file.stat().st_size - 5)
    later = opened(directory)
    with capture_logs() as logs:
        later.write(store)
        later.write(store)
    assert stored(store) == ["a"]
    assert files(directory) == [".damaged"]
    assert [line["number"] for line in logs if line["log_level"] == "error"] == [1]
    assert opened(directory).waiting == 0


@pytest.mark.parametrize(
    "altered", [b"[]\n", b"{}\n", b"\xff\n", b'{"at": 1}\n', b'{"at": "2026-01-01"}\n']
)
def test_lines_that_say_nothing_hold_nothing_up(
    spool: Spool, store: Store, directory: Path, one: TokenEvent, altered: bytes
) -> None:
    spool.keep(events(one, "a"))
    (file,) = directory.iterdir()
    end_process(spool)
    file.write_bytes(altered + file.read_bytes())
    opened(directory).write(store)
    assert stored(store) == ["a"]


def test_a_line_with_something_else_in_it_is_none(one: TokenEvent) -> None:
    assert _event(_line(replace(one, account=None))) is None  # type: ignore[arg-type]
    assert _event(_line(replace(one, jwt_id=1))) is None  # type: ignore[arg-type]


@pytest.mark.sqlite
def test_what_cannot_be_stored_holds_nothing_up(
    spool: Spool, store: Store, directory: Path, one: TokenEvent
) -> None:
    refuse = "BEFORE INSERT ON token_record BEGIN SELECT RAISE(ABORT, 'no'); END"
    with store.append() as session:
        session.execute(text(f"CREATE TRIGGER refuse {refuse}"))
    spool.keep([one])
    with capture_logs() as logs:
        spool.write(store)
    assert files(directory) == [".damaged"]
    assert "records in the spool cannot be stored" in [line["event"] for line in logs]


# The thread.


@dataclass
class Late:
    """Whether the store takes its time."""

    late: bool = True

    def __call__(self) -> bool:
        return self.late


@pytest.fixture
def late() -> Late:
    return Late()


@pytest.fixture
def moving(spool: Spool, late: Late) -> Iterator[Spooler]:
    made = Spooler(Journal(b"k" * 32), spool, late)
    yield made
    made._thread.stop()


def test_records_are_moved_only_when_the_store_is_late(
    moving: Spooler, late: Late, one: TokenEvent
) -> None:
    moving.journal.add(one)
    late.late = False
    moving.tick()
    assert len(moving.journal.pending) == 1
    late.late = True
    moving.tick()
    assert not moving.journal.pending
    assert moving.spool.waiting


def test_with_nothing_to_move_there_is_no_file(moving: Spooler, directory: Path) -> None:
    moving.tick()
    assert files(directory) == []


def test_where_nothing_can_be_kept_no_token_may_be_issued_and_nothing_is_lost(
    moving: Spooler, store: Store, one: TokenEvent
) -> None:
    moving.spool.max_bytes = 0
    for request_id in ("a", "b"):
        moving.journal.add(replace(one, request_id=request_id))
    with capture_logs() as logs:
        moving.tick()
        moving.tick()
    assert moving.journal.full
    assert [line["event"] for line in logs] == ["no tokens: their records can be kept nowhere"]
    moving.journal.write(store)
    assert stored(store) == ["a", "b"]
    assert not moving.journal.full


def test_where_there_is_room_again_tokens_go_on(moving: Spooler, one: TokenEvent) -> None:
    moving.journal.add(one)
    moving.spool.max_bytes = 0
    moving.tick()
    moving.spool.max_bytes = ROOM
    moving.tick()
    assert not moving.journal.full


def test_what_is_left_when_it_ends_is_kept(moving: Spooler, late: Late, one: TokenEvent) -> None:
    late.late = False
    moving.start()
    moving.journal.add(one)
    moving.stop()
    assert moving.spool.waiting


def test_the_thread_ticks(spool: Spool, late: Late, monkeypatch: pytest.MonkeyPatch) -> None:
    ticked = threading.Event()
    monkeypatch.setattr(audit_spool, "INTERVAL", 0.001)
    monkeypatch.setattr(Spooler, "tick", lambda _: ticked.set())
    moving = Spooler(Journal(b"k" * 32), spool, late)
    moving.start()
    assert ticked.wait(30)
    moving.stop()


def test_records_keep_the_time_of_their_request(
    spool: Spool, store: Store, one: TokenEvent
) -> None:
    early = replace(one, at=one.at - timedelta(minutes=1))
    spool.keep([early])
    spool.write(store)
    with store.read() as session:
        assert session.scalars(select(TokenRecord.at)).one() == early.at
