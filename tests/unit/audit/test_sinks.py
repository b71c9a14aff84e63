"""Where the second copy of the audit records goes."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from authserver.audit.sinks import LogFile, Syslog, open_sink


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(tmp_path / "audit.jsonl")
    yield made
    made.close()


def test_lines_are_appended_to_a_file_for_its_owner_only(file: LogFile) -> None:
    file.write(["a", "b"])
    file.write(["c"])
    assert file.path.read_text() == "a\nb\nc\n"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_file_that_was_moved_away_is_made_anew(file: LogFile, tmp_path: Path) -> None:
    file.write(["a"])
    file.path.rename(tmp_path / "audit.jsonl.1")
    file.write(["b"])
    file.path.unlink()
    file.write(["c"])
    assert file.path.read_text() == "c\n"
    assert (tmp_path / "audit.jsonl.1").read_text() == "a\n"


def test_what_a_crash_cut_off_stays_a_line_of_its_own(file: LogFile) -> None:
    file.path.write_text("a\nhal")
    file.write(["b"])
    assert file.path.read_text() == "a\nhal\nb\n"


def test_a_file_takes_no_more_than_it_may_and_one_old_one_is_left(tmp_path: Path) -> None:
    one, other = (LogFile(tmp_path / "audit.jsonl", max_bytes=100) for _ in range(2))
    for number in range(50):
        for file in (one, other):
            file.write([f"{number:019}"])
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200 + 20
    assert {path.name for path in tmp_path.iterdir()} <= {"audit.jsonl", "audit.jsonl.old"}
    one.close()
    other.close()


def test_only_the_first_who_sees_that_a_file_is_full_moves_it_away(tmp_path: Path) -> None:
    one, other = (LogFile(tmp_path / "audit.jsonl", max_bytes=0) for _ in range(2))
    for file in (one, other):
        file.write(["a"])
        file.max_bytes = 1
    one.write(["b"])
    descriptor = other._descriptor
    assert descriptor is not None
    other._move_away(descriptor)
    assert (tmp_path / "audit.jsonl.old").read_text() == "a\na\nb\n"


def test_a_disk_with_little_space_left_is_not_filled(file: LogFile) -> None:
    file.write(["a"])
    file.min_free = 1 << 60
    with pytest.raises(OSError, match="AUTHSERVER_MIN_FREE"):
        file.write(["b"])
    file.min_free = 1
    file.write(["c"])
    assert file.path.read_text() == "a\nc\n"


def test_a_link_is_not_followed(file: LogFile, tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    file.path.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic link"):
        file.write(["a"])


def test_syslog_on_a_unix_socket_gets_rfc_5424(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        sink = open_sink(f"syslog:{path}")
        sink.write(['{"a": 1}', "{}"])
        first, second = daemon.recv(4096).decode(), daemon.recv(4096).decode()
        assert isinstance(sink, Syslog)
        sink.close()
    priority, time, host, program, _, kind, structured, text = first.split(" ", 7)
    assert (priority, host, program) == ("<86>1", socket.gethostname(), "authserver")
    assert (kind, structured, text) == ("audit", "-", '{"a": 1}')
    assert time.endswith("Z")
    assert second.endswith("audit - {}")


def test_syslog_by_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        sink = open_sink(f"syslog://127.0.0.1:{daemon.getsockname()[1]}")
        sink.write(["{}"])
        assert daemon.recv(4096).endswith(b"{}")
        assert isinstance(sink, Syslog)
        sink.close()


def test_a_daemon_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    sink = Syslog(str(tmp_path / "nowhere"))
    for _ in range(2):
        with pytest.raises(OSError, match="No such file"):
            sink.write(["{}"])
    sink.close()


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("syslog:", "/dev/log"),
        ("syslog:/run/x", "/run/x"),
        ("syslog://h", ("h", 514)),
        ("syslog://h:1", ("h", 1)),
    ],
)
def test_what_a_syslog_url_means(setting: str, address: str | tuple[str, int]) -> None:
    assert open_sink(setting) == Syslog(address)


@pytest.mark.parametrize(
    "setting",
    [
        "audit.jsonl",
        "http://h",
        "syslog://h/x",
        "syslog://u@h",
        "syslog+tls:",
        "syslog+tls:/dev/log",
        "syslog+tls://h/x",
        "syslog+tls://u@h",
    ],
)
def test_what_is_no_place_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        open_sink(setting)
