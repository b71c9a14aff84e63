"""``authserver serve``."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from authserver.cli.context import Context, pass_context
from authserver.cli.data_dir import alone
from authserver.cli.init import configured_password, set_up
from authserver.cli.lazy_modules import load_all
from authserver.cli.output import called
from authserver.core.commands import called_as, shell_command
from authserver.core.errors import NotReady, StoreFull
from authserver.core.names import the_registry
from authserver.db import schema, space
from authserver.runtime import logs, process
from authserver.runtime.metrics import listener as metrics_listeners
from authserver.web import wiring as wirings
from authserver.web.server import http_server, listener, tls, worker

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from authserver.runtime.metrics.listener import MetricsListener
    from authserver.runtime.settings import Settings


@click.command("serve")
@click.option("--host", metavar="H", help="Address to listen on; otherwise AUTHSERVER_HOST.")
@click.option(
    "--port",
    metavar="P",
    type=click.IntRange(1, 65535),
    help="Port to listen on; otherwise AUTHSERVER_PORT.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, 256),
    help="Worker processes; otherwise AUTHSERVER_WORKERS, or one for each processor.",
)
@click.option(
    "--init",
    "initialise",
    is_flag=True,
    help="Set up first if nothing is there, as init does; the administrator's password comes from "
    "AUTHSERVER_ADMIN_PASSWORD_FILE.",
)
@click.option("--upgrade", is_flag=True, help="Bring the store's schema to head first.")
@pass_context
def command(
    context: Context,
    host: str | None,
    port: int | None,
    workers: int | None,
    initialise: bool,
    upgrade: bool,
) -> None:
    """Serve registry tokens until SIGTERM.

    Requests in flight finish. With --init and --upgrade several replicas may start at once: one
    does the work.
    """
    # Requests are answered in threads, which must not load the same module at once.
    load_all()
    # The log is read later, and elsewhere.
    click.get_current_context().with_resource(called_as(called(absolute=True)))
    chosen = context.settings
    logs.configure(chosen.log_format)
    _make_space(context)
    if initialise:
        _set_up(context)
    if upgrade:
        _upgrade(context)
    host, port = host or chosen.host, port or chosen.port
    workers = workers or chosen.workers or process.available_processors()
    with context.read():
        pass
    wiring = wirings.wire(chosen)
    snapshot = wiring.state.current.snapshot
    if snapshot.issuer != chosen.issuer:
        _log().warning(
            f"AUTHSERVER_ISSUER is not the store's issuer: {snapshot.issuer} stays in force",
            issuer=snapshot.issuer,
        )
    if chosen.public_port not in (None, port):
        _log().warning(
            f"the realm {chosen.realm} names another port of this machine than {port}, which is "
            "listened on: set AUTHSERVER_PUBLIC_URL",
            realm=chosen.realm,
            port=port,
        )
    for warning in chosen.contradictions(host):
        _log().warning(warning)
    # Connections must not be shared with the worker processes that are made from this one.
    wiring.store.engine.dispose()
    context.store.engine.dispose()
    worker.spare_the_collector()
    listeners = _listeners(chosen, host, port)
    where = dict(zip(("listening", "administration"), (it.url for it in listeners), strict=False))
    console = chosen.console_url
    realm = f"the realm {chosen.realm}" + (f", and the console at {console}" if console else "")
    with _metrics_listener(chosen) as metrics:
        certificates = [it.certificate for it in listeners if it.certificate]
        http_server.run(
            listeners,
            workers,
            partial(worker.worker, worker.WorkerInheritance(snapshot, metrics, certificates)),
            lambda: _log().info(
                f"serving tokens on {' and '.join(where.values())} for {realm}",
                **where,
                **({} if console is None else {"console": console}),
                realm=chosen.realm,
                workers=workers,
            ),
        )
    _log().info("stopped")


def _log() -> FilteringBoundLogger:
    log: FilteringBoundLogger = structlog.get_logger()
    return log


def _make_space(context: Context) -> None:
    """Let go of the reserve of an embedded store that is too full to be read: workers prune it."""
    store = context.store
    if store.file is None or not store.file.exists():
        return
    try:
        with store.read() as session:
            schema.current(session.connection())
    except StoreFull as error:
        _log().error("there is no space to read the store", error=str(error))
        space.reserve_of(store).release()
    except NotReady:
        # The next look tells why.
        return


def _listeners(chosen: Settings, host: str, port: int) -> list[listener.Listener]:
    """Return the public listener, and that of the administration if it has its own."""
    mode = int(chosen.unix_socket_mode, 8)
    setting = "AUTHSERVER_UNIX_SOCKET" if chosen.unix_socket else "--host and --port"
    certificate = _certificate(chosen.tls_files)
    place = listener.Address(host, port, chosen.unix_socket, mode, setting)
    public = listener.Listener(place, certificate)
    match chosen.admin_place:
        case None:
            return [public]
        case Path() as path:
            place = listener.Address("", 0, path, mode, setting="AUTHSERVER_ADMIN_LISTEN")
            return [public, listener.Listener(place)]
        case admin_host, admin_port:
            place = listener.Address(admin_host, admin_port, setting="AUTHSERVER_ADMIN_LISTEN")
            if chosen.admin_tls_files != chosen.tls_files or chosen.admin_client_ca_file:
                certificate = _certificate(chosen.admin_tls_files, chosen.admin_client_ca_file)
            return [public, listener.Listener(place, certificate)]


def _certificate(
    files: tuple[Path, Path] | None, clients: Path | None = None
) -> tls.Certificate | None:
    return tls.Certificate(*files, clients) if files else None


def _metrics_listener(
    chosen: Settings,
) -> AbstractContextManager[MetricsListener | None]:
    if chosen.metrics_address is None:
        return nullcontext()
    return metrics_listeners.metrics_listener(*chosen.metrics_address)


def _set_up(context: Context) -> None:
    chosen = context.settings
    password = configured_password(chosen)
    if not set_up(context, chosen.admin, chosen.registry, password):
        return
    data_dir = str(chosen.data_dir.absolute())
    _log().info(
        f"set up a store in {data_dir}, with {the_registry(chosen.registry)}",
        data_dir=data_dir,
        registry=chosen.registry,
    )
    if password is None:
        passwd = shell_command("user", "passwd", operand=chosen.admin)
        _log().warning(
            f"the administrator has no password yet; give it one with `{passwd}`",
            admin=chosen.admin,
        )


def _upgrade(context: Context) -> None:
    context.require_database()
    with alone(context):
        before, after = context.upgrade()
    if before != after:
        _log().info(
            f"upgraded the store's schema from {before} to {after}", before=before, after=after
        )
