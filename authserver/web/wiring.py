"""The parts of one serving process, and how they are put together."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path

import structlog

from authserver.audit.capacity import Capacity
from authserver.audit.journal import Journal
from authserver.audit.log_writer import SecondCopy
from authserver.audit.recorder import trail_of
from authserver.audit.spool import Spool, Spooler
from authserver.auth.bcrypt_queue import Hashing, at_a_time
from authserver.auth.credentials import Backends
from authserver.auth.issuer import Issuer
from authserver.auth.lockout import Lockout, Tarpit, limits
from authserver.auth.lockout_log import LockoutLog
from authserver.auth.passwords import Passwords
from authserver.auth.rate_limits import SharedStorage, counts
from authserver.auth.state import StateCache
from authserver.auth.usage import CredentialUses, Rehashes
from authserver.core.errors import NotReady
from authserver.db import schema
from authserver.db.snapshot import Snapshot
from authserver.db.space import reserve_of
from authserver.db.store import Store, open_store
from authserver.keys.master_key import MasterKey
from authserver.keys.private_keys import Safe
from authserver.runtime.concurrency import Slots
from authserver.runtime.metrics.counters import Observations
from authserver.runtime.settings import Settings
from authserver.runtime.shared_memory import SharedMemory
from authserver.web.bodies import Bodies
from authserver.web.client_address import ClientAddress
from authserver.web.proxies import ProxyWatch
from authserver.web.server.gateway import THREADS
from authserver.web.server.maintenance import Maintenance

log = structlog.get_logger()


# Shares of the threads for requests that wait: some always stay free for requests that have neither
# a body nor a password for bcrypt.
BODIES_AT_ONCE = THREADS // 4
BODIES_EACH = THREADS // 12
PASSWORDS_AT_ONCE = THREADS // 3
PASSWORDS_EACH = THREADS // 6
HELD_AT_ONCE = THREADS // 3


now = partial(datetime.now, UTC)


@dataclass(frozen=True)
class Wiring:
    """All parts of one serving process."""

    settings: Settings
    store: Store
    state: StateCache
    maintenance: Maintenance
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
        watch = self.maintenance.proxies
        return ClientAddress(proxies, header, unix_socket, self.observations, watch)

    def start(self) -> None:
        """Start the threads, and write back what earlier processes left in the spool."""
        with _spool_in_doubt():
            self.maintenance.spool.take_over()
        self.maintenance.start()
        self.spooler.start()
        self.second_copy.start()

    def stop(self) -> None:
        """End the threads; what the store does not take goes to the spool."""
        self.issuer.journal.finish()
        self.maintenance.stop()
        self.spooler.stop()
        self.second_copy.stop()


def wire(
    settings: Settings, observations: Observations | None = None, known: Snapshot | None = None
) -> Wiring:
    """Put the parts together and load the first state; without ``observations`` none are kept.

    Of the state only what changed since the snapshot ``known`` is read.

    Raises:
        NotReady: the store, its schema, the master key or the signing key cannot be used.
    """
    trail = trail_of(
        settings.master_key_path,
        settings.audit_log,
        settings.audit_log_ca_file,
        settings.audit_log_size << 20,
        settings.min_free << 20,
    )
    store = open_store(settings.store_url, now, settings.pool, trail)
    with store.read() as session:
        schema.require_head(session.connection())
        schema.require_initialised(session)
        safe = Safe.of(session, settings.master_key_path, settings.private_key_dir)
        # A missing key must be an error now, not at the first record.
        trail.key(session)
    journal = Journal(safe.master.derive("names in records"), now)
    uses, rehashes = CredentialUses(timedelta(days=settings.refresh_token_days)), Rehashes()
    state = StateCache(store, safe, journal, settings.max_staleness, time.monotonic)
    shared = SharedMemory.join()
    observations = observations or Observations()
    lockouts = LockoutLog(_lockout(settings, shared, safe.master, observations))
    maintenance = Maintenance(
        state,
        uses,
        rehashes,
        _spool(settings),
        _capacity(settings, store),
        settings.token_record_days,
        ProxyWatch(SharedStorage(shared, time.monotonic)),
        lockouts,
    )
    state.refresh(known)
    # The other jobs are left to the thread: another writer may hold the store for longer than a
    # start should wait.
    maintenance.run("rotate")
    passwords = Passwords(
        settings.bcrypt_cost, settings.remember_passwords, time.monotonic, secrets.token_bytes(32)
    )
    hashing = Hashing(shared, at_a_time(), Slots(PASSWORDS_AT_ONCE, PASSWORDS_EACH))
    backends = Backends(
        passwords,
        uses,
        rehashes,
        hashing,
        lockouts.lockout,
        now,
        journal.hashed,
        observations,
        settings.second_factor,
        # Not the administrators' one, which may be elsewhere: everybody's pages are public.
        f"{settings.public_url}/console/",
    )
    ttl, random = settings.token_ttl, secrets.token_bytes
    issuer = Issuer(state, store, backends, journal, ttl, now, random, observations)
    spooler = Spooler(journal, maintenance.spool, lambda: maintenance.records_late)
    copy = SecondCopy(trail.outbox)
    return Wiring(settings, store, state, maintenance, issuer, new_bodies(), spooler, copy)


def _capacity(settings: Settings, store: Store) -> Capacity:
    max_bytes, min_free = settings.token_record_size << 20, settings.min_free << 20
    return Capacity(store, reserve_of(store), max_bytes, min_free, time.monotonic)


def _spool(settings: Settings) -> Spool:
    """Return the spool. The log says now if it cannot be used: without the store it is too late."""
    spool = Spool(settings.spool_path, settings.spool_size << 20)
    with _spool_in_doubt():
        spool.open()
    return spool


@contextmanager
def _spool_in_doubt() -> Iterator[None]:
    try:
        yield
    except NotReady as error:
        log.warning("no tokens will be issued while the store takes no records", error=str(error))


def _lockout(
    settings: Settings, shared: SharedMemory, master: MasterKey, observations: Observations
) -> Lockout:
    url = settings.limits_url.get_secret_value() if settings.limits_url else None
    allowed = limits(settings.failures_per_address, settings.failures_per_account)
    tarpit = Tarpit(Slots(HELD_AT_ONCE, HELD_AT_ONCE))
    key = master.derive("guesses")
    return Lockout(counts(shared, url), allowed, key, tarpit, observations=observations)


def new_bodies() -> Bodies:
    """Return what reads the bodies of one listener, a part of them at a time."""
    return Bodies(Slots(BODIES_AT_ONCE, BODIES_EACH))
