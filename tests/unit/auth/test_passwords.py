"""Passwords: what is a password, what a check costs, what is remembered."""

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import bcrypt
import hypothesis
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from authserver.auth import passwords
from authserver.auth.passwords import Passwords, hash_password
from authserver.core.errors import Refused
from authserver.core.names import nfc
from authserver.core.password_rules import cost_of
from authserver.db import accounts
from authserver.runtime.settings import Settings
from tests.unit.clocks import Seconds
from tests.world import PASSWORD, World

RIGHT, WRONG, LONG = PASSWORD, "wrong horse", "x" * 73
COST = 6
"""The cost that checks work at here; hashes of 4 and 5 stand for imported ones."""


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bcrypt rounds of every call from here on."""
    rounds: list[int] = []

    def counted(inner: Callable[[bytes, bytes], object]) -> Callable[[bytes, bytes], object]:
        def outer(password: bytes, salt: bytes) -> object:
            rounds.append(2 ** int(salt[4:6]))
            return inner(password, salt)

        return outer

    for name in ("checkpw", "hashpw"):
        monkeypatch.setattr(bcrypt, name, counted(getattr(bcrypt, name)))
    return rounds


@dataclass
class Checker:
    """Passwords by a clock that is moved by hand."""

    clock: Seconds = field(default_factory=Seconds)
    remember: float = 300
    cost: int = COST

    def __post_init__(self) -> None:
        self.passwords = Passwords(self.cost, self.remember, self.clock, b"k" * 32)


# The salt is fixed: each run, and each process of a run, names its tests by the same hashes.
SALT = "abcdefghijklmnopqrstuu"
HASHES = {
    cost: bcrypt.hashpw(RIGHT.encode(), f"$2b$0{cost}${SALT}".encode()).decode()
    for cost in (4, 5, COST, COST + 1)
}
IMPORTED = HASHES[5].replace("$2b$", "$2y$")
"""A hash as ``htpasswd -B`` writes it."""


@pytest.mark.parametrize(
    ("text", "stored", "usable"),
    [
        (WRONG, HASHES[COST], True),
        (WRONG, HASHES[COST], False),
        (RIGHT, HASHES[COST], False),
        (WRONG, None, True),
        (WRONG, None, False),
        (LONG, HASHES[COST], True),
        (LONG, None, True),
        ("", HASHES[COST], True),
        ("a\0b", HASHES[COST], True),
        (WRONG, HASHES[5], True),
        (WRONG, HASHES[4], True),
        (RIGHT, HASHES[4], False),
        (LONG, HASHES[5], True),
        (WRONG, IMPORTED, True),
        (RIGHT, IMPORTED, False),
        (LONG, IMPORTED, True),
    ],
)
@pytest.mark.parametrize("highest", [0, 4, COST])
def test_every_check_that_fails_does_the_work_of_the_configured_cost(
    work: list[int], text: str, stored: str | None, usable: bool, highest: int
) -> None:
    assert not Checker().passwords.check(text, stored, highest, usable=usable)
    assert sum(work) == 2**COST


@pytest.mark.parametrize("stored", [None, *HASHES.values(), IMPORTED])
def test_a_failing_check_costs_what_the_dearest_hash_would(
    work: list[int], stored: str | None
) -> None:
    assert not Checker().passwords.check(WRONG, stored, COST + 1)
    assert sum(work) == 2 ** (COST + 1)


NFD = unicodedata.normalize("NFD", "pässwörd")


@pytest.mark.parametrize("stored", [None, *HASHES.values(), IMPORTED])
@pytest.mark.parametrize("usable", [True, False])
def test_a_text_that_two_hashes_can_be_of_costs_twice_whatever_the_account(
    work: list[int], stored: str | None, usable: bool
) -> None:
    assert not Checker().passwords.check(NFD, stored, COST + 1, usable=usable)
    assert sum(work) == 2 * 2 ** (COST + 1)


def as_htpasswd(password: bytes) -> str:
    """Return a hash of the bytes that were sent, as the registry's bcrypt compares them."""
    return bcrypt.hashpw(password[:72], bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")


@pytest.mark.parametrize(
    "text", ["k7" * 50, "k7" * 36 + "x", NFD, NFD * 9, "é" * 40, "e\u0301" * 40]
)
def test_an_imported_hash_is_of_the_bytes_that_were_sent(text: str) -> None:
    stored = as_htpasswd(text.encode())
    assert Checker(cost=4).passwords.check(text, stored, 4)
    # Hashes that are made here are not: it would be a shorter password than was chosen.
    ours = stored.replace("$2y$", "$2b$")
    assert not Checker(cost=4).passwords.check(text, ours, 4)


@given(text=st.text(min_size=1, max_size=90), other=st.text(min_size=1, max_size=90))
@hypothesis.settings(max_examples=30)
def test_law_an_imported_hash_takes_what_a_registry_takes_and_nfc(text: str, other: str) -> None:
    """Go's bcrypt compares the first 72 bytes. NUL is no part of any password here."""
    assume("\0" not in text + other)
    stored = as_htpasswd(text.encode())
    assert Checker(cost=4).passwords.check(text, stored, 4)
    same = text.encode()[:72] in (other.encode()[:72], nfc(other).encode()[:72])
    assert Checker(cost=4).passwords.check(other, stored, 4) == same


def test_a_right_password_costs_one_look(work: list[int]) -> None:
    assert Checker().passwords.check(RIGHT, HASHES[5], COST)
    assert work == [2**5]


@pytest.fixture
def peopled(settings: Settings) -> Iterator[World]:
    world = World.over(settings.model_copy(update={"bcrypt_cost": COST}))
    for name in ("alice", "off"):
        world.user(name, cost=COST)
    world.user("cheap", cost=4)
    with world.wiring.store.change("test") as change:
        accounts.add_user(change, "imported", IMPORTED)
        accounts.add_user(change, "silent", None)
    world.disable("off")
    yield world
    world.close()


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("alice", WRONG, "wrong password"),
        ("alice", LONG, "wrong password"),
        ("Alice", PASSWORD, "unknown account"),
        ("nobody", PASSWORD, "unknown account"),
        ("nobody", LONG, "unknown account"),
        ("off", PASSWORD, "disabled account"),
        ("off", WRONG, "disabled account"),
        ("off", LONG, "disabled account"),
        ("cheap", WRONG, "wrong password"),
        ("imported", WRONG, "wrong password"),
        ("imported", LONG, "wrong password"),
        ("silent", PASSWORD, "account without a password"),
    ],
)
def test_every_login_that_fails_does_the_same_work(
    peopled: World, work: list[int], name: str, password: str, why: str
) -> None:
    with capture_logs() as logs:
        assert peopled.get("service=registry", auth=(name, password)).status_code == 401
    assert [line["reason"] for line in logs] == [why]
    assert sum(work) == 2**COST


