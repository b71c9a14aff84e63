"""The lockout: how many passwords may be wrong, and the tarpit for logins that it refuses.

Every check of a password is an :meth:`Lockout.attempt`. The lockout counts different wrong
passwords. Clients try one twice, and a machine with an old password tries it for ever: the same
password from the same address counts once in a window. Unknown names count as others do. Every
count belongs to an address, so no account can be locked out from elsewhere.

The tarpit answers refused logins late, so that an attacker cannot retry at full speed. It holds
some of the threads only; the logins beyond those it answers at once.
"""

import hmac
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from limits import RateLimitItem, RateLimitItemPerSecond

from authserver.auth.rate_limits import Counts
from authserver.core.addresses import household
from authserver.core.errors import Busy, TooManyAttempts
from authserver.runtime.concurrency import Slots
from authserver.runtime.metrics.counters import Observations

MINUTE, HOUR = 60, 3600
ADDRESS_HOURLY, ACCOUNT_HOURLY = 5, 3
"""Times what is allowed in a minute: a client that does not stop has to wait longer."""

CHEAP_TRIES = 100
"""Tries in an hour that are compared with remembered passwords while no other is checked."""

GUEST_FOR = 30 * 24 * 3600
LIMITS_REMEMBERED = 10_000


@dataclass(frozen=True)
class FailureLimit:
    """How many passwords may be wrong in one window of time."""

    each_password: RateLimitItem
    per_address: RateLimitItem
    per_account: RateLimitItem

    @classmethod
    def within(cls, seconds: int, per_address: int, per_account: int) -> "FailureLimit":
        return cls(
            RateLimitItemPerSecond(1, seconds, "password"),
            RateLimitItemPerSecond(per_address, seconds, "address"),
            RateLimitItemPerSecond(per_account, seconds, "account"),
        )


def limits(per_address: int, per_account: int) -> tuple[FailureLimit, ...]:
    """Return the limits for so many wrong passwords a minute."""
    return (
        FailureLimit.within(MINUTE, per_address, per_account),
        FailureLimit.within(HOUR, per_address * ADDRESS_HOURLY, per_account * ACCOUNT_HOURLY),
    )


_cheap = RateLimitItemPerSecond(CHEAP_TRIES, HOUR, "cheap")
_guest = RateLimitItemPerSecond(1, GUEST_FOR, "guest")


@dataclass(frozen=True, slots=True)
class Begun:
    """A lockout that began: of an address, or of one ``account`` there. ``until`` is monotonic."""

    key: str
    address: str
    account: str
    until: float


@dataclass
class Tarpit:
    """Holds each login that is refused unchecked for ``seconds``."""

    places: Slots
    seconds: float = 1.0
    sleep: Callable[[float], None] = time.sleep

    def hold(self, client: str) -> None:
        """Wait, if there is a place; ``client`` is the address that is refused."""
        with self.places.take(client) as has_place:
            if has_place:
                self.sleep(self.seconds)


