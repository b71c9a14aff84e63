"""A limit of connections by address: closes the newest of an address that has too many.

Granian has no such limit. ``worker`` starts it in each worker.
"""

import math
import os
import socket
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

import structlog

from authserver.core.addresses import household
from authserver.runtime.periodic import PeriodicThread

LOOK_EVERY = 0.25
SAID_EVERY = 60.0

log = structlog.get_logger()


@dataclass
class Connections:
    """Closes the newest connections of an address that has more than ``each`` to this process.

    Addresses that ``trusts`` accepts have no limit: proxies have many clients.
    """

    each: int
    trusts: Callable[[str], bool]
    monotonic: Callable[[], float] = time.monotonic
    _ports: set[int] = field(default_factory=set, init=False)
    # By inode, in the order in which they were first seen.
    _known: dict[int, int] = field(default_factory=dict, init=False)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1), init=False)
    _said_at: float = field(default=-math.inf, init=False)

    def leave_half_of(self, at_once: int) -> None:
        """Let no address have more than half of all connections that there may be."""
        self.each = min(self.each, max(1, at_once // 2))

    def start(self) -> None:
        """Start the thread that looks."""
        PeriodicThread("connections", LOOK_EVERY, self.look).start()

    def look(self) -> None:
        """Look at the connections, and end those that are too many."""
        descriptors = os.listdir("/proc/self/fd")  # noqa: PTH208 - a hundredth of what follows
        if len(descriptors) <= self.each:
            return
        known: dict[int, int] = {}
        clients = defaultdict[str, list[tuple[int, int, int]]](list)
        # A new descriptor has the lowest free number: mostly the higher, the newer.
        for descriptor in sorted(map(int, descriptors)):
            with suppress(OSError), _held(descriptor) as (connection, inode):
                client = self._client(connection)
                if client is not None:
                    known[inode] = self._known.get(inode) or next(self._numbers)
                    clients[client].append((known[inode], descriptor, inode))
        self._known = known
        for client, found in clients.items():
            if len(found) > self.each:
                self._say(client)
            for _, descriptor, inode in sorted(found)[self.each :]:
                _end(descriptor, inode)

    def _client(self, connection: socket.socket) -> str | None:
        """Return the client of an accepted connection; None if the connection does not count."""
        here = connection.getsockname()
        # It is a Unix socket, and a proxy is behind it.
        if not isinstance(here, tuple):
            return None
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self._ports.add(here[1])
            return None
        if here[1] not in self._ports:
            return None
        peer = connection.getpeername()[0].partition("%")[0]
        return None if self.trusts(peer) else household(peer)

    def _say(self, client: str) -> None:
        now = self.monotonic()
        if now - self._said_at < SAID_EVERY:
            return
        self._said_at = now
        log.warning(
            "too many connections from an address, of which the newest are closed: if it is a "
            "proxy, name it in AUTHSERVER_TRUSTED_PROXIES; AUTHSERVER_CONNECTIONS_PER_ADDRESS is "
            "the limit; this is said once a minute",
            address=client,
            at_once=self.each,
        )


@contextmanager
def _held(descriptor: int) -> Iterator[tuple[socket.socket, int]]:
    """Duplicate a socket's descriptor for the block: the HTTP server may close its own.

    Raises:
        OSError: the socket is gone, or the descriptor is not a socket.
    """
    own = os.dup(descriptor)
    status = os.fstat(own)
    if not stat.S_ISSOCK(status.st_mode):
        os.close(own)
        raise OSError
    # Any family will do here, and naming one saves a system call.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=own) as found:
        yield found, status.st_ino


def _end(descriptor: int, inode: int) -> None:
    """Close a connection that is still open."""
    with suppress(OSError), _held(descriptor) as (connection, found):
        if found == inode:
            connection.shutdown(socket.SHUT_RDWR)
