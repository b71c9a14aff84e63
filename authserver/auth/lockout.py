"""The lockout: how many failed logins there may be, and the tarpit for those refused.

What is counted are different wrong passwords. Clients try one twice, and a machine with an old
password tries it for ever: the same one from the same address counts once in a window. Unknown
names count as others do. Every count belongs to an address, so nobody is locked out from
elsewhere. The tarpit answers refused logins late, on some of the threads only; where these are all
taken, at once.
"""

import hmac
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from limits import RateLimitItem, RateLimitItemPerSecond

from authserver.auth.rate_limits import Counts
from authserver.core.addresses import household
from authserver.core.errors import TooManyAttempts
from authserver.runtime.concurrency import Places
from authserver.runtime.metrics.counters import Observations

MINUTE, HOUR = 60, 3600
ADDRESS_HOURLY, ACCOUNT_HOURLY = 5, 3
"""Times what is allowed in a minute: whoever goes on and on has to wait longer."""

CHEAP_TRIES = 100
"""Tries in an hour that are compared with remembered passwords while no other is checked."""

GUEST_FOR = 30 * 24 * 3600
LIMITS_REMEMBERED = 10_000


@dataclass(frozen=True)
class Limit:
    """What is allowed in one window of time."""

    each_password: RateLimitItem
    per_address: RateLimitItem
    per_account: RateLimitItem

    @classmethod
    def within(cls, seconds: int, per_address: int, per_account: int) -> "Limit":
        return cls(
            RateLimitItemPerSecond(1, seconds, "password"),
            RateLimitItemPerSecond(per_address, seconds, "address"),
            RateLimitItemPerSecond(per_account, seconds, "account"),
        )


def limits(per_address: int, per_account: int) -> tuple[Limit, ...]:
    """Return the limits for so many failures a minute."""
    return (
        Limit.within(MINUTE, per_address, per_account),
        Limit.within(HOUR, per_address * ADDRESS_HOURLY, per_account * ACCOUNT_HOURLY),
    )


_cheap = RateLimitItemPerSecond(CHEAP_TRIES, HOUR, "cheap")


_guest = RateLimitItemPerSecond(1, GUEST_FOR, "guest")


@dataclass
class Guesses:
    """Counts passwords that were wrong. What it keeps are HMACs under ``key``.

    ``key`` is the same in all processes that share the counts.
    """

    counts: Counts
    limits: tuple[Limit, ...]
    key: bytes = field(repr=False)
    monotonic: Callable[[], float] = time.monotonic
    observations: Observations = field(default_factory=Observations, repr=False)
    _until: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _all_until: float = field(default=0.0, init=False)

    def require_few(self, address: str, name: str, *, exists: bool) -> None:
        """Check that a password may be checked; ``exists`` tells whether an account has the name.

        Raises:
            TooManyAttempts: too many from this address, or with this name from it, were wrong.
        """
        home, account = self._home(address), self._account(address, name)
        now = self.monotonic()
        # A flood that is being refused is not worth counting, and must not cost much.
        by_home, by_account = self._until.get(home, now), self._until.get(account, now)
        if by_home <= now and by_account <= now:
            by_home = now + max(self._wait(limit.per_address, home) for limit in self.limits)
            by_account = now + max(self._wait(limit.per_account, account) for limit in self.limits)
        until = max(by_home, by_account)
        if until > now:
            # Names that nobody has are made up without end: all of an address have one count.
            self.counts.local.hit(_cheap, account if exists else home)
            self.observations.limits.append("address" if by_home == until else "account")
            raise TooManyAttempts(math.ceil(until - now))

    def _wait(self, item: RateLimitItem, who: str) -> int:
        wait = self.counts.wait(item, who)
        if wait:
            self._remember_limit(who, self.monotonic() + wait)
        return wait

    def _remember_limit(self, who: str, until: float) -> None:
        if len(self._until) >= LIMITS_REMEMBERED:
            self._until.clear()
        self._until[who] = max(until, self._until.get(who, until))
        self._all_until = max(until, self._all_until)

    def welcome(self, address: str, name: str) -> None:
        """Note a login that was good."""
        self.counts.local.hit(_guest, self._account(address, name))

    def is_guest(self, address: str, name: str) -> bool:
        """Whether this name has logged in from this address before, as far as is known here."""
        return bool(self.counts.local.wait(_guest, self._account(address, name)))

    def count(self, address: str, name: str, password: str) -> None:
        """Count a password that was wrong."""
        home, account = self._home(address), self._account(address, name)
        guess = self._id("guess", household(address), name, password)
        for limit in self.limits:
            if self.counts.hit(limit.each_password, guess):
                self.counts.hit(limit.per_address, home)
                self.counts.hit(limit.per_account, account)

    def may_be_remembered(self, address: str, name: str) -> bool:
        """Whether a remembered password is good enough.

        It is, also while no other is checked; but not for whoever then tries on and on, and would
        find it in the end. While nobody is limited here this costs one look at the clock.
        """
        if self.monotonic() >= self._all_until:
            return True
        return not self.counts.local.wait(_cheap, self._account(address, name))

    def _home(self, address: str) -> str:
        return self._id("home", household(address))

    def _account(self, address: str, name: str) -> str:
        return self._id("account", household(address), name)

    def _id(self, *parts: str) -> str:
        # With lengths: names and passwords may hold whatever would separate them.
        message = b"".join(
            len(raw).to_bytes(4) + raw
            for raw in (part.encode("utf-8", "surrogatepass") for part in parts)
        )
        return hmac.digest(self.key, message, sha256).hex()


@dataclass
class Holding:
    """Holds each login that is refused unchecked for ``seconds``."""

    places: Places
    seconds: float = 1.0
    sleep: Callable[[float], None] = time.sleep

    def hold(self, client: str) -> None:
        """Wait, if there is a place; ``client`` is the address that is refused."""
        with self.places.take(client) as free:
            if free:
                self.sleep(self.seconds)
