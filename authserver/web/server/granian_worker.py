"""Serving with private parts of Granian: its ASGI worker without asyncio, all listeners in each.

``http_server`` imports this module, and serves by ``granian_public`` if that raises an ImportError.
So everything private that we use of Granian stands here, and :func:`_require_known_parts` looks at
each of it: a part that is gone or takes other parameters is an ImportError.

What they give: 1.2 to 1.6 times as many token requests, since no coroutine stands between (11,800 a
second instead of 7,300 from two workers); several listeners in each worker; a renewed certificate
that costs no connection.
"""

import inspect
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from granian._granian import (
    ASGIWorker,
    CallbackScheduler,
    ListenerSpec,
    SocketHolder,
    UnixListenerSpec,
    WorkerSignal,
)
from granian._signals import set_main_signals
from granian.constants import Interfaces, RuntimeModes, SSLProtocols
from granian.server.common import WORKERS_METHODS
from granian.server.mp import MPServer, WorkerProcess

from authserver.web.server import drain
from authserver.web.server.listener import Listener
from authserver.web.server.tls import Certificate, watch
from authserver.web.server.worker import Handlers

# What new workers are given to start, and old ones to answer the clients that are connected.
STARTING_SECONDS = 3.0
LEAVING_SECONDS = 10.0

_WORKER_CLASS = (
    "worker_id sock ipc threads blocking_threads py_threads py_threads_idle_timeout backpressure "
    "http_mode http1_opts http2_opts websockets_enabled static_files ssl_enabled ssl_cert ssl_key "
    "ssl_key_password ssl_protocol_min ssl_ca ssl_crl ssl_client_verify metrics"
)
_WORKER_FUNCTION = (
    "worker_id callback sock ipc loop runtime_mode runtime_threads runtime_blocking_threads "
    "blocking_threads blocking_threads_idle_timeout backpressure task_impl http_mode "
    "http1_settings http2_settings websockets static_path log_access_fmt ssl_ctx scope_opts metrics"
)
# What we call or override, and the names of its parameters.
_PARAMETERS: tuple[tuple[Callable[..., Any], str], ...] = (
    (ASGIWorker, _WORKER_CLASS),
    (CallbackScheduler, "event_loop cb aio_task aio_tenter aio_texit"),
    (ListenerSpec, "host port backlog"),
    (UnixListenerSpec, "bind backlog permissions"),
    (set_main_signals, "interrupt_handler reload_handler"),
    (WorkerProcess.wrap_target, "target"),
    # Ours gets the arguments of Granian's own.
    (MPServer._spawn_asgi_worker, _WORKER_FUNCTION),  # noqa: SLF001
    (MPServer._init_shared_socket, "self"),  # noqa: SLF001
    (MPServer._drop_shared_socket, "self"),  # noqa: SLF001
    (MPServer._spawn_workers, "self spawn_target target_loader"),  # noqa: SLF001
    (MPServer._reload, "self spawn_target target_loader"),  # noqa: SLF001
)
# Granian's functions, and the attributes that they use and we too.
_USED_ATTRIBUTES: tuple[tuple[Any, str], ...] = (
    (MPServer.__init__, "_ssp _shd wrks main_loop_interrupt"),
    (MPServer.build_ssl_context, "ssl_ctx"),
    (MPServer._serve_loop, "reload_signal _reload"),  # noqa: SLF001
    (MPServer._init_shared_socket, "_sso _shd"),  # noqa: SLF001
    (MPServer.shutdown, "_drop_shared_socket _stop_workers"),
    (MPServer._spawn_worker, "_ssp _shd _sso ssl_ctx"),  # noqa: SLF001
    (WorkerProcess.terminate, "interrupt_by_parent inner"),
)
_ATTRIBUTES: tuple[tuple[type, str], ...] = (
    (CallbackScheduler, "_schedule_fn"),
    (SocketHolder, "get_fd is_uds"),
    (WorkerSignal, "add_cb set"),
    (ASGIWorker, " ".join(WORKERS_METHODS[RuntimeModes.st].values())),
)


def _require_known_parts() -> None:
    """Check that Granian's private parts are those that this module was written for.

    Raises:
        ImportError: one is not.
    """
    for called, expected in _PARAMETERS:
        parameters = " ".join(inspect.signature(called).parameters)
        if parameters != expected:
            raise ImportError(f"{called.__qualname__} takes ({parameters}), not ({expected})")
    for function, names in _USED_ATTRIBUTES:
        if missing := set(names.split()).difference(function.__code__.co_names):
            raise ImportError(f"{function.__qualname__} does not use {', '.join(sorted(missing))}")
    for kind, names in _ATTRIBUTES:
        if missing := {name for name in names.split() if not hasattr(kind, name)}:
            raise ImportError(f"{kind.__qualname__} lacks {', '.join(sorted(missing))}")


_require_known_parts()


def serve(
    listeners: Sequence[Listener],
    options: dict[str, Any],
    load: Callable[[], Handlers],
    on_listening: Callable[[], None],
) -> None:
    """Serve as ``http_server.run`` says; every worker serves all listeners."""
    address = listeners[0].address
    server = _Server(
        "authserver.web.app",
        address=address.host,
        port=address.port,
        uds=address.unix_socket,
        uds_permissions=address.mode,
        interface=Interfaces.ASGI,
        **options,
    )
    server.listen_on(listeners)
    server.on_startup(on_listening)
    loader: Any = lambda: (load(), server.others)  # noqa: E731
    server.serve(_work, target_loader=loader, wrap_loader=False)


