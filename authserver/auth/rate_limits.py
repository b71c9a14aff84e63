"""Counts within windows of time: for all workers of a server, or for all replicas in Redis.

The lockout counts here. What a count means, and which limit it has, is known there.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from struct import Struct
from typing import TypeVar

import structlog
from limits import RateLimitItem
from limits.errors import ConfigurationError, StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from authserver.core.errors import Refused
from authserver.runtime import extras
from authserver.runtime.shared_memory import BYTES, LOCKS, SharedMemory

# One entry: the digest of the count's key, when its window ends, the count.
_ENTRY = Struct("=16sdI4x")
_WAYS = 8
_BUCKET = _ENTRY.size * _WAYS
_LOCK = LOCKS - 1

KINDS = ("password", "address", "account", "cheap", "guest", "proxies")
"""Kinds of counts: the namespaces of limits. Each has a part of the memory; the others share one.

A flood of one kind evicts counts of that kind alone.
"""
_PARTS = 8

ANSWERS_WITHIN = 0.5
TRIED_AGAIN_AFTER = 5.0

_T = TypeVar("_T")

log = structlog.get_logger()


class SharedStorage(Storage):
    """Counts in memory that all workers share. A kind whose part is full loses its oldest counts.

    ``clock`` is in seconds, the same in all processes.
    """

    STORAGE_SCHEME = None

    def __init__(self, shared: SharedMemory, clock: Callable[[], float]) -> None:
        super().__init__()
        self._shared = shared
        self._clock = clock

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count, and return the count; the first one begins a window of ``expiry`` seconds."""
        with self._shared.alone(_LOCK):
            place, ends, count = self._find(key)
            ends = ends or self._clock() + expiry
            _ENTRY.pack_into(self._shared.memory, place, _digest(key), ends, count + amount)
        return count + amount

    def get(self, key: str) -> int:
        """Return the count in the window that is open."""
        with self._shared.alone(_LOCK):
            return self._find(key)[2]

    def get_expiry(self, key: str) -> float:
        """Return when the window ends."""
        with self._shared.alone(_LOCK):
            return self._find(key)[1] or self._clock()

    def clear(self, key: str) -> None:
        """End the window, if one is open."""
        with self._shared.alone(_LOCK):
            place, ends, _ = self._find(key)
            if ends:
                _ENTRY.pack_into(self._shared.memory, place, b"", 0.0, 0)

    def check(self) -> bool:
        """Return whether it can be used: memory always can."""
        return True

    def reset(self) -> None:
        """Forget everything."""
        with self._shared.alone(_LOCK):
            self._shared.memory[:] = bytes(BYTES)

    def _find(self, key: str) -> tuple[int, float, int]:
        """Return the place of a key's count, when its window ends (0: it has none), the count."""
        digest, now = _digest(key), self._clock()
        buckets = BYTES // _PARTS // _BUCKET
        first = _BUCKET * (buckets * _part(key) + int.from_bytes(digest[:8]) % buckets)
        places = range(first, first + _BUCKET, _ENTRY.size)
        oldest, oldest_ends = first, math.inf
        for place in places:
            stored, ends, count = _ENTRY.unpack_from(self._shared.memory, place)
            if stored == digest and ends > now:
                return place, ends, count
            if ends < oldest_ends:
                oldest, oldest_ends = place, ends
        return oldest, 0.0, 0


def _part(key: str) -> int:
    kind = key.partition("/")[0]
    return KINDS.index(kind) if kind in KINDS else _PARTS - 1


def _digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Windows:
    """Counts in one storage; ``clock`` is the one by which it says when a window ends."""

    storage: Storage
    clock: Callable[[], float]

    def hit(self, item: RateLimitItem, who: str) -> bool:
        """Count; return whether it was still within the limit."""
        return FixedWindowRateLimiter(self.storage).hit(item, who)

    def wait(self, item: RateLimitItem, who: str) -> int:
        """Return the seconds until the limit leaves room again, 0 if it does."""
        limiter = FixedWindowRateLimiter(self.storage)
        if limiter.test(item, who):
            return 0
        left = limiter.get_window_stats(item, who).reset_time - self.clock()
        return min(max(math.ceil(left), 1), item.get_expiry())

    def clear(self, item: RateLimitItem, who: str) -> None:
        """End the window."""
        FixedWindowRateLimiter(self.storage).clear(item, who)


@dataclass
class Counts:
    """Counts in ``remote`` if there is one and it can be reached, otherwise in ``local``."""

    local: Windows
    remote: Windows | None = None
    monotonic: Callable[[], float] = time.monotonic
    _tried_again_at: float | None = field(default=None, init=False)

    @property
    def away(self) -> bool:
        """Whether there is a common store of counts and it cannot be reached."""
        return self._tried_again_at is not None

    def hit(self, item: RateLimitItem, who: str) -> bool:
        """Count; return whether it was still within the limit."""
        return self._ask(lambda windows: windows.hit(item, who))

    def wait(self, item: RateLimitItem, who: str) -> int:
        """Return the seconds until the limit leaves room again, 0 if it does."""
        return self._ask(lambda windows: windows.wait(item, who))

    def clear(self, item: RateLimitItem, who: str) -> None:
        """End the window."""
        self._ask(lambda windows: windows.clear(item, who))

    def _ask(self, question: Callable[[Windows], _T]) -> _T:
        again = self._tried_again_at
        if self.remote is None or (again is not None and self.monotonic() < again):
            return question(self.local)
        try:
            answer = question(self.remote)
        except StorageError as error:
            self._lost(error)
            return question(self.local)
        if again is not None:
            self._tried_again_at = None
            log.info("failed logins are counted for all replicas again")
        return answer

    def _lost(self, error: StorageError) -> None:
        if self._tried_again_at is None:
            log.error(
                "failed logins are counted by this server alone: the store that "
                "AUTHSERVER_LIMITS_URL names cannot be used; this is said once",
                error=str(error.storage_error),
            )
        self._tried_again_at = self.monotonic() + TRIED_AGAIN_AFTER


def counts(shared: SharedMemory, url: str | None) -> Counts:
    """Return counts in ``shared``, or in the Redis or Valkey at ``url``.

    Raises:
        Refused: the URL cannot be read, or its client is not installed.
    """
    local = Windows(SharedStorage(shared, time.monotonic), time.monotonic)
    return Counts(local, None if url is None else Windows(_remote(url), time.time))


def _remote(url: str) -> Storage:
    try:
        storage = storage_from_string(
            url,
            wrap_exceptions=True,
            socket_timeout=ANSWERS_WITHIN,
            socket_connect_timeout=ANSWERS_WITHIN,
            key_prefix="authserver",
        )
    except ConfigurationError:
        extra = "valkey" if url.startswith("valkey") else "redis"
        raise Refused(
            "AUTHSERVER_LIMITS_URL names a store whose client is not installed: "
            + extras.how_to_install(extra)
        ) from None
    except ValueError:
        # Its message may show a part of the password.
        raise Refused(
            "AUTHSERVER_LIMITS_URL cannot be read: it must be like redis://:PASSWORD@HOST:6379/0; "
            "in a password write @ as %40, : as %3A and / as %2F"
        ) from None
    return storage  # type: ignore[return-value]
