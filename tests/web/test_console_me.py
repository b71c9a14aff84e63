"""The console's pages of one's own account: who I am, and my password."""

import secrets
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from authserver.core import secret_tokens
from authserver.core.secret_tokens import Prefix
from authserver.db import console_sessions, lookup
from authserver.db.console_sessions import ConsoleLogin, Stage
from authserver.db.models import ConsoleSessionRow, RefreshTokenRow
from authserver.web.api.caller import Caller, Callers
from authserver.web.console.listener import PLAIN_COOKIE
from tests.stores import dumped
from tests.web.test_second_factor import enrol
from tests.web.visitor import Visitor, content
from tests.world import ADMIN, PASSWORD, World

NEW = "another battery 7"


@pytest.fixture
def alice(world: World) -> Visitor:
    """A user who is logged in."""
    world.user("alice")
    visitor = Visitor(world)
    assert visitor.log_in("alice").status_code == 303
    return visitor


def change(
    visitor: Visitor, current: str = PASSWORD, new: str = NEW, again: str | None = None
) -> TestResponse:
    form = {"current": current, "new": new, "again": new if again is None else again}
    return visitor.submit("me/password", form)


def test_the_account_page_says_who_i_am(world: World, alice: Visitor) -> None:
    world.group("team", "alice")
    page = content(alice.get("me"))
    assert "Role user" in page
    assert "Groups team" in page
    assert "docker login -u alice REGISTRY" in page
    office = Visitor(world)
    office.log_in()
    assert "Role administrator" in content(office.get("me"))


def test_names_are_quoted_for_the_shell(world: World) -> None:
    world.user("a'b$x")
    visitor = Visitor(world)
    visitor.log_in("a'b$x")
    assert """docker login -u 'a'"'"'b$x' REGISTRY""" in content(visitor.get("me"))


def test_a_new_password_ends_every_other_login_and_this_one_goes_on(
    world: World, alice: Visitor
) -> None:
    world.log_in("alice")
    other = Visitor(world)
    other.log_in("alice")
    former = alice.cookie or ""
    answer = change(alice)
    assert (answer.status_code, answer.location) == (303, "/console/me?changed=password")
    assert "Your password is changed" in content(alice.client.get(answer.location))
    assert alice.cookie != former
    assert other.get("me").status_code == 303
    thief = Visitor(world)
    thief.client.set_cookie(PLAIN_COOKIE, former)
    assert thief.get("me").status_code == 303
    with world.wiring.store.read() as session:
        assert session.scalars(select(RefreshTokenRow)).all() == []
        assert len(session.scalars(select(ConsoleSessionRow)).all()) == 1
    world.wiring.state.refresh()
    assert Visitor(world).log_in("alice").status_code == 403
    assert Visitor(world).log_in("alice", NEW).status_code == 303
    assert NEW not in dumped(world.wiring.store)


def test_a_new_password_makes_a_session_neither_longer_nor_fresher(
    world: World, alice: Visitor
) -> None:
    early = timedelta(hours=1)
    with world.wiring.store.append() as session:
        row = session.scalars(select(ConsoleSessionRow)).one()
        ends, proved = row.expires_at - early, row.proved_at - early
        session.execute(update(ConsoleSessionRow).values(expires_at=ends, proved_at=proved))
    assert change(alice).status_code == 303
    with world.wiring.store.read() as session:
        row = session.scalars(select(ConsoleSessionRow)).one()
    assert (row.expires_at, row.proved_at) == (ends, proved)


@pytest.mark.parametrize(
    ("form", "status", "text"),
    [
        ({"current": "wrong"}, 403, "The current password is another."),
        ({"again": "something else 5"}, 409, "The two passwords are not the same."),
        ({"new": "sh0rt"}, 409, "8 characters"),
        ({"new": "password1"}, 409, "common"),
        ({"new": "alice"[::-1] + "123"}, 409, "name"),
    ],
)
def test_what_is_wrong_with_a_new_password_stands_beside_its_field(
    world: World, alice: Visitor, form: dict[str, str], status: int, text: str
) -> None:
    before = alice.cookie
    answer = change(alice, **form)
    assert answer.status_code == status
    assert text in content(answer)
    assert 'aria-invalid="true"' in answer.text
    assert alice.cookie == before
    assert form.get("new", NEW) not in answer.text
    assert Visitor(world).log_in("alice").status_code == 303


def test_guesses_of_the_current_password_are_limited_as_logins_are(alice: Visitor) -> None:
    answers = [change(alice, f"guess {number}") for number in range(11)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_a_session_that_ends_meanwhile_gets_no_new_password(
    world: World, alice: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = Callers.prove

    def slow(*args: Any, **more: Any) -> Caller:
        proved = prove(*args, **more)
        with world.wiring.store.change("test") as ending:
            for row in ending.session.scalars(select(ConsoleSessionRow)).all():
                console_sessions.end(ending, row)
        return proved

    monkeypatch.setattr(Callers, "prove", slow)
    answer = change(alice)
    assert answer.location.startswith("/console/login")
    assert Visitor(world).log_in("alice", NEW).status_code == 403


def test_the_page_is_for_everybody_and_for_nobody_without_a_login(world: World) -> None:
    assert Visitor(world).get("me/password").location.startswith("/console/login")
    office = Visitor(world)
    office.log_in(ADMIN)
    assert office.get("me/password").status_code == 200


def test_who_has_a_second_factor_changes_the_password_here(world: World) -> None:
    world.user("bob")
    enrol(world, "bob")
    secret = secret_tokens.make(Prefix.CONSOLE, secrets.token_bytes)
    with world.wiring.store.change("test") as opening:
        bob = lookup.account(opening.session, "bob")
        console_sessions.add(opening, ConsoleLogin(bob.id, Stage.OPEN, "192.0.2.1", ""), secret)
    visitor = Visitor(world)
    visitor.client.set_cookie(PLAIN_COOKIE, secret)
    assert change(visitor).location == "/console/me?changed=password"
    assert change(visitor, "wrong").status_code == 403
