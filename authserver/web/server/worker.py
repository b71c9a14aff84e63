"""One worker process: what it inherits, and what it starts."""

import gc
import multiprocessing.util
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from authserver.db.snapshot import Snapshot
from authserver.runtime import logs, process, settings
from authserver.runtime.metrics.counters import MAX_WAITING, Observations
from authserver.runtime.metrics.listener import MetricsListener
from authserver.web import cors, health
from authserver.web.app import create_administration, create_app
from authserver.web.server import drain, thread_priority
from authserver.web.server.ambiguity import WITH_SLASHES
from authserver.web.server.connections import Connections
from authserver.web.server.gateway import Gateway
from authserver.web.server.metrics_reporter import Reporter
from authserver.web.server.tls import Certificate
from authserver.web.token import HEADERS, PATHS
from authserver.web.wiring import Wiring, now, wire

# New objects until the collector runs. Requests leave little garbage.
GARBAGE_AFTER = 5_000


def _gateways(wiring: Wiring) -> list[Gateway]:
    """Return a gateway for each listener, the public one first."""
    gateways = [gateway_over(wiring)]
    if wiring.settings.admin_listen is not None:
        client_address = wiring.client_address_at_administration
        administration = create_administration(wiring)
        gateways.append(
            Gateway(administration, frozenset(), (), client_address.of_request, (WITH_SLASHES,))
        )
    return gateways


def gateway_over(wiring: Wiring) -> Gateway:
    """Return the gateway in front of the public application."""
    prefixes, client_address = ("", wiring.settings.path_prefix or ""), wiring.client_address
    return Gateway(
        create_app(wiring).wsgi_app,
        frozenset(prefix + path for prefix in prefixes for path in PATHS),
        (*HEADERS, *client_address.naming, *(cors.HEADERS if wiring.settings.cors_origins else ())),
        client_address.of_request,
        tuple(prefix + WITH_SLASHES for prefix in prefixes),
    )


def spare_the_collector() -> None:
    """Exclude all objects that exist now from garbage collection: most of them stay.

    The collector would also write to them, and workers share only memory that is not written.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)


@dataclass(frozen=True)
class WorkerInheritance:
    """What a worker inherits from the process that forks it.

    Workers share the memory of ``snapshot``, and read only later changes from the store.
    """

    snapshot: Snapshot
    metrics: MetricsListener | None = None
    certificates: Sequence[Certificate] = ()


@dataclass(frozen=True, slots=True)
class Handlers:
    """What handles one worker's requests: a gateway for each listener, the public one first."""

    gateways: Sequence[Gateway]
    connections: Connections | None = None

    def start(self, connections: int) -> None:
        """Start the threads of a worker that listens, and accepts so many ``connections``."""
        for gateway in self.gateways:
            gateway.start()
        drain.limit_writing()
        if self.connections is not None:
            self.connections.leave_half_of(connections)
            self.connections.start()


def worker(inherited: WorkerInheritance) -> Handlers:
    """Start one worker's parts and return its handlers; the server calls this in each worker."""
    process.end_with_parent()
    process.keep_memory_private()
    drain.stop_when_told()
    chosen = settings.load(os.environ).settings
    logs.configure(chosen.log_format)
    observations = Observations(MAX_WAITING) if inherited.metrics else None
    wiring = wire(chosen, observations, inherited.snapshot)
    spare_the_collector()
    # In this order: a thread inherits its nice value from its creator.
    wiring.issuer.backends.hashing.start()
    thread_priority.give_way()
    wiring.start()
    # Worker processes end without the interpreter's own exit handlers.
    multiprocessing.util.Finalize(None, wiring.stop, exitpriority=10)
    if inherited.metrics is not None:
        _report(wiring, inherited.metrics, inherited.certificates)
    return Handlers(_gateways(wiring), _connections(wiring))


def _connections(wiring: Wiring) -> Connections | None:
    each = wiring.settings.connections_per_address
    return Connections(each, wiring.client_address.is_proxy) if each else None


def _report(wiring: Wiring, metrics: MetricsListener, certificates: Sequence[Certificate]) -> None:
    reporter = Reporter(
        f"{os.getpid()}-{secrets.token_hex(4)}",
        metrics.sheets,
        wiring.maintenance,
        wiring.observations,
        wiring.issuer.backends.lockout.counts,
        now,
        min((certificate.ends for certificate in certificates), default=None),
    )
    reporter.report()
    reporter.start()
    metrics.serve(lambda: health.readiness(wiring.maintenance))
    # After the records are written: the last report counts those that were lost.
    multiprocessing.util.Finalize(None, reporter.stop, exitpriority=5)
