"""Where the second copy of audit records goes: a file of JSON lines, or syslog (RFC 5424)."""

import errno
import fcntl
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging import Handler, LogRecord, makeLogRecord
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import Protocol

from authserver.core.urls import SYSLOG, SYSLOG_TLS, parse_log

SYSLOG_PORT = 514
SYSLOG_TLS_PORT = 6514
DEV_LOG = "/dev/log"
OLD = ".old"


class Sink(Protocol):
    """Takes lines, each of which is a JSON object."""

    def write(self, lines: Sequence[str]) -> None:
        """Take the lines, all of them.

        Raises:
            OSError: they were not taken, or not all of them.
        """

    def close(self) -> None:
        """Let go of it; it is opened again when there is something to write."""


@dataclass
class LogFile:
    """A file that lines are appended to; opened anew when it was moved away.

    A file of ``max_bytes`` or more is moved away to a name with OLD at its end, in place of the one
    before. Where less than ``min_free`` bytes of its disk are free nothing is written. 0: no bound.
    """

    path: Path
    max_bytes: int = 0
    min_free: int = 0
    _descriptor: int | None = None

    def write(self, lines: Sequence[str]) -> None:
        """Append the lines and have the disk take them."""
        descriptor = self._open()
        disk = os.fstatvfs(descriptor)
        if self.min_free and disk.f_bavail * disk.f_frsize < self.min_free:
            raise OSError(errno.ENOSPC, "less is free on its disk than AUTHSERVER_MIN_FREE")
        rest = memoryview(_after_broken(descriptor) + "".join(f"{x}\n" for x in lines).encode())
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
        if self.max_bytes and os.fstat(descriptor).st_size >= self.max_bytes:
            self._move_away(descriptor)

    def _move_away(self, descriptor: int) -> None:
        # One process does: others may have seen the same size.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if self._is_there(descriptor):
            self.path.rename(f"{self.path}{OLD}")
        self.close()

    def _open(self) -> int:
        if self._descriptor is not None and not self._is_there(self._descriptor):
            self.close()
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
        return self._descriptor

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.lstat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close the file; it is opened again when there is something to write."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _after_broken(descriptor: int) -> bytes:
    """Return what must stand before new lines: a crash may have cut the last one off."""
    size = os.fstat(descriptor).st_size
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""


@dataclass
class Syslog:
    """A syslog daemon on a unix socket, or by UDP."""

    address: str | tuple[str, int]
    _handler: Handler | None = field(default=None, repr=False)

    def write(self, lines: Sequence[str]) -> None:
        """Send each line as a message of the facility ``authpriv``."""
        if self._handler is None:
            self._handler = _Handler(self.address, SysLogHandler.LOG_AUTHPRIV)
        for line in lines:
            self._handler.emit(makeLogRecord({"msg": message(line), "levelname": "INFO"}))

    def close(self) -> None:
        if self._handler is not None:
            self._handler.close()
            self._handler = None


class _Handler(SysLogHandler):
    append_nul = False

    def handleError(self, record: LogRecord) -> None:  # noqa: ARG002, N802 - its own signature
        raise  # noqa: PLE0704 - it is called where an error is being handled


def message(line: str) -> str:
    """Return a message as RFC 5424, section 6, has it after the priority."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"1 {time} {socket.gethostname() or '-'} authserver {os.getpid()} audit - {line}"


def open_sink(
    setting: str, authorities: Path | None = None, max_bytes: int = 0, min_free: int = 0
) -> Sink:
    """Return what AUTHSERVER_AUDIT_LOG names; nothing is opened before there is a line.

    ``authorities`` is the PEM file that a daemon's certificate is verified by. ``max_bytes`` and
    ``min_free`` are for a file; see :class:`LogFile`.

    Raises:
        ValueError: it is neither an absolute path nor a syslog URL.
    """
    url = parse_log(setting)
    if url.scheme not in (SYSLOG, SYSLOG_TLS):
        return LogFile(Path(setting), max_bytes, min_free)
    if url.hostname and url.scheme == SYSLOG_TLS:
        # TLS is loaded only for those who use it.
        from authserver.audit.syslog_tls import SyslogTls  # noqa: PLC0415

        return SyslogTls(url.hostname, url.port or SYSLOG_TLS_PORT, authorities)
    if url.hostname:
        return Syslog((url.hostname, url.port or SYSLOG_PORT))
    return Syslog(url.path or DEV_LOG)
