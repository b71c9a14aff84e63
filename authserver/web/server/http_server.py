"""The HTTP server: Granian, its limits, its worker processes, stopping.

``cli/serve`` calls :func:`run`. Two modules can carry it out: ``granian_worker`` uses private parts
of Granian and is fast, ``granian_public`` uses what Granian documents. The second serves where an
installed Granian has other private parts than the ones that we know.
"""

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import structlog
from granian import __version__ as granian_version
from granian.constants import HTTPModes, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels

from authserver.runtime.shared_memory import ENVIRON, SharedMemory
from authserver.web.server import drain
from authserver.web.server.listener import Listener, reserved
from authserver.web.server.worker import Handlers

BACKLOG = 1024
CONNECTIONS = 1024
"""At a time, all workers together; fewer where there are not the descriptors for them."""
OTHER_DESCRIPTORS = 128
"""What a worker may need for something else. If it had none left, it could not accept anybody."""
HEADER_TIMEOUT_MS = 10_000
# Request line and headers together; 12 KiB of scopes may be three times as long when encoded.
HEADER_BYTES = 128 * 1024

# The server's own log lines go where ours go.
_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}

log = structlog.get_logger()


def run(
    listeners: Sequence[Listener],
    workers: int,
    load: Callable[[], Handlers],
    on_listening: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight finish.

    Each worker calls ``load`` for what handles its requests. ``on_listening`` is called once the
    sockets are there. New workers serve a new certificate.

    Raises:
        Refused: one of the addresses cannot be listened on.
    """
    # Workers share what this process has open and has read.
    multiprocessing.set_start_method("fork", force=True)
    with reserved(listeners):
        pass
    shared = SharedMemory.make()
    os.environ[ENVIRON] = shared.path
    # A new worker ignores this signal until it has a handler.
    signal.signal(drain.STOP, signal.SIG_IGN)
    _let_starting_workers_stop()
    options = _options(workers, len(listeners))
    _implementation().serve(listeners, options, load, on_listening)


def _implementation() -> ModuleType:
    """Return the module that serves with this Granian."""
    try:
        from authserver.web.server import granian_worker  # noqa: PLC0415
    except (ImportError, AttributeError) as error:
        from authserver.web.server import granian_public  # noqa: PLC0415

        log.warning(
            "this version of Granian is not one that authserver was tested with: tokens are "
            "served more slowly, through Granian's public interface; see docs/deploying.md",
            granian=granian_version,
            difference=str(error),
        )
        return granian_public
    return granian_worker


def _options(workers: int, listeners: int) -> dict[str, Any]:
    """Return Granian's arguments for limits and processes, in both ways of serving."""
    return {
        "runtime_mode": RuntimeModes.st,
        "workers": workers,
        "backlog": BACKLOG,
        "backpressure": _connections_each(workers, listeners),
        "http": HTTPModes.http1,
        "http1_settings": HTTP1Settings(
            header_read_timeout=HEADER_TIMEOUT_MS, max_buffer_size=HEADER_BYTES
        ),
        "websockets": False,
        "respawn_failed_workers": True,
        "workers_kill_timeout": drain.STOP_TIMEOUT,
        "log_dictconfig": _LOGGING,
        "log_level": LogLevels.error,
    }


def _connections_each(workers: int, listeners: int) -> int:
    """Return how many connections a worker accepts at a time on each of its listeners."""
    wanted = CONNECTIONS // workers
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors != resource.RLIM_INFINITY:
        wanted = min(wanted, (descriptors - OTHER_DESCRIPTORS) // listeners)
    return max(1, wanted)


def _let_starting_workers_stop() -> None:
    """Let a SIGTERM end a worker that has no handlers of its own yet.

    Until then it has this process's, which would swallow the signal. Python forgets across a fork
    which signals are pending, so they wait until the worker's handlers are reset.
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
