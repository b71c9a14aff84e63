"""The journal of token requests: events wait in memory and are stored in batches."""

import hmac
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from operator import attrgetter, gt
from threading import Condition
from typing import Any

import structlog
from sqlalchemy.orm import Session

from authserver.audit import chain, retention
from authserver.audit.chain import encoded
from authserver.audit.record_rows import FORMS, TOKEN_COLUMNS, TokenRow
from authserver.audit.recorder import Trail
from authserver.audit.tallies import Tallies
from authserver.audit.token_event import LONGEST, LONGEST_IN_VAIN, TokenEvent
from authserver.core.names import printable
from authserver.db import change_log, console_sessions, refresh_tokens
from authserver.db.store import Store

MAX_PENDING = 20_000
MAX_BATCH = 2_000
"""Records in one transaction: the thread that stores them also reads changes in between."""
MANY_PENDING = 2 * MAX_BATCH
"""From this many on, a thread that adds records waits for the thread that stores them."""
PAUSE = 0.001
"""Longest wait in seconds; it doubles with each further MAX_BATCH.

A store that hangs slows answers this way and stops none: the spool takes the records before there
are too many.
"""
MAX_RECORDS = 2_000_000

KEPT = 256
"""Shared parts of records that are cached; a hostile request makes one of up to 30 KB."""

_AT, _JWT_ID, _REQUEST_ID = _OWN = [*map(TOKEN_COLUMNS.index, ("at", "jwt_id", "request_id"))]
_SHARED = [name for index, name in enumerate(TOKEN_COLUMNS) if index not in _OWN]
_shared = attrgetter(*_SHARED)
_texts, _LENGTHS = attrgetter(*LONGEST), tuple(LONGEST.values())

log = structlog.get_logger()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Journal:
    """Collects token events until :meth:`write` stores them.

    It is ``stuck`` while neither the store nor the spool takes records. ``wake`` has the pending
    ones stored now. Requests of strangers that are in vain go through ``tallies``.
    """

    key: bytes = field(repr=False)
    clock: Callable[[], datetime] = _now
    pending: deque[TokenEvent] = field(default_factory=deque, repr=False)
    lost: int = 0
    """How many were lost in all."""
    stuck: bool = False
    wake: Callable[[], None] = lambda: None
    tallies: Tallies = field(default_factory=Tallies, repr=False)
    _lost: int = 0
    _taking: Condition = field(default_factory=Condition, repr=False)

    @property
    def full(self) -> bool:
        """Whether there is no place for another record, so that no token may be issued."""
        return self.stuck or len(self.pending) >= MAX_PENDING

    def add(self, event: TokenEvent) -> bool:
        """Take an event; never blocks. Return whether it has a record and a log line of its own.

        If too many events wait, one that issued nothing is only counted. No tokens are issued
        then; the few that are on their way still get their records.
        """
        # A client that proves no account and is granted nothing: every stranger can be one.
        in_vain = not event.credential and not event.granted
        _cut(event, in_vain=in_vain)
        if in_vain and self.tallies.count(event):
            return False
        self._append(event)
        return True

    def _append(self, event: TokenEvent) -> None:
        if len(self.pending) >= MAX_PENDING and event.jwt_id is None:
            self._lost += event.requests or 1
        else:
            self.pending.append(event)

    def finish(self) -> None:
        """End the counts of the tallies, so that they are written: no request will come."""
        self._add_counts(self.tallies.end(self.clock()))

    def _add_counts(self, counts: Iterable[TokenEvent]) -> None:
        for count in counts:
            self._append(count)
            log.warning("token requests in vain", requests=count.requests, **count.log_fields)

    def give_way(self) -> None:
        """Wait for a moment if many records are pending, or until some are taken out.

        For a thread before each answer: otherwise those that answer outrun the one that stores.
        """
        too_many = len(self.pending) - MANY_PENDING
        if too_many >= 0:
            self.wake()
            with self._taking:
                self._taking.wait(PAUSE * 2 ** (too_many / MAX_BATCH))

    def hashed(self, name: str) -> str:
        """Return the substitute in records for a name that no account has.

        People type passwords there.
        """
        return f"unknown-{hmac.digest(self.key, name.encode(), sha256).hex()[:12]}"

    def write(self, store: Store, most: int = sys.maxsize) -> bool:
        """Store what is pending in one transaction; on an error it stays so.

        At most so many records are stored, and no more than MAX_BATCH. Return whether there may be
        more.
        """
        if self._lost:
            log.error("token records were lost", number=self._lost)
            self.lost += self._lost
            self._lost = 0
        most = min(most, MAX_BATCH)
        events = self.take(most)
        if events:
            try:
                # Before the store is locked, for others wait for that.
                records = list(map(_record, events))
                with store.append() as session:
                    Trail.of(store).tokens(session, records, events[-1].at)
            except Exception:
                self.put_back(events)
                raise
            self.stuck = False
        return len(events) == most

    def take(self, limit: int = sys.maxsize) -> list[TokenEvent]:
        """Take out pending events, oldest first, at most ``limit``."""
        self._add_counts(self.tallies.ended(self.clock()))
        with self._taking:
            events = [self.pending.popleft() for _ in range(min(limit, len(self.pending)))]
            self._taking.notify_all()
        return events

    def put_back(self, events: list[TokenEvent]) -> None:
        """Put events back at the front of the queue."""
        self.pending.extendleft(reversed(events))


