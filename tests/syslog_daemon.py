"""A syslog daemon that speaks TLS (RFC 5425)."""

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from queue import Queue
from threading import Thread

from tests.e2e.certificates import Authority

SECONDS = 20
ENDED = "ended in good order"


@dataclass
class Daemon:
    """Takes one connection after the other; reads none of the first ``deaf`` and resets them."""

    listener: socket.socket
    context: ssl.SSLContext
    deaf: int = 0
    got: "Queue[str]" = field(default_factory=Queue)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection, suppress(OSError):
                    self._take(connection)

    def _take(self, plain: socket.socket) -> None:
        plain.settimeout(SECONDS)
        with self.context.wrap_socket(
            plain, server_side=True, suppress_ragged_eofs=False
        ) as connection:
            if self.deaf > 0:
                self.deaf -= 1
                # Wait for what will be lost, and answer with a reset.
                with socket.socket(fileno=connection.detach()) as unread:
                    unread.settimeout(SECONDS)
                    unread.recv(1, socket.MSG_PEEK)
                    at_once = struct.pack("ii", 1, 0)
                    unread.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                self.got.put("reset")
                return
            with connection.makefile("rb") as stream:
                while (message := _message(stream)) is not None:
                    self.got.put(message)
            self.got.put(ENDED)

    def texts(self, number: int) -> list[str]:
        """Return what the next messages say, of which there must be so many."""
        return [self.got.get(timeout=SECONDS).rpartition(" - ")[2] for _ in range(number)]


def _message(stream: BufferedReader) -> str | None:
    """Read one message by RFC 5425, section 4.3: its length in octets, a space, and itself."""
    digits = b""
    while (octet := stream.read(1)) != b" ":
        if not octet:
            return None
        digits += octet
    assert digits.isdigit()
    assert not digits.startswith(b"0")
    return stream.read(int(digits)).decode()


@contextmanager
def listening(authority: Authority, place: Path, host: str = "127.0.0.1") -> Iterator[Daemon]:
    files = place / "daemon.pem", place / "daemon.key"
    authority.certify(*files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    with socket.create_server((host, 0)) as listener:
        daemon = Daemon(listener, context)
        thread = Thread(target=daemon.serve, daemon=True)
        thread.start()
        yield daemon
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(SECONDS)
