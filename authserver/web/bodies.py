"""Reading bodies: within a time, and by a part of the threads only.

The HTTP server hands a body over as it arrives, so a slow client holds the thread that reads it.
Some threads are always left for requests without a body, one address gets only a few of the
others, and connections on which a late body stands still are shut down.
"""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import dup
from pathlib import Path

from authserver.core.errors import NotReady

SECONDS = 10.0
LOOK_EVERY = 1.0
STALLED_MS = 4000
TRICKLE = 200
"""Bytes in :data:`LOOK_EVERY`: less than any request has, so it must be a part of one."""

# In Linux's struct tcp_info: milliseconds since data came, and bytes that came in all.
_LAST_DATA, _RECEIVED, _INFO_BYTES = 52, 128, 136


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
    _reading: dict[int, _Reading] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @contextmanager
    def reading(self, peer: str, client: str) -> Iterator[None]:
        """Read a body inside this block; ``client`` is the address behind the connection's peer.

        Raises:
            NotReady: too many bodies are being read, from everybody or from that client.
        """
        thread = threading.get_ident()
        with self._lock:
            same = sum(other.client == client for other in self._reading.values())
            if len(self._reading) >= self.at_once or same >= self.at_once_each:
                raise NotReady("too many bodies are being read: clients are slow")
            self._reading[thread] = _Reading(time.monotonic() + self.seconds, peer, client)
        try:
            yield
        finally:
            del self._reading[thread]

    def start(self) -> None:
        """Start the thread that hangs up on slow clients."""
        threading.Thread(target=self._watch, name="bodies", daemon=True).start()

    def _watch(self) -> None:
        received: dict[str, int] = {}
        while True:
            time.sleep(LOOK_EVERY)
            now = time.monotonic()
            late = {other.peer for other in list(self._reading.values()) if other.deadline < now}
            received = hang_up(late, received) if late else {}


def hang_up(peers: set[str], before: dict[str, int]) -> dict[str, int]:
    """Shut down this process's connections with ``peers`` on which nothing moves.

    The HTTP server holds them and does not say which one a body comes from; so it is told by
    what arrives: nothing for a while, or less in a moment than a request has. ``before`` is what
    each connection had received at the last look; return the same for the next one.
    """
    received = {}
    for name, connection in _connections(peers):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        (silent,) = struct.unpack_from("=I", info, _LAST_DATA)
        (received[name],) = struct.unpack_from("=Q", info, _RECEIVED)
        came = received[name] - before.get(name, 0)
        if silent >= STALLED_MS or (name in before and 0 < came < TRICKLE):
            connection.shutdown(socket.SHUT_RDWR)
    return received


def _connections(peers: set[str]) -> Iterator[tuple[str, socket.socket]]:
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            name = str(descriptor.readlink())
            if not name.startswith("socket:"):
                continue
            with socket.socket(fileno=dup(int(descriptor.name))) as connection:
                if connection.family != socket.AF_UNIX and connection.getpeername()[0] in peers:
                    yield name, connection
        except OSError:
            continue  # it is gone, or is not connected