def _cut(event: TokenEvent, *, in_vain: bool) -> None:
    """Cut the texts of an event: a client that sends much must not make us keep much."""
    if any(map(gt, map(len, _texts(event)), _LENGTHS)):
        for name, limit in LONGEST.items():
            if len(text := getattr(event, name)) > limit:
                setattr(event, name, _beginning(text, limit))
    if in_vain or event.outcome in ("denied", "refused"):
        for name, limit in LONGEST_IN_VAIN.items():
            setattr(event, name, printable(getattr(event, name), limit))


@lru_cache(KEPT)
def _beginning(text: str, limit: int) -> str:
    # Equal requests share the whole text, so they share its beginning: it is hashed and compared
    # with each record (by `_kept`), and a thousand characters take longer than the look-up here.
    return text[:limit]


def insert_events(store: Store, session: Session, events: list[TokenEvent]) -> None:
    """Store events as records, the next of this process's chain."""
    Trail.of(store).tokens(session, map(_record, events), events[-1].at)


def _record(event: TokenEvent) -> TokenRow:
    """Return an event as a record. The part that equal requests share is made once for all."""
    at, jwt_id, request_id = own = event.at, event.jwt_id, event.request_id
    shared, template = _kept(jwt_id is not None, *_shared(event))
    values = shared.copy()
    values[_AT], values[_JWT_ID], values[_REQUEST_ID] = own
    in_template = (at, request_id) if jwt_id is None else own
    return tuple(values), template % tuple(map(encoded, in_template))


@lru_cache(KEPT)
def _kept(issued: bool, *texts: str) -> tuple[list[Any], str]:
    """Return the values of records that share ``texts``, and a template of their chained form."""
    by_name = dict(zip(_SHARED, texts, strict=True))
    safe = {name: printable(by_name[name], limit) for name, limit in LONGEST.items()}
    values: list[Any] = [(by_name | safe).get(name, "") for name in TOKEN_COLUMNS]
    if not issued:
        values[_JWT_ID] = None
    return values, FORMS[chain.RecordKind.TOKEN].template(values, _OWN)


def prune(store: Store, days: int, most: int = MAX_RECORDS) -> int:
    """Delete token records that are too old or too many, and logins that were idle for too long.

    Return how many records it deleted: as many as go at once, so repeat until that is 0.
    """
    with store.append() as session:
        refresh_tokens.prune(session, store.clock())
        console_sessions.prune(session, store.clock())
        change_log.prune(session)
    return retention.prune(store, store.clock() - timedelta(days=days), most)
