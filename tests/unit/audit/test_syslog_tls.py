"""The second copy by syslog over TLS, sent to a daemon that speaks it."""

import socket
from collections.abc import Iterator
from pathlib import Path
from queue import Empty

import pytest

from authserver.audit.log_writer import Outbox, SecondCopy
from authserver.audit.sinks import Syslog, open_sink
from authserver.audit.syslog_tls import SyslogTls
from tests.e2e.certificates import Authority
from tests.syslog_daemon import ENDED, SECONDS, Daemon, listening


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "authority")


@pytest.fixture
def daemon(authority: Authority, tmp_path: Path) -> Iterator[Daemon]:
    with listening(authority, tmp_path) as made:
        yield made


def sink_to(daemon: Daemon, authority: Authority, host: str = "127.0.0.1") -> SyslogTls:
    return SyslogTls(host, daemon.port, authority.file)


def test_each_line_is_a_message_of_rfc_5424_behind_its_length_in_octets(
    daemon: Daemon, authority: Authority
) -> None:
    sink, long = sink_to(daemon, authority), '{"a": "' + "é" * 50_000 + '"}'
    sink.write(['{"a": 1}', long])
    sink.write(["{}"])
    first = daemon.got.get(timeout=SECONDS)
    priority, time, host, program, _, kind, structured, text = first.split(" ", 7)
    assert (priority, host, program) == ("<86>1", socket.gethostname(), "authserver")
    assert (kind, structured, text) == ("audit", "-", '{"a": 1}')
    assert time.endswith("Z")
    assert daemon.texts(2) == [long, "{}"]
    sink.close()
    assert daemon.texts(1) == [ENDED]


def test_a_daemon_is_believed_only_with_a_certificate_of_the_authority(
    daemon: Daemon, authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority.make(tmp_path / "foreign")
    for sink in (sink_to(daemon, foreign), SyslogTls("127.0.0.1", daemon.port)):
        with pytest.raises(OSError, match=r"127.0.0.1, port \d+: .*certificate verify failed"):
            sink.write(["secret"])
    sink = sink_to(daemon, authority)
    sink.write(["{}"])
    assert daemon.texts(1) == ["{}"]
    sink.close()


def test_a_daemon_is_believed_only_by_its_own_name(authority: Authority, tmp_path: Path) -> None:
    with listening(authority, tmp_path, "127.0.0.2") as daemon:
        sink = sink_to(daemon, authority, "127.0.0.2")
        with pytest.raises(OSError, match=r"not valid for '127.0.0.2'"):
            sink.write(["secret"])
        with pytest.raises(Empty):
            daemon.got.get_nowait()


def test_what_a_broken_connection_may_have_lost_is_sent_again(
    daemon: Daemon, authority: Authority
) -> None:
    daemon.deaf = 1
    sink = sink_to(daemon, authority)
    sink.write(["1"])
    assert daemon.texts(1) == ["reset"]
    sink.write(["2"])
    assert daemon.texts(2) == ["1", "2"]
    sink.write(["3"])
    assert daemon.texts(1) == ["3"]
    sink.close()


def test_a_daemon_that_comes_back_gets_what_came_meanwhile(
    authority: Authority, tmp_path: Path
) -> None:
    with listening(authority, tmp_path) as daemon:
        port, copy = daemon.port, SecondCopy(Outbox(sink_to(daemon, authority)))
    for line in ("1", "2"):
        copy.outbox.add([line])
        copy.outbox.write()
        assert f"port {port}: Connection refused" in str(copy.outbox.trouble)
    with listening(authority, tmp_path) as again:
        assert isinstance(copy.outbox.sink, SyslogTls)
        copy.outbox.sink.port = again.port
        assert copy.finish() is None
        assert again.texts(3) == ["1", "2", ENDED]


def test_a_process_that_ends_lets_the_daemon_read_everything(
    daemon: Daemon, authority: Authority
) -> None:
    copy = SecondCopy(Outbox(sink_to(daemon, authority)))
    copy.start()
    lines = [f'{{"n": {number}}}' for number in range(3000)]
    copy.outbox.add(lines)
    copy.stop()
    assert daemon.texts(len(lines) + 1) == [*lines, ENDED]


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_without_authorities_is_named(
    daemon: Daemon, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "missing.pem"
    if content is not None:
        file.write_text(content)
    sink = SyslogTls("127.0.0.1", daemon.port, file)
    with pytest.raises(OSError, match=f"AUTHSERVER_AUDIT_LOG_CA_FILE: {file} holds no"):
        sink.write(["{}"])


def test_what_a_url_means(tmp_path: Path) -> None:
    assert open_sink("syslog+tls://h") == SyslogTls("h", 6514)
    assert open_sink("syslog+tls://[::1]:1", tmp_path) == SyslogTls("::1", 1, tmp_path)
    assert open_sink("syslog://h") == Syslog(("h", 514))
