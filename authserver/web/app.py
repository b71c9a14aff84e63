"""The application: everything is wired here."""

import ctypes
import gc
import multiprocessing.util
import os
import secrets
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Response, g, request

from authserver.audit.journal import Journal
from authserver.audit.log_writer import SecondCopy
from authserver.audit.recorder import trail_of
from authserver.audit.spool import Spool, Spooler
from authserver.auth.bcrypt_queue import Hashing, at_a_time
from authserver.auth.credentials import Authenticator
from authserver.auth.issuer import Issuer
from authserver.auth.lockout import Guesses, Holding, limits
from authserver.auth.passwords import Passwords
from authserver.auth.rate_limits import counts
from authserver.auth.state import Live
from authserver.auth.usage import Rehashes, Uses
from authserver.core.errors import NotReady
from authserver.db import schema
from authserver.db.snapshot import Snapshot
from authserver.db.store import Store, open_store
from authserver.keys import signing_keys
from authserver.keys.master_key import MasterKey
from authserver.keys.private_keys import Safe
from authserver.runtime import logs, process, settings
from authserver.runtime.concurrency import Places
from authserver.runtime.metrics.counters import MAX_WAITING, Observations
from authserver.runtime.metrics.listener import Scraped
from authserver.runtime.settings import Settings
from authserver.runtime.shared_memory import Shared
from authserver.web import api, errors, health, public_keys, request_ids
from authserver.web.bodies import MAX_BYTES, Bodies
from authserver.web.client_address import ClientAddress
from authserver.web.late import Late
from authserver.web.pages import invitation
from authserver.web.server import drain, thread_priority
from authserver.web.server.ambiguity import WITH_SLASHES, OneMeaning
from authserver.web.server.connections import Connections
from authserver.web.server.gateway import THREADS, Gateway
from authserver.web.server.http_server import Serving
from authserver.web.server.metrics_reporter import Reporter
from authserver.web.server.rate_limit import RateLimit, Rates
from authserver.web.server.tls import Certificate
from authserver.web.token import HEADERS, PATHS, Endpoint

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Of the threads for requests that wait, so that there are always some for those that neither have
# a body nor a password that is not remembered.
BODIES_AT_ONCE = THREADS // 4
BODIES_EACH = THREADS // 12
PASSWORDS_AT_ONCE = THREADS // 3
PASSWORDS_EACH = THREADS // 6
HELD_AT_ONCE = THREADS // 3
PR_SET_PDEATHSIG = 1
# How many objects there may be more before garbage is looked for, of which requests leave little.
GARBAGE_AFTER = 5_000

log = structlog.get_logger()


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
    spooler: Spooler
    second_copy: SecondCopy

    @property
    def observations(self) -> Observations:
        return self.issuer.observations

    @cached_property
    def client_address(self) -> ClientAddress:
        return self._client_address(unix_socket=self.settings.unix_socket is not None)

    @cached_property
    def client_address_at_administration(self) -> ClientAddress:
        return self._client_address(unix_socket=isinstance(self.settings.admin_place, Path))

    def _client_address(self, *, unix_socket: bool) -> ClientAddress:
        proxies, header = self.settings.trusted_proxies, self.settings.proxy_header
        return ClientAddress(proxies, header, unix_socket, self.observations)

    def start(self) -> None:
        """Start the threads, and write back what earlier processes left in the spool."""
        with _spool_in_doubt():
            self.live.spool.take_over()
        self.live.start()
        self.spooler.start()
        self.second_copy.start()

    def stop(self) -> None:
        """End the threads; what the store does not take goes to the spool."""
        self.issuer.journal.finish()
        self.live.stop()
        self.spooler.stop()
        self.second_copy.stop()


