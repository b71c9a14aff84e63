"""The HTTP server: listening, worker processes, stopping."""

import multiprocessing
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from errno import EADDRINUSE, EEXIST
from functools import partial
from pathlib import Path
from typing import Any

from granian._granian import (
    ASGIWorker,
    CallbackScheduler,
    ListenerSpec,
    UnixListenerSpec,
    WorkerSignal,
)
from granian._signals import set_main_signals
from granian.constants import HTTPModes, Interfaces, RuntimeModes, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.common import WORKERS_METHODS
from granian.server.mp import MPServer, WorkerProcess

from authserver.core.errors import Refused
from authserver.runtime.settings import bracketed
from authserver.runtime.shared_memory import ENVIRON, Shared
from authserver.web.server import drain
from authserver.web.server.asgi import EventLoop
from authserver.web.server.connections import Connections
from authserver.web.server.gateway import Gateway
from authserver.web.server.tls import Certificate, watch

BACKLOG = 1024
CONNECTIONS = 1024
"""At a time, all workers together; fewer where there are not the descriptors for them."""
OTHER_DESCRIPTORS = 128
"""What a worker may need for something else. If it had none left, it could accept nobody."""
HEADER_TIMEOUT_MS = 10_000
# Request line and headers together; 12 KiB of scopes may be three times as long when encoded.
HEADER_BYTES = 128 * 1024
STOP_TIMEOUT = 30
# What new workers are given to start, and old ones to answer whoever is connected.
STARTING_SECONDS = 3.0
LEAVING_SECONDS = HEADER_TIMEOUT_MS / 1000

# The server's own log lines go where ours go.
_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen: a Unix socket if there is one, else a host and a port.

    ``mode`` is the Unix socket's permissions, ``chosen_with`` what an operator chooses it with.
    """

    host: str
    port: int
    unix_socket: Path | None = None
    mode: int = 0o660
    chosen_with: str = "--host and --port"

    def url(self, scheme: str) -> str:
        if self.unix_socket is not None:
            return f"unix:{self.unix_socket}"
        return f"{scheme}://{bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A place to listen on; with a ``certificate`` TLS is served there."""

    place: Place
    certificate: Certificate | None = None

    @property
    def url(self) -> str:
        return self.place.url("https" if self.certificate else "http")

    @property
    def tls(self) -> tuple[Any, ...]:
        """Return what Granian takes of TLS: 1.2 and 1.3."""
        minimum, certificate = str(SSLProtocols.tls12), self.certificate
        if certificate is None:
            return (False, None, None, None, minimum, None, [], False)
        # Granian's own way to say it would resolve the paths, which lead nowhere.
        path, clients = certificate.held, certificate.held_clients
        return (True, path, path, None, minimum, clients, [], clients is not None)


@dataclass(frozen=True, slots=True)
class Serving:
    """What a worker has: a gateway for each listener, and a bound on connections or none."""

    gateways: Sequence[Gateway]
    connections: Connections | None = None


