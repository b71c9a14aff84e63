"""Guessing: what is counted, for whom, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond

from authserver.auth import rate_limits
from authserver.auth.lockout import (
    CHEAP_TRIES,
    HOUR,
    MINUTE,
    Attempt,
    Lockout,
    Tarpit,
    _cheap,
    _guest,
    limits,
)
from authserver.auth.rate_limits import KINDS, Counts, SharedStorage, Windows
from authserver.core.addresses import household
from authserver.core.errors import TooManyAttempts, Unauthorized
from authserver.runtime.concurrency import Slots
from authserver.runtime.shared_memory import SharedMemory
from tests.unit.clocks import Seconds

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.1"
ACCOUNTS = ("alice", "bob")
SMALL = 16 * 1024
"""Bytes of memory for counts, and how many of them are more than there is room for."""
FLOOD = 5000


@dataclass
class Door:
    """Somebody who counts, by a clock that is moved by hand."""

    per_address: int = 30
    per_account: int = 10
    clock: Seconds = field(default_factory=Seconds)

    def __post_init__(self) -> None:
        local = Windows(SharedStorage(SharedMemory.make(), self.clock), self.clock)
        allowed = limits(self.per_address, self.per_account)
        tarpit = Tarpit(Slots(0, 0))
        self.lockout = Lockout(Counts(local), allowed, b"k" * 32, tarpit, self.clock)

    def wait(self, address: str = HOME, name: str = "alice") -> int:
        """Return for how long nothing is checked, 0 if it is."""
        return self._attempt(address, name, lambda _: None)

    def fail(self, password: str, address: str = HOME, name: str = "alice") -> bool:
        """Show a wrong password; return whether it was checked."""
        return not self._attempt(
            address, name, lambda attempt: attempt.check(password, lambda: False)
        )

    def _attempt(self, address: str, name: str, check: Callable[[Attempt], object]) -> int:
        """Attempt to log in, in vain; return for how long that is refused."""
        try:
            with self.lockout.attempt(address, name, exists=name in ACCOUNTS) as attempt:
                check(attempt)
                # Only a block without an error has proved the password.
                self._refuse()
        except TooManyAttempts as error:
            return error.retry_after
        except Unauthorized:
            return 0

    def _refuse(self) -> NoReturn:
        raise Unauthorized("it was wrong")


def test_ten_wrong_passwords_for_a_name_and_no_more_are_checked_for_a_minute() -> None:
    door = Door()
    assert [door.fail(str(n)) for n in range(12)] == [True] * 10 + [False] * 2
    assert door.wait() == MINUTE
    assert door.wait(name="bob") == 0
    door.clock.at += MINUTE
    assert door.wait() == 0


def test_thirty_wrong_passwords_from_an_address_for_whatever_names() -> None:
    door = Door()
    checked = [door.fail("wrong", name=f"user-{n}") for n in range(32)]
    assert checked == [True] * 30 + [False] * 2
    assert door.wait(name="somebody else") == MINUTE
    assert door.wait(ELSEWHERE) == 0


def test_whoever_goes_on_waits_for_the_rest_of_an_hour() -> None:
    door = Door()
    checked, waits = 0, set()
    for number in range(5 * 60):
        checked += door.fail(str(number))
        waits.add(door.wait())
        door.clock.at += 1
    assert checked == 30
    assert max(waits) > HOUR / 2
    assert door.wait(name="bob") == 0
    door.clock.at += HOUR
    assert door.wait() == 0


def test_an_address_that_goes_on_waits_too() -> None:
    door = Door()
    checked = 0
    for number in range(10 * 60):
        checked += door.fail("wrong", name=str(number))
        door.clock.at += 1
    assert checked == 150


def test_the_same_password_counts_once_however_often_it_is_tried() -> None:
    door = Door()
    for _ in range(24 * 60):
        assert door.fail("the old one")
        door.clock.at += MINUTE
    for _ in range(1000):
        assert door.fail("the old one")


def test_the_same_password_counts_for_each_name() -> None:
    door = Door(per_address=3)
    assert [door.fail("same", name=name) for name in "abcd"] == [True] * 3 + [False]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("unknown", "unknown", True),
    ],
)
def test_addresses_of_one_household_are_one(one: str, other: str, same: bool) -> None:
    assert (household(one) == household(other)) is same
    door = Door()
    for number in range(10):
        door.fail(str(number), one)
    assert bool(door.wait(other)) is same


def test_names_and_passwords_are_not_taken_for_each_other() -> None:
    door = Door(per_account=1)
    door.fail("c", name="a\0b")
    assert door.wait(name="a") == 0
    assert door.fail("b\0c", name="a")
    assert door.wait(name="a") > 0


def test_nothing_that_was_typed_is_kept() -> None:
    door = Door()
    door.fail("hunter22", name="typed-instead")
    memory = bytes(door.lockout.counts.local.storage._shared.memory)  # type: ignore[attr-defined]
    assert any(memory)
    for typed in (b"hunter22", b"typed-instead", HOME.encode()):
        assert typed not in memory
    assert "kkkk" not in repr(door.lockout)


def test_a_remembered_password_stays_good_where_no_other_is_checked() -> None:
    door = Door()
    assert door.lockout.may_be_remembered(HOME, "alice")
    for number in range(10):
        door.fail(str(number))
    assert door.wait() > 0
    assert door.lockout.may_be_remembered(HOME, "alice")


def test_whoever_tries_on_does_not_find_a_remembered_password() -> None:
    door = Door()
    for number in range(10 + CHEAP_TRIES):
        assert door.lockout.may_be_remembered(ELSEWHERE, "alice")
        door.fail(str(number), ELSEWHERE)
    assert not door.lockout.may_be_remembered(ELSEWHERE, "alice")
    assert door.lockout.may_be_remembered(ELSEWHERE, "bob")
    assert door.lockout.may_be_remembered(HOME, "alice")
    door.clock.at += MINUTE
    assert door.lockout.may_be_remembered(ELSEWHERE, "alice")


@pytest.mark.parametrize("kind", KINDS)
def test_no_flood_of_one_kind_of_counts_evicts_one_of_another(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(rate_limits, "BYTES", SMALL)
    counts = Door().lockout.counts
    items = {item: RateLimitItemPerSecond(1, HOUR, item) for item in KINDS}
    for item in items.values():
        counts.hit(item, "one")
    for number in range(FLOOD):
        counts.hit(items[kind], str(number))
    assert not counts.wait(items[kind], "one"), "it was no flood"
    assert all(counts.wait(item, "one") for other, item in items.items() if other != kind)


def test_whatever_is_counted_is_of_a_kind_that_has_its_own_memory() -> None:
    for limit in limits(1, 1):
        counted = (limit.each_password, limit.per_address, limit.per_account, _cheap, _guest)
        # Of proxies that are not heeded `web.proxies` keeps count.
        assert (*(item.namespace for item in counted), "proxies") == KINDS


@pytest.mark.parametrize("name", ["made-up-{}", "alice"])
def test_refused_requests_make_no_room_for_more_guesses(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever names they have, and whichever worker is asked then."""
    monkeypatch.setattr(rate_limits, "BYTES", SMALL)
    door = Door()
    checked = 0
    for minute in range(30):
        for number in range(40):
            checked += door.fail("wrong", name=f"user-{minute}-{number}")
        for number in range(FLOOD // 10):
            assert door.wait(name=name.format(f"{minute}-{number}")) > 0
        door.lockout = replace(door.lockout)  # another worker, which remembers nothing
        door.clock.at += MINUTE
    assert checked == 150


def test_refused_requests_with_names_that_nobody_has_leave_one_count() -> None:
    door = Door()
    for number in range(30):
        door.fail("wrong", name=f"user-{number}")
    before = entries(door)
    for number in range(100):
        assert door.wait(name=f"made-up-{number}") > 0
    assert entries(door) == before + 1


def entries(door: Door) -> int:
    """Return how many counts are kept."""
    memory = bytes(door.lockout.counts.local.storage._shared.memory)  # type: ignore[attr-defined]
    size = rate_limits._ENTRY.size
    return sum(any(memory[at : at + 16]) for at in range(0, len(memory), size))


NAMES, PASSWORDS = st.sampled_from(["alice", "bob", "nobody"]), st.sampled_from("abcdefgh")
MOVES = st.sampled_from([0, 0, 0, 1, 30, MINUTE, HOUR])
VICTIM = st.just(HOME)
ATTACKERS = st.sampled_from([ELSEWHERE, "203.0.113.9", "2001:db8::1", "unknown", "192.0.2.2"])
TRIES = st.lists(st.tuples(VICTIM | ATTACKERS, NAMES, PASSWORDS, MOVES), max_size=60)


@given(TRIES)
@settings(deadline=None)
def test_nobody_elsewhere_changes_anything_for_an_address(
    tries: list[tuple[str, str, str, int]],
) -> None:
    attacked, quiet = Door(4, 2), Door(4, 2)
    for address, name, password, seconds in tries:
        attacked.clock.at += seconds
        quiet.clock.at += seconds
        outcome = attacked.wait(address, name), attacked.fail(password, address, name)
        if address == HOME:
            assert outcome == (quiet.wait(address, name), quiet.fail(password, address, name))
            assert attacked.lockout.may_be_remembered(HOME, name)


@given(TRIES)
@settings(deadline=None)
def test_a_name_that_no_account_has_is_counted_as_any_other(
    tries: list[tuple[str, str, str, int]],
) -> None:
    """What is counted knows nothing of accounts: names may be exchanged, and all is the same."""
    other = {"alice": "nobody", "nobody": "bob", "bob": "alice"}
    one, exchanged = Door(4, 2), Door(4, 2)
    for address, name, password, seconds in tries:
        one.clock.at += seconds
        exchanged.clock.at += seconds
        assert one.fail(password, address, name) == exchanged.fail(password, address, other[name])
