"""Syslog over TCP with TLS (RFC 5425), imported only where AUTHSERVER_AUDIT_LOG names it."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT, create_connection
from struct import unpack
from termios import TIOCOUTQ

from authserver.audit.sinks import message

SECONDS = 10.0
"""Limit for connecting, for sending, and for the daemon's machine to acknowledge what was sent."""

CLOSE_SECONDS = 1.0
AUTHPRIV_INFO = 10 * 8 + 6


@dataclass
class SyslogTls:
    """A syslog daemon whose certificate an authority in the PEM file ``authorities`` has signed.

    By default the system's authorities are trusted. A daemon never confirms a message. What was
    sent is kept until the connection is found in good order afterwards; else it is sent again, so
    that a daemon may get a line twice.
    """

    host: str
    port: int
    authorities: Path | None = None
    _connection: ssl.SSLSocket | None = field(default=None, repr=False)
    _unconfirmed: list[bytes] = field(default_factory=list, repr=False)

    def write(self, lines: Sequence[str]) -> None:
        """Send each line as a message of the facility ``authpriv``, behind its length."""
        frames = b"".join(map(_frame, lines))
        with self._named():
            self._require_open().sendall(frames)
        self._unconfirmed.append(frames)

    def close(self) -> None:
        """End the connection in good order, so that the daemon reads all that was sent."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.settimeout(CLOSE_SECONDS)
                self._connection.unwrap()
                self._unconfirmed.clear()
            self._drop()

    def _require_open(self) -> ssl.SSLSocket:
        """Return a connection that is open; a new one after what the last may have lost."""
        if self._connection is not None and self._is_open(self._connection):
            return self._connection
        self._drop()
        self._connection = self._connect()
        self._connection.sendall(b"".join(self._unconfirmed))
        return self._connection

    def _is_open(self, connection: ssl.SSLSocket) -> bool:
        # A write to a connection that the daemon has closed succeeds, and is lost.
        connection.setblocking(False)  # noqa: FBT003
        try:
            if not connection.recv(4096):
                return False
        except ssl.SSLWantReadError:
            pass
        except OSError:
            return False
        connection.settimeout(SECONDS)
        if _unacknowledged(connection) == 0:
            self._unconfirmed.clear()
        return True

    def _connect(self) -> ssl.SSLSocket:
        context = self._trust()
        connection = create_connection((self.host, self.port), SECONDS)
        try:
            connection.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, int(SECONDS * 1000))
            return context.wrap_socket(connection, server_hostname=self.host)
        except OSError:
            connection.close()
            raise

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.authorities)
        except OSError as error:
            why = getattr(error, "reason", None) or error.strerror
            raise OSError(
                f"AUTHSERVER_AUDIT_LOG_CA_FILE: {self.authorities} holds no certificate: {why}"
            ) from None

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say which daemon it is where there is an error, and begin anew after it."""
        try:
            yield
        except OSError as error:
            self._drop()
            raise OSError(f"{self.host}, port {self.port}: {error.strerror or error}") from None


def _frame(line: str) -> bytes:
    sent = f"<{AUTHPRIV_INFO}>{message(line)}".encode()
    return b"%d %b" % (len(sent), sent)


def _unacknowledged(connection: ssl.SSLSocket) -> int:
    """Return how many bytes the other machine has not acknowledged (tcp(7))."""
    (waiting,) = unpack("i", ioctl(connection, TIOCOUTQ, bytes(4)))
    return int(waiting)
