"""Counting what strangers ask for in vain: a few of their requests are recorded, the rest counted.

Without this a stranger decides how fast the records grow. Now it is STORED + COUNTS + one for each
outcome in a minute, and no more, for each worker: whatever is asked, and from however many
addresses.
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
"""So many requests are recorded one by one within a window."""
STORED_EACH = 30
"""So many of those may be of one address, of IPv6 a /64: more wrong passwords are not checked."""
COUNTS = 60
"""Kinds of requests that are counted apart from each other; half of them tell accounts apart."""
VARIOUS = "(various)"

_TEXTS = ("account", "address", "client", "service", "requested", "reason")

_Key = tuple[str, str, str]


@dataclass(slots=True)
class _Tally:
    """Requests that are one record; ``event`` says what they have in common."""

    event: TokenEvent
    last_rules: str
    rules: set[str]

    @classmethod
    def of(cls, event: TokenEvent) -> "_Tally":
        # A token that grants nothing needs not be found by its id.
        event.jwt_id, event.requests = None, 1
        return cls(event, event.rules, set(event.rules.split()))

    def add(self, event: TokenEvent, address: str) -> None:
        kept = self.event
        kept.requests = (kept.requests or 1) + 1
        kept.at, kept.request_id = event.at, event.request_id
        for name in _TEXTS:
            if getattr(kept, name) != getattr(event, name):
                setattr(kept, name, address if name == "address" else VARIOUS)
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
        """Count a request, unless it is one of the few to be recorded by themselves; tell that."""
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
        """Return what is counted with this: the less alike, the more kinds there are already."""
        outcome, number = event.outcome, len(self._tallies)
        by_account, by_client = (client, outcome, event.account), (client, outcome, VARIOUS)
        if by_account in self._tallies or number < COUNTS // 2:
            return by_account
        if by_client in self._tallies or number < COUNTS:
            return by_client
        return VARIOUS, outcome, VARIOUS

    def ended(self, now: datetime) -> Iterable[TokenEvent]:
        """Return the counts of a window that is over, if it is, and begin another."""
        if self._begun <= now < self._begun + WINDOW:
            return ()
        return self.end(now)

    def end(self, now: datetime) -> Iterable[TokenEvent]:
        """Return the counts of this window, and begin another."""
        with self._lock:
            ended, self._tallies = self._tallies, {}
            self._by_client, self._stored, self._begun = {}, 0, now
        return [tally.ended() for tally in ended.values()]
