"""Second factors: what proves one, once, and what the store has of them."""

import json
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pyotp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from authserver.auth import passwords
from authserver.auth.credentials import Origin
from authserver.auth.relying_party import RelyingParty
from authserver.auth.second_factor import (
    ENROLMENT_LIFE,
    MAX_RESPONSE,
    STEP,
    WRONG_CODES,
    SecondFactors,
)
from authserver.core.errors import (
    NotFound,
    Refused,
    TooManyAttempts,
    TooManyCodes,
    Unauthorized,
    WrongSecondFactor,
)
from authserver.db import accounts, lookup, refresh_tokens, second_factors, snapshot
from authserver.db.models import AuditRecord
from authserver.db.second_factors import MAX_FACTORS, MAX_TOTP, RECOVERY_CODES, FactorKind
from authserver.db.snapshot_rows import KnownAccount
from authserver.db.store import Change, Store
from authserver.keys import signing_keys
from authserver.keys.master_key import MasterKey, make_master_key, read_master_key, take_over
from authserver.keys.private_keys import Safe
from authserver.runtime.settings import Settings
from tests import stores
from tests.authenticators import VERIFIED, Passkey
from tests.unit.auth.test_lockout import Door
from tests.world import PASSWORD, SERVICE, Clock

URL = "https://tokens.example.com"
HERE = Origin("192.0.2.1", "a browser")


@dataclass
class Person:
    """A user with their factors, over a store and a lockout that a test moves by hand."""

    store: Store
    clock: Clock
    door: Door
    factors: SecondFactors
    name: str = "alice"
    secret: str = ""

    @property
    def known(self) -> KnownAccount:
        with self.store.read() as session:
            return snapshot.load(session).accounts[self.name]

    def has_factor(self) -> bool:
        return self.known.second_factor

    def do(self, act: Callable[[Change, Any], Any]) -> Any:
        with self.store.change("test") as change:
            return act(change, lookup.account(change.session, self.name))

    def totp(self, name: str = "phone") -> list[str]:
        """Enrol TOTP, at the next code; return the recovery codes."""
        begun = self.factors.begin_totp(self.known)
        self.secret = begun.secret
        codes: list[str] = self.do(
            lambda change, _: self.factors.finish_totp(
                change, self.known, begun.pending, self.code(), name
            )
        )
        return codes

    def code(self, steps: int = 0) -> str:
        """Return the code that is shown so many steps from now."""
        step = int(self.clock().timestamp()) // STEP + steps
        return pyotp.TOTP(self.secret).generate_otp(step)

    def wait(self, seconds: float = STEP) -> None:
        self.clock.move(timedelta(seconds=seconds))
        self.door.clock.at += seconds

    def passkey(self, name: str = "laptop", **more: Any) -> Passkey:
        made = Passkey("tokens.example.com", URL, **more)
        begun = self.factors.begin_passkey(self.known)
        answer = made.make(begun.options)
        self.do(
            lambda change, _: self.factors.finish_passkey(
                change, self.known, begun.challenge, answer, name
            )
        )
        return made

    def prove(self, made: Passkey) -> FactorKind:
        begun = self.factors.begin_proof(self.known)
        assert begun is not None
        answer = made.prove(begun.options)
        return self.factors.verify_passkey(self.known, begun.challenge, answer, HERE).kind

    def show(self, code: str, origin: Origin = HERE) -> FactorKind:
        return self.factors.verify_code(self.known, code, origin).kind

    def wrong(self, code: str, origin: Origin = HERE) -> None:
        with pytest.raises(WrongSecondFactor):
            self.show(code, origin)

    @property
    def records(self) -> list[AuditRecord]:
        with self.store.read() as session:
            rows = select(AuditRecord).where(AuditRecord.action.startswith("second_factor."))
            return list(session.scalars(rows.order_by(AuditRecord.id)))


@pytest.fixture
def person(store: Store, clock: Clock, settings: Settings) -> Person:
    with store.change("test") as change:
        accounts.add_user(change, "alice", passwords.hash_password(PASSWORD, 4))
        accounts.add_user(change, "bob", None)
        accounts.add_robot(change, "ci")
    path = settings.master_key_path
    door = Door()
    safe = Safe(read_master_key(path), path, None)
    party = RelyingParty.of(URL)
    factors = SecondFactors(store, safe, door.lockout, party, secrets.token_bytes)
    return Person(store, clock, door, factors)