def run(
    listeners: Sequence[Listener],
    workers: int,
    load: Callable[[], Serving],
    listening: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight finish.

    ``load`` makes what takes the requests, in each worker; ``listening`` is called once the sockets
    are there. A new certificate is served by new workers.

    Raises:
        Refused: one of the addresses cannot be listened on.
    """
    # What this process holds open, its workers hold too.
    multiprocessing.set_start_method("fork", force=True)
    with ExitStack() as held:
        for listener in listeners:
            _require_free(listener.place, held)
    place = listeners[0].place
    shared = Shared.make()
    os.environ[ENVIRON] = shared.path
    server = _Server(
        "authserver.web.app",
        address=place.host,
        port=place.port,
        uds=place.unix_socket,
        uds_permissions=place.mode,
        interface=Interfaces.ASGI,
        runtime_mode=RuntimeModes.st,
        workers=workers,
        backlog=BACKLOG,
        backpressure=_connections_each(workers, len(listeners)),
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
    server.listen_on(listeners)
    server.on_startup(listening)
    # Workers are told only once they know what to do.
    signal.signal(drain.STOP, signal.SIG_IGN)
    _let_starting_workers_stop()
    loaded: Any = lambda: (load(), server.others)  # noqa: E731
    server.serve(_work, target_loader=loaded, wrap_loader=False)


def _connections_each(workers: int, listeners: int) -> int:
    """Return how many connections a worker accepts at a time on each of its listeners."""
    wanted = CONNECTIONS // workers
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors != resource.RLIM_INFINITY:
        wanted = min(wanted, (descriptors - OTHER_DESCRIPTORS) // listeners)
    return max(1, wanted)


@WorkerProcess.wrap_target  # type: ignore[untyped-decorator]
def _work(
    number: int,
    loaded: tuple[Serving, "Sequence[_Other]"],
    first: Any,  # noqa: ANN401 - as all that Granian hands on from itself to itself
    pipe: object,
    _loop: object,
    mode: RuntimeModes,
    *settings: Any,  # noqa: ANN401
) -> None:
    """Run one worker: Granian's ASGI worker for each listener, without asyncio."""
    *threads, _task, version, http1, http2, websockets, files, _log, tls, _scope, metrics = settings
    serving, others = loaded
    places = [(first, tls), *(((None, other.holder), other.tls) for other in others)]
    stopping, stopped = [WorkerSignal() for _ in places], [threading.Event() for _ in places]
    for signalled, event in zip(stopping, stopped, strict=True):
        signalled.add_cb(event.set)
    _stop_when_told(stopping)
    # Its stub has not all that it takes.
    make: Any = ASGIWorker
    kept = []
    for gateway, (sock, tls), signalled in zip(serving.gateways, places, stopping, strict=True):
        worker = make(
            number, sock, pipe, *threads, version, http1, http2, websockets, files, *tls, metrics
        )
        loop = EventLoop()
        scheduler: Any = CallbackScheduler(loop, gateway, None, None, None)  # type: ignore[call-arg]
        scheduler._schedule_fn = gateway  # noqa: SLF001 - its one way to be told
        serve = getattr(worker, WORKERS_METHODS[mode][(sock[0] or sock[1]).is_uds()])
        serve(scheduler, loop, signalled)
        gateway.start()
        kept.append((worker, scheduler))
    drain.limit_writing()
    if serving.connections is not None:
        *_, at_once = threads
        serving.connections.leave_half_of(at_once)
        serving.connections.start()
    for event in stopped:
        event.wait()


def _stop_when_told(stopping: Sequence[WorkerSignal]) -> None:
    """Have SIGTERM and SIGINT stop this worker, however often they come.

    Whoever presses Ctrl-C twice sends three of them, and what Granian has no room for any more it
    waits with for ever, while no thread can go on.
    """
    told = False

    def tell(*_: object) -> None:
        nonlocal told
        if not told:
            told = True
            for signalled in stopping:
                signalled.set()

    set_main_signals(tell)  # type: ignore[no-untyped-call]


class _Other:
    """A socket that is listened on beside the server's own; all workers accept from it."""

    def __init__(self, listener: Listener) -> None:
        place = self._place = listener.place
        self.tls = listener.tls
        spec: Any = (
            ListenerSpec(place.host, place.port, BACKLOG)
            if place.unix_socket is None
            else UnixListenerSpec(str(place.unix_socket), BACKLOG, place.mode)
        )
        self.holder = spec.build()
        self._socket = socket.socket(fileno=self.holder.get_fd())
        # Whoever comes before the first worker listens waits for it.
        self._socket.listen(BACKLOG)

    def close(self) -> None:
        self._socket.close()
        if self._place.unix_socket is not None:
            self._place.unix_socket.unlink(missing_ok=True)


class _Server(MPServer):
    """Granian, but for what it has no settings for."""

    others: Sequence[_Other] = ()
    _listeners: Sequence[Listener] = ()
    _certificates: Sequence[Certificate] = ()

    def listen_on(self, listeners: Sequence[Listener]) -> None:
        """Listen there, the first place being the server's own.

        New workers take over when there is a new certificate.
        """
        self._listeners, self.ssl_ctx = listeners, listeners[0].tls
        found = {id(it.certificate): it.certificate for it in listeners if it.certificate}
        self._certificates = list(found.values())
        if self._certificates:
            renewed = partial(os.kill, os.getpid(), signal.SIGHUP)
            self.on_startup(lambda: watch(self._certificates, renewed))

    def _init_shared_socket(self) -> None:
        super()._init_shared_socket()  # type: ignore[no-untyped-call]
        own_queues: Any = self._ssp
        if self._certificates and own_queues is not None:
            # A worker with a queue of its own would take with it those who wait there.
            self._shd: Any = own_queues.build()
            self._sso = socket.socket(fileno=self._shd.get_fd())
            self._ssp = None
        self.others = [_Other(listener) for listener in self._listeners[1:]]

    def _drop_shared_socket(self) -> None:
        super()._drop_shared_socket()  # type: ignore[no-untyped-call]
        for other in self.others:
            other.close()

    def _reload(
        self, spawn_target: Callable[..., None], target_loader: Callable[[], object]
    ) -> None:
        """Have new workers take over.

        The old ones first stop accepting: when they stop altogether they hang up on whoever is
        connected and has not sent its request yet.
        """
        self.reload_signal = False
        self.main_loop_interrupt.clear()
        before, self.wrks = self.wrks, []
        self._spawn_workers(spawn_target, target_loader)  # type: ignore[no-untyped-call]
        self.main_loop_interrupt.wait(STARTING_SECONDS)
        for worker in before:
            worker.interrupt_by_parent = True
            if self._sso is not None and worker.inner.is_alive():
                os.kill(worker.inner.pid, drain.STOP)
        self.main_loop_interrupt.wait(LEAVING_SECONDS)
        for worker in before:
            worker.inner.terminate()
        for worker in before:
            worker.inner.join(STOP_TIMEOUT)
            worker.inner.kill()


def _require_free(place: Place, held: ExitStack) -> None:
    """Check that nobody listens there: the server's sockets would share the place with it.

    The place is taken until ``held`` is closed, so that nothing else is chosen for it.
    """
    try:
        if place.unix_socket is not None:
            _require_no_server(place.unix_socket)
            return
        family, kind, protocol, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        probe = held.enter_context(socket.socket(family, kind, protocol))
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)
    except OSError as error:
        raise Refused(
            f"cannot listen on {place.url('http').removeprefix('http://')}: "
            f"{error.strerror or error}; choose another with {place.chosen_with}"
        ) from None


def _require_no_server(path: Path) -> None:
    """Remove the socket of a server that was killed.

    Raises:
        OSError: somebody listens there, or it is no socket, or it cannot be made there.
    """
    if path.exists() and not path.is_socket():
        raise OSError(EEXIST, "it is there and no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except FileNotFoundError:
            pass
        else:
            raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(path))
    path.unlink()


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