class EventLoop:
    """What Granian takes for asyncio's event loop: it carries out each call at once."""

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *arguments: object, **_context: object
    ) -> None:
        """Call back in the calling thread."""
        callback(*arguments)

    call_soon = call_soon_threadsafe


@WorkerProcess.wrap_target  # type: ignore[untyped-decorator]
def _work(
    number: int,
    loaded: tuple[Handlers, "Sequence[_OtherSocket]"],
    first: Any,  # noqa: ANN401 - as all that Granian passes from itself to itself
    pipe: object,
    _loop: object,
    mode: RuntimeModes,
    *settings: Any,  # noqa: ANN401
) -> None:
    """Run one worker: Granian's ASGI worker for each listener, without asyncio."""
    *threads, _task, version, http1, http2, websockets, files, _log, tls, _scope, metrics = settings
    handlers, others = loaded
    sockets = [(first, tls), *(((None, other.holder), other.tls) for other in others)]
    stopping, stopped = [WorkerSignal() for _ in sockets], [threading.Event() for _ in sockets]
    for signalled, event in zip(stopping, stopped, strict=True):
        signalled.add_cb(event.set)
    _stop_once(stopping)
    # Its stub lacks some of its parameters.
    make: Any = ASGIWorker
    # Granian holds neither of them.
    kept = []
    for gateway, (sock, tls), signalled in zip(handlers.gateways, sockets, stopping, strict=True):
        worker = make(
            number, sock, pipe, *threads, version, http1, http2, websockets, files, *tls, metrics
        )
        loop = EventLoop()
        scheduler: Any = CallbackScheduler(loop, gateway, None, None, None)  # type: ignore[call-arg]
        # The only way to have it call the gateway itself and not a coroutine.
        scheduler._schedule_fn = gateway  # noqa: SLF001
        run = getattr(worker, WORKERS_METHODS[mode][(sock[0] or sock[1]).is_uds()])
        run(scheduler, loop, signalled)
        kept.append((worker, scheduler))
    *_, connections = threads
    handlers.start(connections)
    for event in stopped:
        event.wait()


def _stop_once(stopping: Sequence[WorkerSignal]) -> None:
    """Have SIGTERM and SIGINT stop this worker, however often they come.

    Two times Ctrl-C in a terminal are three signals. Granian's WorkerSignal has no room for the
    third, and waits for ever while it holds the interpreter.
    """
    signalled_before = False

    def stop(*_: object) -> None:
        nonlocal signalled_before
        if not signalled_before:
            signalled_before = True
            for signalled in stopping:
                signalled.set()

    set_main_signals(stop)  # type: ignore[no-untyped-call]


def _tls(certificate: Certificate | None) -> tuple[Any, ...]:
    """Return what Granian takes of TLS: 1.2 and 1.3."""
    minimum = str(SSLProtocols.tls12)
    if certificate is None:
        return (False, None, None, None, minimum, None, [], False)
    # Its public options resolve paths, and these lead to memory.
    path, clients = certificate.held, certificate.held_clients
    return (True, path, path, None, minimum, clients, [], clients is not None)


class _OtherSocket:
    """A socket that is listened on beside the server's own; all workers accept from it."""

    def __init__(self, listener: Listener, backlog: int) -> None:
        address = self._address = listener.address
        self.tls = _tls(listener.certificate)
        spec: Any = (
            ListenerSpec(address.host, address.port, backlog)
            if address.unix_socket is None
            else UnixListenerSpec(str(address.unix_socket), backlog, address.mode)
        )
        self.holder = spec.build()
        self._socket = socket.socket(fileno=self.holder.get_fd())
        # Clients that come before the first worker listens wait in the queue.
        self._socket.listen(backlog)

    def close(self) -> None:
        self._socket.close()
        if self._address.unix_socket is not None:
            self._address.unix_socket.unlink(missing_ok=True)


class _Server(MPServer):
    """Granian's server, with several listeners, and a reload that loses no connection."""

    others: Sequence[_OtherSocket] = ()
    _listeners: Sequence[Listener] = ()
    _certificates: Sequence[Certificate] = ()

    def listen_on(self, listeners: Sequence[Listener]) -> None:
        """Listen there, the first being the server's own address.

        New workers take over when there is a new certificate.
        """
        self._listeners, self.ssl_ctx = listeners, _tls(listeners[0].certificate)
        by_id = {id(it.certificate): it.certificate for it in listeners if it.certificate}
        self._certificates = list(by_id.values())
        if self._certificates:
            renewed = partial(os.kill, os.getpid(), signal.SIGHUP)
            self.on_startup(lambda: watch(self._certificates, renewed))

    def _init_shared_socket(self) -> None:
        super()._init_shared_socket()  # type: ignore[no-untyped-call]
        own_queues: Any = self._ssp
        if self._certificates and own_queues is not None:
            # A worker that leaves would take along the clients that wait in a queue of its own.
            self._shd: Any = own_queues.build()
            self._sso = socket.socket(fileno=self._shd.get_fd())
            self._ssp = None
        self.others = [_OtherSocket(it, self.backlog) for it in self._listeners[1:]]

    def _drop_shared_socket(self) -> None:
        super()._drop_shared_socket()  # type: ignore[no-untyped-call]
        for other in self.others:
            other.close()

    def _reload(
        self, spawn_target: Callable[..., None], target_loader: Callable[[], object]
    ) -> None:
        """Have new workers take over.

        The old ones stop accepting first. When they stop altogether they close connections whose
        request has not come yet.
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
            worker.inner.join(drain.STOP_TIMEOUT)
            worker.inner.kill()