def test_totp_is_enrolled_by_a_code_and_opens_by_the_next_ones(person: Person) -> None:
    assert not person.has_factor()
    codes = person.totp()
    assert len(set(codes)) == RECOVERY_CODES
    assert person.has_factor()
    # The code of the enrolment is used up.
    person.wrong(person.code())
    person.wait()
    assert person.show(f" {person.code()[:3]} {person.code()[3:]}") is FactorKind.TOTP
    person.wrong(person.code())
    assert [r.action for r in person.records] == ["second_factor.add", "second_factor.use"]


def test_an_enrolment_is_of_one_account_and_ends(person: Person) -> None:
    begun = person.factors.begin_totp(person.known)
    person.secret = begun.secret
    bob = replace(person, name="bob")

    def finish(who: Person, pending: str, code: str, match: str) -> None:
        with pytest.raises(Refused, match=match):
            who.do(lambda c, _: who.factors.finish_totp(c, who.known, pending, code, "phone"))

    finish(person, begun.pending, "000000", "the code is wrong")
    finish(person, begun.pending, "", "the code is wrong")
    finish(bob, begun.pending, person.code(), "has ended")
    finish(person, begun.pending[:-8], person.code(), "has ended")
    finish(person, "é", person.code(), "has ended")
    person.wait(ENROLMENT_LIFE.total_seconds() + 1)
    finish(person, begun.pending, person.code(), "has ended")
    assert not person.has_factor()


def test_a_code_is_taken_one_step_early_and_late_and_no_more(person: Person) -> None:
    person.totp()
    person.wait(10 * STEP)
    for steps in (-2, 2):
        person.wrong(person.code(steps))
    for steps in (-1, 0, 1):
        assert person.show(person.code(steps)) is FactorKind.TOTP


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2)), max_size=8))
def test_law_a_code_is_good_once_and_none_before_it(
    person: Person, tries: list[tuple[int, int]]
) -> None:
    if not person.has_factor():
        person.totp()
    person.wait(3600)
    used: set[int] = set()
    for waited, steps in tries:
        person.wait(waited * STEP + 3600 * (not used))
        person.door.lockout.counts.local.storage.reset()
        person.door.lockout._until.clear()
        step = int(person.clock().timestamp()) // STEP + steps
        fresh = abs(steps) <= 1 and step > max(used, default=0)
        if fresh:
            assert person.show(person.code(steps)) is FactorKind.TOTP
            used.add(step)
        else:
            person.wrong(person.code(steps))


def test_a_recovery_code_is_good_once_however_it_is_typed(person: Person) -> None:
    first, second, *_ = person.totp()
    assert person.show(first.upper().replace("-", " ")) is FactorKind.RECOVERY_CODE
    person.wrong(first)
    assert person.factors.verify_code(person.known, second, HERE).codes_left == RECOVERY_CODES - 2
    used = [r for r in person.records if r.action == "second_factor.recovery_code"]
    assert [r.after for r in used] == [{"codes": 9}, {"codes": 8}]
    renewed = person.do(lambda c, row: second_factors.renew_codes(c, row, secrets.token_bytes))
    assert second not in renewed
    person.wrong(second)
    assert person.show(renewed[0]) is FactorKind.RECOVERY_CODE
    assert person.factors.verify_code(person.known, renewed[1], HERE).codes_left == 8


def test_a_recovery_code_has_more_than_80_random_bits() -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return secrets.token_bytes(count)

    code = second_factors._new_code(random)
    assert sum(asked) * 8 >= 80
    assert len(code.replace("-", "")) * 5 >= 80


@pytest.mark.parametrize("kind", ["totp", "code"])
def test_two_replicas_take_a_code_once(person: Person, data_dir: Path, kind: str) -> None:
    codes = person.totp()
    person.wait()
    code, known = (person.code() if kind == "totp" else codes[0]), person.known
    others = [stores.opened(data_dir, person.clock) for _ in range(4)]
    replicas = [
        replace(
            person.factors,
            store=replace(other, time=lambda _: person.clock()),
            lockout=Door().lockout,
        )
        for other in others
    ]
    together = Barrier(len(replicas))

    def show(factors: SecondFactors) -> bool:
        together.wait()
        try:
            factors.verify_code(known, code, HERE)
        except WrongSecondFactor:
            return False
        return True

    with ThreadPoolExecutor(len(replicas)) as pool:
        taken = list(pool.map(show, replicas))
    for other in others:
        other.engine.dispose()
    assert sum(taken) == 1