@dataclass
class Lockout:
    """Refuses to check passwords for clients whose passwords were wrong too often.

    It keeps HMACs only, under ``key``, which all processes that share the counts have. ``began`` is
    called when a lockout is first met.
    """

    counts: Counts
    limits: tuple[FailureLimit, ...]
    key: bytes = field(repr=False)
    tarpit: Tarpit
    monotonic: Callable[[], float] = time.monotonic
    observations: Observations = field(default_factory=Observations, repr=False)
    began: Callable[[Begun], None] = field(default=lambda _: None, repr=False)
    _until: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _all_until: float = field(default=0.0, init=False)

    @contextmanager
    def attempt(
        self, client: str, name: str, *, exists: bool, shown: Callable[[], str] = str
    ) -> Iterator["Attempt"]:
        """Give one attempt to log in from the address ``client``.

        ``name`` is the account's id if it ``exists``, so that no later account of its name has its
        counts; otherwise it is the name that the client sent. ``shown`` returns what operators see.
        A block that ends without an error has proved the password: the account is a guest at this
        address from then on.

        Raises:
            TooManyAttempts: too many passwords from this address, or with this name from it, were
                wrong. The tarpit holds such a login, and one whose block raises Busy.
        """
        attempt = Attempt(self, client, name, exists=exists, shown=shown)
        try:
            attempt.require_few()
            yield attempt
        except (Busy, TooManyAttempts):
            self.tarpit.hold(client)
            raise
        self.counts.local.hit(_guest, attempt.account)

    def may_be_remembered(self, client: str, name: str) -> bool:
        """Whether a remembered password is good enough for the account with the id ``name``.

        It is, even while the lockout refuses to check others. A client that tries on and on then
        would find the password in the end, so after CHEAP_TRIES it is not. While no client is
        locked out, this costs one look at the clock.
        """
        if self.monotonic() >= self._all_until:
            return True
        attempt = Attempt(self, client, name, exists=True)
        return not self.counts.local.wait(_cheap, attempt.account)

    def until(self, now: float, who: str, items: list[RateLimitItem]) -> float:
        """Return when ``who`` is below all of these limits, ``now`` if that is so already."""
        wait = max(self.counts.wait(item, who) for item in items)
        if wait:
            if len(self._until) >= LIMITS_REMEMBERED:
                self._until.clear()
            self._until[who] = now + wait
            self._all_until = max(now + wait, self._all_until)
        return now + wait

    def remembered_until(self, now: float, who: str) -> float:
        """Return until when ``who`` is refused without a look at the counts."""
        return self._until.get(who, now)

    def lift(self, key: str, *, of_address: bool) -> None:
        """Forget the wrong passwords that were counted under a key."""
        for limit in self.limits:
            self.counts.clear(limit.per_address if of_address else limit.per_account, key)
        self.counts.local.clear(_cheap, key)
        self._until.pop(key, None)

    def hashed(self, *parts: str) -> str:
        """Return what a count of these parts is kept under."""
        # With lengths: a name or a password may hold any separator.
        message = b"".join(
            len(raw).to_bytes(4) + raw
            for raw in (part.encode("utf-8", "surrogatepass") for part in parts)
        )
        return hmac.digest(self.key, message, sha256).hex()


class Attempt:
    """One attempt to log in. Its counts are those of the client's address and of the name there."""

    def __init__(
        self,
        lockout: Lockout,
        client: str,
        name: str,
        *,
        exists: bool,
        shown: Callable[[], str] = str,
    ) -> None:
        self._lockout, self._exists, self._shown = lockout, exists, shown
        # A name that no account has may be written like an id.
        self._who = ("account" if exists else "name", household(client), name)
        self.home = lockout.hashed("home", household(client))
        self.account = lockout.hashed(*self._who)

    def require_few(self) -> None:
        """Check that the password may be checked.

        Raises:
            TooManyAttempts: too many others were wrong.
        """
        lockout, now = self._lockout, self._lockout.monotonic()
        # A flood that is refused is not worth counting, and must not cost much.
        by_home = lockout.remembered_until(now, self.home)
        by_account = lockout.remembered_until(now, self.account)
        if by_home <= now and by_account <= now:
            limits = lockout.limits
            by_home = lockout.until(now, self.home, [each.per_address for each in limits])
            by_account = lockout.until(now, self.account, [each.per_account for each in limits])
            address = self._who[1]
            if by_home > now:
                lockout.began(Begun(self.home, address, "", by_home))
            if by_account > now:
                lockout.began(Begun(self.account, address, self._shown(), by_account))
        until = max(by_home, by_account)
        if until > now:
            # Names that no account has are endless: all of them from one address have one count.
            lockout.counts.local.hit(_cheap, self.account if self._exists else self.home)
            lockout.observations.limits.append("address" if by_home == until else "account")
            raise TooManyAttempts(math.ceil(until - now))

    @property
    def is_guest(self) -> bool:
        """Whether this name has logged in from this address before, as far as this server knows."""
        return bool(self._lockout.counts.local.wait(_guest, self.account))

    def check(self, password: str, work: Callable[[], bool]) -> bool:
        """Return whether ``work`` finds the password right, and count a wrong one.

        Raises:
            TooManyAttempts: others were wrong while this attempt waited for its turn.
        """
        self.require_few()
        right = work()
        if not right:
            self.count(password)
        return right

    def count(self, password: str) -> None:
        """Count a password that was wrong."""
        guess = self._lockout.hashed("guess", *self._who, password)
        for limit in self._lockout.limits:
            if self._lockout.counts.hit(limit.each_password, guess):
                self._lockout.counts.hit(limit.per_address, self.home)
                self._lockout.counts.hit(limit.per_account, self.account)
