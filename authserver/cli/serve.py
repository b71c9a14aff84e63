"""``authserver serve``."""

import os
import socket
from typing import Any

import click
import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from authserver import logs
from authserver.cli.context import Context, pass_context
from authserver.cli.init import alone, configured_password, set_up
from authserver.core.errors import Refused
from authserver.db import schema
from authserver.web.app import wire

BACKLOG = 1024
THREADS = 8
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

log = structlog.get_logger()


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
    """Serve registry tokens until SIGTERM; requests in flight finish.

    With --init and --upgrade several replicas may start at once: one does the work.
    """
    chosen = context.settings
    logs.configure(chosen.log_format)
    if initialise:
        _set_up(context)
    if upgrade:
        _upgrade(context)
    host, port = host or chosen.host, port or chosen.port
    workers = workers or chosen.workers or len(os.sched_getaffinity(0))
    with context.read():
        pass
    wiring = wire(chosen)
    if wiring.live.current.snapshot.issuer != chosen.issuer:
        log.warning(
            "AUTHSERVER_ISSUER is not the store's issuer, which stays in force",
            issuer=wiring.live.current.snapshot.issuer,
        )
    # Connections must not be shared with the worker processes that are made from this one.
    wiring.store.engine.dispose()
    context.store.engine.dispose()
    _require_free(host, port)
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
    server.on_startup(
        lambda: log.info(
            "serving",
            listening=f"http://{_bracketed(host)}:{port}",
            realm=chosen.realm,
            workers=workers,
        )
    )
    server.serve()
    log.info("stopped")


def _set_up(context: Context) -> None:
    chosen = context.settings
    password = configured_password(chosen)
    if not set_up(context, chosen.admin, chosen.registry, password):
        return
    log.info("set up", data_dir=str(chosen.data_dir.absolute()), registry=chosen.registry)
    if password is None:
        log.warning("the administrator has no password: authserver user passwd", admin=chosen.admin)


def _upgrade(context: Context) -> None:
    context.require_database()
    with alone(context.settings.data_dir):
        before, after = schema.upgrade(context.store.engine)
    if before != after:
        log.info("upgraded the schema", before=before, after=after)


def _bracketed(host: str) -> str:
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
            f"cannot listen on {_bracketed(host)}:{port}: {error.strerror or error}; "
            "choose another with --host and --port"
        ) from None