def test_a_login_with_an_old_hash_makes_it_anew_once(peopled: World, work: list[int]) -> None:
    for _ in range(2):
        assert peopled.get(auth=("imported", PASSWORD)).status_code == 200
        peopled.wiring.maintenance.tick()
        peopled.wiring.state.refresh()
    hashed = peopled.wiring.state.current.snapshot.accounts["imported"].password_hash
    assert hashed is not None
    assert cost_of(hashed) == COST
    # The second login is remembered under the new hash: no session ends.
    assert work == [2**5, 2**COST]


def test_an_imported_password_that_is_not_in_nfc_logs_in_and_is_hashed_anew(
    peopled: World,
) -> None:
    with peopled.wiring.store.change("test") as change:
        accounts.add_user(change, "nfd", as_htpasswd(NFD.encode()))
    peopled.wiring.state.refresh()
    with capture_logs() as logs:
        assert peopled.get(auth=("nfd", NFD)).status_code == 200
    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert (line["account"], line["reason"]) == ("nfd", "it is not in Unicode's normal form C")
    peopled.wiring.maintenance.tick()
    peopled.wiring.state.refresh()
    for text in (NFD, nfc(NFD)):
        assert peopled.get(auth=("nfd", text)).status_code == 200


def test_an_imported_password_that_is_too_long_logs_in_and_its_account_is_named_once(
    peopled: World,
) -> None:
    text = "k7" * 50
    with peopled.wiring.store.change("test") as change:
        accounts.add_user(change, "long", as_htpasswd(text.encode()))
    peopled.wiring.state.refresh()
    with capture_logs() as logs:
        for _ in range(3):
            assert peopled.get(auth=("long", text)).status_code == 200
            peopled.wiring.maintenance.tick()
            peopled.wiring.state.refresh()
            peopled.wiring.issuer.backends.passwords._until.clear()
    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert (line["account"], line["reason"]) == ("long", "it has 100 bytes, and bcrypt reads 72")


