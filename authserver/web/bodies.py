"""Reading bodies: within a time, and by a part of the threads only.

The HTTP server hands a body over as it arrives, so a slow client holds the thread that reads it.
Some threads are always left for requests without a body, one client gets only a few of the
others, a body that comes too slowly is given up, and connections on which a late body stands
still are shut down.
"""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from os import dup
from pathlib import Path
from typing import Any, Protocol

import structlog
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from authserver.core.errors import NotReady
from authserver.core.households import household

SECONDS = 10.0
MAX_BYTES = 64 * 1024
PIECE = 1024
LOOK_EVERY = 1.0
# Longer than any request takes: a connection whose request is being worked on is silent too.
STALLED_MS = 30_000
TRICKLE = 200
"""Bytes in :data:`LOOK_EVERY`: less than a request has, so twice in a row it is a part of one."""

# In Linux's struct tcp_info: milliseconds since data came, and bytes that came in all.
_LAST_DATA, _RECEIVED, _INFO_BYTES = 52, 128, 136

log = structlog.get_logger()


class _Input(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Reading:
    deadline: float
    peer: str
    client: str


@dataclass
class Bodies:
    """Watches over the bodies that are being read in this process."""

    at_once: int
    at_once_each: int
    seconds: float = SECONDS
    _reading: dict[object, _Reading] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @contextmanager
    def reading(self, peer: str, client: str) -> Iterator[None]:
        """Read a body inside this block; ``client`` is the address behind the connection's peer.

        Raises:
            NotReady: too many bodies are being read, from everybody or from that client.
        """
        this = object()
        client = household(client)
        with self._lock:
            same = sum(other.client == client for other in self._reading.values())
            if len(self._reading) >= self.at_once or same >= self.at_once_each:
                raise NotReady("too many bodies are being read: clients are slow")
            self._reading[this] = _Reading(time.monotonic() + self.seconds, peer, client)
        try:
            yield
        finally:
            with self._lock:
                del self._reading[this]

    def read(self, environ: dict[str, Any], client: str, max_bytes: int = MAX_BYTES) -> bytes:
        """Return a request's whole body; whoever reads it again does not wait.

        ``max_bytes`` is more than MAX_BYTES only for those who have been let in already.

        Raises:
            NotReady: too many bodies are being read.
            RequestTimeout: it came too slowly.
            RequestEntityTooLarge: it is longer than ``max_bytes``, whatever length it claims.
        """
        deadline = time.monotonic() + self.seconds
        with self.reading(environ.get("REMOTE_ADDR", ""), client):
            claimed = environ.get("CONTENT_LENGTH", "")
            length = int(claimed) if claimed.isdecimal() else None
            body = _read_within(environ["wsgi.input"], length, deadline, max_bytes)
        environ["wsgi.input"] = BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        return body

    def start(self) -> None:
        """Start the thread that hangs up on slow clients."""
        threading.Thread(target=self._watch, name="bodies", daemon=True).start()

    def _watch(self) -> None:
        seen: dict[str, _Seen] = {}
        while True:
            time.sleep(LOOK_EVERY)
            now = time.monotonic()
            late = {other.peer for other in list(self._reading.values()) if other.deadline < now}
            try:
                seen = hang_up(late, seen) if late else {}
            except OSError as error:
                # Out of file descriptors, say; the next look may see more.
                log.error("cannot look after slow bodies", error=str(error))


@dataclass(frozen=True, slots=True)
class _Seen:
    received: int
    trickled: bool


def _read_within(stream: _Input, length: int | None, deadline: float, max_bytes: int) -> bytes:
    """Read ``length`` bytes, or up to the end if it is None."""
    parts: list[bytes] = []
    size = 0
    while length is None or size < length:
        # The stream blocks until a piece is whole, so pieces are small.
        part = stream.read(PIECE if length is None else min(PIECE, length - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise RequestEntityTooLarge
        if time.monotonic() > deadline:
            raise RequestTimeout("the body came too slowly")
    return b"".join(parts)


def hang_up(peers: set[str], before: dict[str, _Seen]) -> dict[str, _Seen]:
    """Shut down this process's connections with ``peers`` on which nothing moves.

    The HTTP server holds them and does not say which one a body comes from; so it is told by
    what arrives: nothing for longer than a request takes, or twice in a row less than a request
    has. ``before`` is what the last look saw; return the same for the next one.
    """
    seen = {}
    for name, connection in _connections(peers):
        # A connection may end while it is looked at.
        with suppress(OSError):
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
            (silent,) = struct.unpack_from("=I", info, _LAST_DATA)
            (received,) = struct.unpack_from("=Q", info, _RECEIVED)
            last = before.get(name)
            trickles = last is not None and 0 < received - last.received < TRICKLE
            seen[name] = _Seen(received, trickles)
            if silent >= STALLED_MS or (trickles and last is not None and last.trickled):
                connection.shutdown(socket.SHUT_RDWR)
    return seen


def _connections(peers: set[str]) -> Iterator[tuple[str, socket.socket]]:
    """Give the connections with ``peers`` that came in: to a port that is listened on."""
    ports = {
        other.getsockname()[1]
        for _, other in _sockets()
        if other.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    }
    for name, other in _sockets():
        with suppress(OSError):
            if other.getsockname()[1] in ports and other.getpeername()[0] in peers:
                yield name, other


def _sockets() -> Iterator[tuple[str, socket.socket]]:
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            name = str(descriptor.readlink())
            if not name.startswith("socket:"):
                continue
            duplicate = socket.socket(fileno=dup(int(descriptor.name)))
        except OSError:
            continue  # it is gone
        with duplicate:
            if duplicate.family != socket.AF_UNIX:
                yield name, duplicate