def test_codes_are_limited_as_passwords_are(person: Person) -> None:
    code = person.totp()[0]
    for tries in range(person.door.per_account):
        person.wrong(f"{tries:06}")
    # A right one is not looked at either, nor a password from there.
    with pytest.raises(TooManyAttempts):
        person.show(code)
    assert person.door.wait(name=str(person.known.id)) == 0
    with (
        pytest.raises(TooManyAttempts),
        person.door.lockout.attempt(HERE.address, str(person.known.id), exists=True),
    ):
        pass


def test_the_same_digits_are_another_guess_in_another_step(person: Person) -> None:
    person.totp()
    guess = next(f"{n:06}" for n in range(10) if f"{n:06}" not in _coming(person))
    for _ in range(3 * person.door.per_account):
        person.wrong(guess)
        person.wait()
    with pytest.raises(TooManyAttempts):
        person.show(guess)


def _coming(person: Person) -> set[str]:
    return {person.code(step) for step in range(-2, 200)}


def test_an_account_takes_so_many_wrong_codes_a_day_from_all_addresses(person: Person) -> None:
    codes = person.totp()
    coming = _coming(person)
    guesses = (f"{n:06}" for n in range(10**6) if f"{n:06}" not in coming)
    for n in range(WRONG_CODES):
        person.wrong(next(guesses), Origin(f"198.51.100.{n}", ""))
    far = Origin("203.0.113.9", "")
    person.wait()
    with pytest.raises(TooManyCodes):
        person.show(person.code(), far)
    # Nobody guesses these.
    assert person.show(codes[0], far) is FactorKind.RECOVERY_CODE


def test_a_passkey_is_enrolled_and_proves_itself(person: Person) -> None:
    made = person.passkey(flags=0x01 | VERIFIED)
    assert person.has_factor()
    assert [person.prove(made), person.prove(made)] == [FactorKind.PASSKEY] * 2
    with person.store.read() as session:
        (row,) = second_factors.listed(session, person.known.id)
    assert (row.sign_count, row.transports) == (2, ["internal"])
    begun = person.factors.begin_proof(person.known)
    assert begun is not None
    (allowed,) = json.loads(begun.options)["allowCredentials"]
    assert allowed["transports"] == ["internal"]


def test_a_passkey_that_does_not_count_is_taken(person: Person) -> None:
    made = person.passkey()
    for _ in range(2):
        made.count = -1
        assert person.prove(made) is FactorKind.PASSKEY


def test_a_copy_of_a_passkey_whose_count_went_back_is_refused(person: Person) -> None:
    made = person.passkey()
    copy = replace(made)
    person.prove(made)
    person.prove(made)
    with pytest.raises(WrongSecondFactor) as refused:
        person.prove(copy)
    assert "sign count" in refused.value.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "https://evil.example.com"},
        {"origin": "http://tokens.example.com"},
        {"host": "evil.example.com"},
        {"flags": 0},
        {"key": Passkey("", "").key},
        {"id": b"another"},
    ],
    ids=["an origin", "a port", "a host", "no flags", "a key", "an id"],
)
def test_a_passkey_proves_nothing_elsewhere_or_by_another_key(
    person: Person, wrong: dict[str, Any]
) -> None:
    made = person.passkey()
    with pytest.raises(WrongSecondFactor):
        person.prove(replace(made, **wrong))
    assert [r.action for r in person.records] == ["second_factor.add"]


def test_a_passkey_answers_one_challenge(person: Person) -> None:
    made = person.passkey()
    begun, other = (
        person.factors.begin_proof(person.known),
        person.factors.begin_proof(person.known),
    )
    assert begun is not None
    assert other is not None
    with pytest.raises(WrongSecondFactor):
        person.factors.verify_passkey(
            person.known, other.challenge, made.prove(begun.options), HERE
        )


def test_a_passkey_of_another_account_is_refused(person: Person) -> None:
    made = person.passkey()
    bob = replace(person, name="bob")
    bob.passkey()
    with pytest.raises(WrongSecondFactor):
        bob.prove(made)
    with pytest.raises(Refused, match="enrolled already"):
        bob.passkey("again", id=made.id)