def wire(
    chosen: Settings, observations: Observations | None = None, known: Snapshot | None = None
) -> Wiring:
    """Put the parts together and load the first state; without ``observations`` none are kept.

    What is ``known`` of the state already is not read again.

    Raises:
        NotReady: the store, its schema, the master key or the signing key cannot be used.
    """
    trail = trail_of(chosen.master_key_path, chosen.audit_log, chosen.audit_log_ca_file)
    store = open_store(chosen.store_url, now, chosen.pool, trail)
    with store.read() as session:
        schema.require_head(session.connection())
        signing_keys.require_initialised(session)
        safe = Safe.of(session, chosen.master_key_path, chosen.private_key_dir)
        # Now, not at the first record.
        trail.key(session)
    journal = Journal(safe.master.derive("names in records"), now)
    uses, rehashes = Uses(timedelta(days=chosen.refresh_token_days)), Rehashes()
    live = Live(
        store,
        safe,
        journal,
        uses,
        rehashes,
        _spool(chosen),
        chosen.max_staleness,
        chosen.token_record_days,
        time.monotonic,
    )
    live.load(known)
    passwords = Passwords(
        chosen.bcrypt_cost, chosen.remember_passwords, time.monotonic, secrets.token_bytes(32)
    )
    shared = Shared.join()
    seen = observations or Observations()
    hashing = Hashing(shared, at_a_time(), Places(PASSWORDS_AT_ONCE, PASSWORDS_EACH))
    holding = Holding(Places(HELD_AT_ONCE, HELD_AT_ONCE))
    guesses = _guesses(chosen, shared, safe.master, seen)
    authenticator = Authenticator(passwords, uses, rehashes, hashing, holding, guesses, now, seen)
    ttl, random = chosen.token_ttl, secrets.token_bytes
    issuer = Issuer(live, store, authenticator, journal, ttl, now, random, seen)
    spooler = Spooler(journal, live.spool, lambda: live.records_late)
    return Wiring(chosen, store, live, issuer, _bodies(), spooler, SecondCopy(trail.outbox))


def _spool(chosen: Settings) -> Spool:
    """Return the spool. One that cannot be used is told now: without the store it is too late."""
    spool = Spool(chosen.spool_path, chosen.spool_size << 20)
    with _spool_in_doubt():
        spool.open()
    return spool


@contextmanager
def _spool_in_doubt() -> Iterator[None]:
    try:
        yield
    except NotReady as error:
        log.warning("no tokens will be issued while the store takes no records", error=str(error))


def _guesses(
    chosen: Settings, shared: Shared, master: MasterKey, observations: Observations
) -> Guesses:
    url = chosen.limits_url.get_secret_value() if chosen.limits_url else None
    allowed = limits(chosen.failures_per_address, chosen.failures_per_account)
    key = master.derive("guesses")
    return Guesses(counts(shared, url), allowed, key, observations=observations)


def create_app(wiring: Wiring) -> Flask:
    """Return the application over ``wiring``."""
    app, chosen = _flask(wiring), wiring.settings
    client_address = wiring.client_address
    hashing = wiring.issuer.authenticator.hashing
    invitation.register(app, wiring.store, client_address, wiring.bodies, hashing, chosen)
    health.register(app, wiring.live, client_address)
    public_keys.register(app, wiring.live)
    others = app.wsgi_app
    if chosen.admin_listen is None:
        others = Late(api.PREFIX, lambda: _api(wiring, client_address, wiring.bodies), others)
    endpoint = Endpoint(wiring.issuer, client_address, wiring.bodies, others)
    outer = _in_front(wiring, client_address, endpoint)
    if chosen.path_prefix:
        outer = _without(chosen.path_prefix, outer)
    app.wsgi_app = outer  # type: ignore[assignment,method-assign]
    return app


def create_administration(wiring: Wiring) -> "WSGIApplication":
    """Return the admin API alone, for a listener of its own, with its own bounds on bodies."""
    client_address, bodies = wiring.client_address_at_administration, _bodies()
    others = _flask(wiring).wsgi_app
    app = Late(api.PREFIX, lambda: _api(wiring, client_address, bodies), others)
    return _in_front(wiring, client_address, app)


def _in_front(
    wiring: Wiring, client_address: ClientAddress, app: "WSGIApplication"
) -> "WSGIApplication":
    """Return ``app`` behind what is in front of each: a rate limit, if there is to be one."""
    plain, rate = OneMeaning(app, wiring.observations), wiring.settings.requests_per_address
    if not rate:
        return plain
    return RateLimit(Rates(rate), client_address.of_request, wiring.observations, plain)


def _bodies() -> Bodies:
    return Bodies(Places(BODIES_AT_ONCE, BODIES_EACH))


