"""The thread that writes the second copy of the audit records."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authserver.audit import log_writer
from authserver.audit.log_writer import Outbox, SecondCopy
from authserver.audit.sinks import LogFile


class Stuck:
    """A sink that hangs until it is let go."""

    def __init__(self) -> None:
        self.reached, self.let_go = threading.Event(), threading.Event()
        self.kept: list[str] = []

    def write(self, lines: Sequence[str]) -> None:
        self.reached.set()
        assert self.let_go.wait(30)
        self.kept += lines

    def close(self) -> None:
        pass


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    monkeypatch.setattr(log_writer, "INTERVAL", 0.001)
    monkeypatch.setattr(log_writer, "STOP_WAITS", 0.01)
    made = Stuck()
    yield made
    made.let_go.set()


def test_a_log_that_cannot_be_written_is_told_once_and_caught_up_with(tmp_path: Path) -> None:
    log = tmp_path / "new" / "audit.jsonl"
    copy = SecondCopy(Outbox(LogFile(log)))
    with capture_logs() as logged:
        for number in range(2):
            copy.outbox.add([str(number)])
            copy.write()
        log.parent.mkdir()
        copy.write()
        copy.write()
    assert [line["log_level"] for line in logged] == ["error", "info"]
    assert log.read_text() == "0\n1\n"


def test_only_what_was_lost_since_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authserver.audit.log_writer.MAX_WAITING", 1)
    log = tmp_path / "new" / "audit.jsonl"
    copy = SecondCopy(Outbox(LogFile(log)))
    with capture_logs() as logged:
        for lines in (["a", "b", "c"], ["d", "e"]):
            copy.outbox.add(lines)
            copy.write()
            log.parent.mkdir()
            copy.write()
            log.unlink()
            log.parent.rmdir()
    assert [line["lost"] for line in logged if "lost" in line] == [2, 1]


def test_a_log_that_hangs_holds_nobody_up(stuck: Stuck) -> None:
    copy = SecondCopy(Outbox(stuck))
    copy.start()
    copy.outbox.add(["a"])
    assert stuck.reached.wait(30)
    copy.outbox.add(["b"])
    with capture_logs() as logged:
        copy.stop()
    assert stuck.kept == []
    assert [line["error"] for line in logged] == ["it takes no lines"]


def test_a_command_waits_for_a_log_that_hangs_only_so_long(stuck: Stuck) -> None:
    copy = SecondCopy(Outbox(stuck))
    copy.outbox.add(["a"])
    assert copy.finish() == "it takes no lines"


def test_what_is_left_is_written_at_the_end(tmp_path: Path) -> None:
    copy = SecondCopy(Outbox(LogFile(tmp_path / "audit.jsonl")))
    copy.start()
    copy.stop()
    copy.outbox.add(["a"])
    copy.stop()
    assert (tmp_path / "audit.jsonl").read_text() == "a\n"


def test_what_could_not_be_written_at_the_end_is_told(tmp_path: Path) -> None:
    copy = SecondCopy(Outbox(LogFile(tmp_path / "new" / "audit.jsonl")))
    copy.outbox.add(["a"])
    with capture_logs() as logged:
        copy.stop()
    assert [line["error"] for line in logged] == ["No such file or directory"]
