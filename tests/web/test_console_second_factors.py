"""Second factors in the console: set up, asked for at the login and for a fresh proof, and lost."""

import re
from pathlib import Path
from typing import Any

import pyotp
import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from authserver.db import accounts, console_sessions, second_factors
from authserver.db.models import ConsoleSessionRow, RefreshTokenRow
from tests import stores
from tests.web.visitor import Visitor, content, hidden
from tests.world import ADMIN, PASSWORD, World

APP = "my/second-factors/app"


@pytest.fixture
def visitor(world: World) -> Visitor:
    world.user("alice")
    visitor = Visitor(world)
    visitor.log_in("alice")
    return visitor


def code_at(visitor: Visitor, secret: str, steps: int = 0) -> str:
    """Return the code that an app shows ``steps`` from now, by the store's clock."""
    store = visitor.world.wiring.store
    with store.read() as session:
        now = int(store.time(session).timestamp()) // 30
    return pyotp.TOTP(secret).generate_otp(now + steps)


def shown_secret(page: TestResponse) -> str:
    found = re.search(r"<code>([A-Z2-7]{32})</code>", page.text)
    assert found, page.text
    return found[1]


def enrol(visitor: Visitor, **query: Any) -> tuple[str, list[str]]:
    """Set up an app; return its secret and the recovery codes. The code of one step ago is used."""
    page = visitor.get(APP, **query)
    secret = shown_secret(page)
    form = hidden(page.text) | {"name": "Phone", "code": code_at(visitor, secret, -1)}
    answer = visitor.post(APP, form, **query)
    assert answer.status_code == 200, content(answer)
    codes = re.findall(r"\b(?:[a-z2-7]{6}-){3}[a-z2-7]{6}\b", answer.text)
    assert len(codes) == 10
    return secret, codes


def prove(visitor: Visitor, code: str, following: str = "/console/me") -> TestResponse:
    return visitor.post("second-factor", {"code": code, "next": following})


def asked(world: World, name: str = "alice") -> Visitor:
    """Return somebody whose password was right, and who is asked for the second factor."""
    visitor = Visitor(world)
    answer = visitor.log_in(name, next="/console/me/password")
    assert answer.location == "/console/second-factor?next=%2Fconsole%2Fme%2Fpassword"
    return visitor


def test_a_password_alone_opens_nothing_any_more(world: World, visitor: Visitor) -> None:
    secret, _ = enrol(visitor)
    other = asked(world)
    for page in ("me", "me/password", "my/second-factors", APP):
        assert other.get(page).location.startswith("/console/second-factor?next="), page
    assert prove(other, code_at(other, secret), "/console/me/password").location == (
        "/console/me/password"
    )
    assert other.get("me").status_code == 200
    assert world.get("service=registry", auth=("alice", PASSWORD)).status_code == 401


def test_setting_up_ends_other_logins_and_this_one_goes_on(world: World, visitor: Visitor) -> None:
    world.log_in("alice")
    other = Visitor(world)
    other.log_in("alice")
    former = visitor.cookie
    enrol(visitor)
    assert visitor.get("me").status_code == 200
    assert visitor.cookie != former
    assert other.get("me").location.startswith("/console/login")
    with world.wiring.store.read() as session:
        assert session.scalars(select(RefreshTokenRow)).all() == []
        assert len(session.scalars(select(ConsoleSessionRow)).all()) == 1


def test_a_stolen_pre_login_cookie_is_no_login(world: World, visitor: Visitor) -> None:
    secret, _ = enrol(visitor)
    owner = asked(world)
    stolen = owner.cookie or ""
    prove(owner, code_at(owner, secret))
    thief = Visitor(world)
    thief.client.set_cookie("authserver_console", stolen)
    for page in ("me", "second-factor"):
        assert thief.get(page).location.startswith("/console/login"), page


def test_replayed_totp_is_refused(world: World, visitor: Visitor) -> None:
    secret, _ = enrol(visitor)
    code = code_at(visitor, secret)
    assert prove(asked(world), code).status_code == 303
    answer = prove(asked(world), code)
    assert answer.status_code == 401
    assert "used before" in content(answer)


def test_a_recovery_code_is_good_once(world: World, visitor: Visitor) -> None:
    _, codes = enrol(visitor)
    assert prove(asked(world), codes[0].upper().replace("-", " ")).status_code == 303
    assert prove(asked(world), codes[0]).status_code == 401
    assert "9 recovery codes" in content(visitor.get("my/second-factors"))


@pytest.mark.parametrize("guess", ["{:06d}", "{:06d}-aaaaaa-aaaaaa-aaaaaa"])
def test_brute_force_of_codes_is_limited_as_passwords_are(
    world: World, visitor: Visitor, guess: str
) -> None:
    enrol(visitor)
    other = asked(world)
    answers = [prove(other, guess.format(number)) for number in range(11)]
    assert {answer.status_code for answer in answers[:10]} == {401}
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) > 0
    # The same count: the password is not checked either.
    assert Visitor(world).log_in("alice", "another").status_code == 429