def _gateways(wiring: Wiring) -> list[Gateway]:
    """Return what takes the requests of each listener, the public one first."""
    gateways = [gateway_over(wiring)]
    if wiring.settings.admin_listen is not None:
        client_address = wiring.client_address_at_administration
        administration = create_administration(wiring)
        gateways.append(
            Gateway(administration, frozenset(), (), client_address.of_request, (WITH_SLASHES,))
        )
    return gateways


def gateway_over(wiring: Wiring) -> Gateway:
    """Return what takes requests for the application over ``wiring``."""
    prefixes, client_address = ("", wiring.settings.path_prefix or ""), wiring.client_address
    return Gateway(
        create_app(wiring).wsgi_app,
        frozenset(prefix + path for prefix in prefixes for path in PATHS),
        (*HEADERS, client_address.environ_name),
        client_address.of_request,
        tuple(prefix + WITH_SLASHES for prefix in prefixes),
    )


def _api(wiring: Wiring, client_address: ClientAddress, bodies: Bodies) -> "WSGIApplication":
    # Its models take a good part of what a start takes.
    from authserver.web.api import router  # noqa: PLC0415
    from authserver.web.api.caller import Callers  # noqa: PLC0415
    from authserver.web.api.operations import Parts  # noqa: PLC0415

    app, authenticator = _flask(wiring), wiring.issuer.authenticator
    callers = Callers(wiring.live, authenticator, wiring.issuer.journal)
    parts = Parts(wiring.settings, wiring.store, callers, authenticator.hashing)
    router.register(app, parts, client_address, bodies)
    return app.wsgi_app


def _flask(wiring: Wiring) -> Flask:
    app = Flask("authserver.web", static_folder=None, template_folder="pages/templates")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    # Never a redirect: clients do not follow it everywhere.
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    errors.register(app)

    @app.before_request
    def begin() -> None:
        g.request_id = request_ids.begin()

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers.extend(request_ids.headers(g.get("request_id", "")))
        part = (request.endpoint or "none").partition(" ")[0]
        wiring.observations.responses.append((part, response.status_code))
        return response

    @app.teardown_request
    def let_go(_: BaseException | None) -> None:
        # Its traceback has the frames that hold the request, which holds it: garbage that would
        # stay until somebody looks for it.
        request.routing_exception = None

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


def spare_the_collector() -> None:
    """Leave what is loaded now out of garbage collection: it stays, and there is much of it.

    The collector would also write to all of it, and processes share only what nobody writes to.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)


@dataclass(frozen=True)
class Inherited:
    """What the workers of one server have from the process that makes them.

    They share the memory of its ``snapshot``, and read only what was altered since.
    """

    snapshot: Snapshot
    scraped: Scraped | None = None
    certificates: Sequence[Certificate] = ()


def worker(inherited: Inherited) -> Serving:
    """Return what takes one worker's requests; the server calls this in each of them."""
    _end_with_parent()
    process.keep_memory_private()
    drain.stop_when_told()
    chosen = settings.load(os.environ).settings
    logs.configure(chosen.log_format)
    observations = Observations(MAX_WAITING) if inherited.scraped else None
    wiring = wire(chosen, observations, inherited.snapshot)
    spare_the_collector()
    # In this order: a thread has its nice value from the one that makes it.
    wiring.issuer.authenticator.hashing.start()
    thread_priority.give_way()
    wiring.start()
    # Worker processes end without the interpreter's own exit handlers.
    multiprocessing.util.Finalize(None, wiring.stop, exitpriority=10)
    if inherited.scraped is not None:
        _report(wiring, inherited.scraped, inherited.certificates)
    return Serving(_gateways(wiring), _connections(wiring))


def _connections(wiring: Wiring) -> Connections | None:
    each = wiring.settings.connections_per_address
    return Connections(each, wiring.client_address.is_proxy) if each else None


def _report(wiring: Wiring, scraped: Scraped, certificates: Sequence[Certificate]) -> None:
    reporter = Reporter(
        f"{os.getpid()}-{secrets.token_hex(4)}",
        scraped.sheets,
        wiring.live,
        wiring.observations,
        wiring.issuer.authenticator.guesses.counts,
        now,
        min((certificate.ends for certificate in certificates), default=None),
    )
    reporter.report()
    reporter.start()
    scraped.serve(lambda: health.examined(wiring.live))
    # After the records are written, and what could not be is known.
    multiprocessing.util.Finalize(None, reporter.stop, exitpriority=5)