def test_a_short_password_that_was_imported_logs_in_and_is_hashed_anew(peopled: World) -> None:
    short = bcrypt.hashpw(b"short", bcrypt.gensalt(4)).decode()
    with peopled.wiring.store.change("test") as change:
        accounts.add_user(change, "brief", short)
    peopled.wiring.state.refresh()
    assert peopled.get(auth=("brief", "short")).status_code == 200
    peopled.wiring.maintenance.tick()
    peopled.wiring.state.refresh()
    hashed = peopled.wiring.state.current.snapshot.accounts["brief"].password_hash
    assert hashed is not None
    assert cost_of(hashed) == COST


@pytest.mark.parametrize("form", ["$2a$", "$2b$", "$2y$"])
def test_each_form_of_bcrypt_hash_verifies(form: str) -> None:
    stored = form + HASHES[4].removeprefix("$2b$")
    assert Checker().passwords.check(RIGHT, stored, 4)
    assert not Checker().passwords.check(WRONG, stored, 4)


def test_a_hash_that_htpasswd_wrote_verifies() -> None:
    # htpasswd -nbB -C 5 bob hunter22
    written = "$2y$05$jl0a7tbg2FXXXQAITmcrjOnHGA.lRsrj8glypx1O/6EcDBOpTpxF2"
    assert Checker().passwords.check("hunter22", written, 5)
    assert not Checker().passwords.check("hunter23", written, 5)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "x",
        HASHES[4][:-1],
        HASHES[4] + "x",
        HASHES[4] + "\n",
        HASHES[4].replace("$2b$", "$2x$"),
        HASHES[4].replace("$04$", "$03$"),
        HASHES[4].replace("$04$", "$32$"),
        HASHES[4].replace("$04$", "$4$"),
        "$apr1$abcdefgh$0123456789012345678901",
    ],
)
def test_what_is_no_bcrypt_hash_has_no_cost(stored: str) -> None:
    assert cost_of(HASHES[4]) == 4
    with pytest.raises(Refused, match="not a bcrypt hash"):
        cost_of(stored)


@pytest.mark.parametrize("shown", ["é", "e\u0301"])
@pytest.mark.parametrize("kept", ["é", "e\u0301"])
def test_a_password_is_the_same_in_every_normal_form(shown: str, kept: str) -> None:
    checker = Checker(cost=4).passwords
    stored = hash_password(kept, 4)
    assert checker.check(shown, stored, 4)
    checker.learn(1, stored, kept)
    assert checker.remembers(1, stored, shown)


