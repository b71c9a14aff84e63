"""Reading bodies: within a time, and by a part of the threads only.

The HTTP server hands a body over as it arrives, so a slow client would hold the thread that reads
it. Some threads are always left for requests without a body, and a client that is too slow is
hung up on.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from authserver.core.errors import NotReady

SECONDS = 10.0
LOOK_EVERY = 1.0

Peer = tuple[str, int]


@dataclass
class Bodies:
    """Watches over the bodies that are being read in this process."""

    at_once: int
    seconds: float = SECONDS
    _reading: dict[int, tuple[float, Peer]] = field(default_factory=dict, init=False)

    @contextmanager
    def reading(self, peer: Peer) -> Iterator[None]:
        """Read the body that comes from ``peer`` inside this block.

        Raises:
            NotReady: too many others are being read.
        """
        if len(self._reading) >= self.at_once:
            raise NotReady("too many bodies are being read: clients are slow")
        thread = threading.get_ident()
        self._reading[thread] = time.monotonic() + self.seconds, peer
        try:
            yield
        finally:
            del self._reading[thread]

    def start(self) -> None:
        """Start the thread that hangs up on slow clients."""
        threading.Thread(target=self._watch, name="bodies", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_EVERY)
            now = time.monotonic()
            for deadline, peer in list(self._reading.values()):
                if deadline < now:
                    hang_up(peer)


def peer(environ: Mapping[str, Any]) -> Peer:
    """Return the other end of a request's connection."""
    return environ.get("REMOTE_ADDR", ""), int(environ.get("REMOTE_PORT") or 0)


def hang_up(peer: Peer) -> None:
    """Shut down this process's connection with ``peer``, which the HTTP server holds."""
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            duplicate = socket.socket(fileno=os.dup(int(descriptor.name)))
        except OSError:
            continue  # no socket, or gone
        with duplicate:
            try:
                if duplicate.getpeername()[:2] == peer:
                    duplicate.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
