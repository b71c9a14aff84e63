"""The HTTP server: listening, worker processes, stopping."""

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from authserver.core.errors import Refused
from authserver.shared import ENVIRON, Shared

BACKLOG = 1024
THREADS = 96
HEADER_TIMEOUT_MS = 10_000
# Request line and headers together; 12 KiB of scopes may be three times as long when encoded.
HEADER_BYTES = 128 * 1024
STOP_TIMEOUT = 30

# The server's own log lines go where ours go.
_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}


def run(host: str, port: int, workers: int, listening: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight finish.

    ``listening`` is called once the socket is there.

    Raises:
        Refused: the address cannot be listened on.
    """
    _require_free(host, port)
    shared = Shared.make()
    os.environ[ENVIRON] = shared.path
    server = Granian(
        "authserver.web.app:worker",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        factory=True,
        workers=workers,
        blocking_threads=THREADS,
        backlog=BACKLOG,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADER_TIMEOUT_MS, max_buffer_size=HEADER_BYTES
        ),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_TIMEOUT,
        log_dictconfig=_LOGGING,
        log_level=LogLevels.error,
    )
    server.on_startup(listening)
    _let_starting_workers_stop()
    server.serve()


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _require_free(host: str, port: int) -> None:
    """Check that nobody listens there: the server's sockets would share the port with it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise Refused(
            f"cannot listen on {bracketed(host)}:{port}: {error.strerror or error}; "
            "choose another with --host and --port"
        ) from None


def _let_starting_workers_stop() -> None:
    """Let a SIGTERM end a worker that has no handlers of its own yet.

    Until then it has this process's, which would swallow the signal; and Python forgets what is
    pending across a fork, so it must wait until the worker's are reset.
    """
    stop = (signal.SIGTERM, signal.SIGINT)

    def free(*, worker: bool) -> None:
        if worker:
            for number in stop:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stop)

    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, stop),
        after_in_parent=lambda: free(worker=False),
        after_in_child=lambda: free(worker=True),
    )
