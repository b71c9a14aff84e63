"""Counting: within windows of time, for several processes, and without Redis when it is gone."""

import fcntl
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage
from structlog.testing import capture_logs

from authserver.auth import rate_limits
from authserver.auth.rate_limits import TRIED_AGAIN_AFTER, Counts, SharedStorage, Windows, counts
from authserver.core.errors import Refused
from authserver.runtime import shared_memory
from authserver.runtime.shared_memory import ENVIRON, SharedMemory
from tests.unit.clocks import Seconds

THRICE = RateLimitItemPerMinute(3)


@dataclass
class Counting:
    """Counts by a clock that is moved by hand."""

    clock: Seconds = field(default_factory=Seconds)
    shared: SharedMemory = field(default_factory=SharedMemory.make)

    def __post_init__(self) -> None:
        self.storage = SharedStorage(self.shared, self.clock)
        self.windows = Windows(self.storage, self.clock)


def test_a_window_begins_with_the_first_count_and_ends_after_its_time() -> None:
    counted = Counting()
    assert [counted.windows.hit(THRICE, "a") for _ in range(5)] == [True] * 3 + [False] * 2
    assert counted.windows.wait(THRICE, "a") == 60
    counted.clock.at += 59.5
    assert not counted.windows.hit(THRICE, "a")
    assert counted.windows.wait(THRICE, "a") == 1
    counted.clock.at += 0.5
    assert counted.windows.wait(THRICE, "a") == 0
    assert counted.windows.hit(THRICE, "a")


def test_there_is_no_wait_below_the_limit_and_none_for_others() -> None:
    counted = Counting()
    for number in range(3):
        assert counted.windows.wait(THRICE, "a") == 0, number
        counted.windows.hit(THRICE, "a")
    assert counted.windows.wait(THRICE, "a") > 0
    assert counted.windows.wait(THRICE, "b") == 0


def test_counts_can_be_cleared() -> None:
    storage = Counting().storage
    for key in ("a", "b"):
        storage.incr(key, 60)
    storage.clear("a")
    assert [storage.get(key) for key in ("a", "b")] == [0, 1]
    storage.reset()
    assert storage.get("b") == 0
    assert storage.check()


def test_where_memory_is_full_the_oldest_counts_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "BYTES", rate_limits._BUCKET * rate_limits._PARTS)
    counted = Counting()
    for number in range(12):
        counted.storage.incr(str(number), 60)
        counted.clock.at += 1
    assert [counted.storage.get(str(number)) for number in range(12)] == [0] * 4 + [1] * 8


def test_processes_that_share_memory_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Counting()
    monkeypatch.setenv(ENVIRON, one.shared.path)
    other = Counting(one.clock, SharedMemory.join())
    for counted in (one, other, one, other):
        counted.storage.incr("a", 60)
    assert one.storage.get("a") == other.storage.get("a") == 4


def test_memory_that_cannot_be_shared_is_replaced_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRON, "/proc/self/fd/none")
    with capture_logs() as logs:
        joined = SharedMemory.join()
    assert "cannot share memory" in logs[0]["event"]
    assert SharedStorage(joined, Seconds()).incr("a", 60) == 1


def test_a_lock_ends_with_the_process_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = SharedMemory.make()
    monkeypatch.setenv(ENVIRON, mine.path)
    program = (
        "import sys; from authserver.runtime.shared_memory import SharedMemory\n"
        "with SharedMemory.join().alone(7): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[int(mine.path.rpartition("/")[2])],
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert not is_free(mine, 7)
        assert is_free(mine, 8)
        other.kill()
        other.wait()
    assert is_free(mine, 7)


def is_free(memory: SharedMemory, number: int) -> bool:
    asked = shared_memory._FLOCK.pack(fcntl.F_WRLCK, 0, number, 1, 0)
    answer = fcntl.fcntl(memory._descriptor, fcntl.F_OFD_GETLK, asked)
    return bool(shared_memory._FLOCK.unpack(answer)[0] == fcntl.F_UNLCK)


class Remote(MemoryStorage):
    """A store of counts that can be taken away."""

    STORAGE_SCHEME = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.reachable = True
        self.asked = 0
        super().__init__()

    def incr(self, *args: Any, **more: Any) -> int:
        self.asked += 1
        if not self.reachable:
            raise StorageError(ConnectionError("refused"))
        return super().incr(*args, **more)


def test_without_the_common_store_counts_go_on_here_and_that_is_said_once() -> None:
    here, remote, clock = Counting(), Remote(), Seconds()
    counted = Counts(here.windows, Windows(remote, clock), clock)
    assert counted.hit(THRICE, "a")
    away = [counted.away]
    remote.reachable = False
    with capture_logs() as logs:
        assert [counted.hit(THRICE, "a") for _ in range(4)] == [True] * 3 + [False]
        clock.at += TRIED_AGAIN_AFTER
        assert not counted.hit(THRICE, "a")
    away.append(counted.away)
    assert remote.asked == 3, "while it is away it is only tried now and then"
    assert [line["log_level"] for line in logs] == ["error"]
    assert "counted by this server alone" in logs[0]["event"]

    remote.reachable = True
    clock.at += TRIED_AGAIN_AFTER
    with capture_logs() as logs:
        assert counted.hit(THRICE, "a")
    assert [*away, counted.away] == [False, True, False]
    assert "for all replicas again" in logs[0]["event"]


def test_a_client_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for url, extra in (("redis://h/0", "redis"), ("valkeys://h/0", "valkey")):
        monkeypatch.setitem(sys.modules, extra, None)
        with pytest.raises(Refused, match=rf"pip install '\.\[{extra}\]'"):
            counts(SharedMemory.make(), url)


def test_a_url_that_cannot_be_used_is_refused_without_its_password() -> None:
    with pytest.raises(Refused, match="AUTHSERVER_LIMITS_URL") as refused:
        counts(SharedMemory.make(), "redis://:hunter/22@h:6379/0")
    assert "hunter" not in str(refused.value)
