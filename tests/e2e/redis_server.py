"""A Redis of our own, in which servers count wrong passwords together."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import programs
from tests.programs import Process, free_port, started
from tests.world import wait_until


@contextmanager
def redis(place: Path) -> Iterator[tuple[str, Process]]:
    """Run a Redis that keeps nothing on disk; give its URL."""
    programs.require("redis-server")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with started(command, place / "redis.log") as process:
        assert wait_until(lambda: _answers(port), 10), process.output()
        yield f"redis://127.0.0.1:{port}/0", process


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16) == b"+PONG\r\n"
    return False
