"""Tallies of requests in vain: a few of a stranger's requests have records, the rest are counted.

Without them a stranger decides how fast the records grow. With them each worker makes at most
STORED + COUNTS records a minute and one for each outcome, whatever clients ask, and from however
many addresses.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from authserver.audit.records import MAX_RULES
from authserver.audit.token_event import UNKNOWN_TIME, TokenEvent
from authserver.core.addresses import household

WINDOW = timedelta(minutes=1)
STORED = 120
"""Requests that have a record of their own within a window."""
STORED_EACH = 30
"""Of those, requests from one address (of IPv6 a /64): more wrong passwords are not checked."""
COUNTS = 60
"""Separate counts; half of them are for one account each."""
VARIOUS = "(various)"

_TEXTS = ("account", "address", "client", "service", "requested", "reason")

_Key = tuple[str, str, str]


@dataclass(slots=True)
class _Tally:
    """Requests that share one record; ``event`` has what they have in common."""

    event: TokenEvent
    last_rules: str
    rules: set[str]

    @classmethod
    def of(cls, event: TokenEvent) -> "_Tally":
        # There is no need to find a token that grants nothing by its id.
        event.jwt_id, event.requests = None, 1
        return cls(event, event.rules, set(event.rules.split()))

    def add(self, event: TokenEvent, address: str) -> None:
        common = self.event
        common.requests = (common.requests or 1) + 1
        common.at, common.request_id = event.at, event.request_id
        for name in _TEXTS:
            if getattr(common, name) != getattr(event, name):
                setattr(common, name, address if name == "address" else VARIOUS)
        if event.rules != self.last_rules:
            self.last_rules = event.rules
            self.rules.update(event.rules.split())

    def ended(self) -> TokenEvent:
        self.event.rules = " ".join(map(str, sorted(map(int, self.rules))[:MAX_RULES]))
        return self.event


@dataclass
class Tallies:
    """Counts the requests of one worker, within windows of a minute."""

    total: int = 0
    """How many requests were counted in all."""
    _begun: datetime = UNKNOWN_TIME
    _stored: int = 0
    _by_client: dict[str, int] = field(default_factory=dict)
    _tallies: dict[_Key, _Tally] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def count(self, event: TokenEvent) -> bool:
        """Count a request, and return True; False if it is one of the few that have a record."""
        client = household(event.address)
        with self._lock:
            of_client = self._by_client.get(client, 0)
            if self._stored < STORED and of_client < STORED_EACH:
                self._by_client[client] = of_client + 1
                self._stored += 1
                return False
            self.total += 1
            key = self._key(client, event)
            if (tally := self._tallies.get(key)) is None:
                self._tallies[key] = _Tally.of(event)
            else:
                tally.add(event, key[0])
        return True

    def _key(self, client: str, event: TokenEvent) -> _Key:
        """Return the key of a request's count: the more counts there are, the wider the key."""
        outcome, number = event.outcome, len(self._tallies)
        by_account, by_client = (client, outcome, event.account), (client, outcome, VARIOUS)
        if by_account in self._tallies or number < COUNTS // 2:
            return by_account
        if by_client in self._tallies or number < COUNTS:
            return by_client
        return VARIOUS, outcome, VARIOUS

    def ended(self, now: datetime) -> Iterable[TokenEvent]:
        """Return the counts of the window and begin another, if the window is over."""
        if self._begun <= now < self._begun + WINDOW:
            return ()
        return self.end(now)

    def end(self, now: datetime) -> Iterable[TokenEvent]:
        """Return the counts of this window, and begin another."""
        with self._lock:
            ended, self._tallies = self._tallies, {}
            self._by_client, self._stored, self._begun = {}, 0, now
        return [tally.ended() for tally in ended.values()]
