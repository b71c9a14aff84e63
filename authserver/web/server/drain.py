"""A worker's listening sockets: stop accepting, and limit the time for writing an answer.

Granian has no setting for either. ``worker`` and ``granian_worker`` use it.
"""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

STOP = signal.SIGUSR1
"""The signal that has a worker stop accepting."""


STOP_TIMEOUT = 30
"""Seconds after which a worker that was told to end is killed."""
WRITING_SECONDS = 20


def limit_writing() -> bool:
    """Have the kernel end a connection whose client reads nothing for WRITING_SECONDS.

    Return whether this process listens. Connections that are accepted from now on inherit the limit
    from their listener; those that were accepted before get it too.
    """
    listening = list(_listening())
    ports = set(map(_port, listening)) - {None}
    accepted = (each for each in _sockets() if _port(each) in ports)
    for descriptor in (*listening, *accepted):
        # It may be closed by now.
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as each:
            if each.family != socket.AF_UNIX:
                milliseconds = WRITING_SECONDS * 1000
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return bool(listening)


def _port(descriptor: int) -> int | None:
    """Return the port of a socket's own end; None for another kind of socket, or a closed one."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as found:
        here = found.getsockname()
        return here[1] if isinstance(here, tuple) else None
    return None


def stop_when_told() -> None:
    """Have STOP end accepting in this process, which shares its listeners with others."""
    signal.signal(STOP, lambda *_: stop())


def stop() -> None:
    """Replace each listener of this process by an idle one, to which nobody connects.

    Other processes keep theirs. Accepted connections are served on.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=0) as idle:
        # A thread that is woken must find nothing to accept, not an error.
        os.set_blocking(idle.fileno(), False)
        for descriptor in list(_listening()):
            if descriptor != idle.fileno():
                os.dup2(idle.fileno(), descriptor, inheritable=False)


def _listening() -> Iterator[int]:
    for descriptor in _sockets():
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as found:
            if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield descriptor


def _sockets() -> Iterator[int]:
    for entry in Path("/proc/self/fd").iterdir():
        # It may be gone by now.
        with suppress(OSError):
            if str(entry.readlink()).startswith("socket:"):
                yield int(entry.name)
