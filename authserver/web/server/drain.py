"""What a worker's listeners do that the HTTP server cannot be asked for.

They leave new connections to other workers, and set a time limit for writing answers.
"""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

STOP = signal.SIGUSR1
"""The signal by which a worker is told."""


WRITING_SECONDS = 20


def limit_writing() -> None:
    """Have the kernel end connections whose client takes nothing of an answer for so long.

    Connections that are accepted from now on have it from their listener.
    """
    for descriptor in list(_listening()):
        with socket.socket(fileno=os.dup(descriptor)) as listener:
            if listener.family != socket.AF_UNIX:
                milliseconds = WRITING_SECONDS * 1000
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def stop_when_told() -> None:
    """Have STOP end accepting in this process, which shares its listeners with others."""
    signal.signal(STOP, lambda *_: stop())


def stop() -> None:
    """Put a listener to which nobody connects in the place of each that this process has.

    The others go on with theirs; connections that were accepted are served on.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=0) as idle:
        # A thread that is woken must find nothing to accept, not an error.
        os.set_blocking(idle.fileno(), False)
        for descriptor in list(_listening()):
            if descriptor != idle.fileno():
                os.dup2(idle.fileno(), descriptor, inheritable=False)


def _listening() -> Iterator[int]:
    for entry in Path("/proc/self/fd").iterdir():
        # It may be gone by now.
        with suppress(OSError):
            descriptor = int(entry.name)
            if not str(entry.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as found:
                if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield descriptor