@pytest.mark.parametrize(
    "wrong", [{"origin": "https://evil.example.com"}, {"host": "evil.example.com"}, {"flags": 0}]
)
def test_a_passkey_that_was_made_elsewhere_is_not_enrolled(
    person: Person, wrong: dict[str, Any]
) -> None:
    begun = person.factors.begin_passkey(person.known)
    answer = replace(Passkey("tokens.example.com", URL), **wrong).make(begun.options)
    with pytest.raises(Refused, match="the passkey is refused"):
        person.do(
            lambda c, _: person.factors.finish_passkey(
                c, person.known, begun.challenge, answer, "x"
            )
        )


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_hostile_responses_are_refused(person: Person, data: st.DataObject) -> None:
    if not person.has_factor():
        person.passkey()
    made = Passkey("tokens.example.com", URL)
    enrolment, proof = (
        person.factors.begin_passkey(person.known),
        person.factors.begin_proof(person.known),
    )
    assert proof is not None
    answer = json.loads(
        made.make(enrolment.options) if data.draw(st.booleans()) else made.prove(proof.options)
    )
    place = answer if data.draw(st.booleans()) else answer["response"]
    key = data.draw(st.sampled_from(sorted(place)))
    place[key] = data.draw(JSONS)
    sent = data.draw(st.sampled_from([json.dumps(answer), json.dumps(place[key]), "{", "9" * 9999]))
    person.door.lockout.counts.local.storage.reset()
    person.door.lockout._until.clear()
    with pytest.raises(WrongSecondFactor):
        person.factors.verify_passkey(person.known, proof.challenge, sent, HERE)
    if key not in ("transports", "id", "type", "authenticatorData", "signature"):
        with pytest.raises(Refused):
            person.do(
                lambda c, _: person.factors.finish_passkey(
                    c, person.known, enrolment.challenge, sent, "x"
                )
            )


def test_a_long_response_is_not_read(person: Person) -> None:
    person.passkey()
    begun = person.factors.begin_proof(person.known)
    assert begun is not None
    with pytest.raises(WrongSecondFactor) as refused:
        person.factors.verify_passkey(person.known, begun.challenge, " " * (MAX_RESPONSE + 1), HERE)
    assert "too long" in refused.value.reason


@pytest.mark.parametrize(
    ("url", "host", "origin", "doubt"),
    [
        (URL, "tokens.example.com", URL, None),
        (f"{URL}:443/auth/", "tokens.example.com", URL, None),
        ("https://Tokens.Example.com:8443", "tokens.example.com", f"{URL}:8443", None),
        ("http://localhost:5001", "localhost", "http://localhost:5001", None),
        ("http://127.0.0.1:5001", "127.0.0.1", "http://127.0.0.1:5001", "is an address"),
        ("https://[::1]:5001", "::1", "https://[::1]:5001", "is an address"),
        ("http://t.example", "t.example", "http://t.example", "need https"),
    ],
)
def test_the_place_of_passkeys_follows_from_the_url(
    url: str, host: str, origin: str, doubt: str | None
) -> None:
    party = RelyingParty.of(url)
    assert (party.host, party.origin) == (host, origin)
    assert (party.doubt is None) if doubt is None else (doubt in str(party.doubt))


def test_a_place_without_passkeys_makes_and_asks_for_none(person: Person) -> None:
    person.passkey()
    person.factors = replace(person.factors, party=RelyingParty.of("http://t.example"))
    with pytest.raises(Refused, match="need https"):
        person.factors.begin_passkey(person.known)
    assert person.factors.begin_proof(person.known) is None


def test_the_last_factor_takes_the_recovery_codes_along(person: Person) -> None:
    codes = person.totp()
    person.passkey()
    with person.store.read() as session:
        first, second = second_factors.listed(session, person.known.id)
        assert [second_factors.described(row)["name"] for row in (first, second)] == [
            "phone",
            "laptop",
        ]
    person.do(lambda c, row: second_factors.remove(c, row, first.id))
    assert person.has_factor()
    assert person.show(codes[0]) is FactorKind.RECOVERY_CODE
    person.do(lambda c, row: second_factors.remove(c, row, second.id))
    assert not person.has_factor()
    person.wrong(codes[1])
    with pytest.raises(Refused, match="no second factor"):
        person.do(lambda c, row: second_factors.renew_codes(c, row, secrets.token_bytes))
    with pytest.raises(NotFound):
        person.do(lambda c, row: second_factors.remove(c, row, second.id))


def test_a_reset_removes_all(person: Person) -> None:
    codes = person.totp()
    person.passkey()
    assert person.do(second_factors.reset) == 2
    assert not person.has_factor()
    person.wrong(codes[0])
    assert person.do(second_factors.reset) == 0
    assert person.records[-1].action == "second_factor.reset"
    assert [f["kind"] for f in (person.records[-1].before or {})["factors"]] == ["totp", "passkey"]


