"""The application: everything is wired here."""

import ctypes
import multiprocessing.util
import os
import secrets
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Response, g

from authserver import logs, settings
from authserver.audit.outbox import Outbox
from authserver.credentials import Authenticator
from authserver.db import keys, schema
from authserver.db.store import Store, open_store
from authserver.db.trail import trail_of
from authserver.issuing import Issuer
from authserver.journal import Journal, Rehashes, Uses
from authserver.live import Live
from authserver.passwords import Passwords
from authserver.sealing import read_master_key
from authserver.settings import Settings
from authserver.web import errors, health, invitation, token
from authserver.web.address import ClientAddress
from authserver.web.api import serving
from authserver.web.api.callers import Callers
from authserver.web.api.operations import Parts
from authserver.web.bodies import MAX_BYTES, Bodies
from authserver.web.server import THREADS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Of the server's threads, so that there are always some for requests without a body.
BODIES_AT_ONCE = THREADS * 3 // 4
BODIES_EACH = THREADS // 4
PR_SET_PDEATHSIG = 1


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Wiring:
    """All parts of one serving process."""

    settings: Settings
    store: Store
    live: Live
    issuer: Issuer
    bodies: Bodies


def wire(chosen: Settings) -> Wiring:
    """Put the parts together and load the first state.

    Raises:
        NotReady: the store, its schema, the master key or the signing key cannot be used.
    """
    trail = trail_of(lambda: read_master_key(chosen.master_key_path), Outbox(chosen.audit_sink))
    store = open_store(chosen.store_url, now, trail)
    with store.read() as session:
        schema.require_head(session.connection())
        keys.require_initialised(session)
        master = read_master_key(chosen.master_key_path)
        keys.require_master_key(session, master)
        trail.key(session)
    journal = Journal(master.derive("names in records"))
    uses, rehashes = Uses(timedelta(days=chosen.refresh_token_days)), Rehashes()
    days = chosen.token_record_days
    live = Live(store, master, journal, uses, rehashes, days, time.monotonic)
    live.tick()
    passwords = Passwords(
        chosen.bcrypt_cost, chosen.remember_passwords, time.monotonic, secrets.token_bytes(32)
    )
    authenticator = Authenticator(passwords, uses, rehashes, now)
    issuer = Issuer(live, store, authenticator, journal, chosen.token_ttl, now, secrets.token_bytes)
    return Wiring(chosen, store, live, issuer, Bodies(BODIES_AT_ONCE, BODIES_EACH))


def create_app(wiring: Wiring) -> Flask:
    """Return the application over ``wiring``."""
    app = Flask("authserver.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    # Never a redirect: clients do not follow it everywhere.
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    errors.register(app)
    chosen = wiring.settings
    client_address = ClientAddress(chosen.trusted_proxies, chosen.proxy_header)
    token.register(app, wiring.issuer, client_address, wiring.bodies)
    invitation.register(app, wiring.store, client_address, wiring.bodies, chosen)
    callers = Callers(wiring.live, wiring.issuer.authenticator, wiring.issuer.journal)
    serving.register(app, Parts(chosen, wiring.store, callers), client_address, wiring.bodies)
    health.register(app, wiring.live)

    if chosen.path_prefix:
        app.wsgi_app = _without(chosen.path_prefix, app.wsgi_app)  # type: ignore[assignment,method-assign]

    @app.before_request
    def begin() -> None:
        g.request_id = secrets.token_hex(8)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.get("request_id", "")
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


def _without(prefix: str, inner: "WSGIApplication") -> "WSGIApplication":
    """Serve under ``prefix`` as well, for a proxy that leaves it in the path."""

    def outer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path.removeprefix(prefix)
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + prefix
        return inner(environ, start_response)

    return outer


def _end_with_parent() -> None:
    """Have the kernel stop this worker if its parent is killed: nobody would stop it otherwise."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def worker() -> Flask:
    """Return the application of one worker process; the server calls this in each of them."""
    _end_with_parent()
    chosen = settings.load(os.environ).settings
    logs.configure(chosen.log_format)
    wiring = wire(chosen)
    wiring.live.start()
    wiring.bodies.start()
    # Worker processes end without the interpreter's own exit handlers.
    multiprocessing.util.Finalize(None, wiring.live.stop, exitpriority=10)
    return create_app(wiring)