def test_a_fresh_proof_is_the_second_factor_where_there_is_one(
    world: World, visitor: Visitor
) -> None:
    secret, _ = enrol(visitor)
    with world.wiring.store.append() as session:
        now = world.wiring.store.time(session)
        session.execute(update(ConsoleSessionRow).values(proved_at=now - console_sessions.FRESH))
    assert visitor.get(APP).location.startswith("/console/confirm?next=")
    following = {"next": "/console/my/second-factors/app"}
    assert visitor.get("confirm", **following).location.startswith("/console/second-factor?next=")
    assert visitor.post("confirm", {"password": PASSWORD}).location.startswith(
        "/console/second-factor"
    )
    assert visitor.get(APP).status_code == 303
    assert prove(visitor, code_at(visitor, secret)).status_code == 303
    assert visitor.get(APP).status_code == 200


def test_an_app_is_not_set_up_with_a_wrong_code_or_anothers_secret(
    world: World, visitor: Visitor
) -> None:
    page = visitor.get(APP)
    form = hidden(page.text) | {"name": "Phone", "code": "000000"}
    assert visitor.post(APP, form).status_code == 409
    world.user("bob")
    bob = Visitor(world)
    bob.log_in("bob")
    foreign = hidden(bob.get(APP).text) | {"name": "Phone", "code": "000000"}
    answer = visitor.post(APP, foreign)
    assert "begin again" in content(answer)
    with world.wiring.store.read() as session:
        assert not second_factors.codes_left(session, 1)


def test_one_app_is_not_set_up_twice(world: World, visitor: Visitor) -> None:
    page = visitor.get(APP)
    secret = shown_secret(page)
    form = hidden(page.text) | {"name": "Phone", "code": code_at(visitor, secret, -1)}
    assert visitor.post(APP, form).status_code == 200
    again = visitor.post(APP, form | {"name": "Tablet", "code": code_at(visitor, secret)})
    assert again.status_code == 409
    assert "set up already" in content(again)


def test_a_secret_is_in_no_page_that_can_be_had_again(world: World, visitor: Visitor) -> None:
    secret, codes = enrol(visitor)
    pages = [visitor.get(page).text for page in ("me", "my/second-factors", APP)]
    for hidden_text in (secret, *codes, *(code.replace("-", "") for code in codes)):
        assert all(hidden_text not in page for page in pages)
    dump = stores.dumped(world.wiring.store)
    assert secret not in dump
    assert not any(code in dump for code in codes)


def test_factors_are_listed_removed_and_codes_renewed(world: World, visitor: Visitor) -> None:
    _, codes = enrol(visitor)
    page = visitor.get("my/second-factors")
    assert "Phone" in content(page)
    assert visitor.get("my/second-factors/codes").status_code == 200
    renewed = visitor.post("my/second-factors/codes")
    assert codes[0] not in renewed.text
    assert prove(asked(world), codes[0]).status_code == 401
    number = re.search(r"second-factors/remove\?id=(\d+)", page.text)
    assert number
    assert "last second factor" in content(visitor.get("my/second-factors/remove", id=number[1]))
    assert visitor.post("my/second-factors/remove", id=number[1]).status_code == 303
    assert Visitor(world).log_in("alice", next="/console/me").location == "/console/me"


def test_nobody_removes_another_persons_factor(world: World, visitor: Visitor) -> None:
    enrol(visitor)
    number = re.search(r"remove\?id=(\d+)", visitor.get("my/second-factors").text)
    assert number
    office = Visitor(world)
    office.log_in()
    for answer in (
        office.get("my/second-factors/remove", id=number[1]),
        office.post("my/second-factors/remove", id=number[1]),
        office.post("my/second-factors/remove", id="x"),
        office.post("my/second-factors/remove", id="9" * 30),
    ):
        assert answer.status_code == 404
    assert "Phone" in content(visitor.get("my/second-factors"))


def test_a_passkey_needs_the_challenge_of_this_login_once(world: World, visitor: Visitor) -> None:
    page = visitor.get("my/second-factors/passkey")
    assert "data-options" in page.text
    form = {"name": "Key", "passkey": '{"id": "x", "rawId": "x", "response": {}, "type": "y"}'}
    assert visitor.post("my/second-factors/passkey", form).status_code == 409
    with world.wiring.store.append() as session:
        session.execute(update(ConsoleSessionRow).values(pending=None))
    answer = visitor.post("my/second-factors/passkey", form)
    assert "begin again" in content(answer)


def test_who_must_have_one_sets_it_up_first(template: Path, tmp_path: Path) -> None:
    stores.copied(template, tmp_path / "data")
    world = World.over(stores.settings(tmp_path / "data", second_factor="administrators"))
    visitor = Visitor(world)
    answer = visitor.log_in(next="/console/users")
    assert answer.location == "/console/my/second-factors?next=%2Fconsole%2Fusers"
    for path in ("users", "me", "users/new"):
        assert visitor.get(path).location.startswith("/console/my/second-factors"), path
    assert visitor.post("users/new", {"name": "x"}).status_code == 303
    page = visitor.get("my/second-factors", next="/console/users")
    assert f"{ADMIN} must have a second factor here" in content(page)
    enrol(visitor, next="/console/users")
    assert visitor.get("users").status_code == 200
    world.user("alice")
    user = Visitor(world)
    assert user.log_in("alice", next="/console/me").location == "/console/me"
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", admin=True)
    world.wiring.state.refresh()
    assert user.get("me").location.startswith("/console/my/second-factors")
    world.close()
