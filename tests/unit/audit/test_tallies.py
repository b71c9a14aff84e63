"""What strangers ask for in vain: how much of it is stored, and that all of it is counted."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from structlog.testing import capture_logs

from authserver.audit import tallies
from authserver.audit.journal import MAX_PENDING, Journal
from authserver.audit.token_event import TokenEvent
from authserver.db.models import TokenRecord
from authserver.db.store import Store
from tests.world import Clock

KEY = b"k" * 32
MOST_RECORDS = tallies.STORED + tallies.COUNTS + 3
"""In a minute, for each worker."""
MOST_CHARACTERS = 1500
"""Of the texts of one, but for the rules."""


@pytest.fixture
def denied(one: TokenEvent) -> TokenEvent:
    """A request without credentials that was denied."""
    nothing = {"outcome": "denied", "account": "", "credential": "", "granted": ""}
    return replace(one, **nothing, reason="repository:a:pull: no rule allows pull")  # type: ignore[arg-type]


def told(made: Journal) -> Sequence[TokenEvent]:
    """Return what is stored of a minute."""
    with capture_logs():
        made.finish()
    return list(made.pending)


def requests(records: Sequence[TokenEvent]) -> int:
    return sum(record.requests or 1 for record in records)


_ADDRESSES = st.ip_addresses().map(str) | st.sampled_from(["192.0.2.1", "unknown"])
_TEXTS = st.text(st.characters(codec=None), max_size=30).map(lambda text: text * 40)
_REQUESTS = st.builds(
    TokenEvent,
    request_id=st.uuids().map(str),
    address=_ADDRESSES,
    client=_TEXTS,
    service=_TEXTS,
    requested=_TEXTS,
    outcome=st.sampled_from(["granted", "denied", "refused"]),
    account=st.sampled_from(["", "alice", "(malformed)"]) | st.uuids().map("unknown-{}".format),
    jwt_id=st.none() | st.just("j"),
    reason=_TEXTS,
    rules=st.lists(st.integers(1, 300), max_size=4, unique=True).map(
        lambda ids: " ".join(map(str, sorted(ids)))
    ),
)


@given(asked=st.lists(_REQUESTS, min_size=1, max_size=20), times=st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_law_what_strangers_make_grow_in_a_minute_is_bounded_whatever_they_ask(
    asked: list[TokenEvent], times: int
) -> None:
    made = Journal(KEY)
    for number in range(times):
        for event in asked:
            other = f"2001:db8:{number:x}::1" if number % 2 else event.address
            varied = {"requested": f"{number} {event.requested}", "address": other}
            made.add(replace(event, **varied))  # type: ignore[arg-type]
    records = told(made)
    assert len(records) <= MOST_RECORDS
    for record in records:
        texts = [getattr(record, name) for name in tallies._TEXTS]
        assert sum(map(len, texts)) <= MOST_CHARACTERS
    # And nothing is left out: each request is in one of them, and so is each rule.
    assert requests(records) == times * len(asked)
    rules = {rule for event in asked for rule in event.rules.split()}
    assert {rule for record in records for rule in record.rules.split()} == rules


def test_a_few_are_recorded_one_by_one_the_others_are_counted(denied: TokenEvent) -> None:
    made = Journal(KEY)
    own = [made.add(replace(denied, request_id=str(number))) for number in range(1000)]
    assert own == [True] * tallies.STORED_EACH + [False] * (1000 - tallies.STORED_EACH)
    *few, counted = told(made)
    assert [record.requests for record in few] == [None] * tallies.STORED_EACH
    assert counted.requests == 1000 - tallies.STORED_EACH
    assert (counted.request_id, counted.jwt_id) == ("999", None)
    for name in ("address", "client", "service", "requested", "outcome", "reason"):
        assert getattr(counted, name) == getattr(denied, name)
    assert made.tallies.total == counted.requests


def test_a_count_says_what_its_requests_have_in_common(denied: TokenEvent) -> None:
    made = Journal(KEY)
    for number in range(100):
        address = f"2001:db8::{number:x}"
        made.add(replace(denied, address=address, requested=f"repository:a{number}:pull"))
    counted = told(made)[-1]
    assert (counted.address, counted.requested) == ("2001:db8::/64", tallies.VARIOUS)
    assert counted.reason == denied.reason


def test_those_who_proved_who_they_are_are_recorded_one_by_one(one: TokenEvent) -> None:
    made = Journal(KEY)
    for _ in range(500):
        made.add(replace(one))
        made.add(replace(one, outcome="denied", granted=""))
    assert [record.requests for record in told(made)] == [None] * 1000


def test_what_strangers_are_granted_is_recorded_one_by_one(one: TokenEvent) -> None:
    made = Journal(KEY)
    for _ in range(500):
        made.add(replace(one, account="", credential=""))
    assert [record.requests for record in told(made)] == [None] * 500


def test_one_address_does_not_hide_what_others_ask(denied: TokenEvent) -> None:
    made = Journal(KEY)
    for number in range(5000):
        made.add(
            replace(denied, account=f"unknown-{number}", requested=f"repository:{number}:pull")
        )
    for _ in range(50):
        made.add(replace(denied, address="192.0.2.99", account="alice", outcome="refused"))
    records = [record for record in told(made) if record.address == "192.0.2.99"]
    assert requests(records) == 50
    assert [record.requests for record in records] == [None] * tallies.STORED_EACH + [20]


def test_texts_of_requests_in_vain_are_short_and_say_that_they_were_cut(
    one: TokenEvent,
) -> None:
    long = "repository:" + "x" * 5000
    texts = {"client": long, "requested": long, "reason": long}
    for outcome, most in (("denied", 350), ("refused", 350), ("granted", 1000)):
        made = Journal(KEY)
        made.add(replace(one, outcome=outcome, **texts))  # type: ignore[arg-type]
        (record,) = told(made)
        assert most - 50 <= len(record.requested) <= most
        assert record.requested.endswith("…") == (outcome != "granted")


def test_counts_are_stored_when_their_minute_is_over(
    store: Store, denied: TokenEvent, clock: Clock
) -> None:
    made = Journal(KEY, clock)
    made.write(store)
    with capture_logs() as logged:
        for _ in range(100):
            made.add(replace(denied))
        made.write(store)
        assert stored(store) == [None] * tallies.STORED_EACH
        clock.move(timedelta(minutes=1))
        made.write(store)
    assert stored(store) == [None] * tallies.STORED_EACH + [100 - tallies.STORED_EACH]
    assert [(line["event"], line["requests"]) for line in logged] == [
        ("token requests in vain", 70)
    ]
    made.add(replace(denied))
    made.write(store)
    assert stored(store)[-1] is None


def stored(store: Store) -> list[int | None]:
    with store.read() as session:
        return list(session.scalars(select(TokenRecord.requests).order_by(TokenRecord.id)))


def test_a_clock_that_is_set_back_keeps_no_counts(denied: TokenEvent, clock: Clock) -> None:
    made = Journal(KEY, clock)
    made.take()
    for _ in range(100):
        made.add(replace(denied))
    clock.move(timedelta(days=-1))
    assert made.take()[-1].requests == 70


def test_counts_for_which_there_is_no_room_are_lost_with_all_their_requests(
    store: Store, denied: TokenEvent, one: TokenEvent
) -> None:
    made = Journal(KEY)
    for _ in range(100):
        made.add(replace(denied))
    for _ in range(MAX_PENDING):
        made.add(replace(one))
    made.finish()
    made.write(store)
    assert made.lost == 70
