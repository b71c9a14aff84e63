"""The state that requests are answered from: read from the store, replaced as a whole.

Requests only read :attr:`StateCache.current`. A thread refreshes it twice a second, so a change
that any process makes is in force here within a second.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Self

from sqlalchemy.orm import Session

from authserver.audit.journal import Journal
from authserver.core.errors import AuthserverError, NotReady
from authserver.core.names import the_registry
from authserver.db import schema, snapshot
from authserver.db.snapshot import Snapshot
from authserver.db.store import Store
from authserver.keys import registry_keys, signing_keys
from authserver.keys.header_modes import signer_of
from authserver.keys.jose import Signer
from authserver.keys.private_keys import Safe
from authserver.keys.signing_keys import Ending
from authserver.registry import published_keys
from authserver.registry.published_keys import PublishedKeys

STALE_AFTER = 10.0
LOOK_WAITS = 2.0
SCHEMA_EVERY = 2.0
KEYS_EVERY = 3600.0
CLOSED_KEYS_EVERY = 10.0
MAX_SKEW = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class OpenKeys:
    """The keys that sign, opened, and those that registries should trust.

    ``own`` has the signers of registries with keys of their own, by service, or why a key cannot
    be opened. ``published`` is by service as well; None is for all registries.
    """

    leaf: Signer
    own: Mapping[str, Signer | NotReady]
    published: Mapping[str | None, PublishedKeys]
    endings: tuple[Ending, ...]
    basis: object
    read_at: float

    @classmethod
    def read(cls, session: Session, safe: Safe, basis: object, now: float, at: datetime) -> Self:
        """Read and open the keys; ``at`` is the store's time.

        Raises:
            NotReady: there is no signing key, or it does not open.
        """
        return cls(
            leaf=signer_of(signing_keys.load_leaf(session, safe)),
            own=registry_keys.signers(session, safe),
            published=published_keys.by_registry(session, at),
            endings=signing_keys.endings_of(session),
            basis=basis,
            read_at=now,
        )

    def are_current(self, basis: object, now: float) -> bool:
        """Whether these are still the keys to serve with; ``basis`` changes with the store's."""
        # Without a change in the store, a retired key ceases to be published, and the file of a
        # key that could not be opened may be brought.
        is_closed = any(isinstance(signer, NotReady) for signer in self.own.values())
        every = CLOSED_KEYS_EVERY if is_closed else KEYS_EVERY
        return basis is self.basis and now - self.read_at < every


@dataclass(frozen=True, slots=True)
class AuthState:
    """One version of the store with its keys open; ``read_at`` is when the store last agreed.

    ``store_time`` is the store's clock at that moment, and ``skew`` how far ours was ahead of it.
    A ``stale`` state may differ from the store, which cannot be reached.
    """

    snapshot: Snapshot
    keys: OpenKeys
    read_at: float
    store_time: datetime
    skew: timedelta
    stale: bool = False

    @property
    def signer(self) -> Signer:
        """Return the signer of registries without a key of their own."""
        return self.keys.leaf

    def signer_of(self, service: str) -> Signer:
        """Return the signer of a registry's tokens.

        Raises:
            NotReady: the registry's own key cannot be opened.
        """
        signer = self.keys.own.get(service, self.keys.leaf)
        if isinstance(signer, NotReady):
            raise signer
        return signer

    @property
    def warnings(self) -> list[str]:
        """Return which keys end soon, and which registries' own keys cannot sign."""
        closed = [
            f"no tokens for {the_registry(service)}: {signer}"
            for service, signer in self.keys.own.items()
            if isinstance(signer, NotReady)
        ]
        return closed + [e.warning for e in self.keys.endings if e.is_near(self.store_time)]

    def require_clock(self) -> None:
        """Check that this machine's clock agrees with the store's.

        Raises:
            NotReady: the two differ by more than MAX_SKEW.
        """
        if trouble := clock_trouble(self.skew):
            raise NotReady(trouble)


def clock_trouble(skew: timedelta) -> str | None:
    """Return what to tell the operator of a clock that is so far ahead of the store's."""
    if abs(skew) <= MAX_SKEW:
        return None
    seconds = f"{skew.total_seconds():+.0f} s"
    return f"this machine's clock is {seconds} off the store's: synchronise both by NTP"