def test_a_removed_account_leaves_nothing(person: Person) -> None:
    person.totp()
    person.passkey()
    known = person.known
    with person.store.change("test") as change:
        accounts.remove(change, "alice")
    with pytest.raises(WrongSecondFactor):
        person.factors.verify_code(known, person.code(1), HERE)
    with person.store.read() as session:
        assert second_factors.listed(session, known.id) == []
        assert second_factors.codes_left(session, known.id) == 0


def test_an_account_that_was_disabled_meanwhile_proves_nothing(person: Person) -> None:
    codes = person.totp()
    made = person.passkey()
    person.wait()
    with person.store.change("test") as change:
        accounts.set_disabled(change, "alice", disabled=True)
    for code in (person.code(), codes[0]):
        with pytest.raises(Unauthorized, match="user name"):
            person.show(code)
    with pytest.raises(Unauthorized, match="user name"):
        person.prove(made)


ENDING: dict[str, Callable[[Person], object]] = {
    "totp": lambda person: person.totp(),
    "passkey": lambda person: person.passkey(),
    "remove": lambda person: person.do(lambda c, row: second_factors.remove(c, row, 1)),
    "reset": lambda person: person.do(second_factors.reset),
}


@pytest.mark.parametrize("change", ENDING)
def test_each_change_of_factors_ends_the_logins(person: Person, change: str) -> None:
    if change in ("remove", "reset"):
        person.totp()
    ended: list[str] = []

    def end_all(_: Change, row: Any) -> int:
        ended.append(row.name)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refresh_tokens, "end_all", end_all)
        ENDING[change](person)
    assert ended == ["alice"]


def test_names_and_numbers_are_bounded(person: Person) -> None:
    person.totp()
    for name, match in {
        "": "1 to 64",
        "x" * 65: "1 to 64",
        "a\nb": "one line",
        "phone": "already",
    }.items():
        person.wait()
        with pytest.raises(Refused, match=match):
            person.totp(name)
    for n in range(MAX_TOTP - 1):
        person.totp(f"phone {n}")
    with pytest.raises(Refused, match="authenticator apps"):
        person.totp("one more")
    for n in range(MAX_FACTORS - MAX_TOTP):
        person.passkey(f"key {n}")
    with pytest.raises(Refused, match="remove one first"):
        person.passkey("one more")
    with pytest.raises(Refused, match="only users"):
        replace(person, name="ci").totp()


def test_the_store_holds_no_secret(person: Person, data_dir: Path) -> None:
    codes = person.totp()
    made = person.passkey()
    person.show(codes[0])
    everything = repr(stores.contents(person.store)).lower()
    files = b"".join(path.read_bytes() for path in data_dir.glob("authserver.db*"))
    raw = _raw(person)
    private = made.key.private_numbers().private_value.to_bytes(32)
    for secret in (person.secret.encode(), raw, b64encode(raw), private, *_typed(codes)):
        assert secret not in files
        assert secret.decode("latin-1").lower() not in everything
        assert repr(secret)[2:-1].lower() not in everything


def _raw(person: Person) -> bytes:
    return pyotp.TOTP(person.secret).byte_secret()


def _typed(codes: list[str]) -> Iterator[bytes]:
    for code in codes:
        yield code.encode()
        yield code.replace("-", "").encode()


def test_another_master_key_opens_them_after_a_rewrap_alone(
    person: Person, settings: Settings
) -> None:
    person.totp()
    person.wait()
    path, safe = settings.master_key_path, person.factors.safe
    new = make_master_key(path.with_name(f"{path.name}.new"))
    with person.store.change("test") as change:
        signing_keys.rewrap(change, safe, new)
    take_over(path)
    # This process has the old key still.
    assert person.show(person.code()) is FactorKind.TOTP
    with person.store.read() as session:
        (row,) = second_factors.listed(session, person.known.id)
    name = second_factors.sealed_name(person.known.id)
    assert new.open(row.sealed_secret or b"", name).decode() == person.secret
    for key, sealed_name in ((safe.master, name), (new, second_factors.sealed_name(99))):
        with pytest.raises(Exception, match="does not open"):
            MasterKey(key.secret).open(row.sealed_secret or b"", sealed_name)


def test_nothing_secret_is_said_in_a_record(person: Person) -> None:
    codes = person.totp()
    person.passkey()
    person.show(codes[0])
    person.do(second_factors.reset)
    said = repr([(r.action, r.before, r.after) for r in person.records])
    assert person.secret not in said
    assert not any(code in said for code in codes)
    assert SERVICE not in said