@pytest.mark.parametrize("text", ["x", " ", "x" * 72, "é" * 36, "e\u0301" * 36, "pass word\t"])
def test_a_password_of_1_to_72_bytes_can_be_hashed(text: str) -> None:
    assert Checker(cost=4).passwords.check(text, hash_password(text, 4), 4)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("x" * 73, "73 bytes long"),
        ("é" * 37, "74 bytes long"),
        ("a\0b", "NUL"),
        ("\0", "NUL"),
    ],
)
def test_other_passwords_are_refused(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        hash_password(text, 4)
    assert not text or text not in str(refused.value)


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        ("x" * 72, "x" * 73),
        ("é" * 36, "é" * 36 + "x"),
        ("secret", "secret\0"),
        ("secret", "secret\0more"),
        ("secret", "secret\0secret"),
        ("secret", "secre"),
        ("secret", "Secret"),
        ("secret", "secret "),
    ],
)
def test_a_password_that_only_begins_right_is_wrong(kept: str, shown: str) -> None:
    assert not Checker(cost=4).passwords.check(shown, hash_password(kept, 4), 4)


def test_a_verified_password_is_remembered_for_a_while() -> None:
    checker = Checker()
    checker.passwords.learn(1, HASHES[4], RIGHT)
    checker.clock.at += 299
    assert checker.passwords.remembers(1, HASHES[4], RIGHT)
    checker.clock.at += 1
    assert not checker.passwords.remembers(1, HASHES[4], RIGHT)


def test_a_password_that_is_verified_again_is_remembered_anew() -> None:
    checker = Checker()
    checker.passwords.learn(1, HASHES[4], RIGHT)
    checker.clock.at += 200
    checker.passwords.learn(1, HASHES[4], RIGHT)
    checker.clock.at += 200
    assert checker.passwords.remembers(1, HASHES[4], RIGHT)


@pytest.mark.parametrize(
    ("account_id", "stored", "text"),
    [
        (2, HASHES[4], RIGHT),
        (11, HASHES[4], RIGHT),
        (1, HASHES[5], RIGHT),
        (1, HASHES[4], WRONG),
        (1, HASHES[4], ""),
        (1, HASHES[4], RIGHT + "\0"),
    ],
)
def test_only_that_password_of_that_account_and_hash_is_remembered(
    account_id: int, stored: str, text: str
) -> None:
    checker = Checker()
    checker.passwords.learn(1, HASHES[4], RIGHT)
    assert not checker.passwords.remembers(account_id, stored, text)


def test_a_check_by_itself_is_not_remembered() -> None:
    checker = Checker(cost=4)
    for text in (WRONG, RIGHT):
        checker.passwords.check(text, HASHES[4], 4)
        assert not checker.passwords.remembers(1, HASHES[4], text)


def test_nothing_is_remembered_where_that_is_switched_off() -> None:
    checker = Checker(remember=0)
    checker.passwords.learn(1, HASHES[4], RIGHT)
    assert not checker.passwords.remembers(1, HASHES[4], RIGHT)


def test_the_number_of_remembered_passwords_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "REMEMBERED_MAX", 3)
    checker = Checker()
    for number in range(5):
        checker.passwords.learn(number, HASHES[4], RIGHT)
    known = [n for n in range(5) if checker.passwords.remembers(n, HASHES[4], RIGHT)]
    assert known == [2, 3, 4]


def test_another_process_remembers_nothing_of_this_one() -> None:
    one, other = (Passwords(4, 300, Seconds(), key * 32) for key in (b"a", b"b"))
    one.learn(1, HASHES[4], RIGHT)
    other._until.update(one._until)
    assert not other.remembers(1, HASHES[4], RIGHT)


def test_nothing_secret_is_in_memory_or_shown() -> None:
    checker = Checker()
    checker.passwords.learn(1, HASHES[4], RIGHT)
    assert all(RIGHT.encode() not in tag for tag in checker.passwords._until)
    for secret in ("kkkk", RIGHT, HASHES[4]):
        assert secret not in repr(checker.passwords)


@pytest.mark.parametrize(("cost", "outdated"), [(4, True), (5, True), (COST, False), (7, False)])
def test_a_hash_of_a_lower_cost_is_outdated(cost: int, outdated: bool) -> None:
    assert Checker().passwords.outdated(HASHES[cost]) is outdated