@dataclass
class StateCache:
    """Keep the latest state.

    ``monotonic`` is a clock in seconds that never goes back. Without the store, requests are
    answered from a state that is up to ``max_staleness`` seconds old; 0 means not at all.
    ``trouble`` says why the last look at the store failed, ``schema_error`` why this version
    cannot use the store's schema.
    """

    store: Store
    safe: Safe
    journal: Journal
    max_staleness: float
    monotonic: Callable[[], float]
    trouble: str | None = None
    schema_error: str | None = None
    _state: AuthState | None = None
    _schema_read_at: float = -math.inf
    _refreshing: Lock = field(default_factory=Lock, repr=False)

    @property
    def age(self) -> float:
        """Return for how many seconds the state may have differed from the store."""
        return math.inf if self._state is None else self.monotonic() - self._state.read_at

    @property
    def stale(self) -> bool:
        """Whether the store cannot be reached: a look at it failed, or does not come to an end."""
        return self.trouble is not None or self.age > self._fresh_for

    @property
    def _fresh_for(self) -> float:
        return min(STALE_AFTER, self.max_staleness or STALE_AFTER)

    @property
    def current(self) -> AuthState:
        """Return the state to answer from.

        Raises:
            NotReady: it is older than ``max_staleness`` allows, or nothing can be recorded.
        """
        state, fresh_for = self._state, self._fresh_for
        if self.journal.full:
            raise NotReady("neither the store nor the spool takes records of token requests")
        if state is None:
            raise NotReady("the store cannot be reached")
        age = self.monotonic() - state.read_at
        if self.trouble is None and age <= fresh_for:
            return state
        if not self.max_staleness or age > self.max_staleness:
            raise NotReady("the store cannot be reached")
        return replace(state, stale=True)

    @property
    def latest(self) -> AuthState | None:
        """Return the last state, however old: to report it, never to answer from it."""
        return self._state

    def current_with(self, is_known: Callable[[Snapshot], bool]) -> AuthState:
        """Return the state to answer from; refresh it first if the credential ``is_known`` not.

        A token may be shown in the second in which it was made by another process.

        Raises:
            NotReady: as :attr:`current`, or the store cannot be asked.
        """
        state = self.current
        if is_known(state.snapshot):
            return state
        if state.stale:
            raise NotReady("the store cannot be reached, and this token may be newer than this")
        self.refresh()
        return self.current

    def refresh(self, known: Snapshot | None = None) -> None:
        """Bring the state up to date. The first one is read on from ``known``, if that is given.

        Raises:
            NotReady: the store or the keys cannot be used; the old state stays, as a stale one.
        """
        now = self.monotonic()
        with self._session() as session:
            self._check_schema(session, now)
            time = self.store.time(session)
            skew = self.store.clock() - time
            keys = None
            if (state := self._state) is not None:
                known, keys = state.snapshot, state.keys
            if known is None:
                known = snapshot.load(session)
            elif state is None or known.version != snapshot.version(session):
                known = snapshot.follow(session, known)
            if keys is None or not keys.are_current(known.key_basis, now):
                self.safe = self.safe.still_of(session)
                keys = OpenKeys.read(session, self.safe, known.key_basis, now, time)
            self._state = AuthState(known, keys, now, time, skew)

    def _check_schema(self, session: Session, now: float) -> None:
        if now - self._schema_read_at < SCHEMA_EVERY:
            return
        self._schema_read_at = now
        try:
            schema.require_head(session.connection())
            self.schema_error = None
        except NotReady as error:
            self.schema_error = str(error)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """Open a session for one thread at a time, and note whether the store could be read."""
        # The query may hang on the network. One thread refreshes; others wait LOOK_WAITS at most.
        if not self._refreshing.acquire(timeout=LOOK_WAITS):
            raise NotReady("the store takes too long to answer")
        try:
            with self.store.read() as session:
                yield session
            self.trouble = None
        except AuthserverError as error:
            self.trouble = str(error)
            raise
        except Exception:
            # /readyz shows the trouble. A driver's message may name internals: it goes to the log.
            self.trouble = "the store cannot be used; the log says why"
            raise
        finally:
            self._refreshing.release()
