"""The page on which a person changes the password of an account."""

import secrets
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from authserver.auth import passwords
from authserver.db import accounts, invitations, lookup
from authserver.db.invitations import Reset
from authserver.db.models import AuditRecord
from authserver.runtime.settings import Settings
from tests.stores import dumped
from tests.web.lasting import lasting
from tests.web.test_invitation import NEW, logs_in, redeem, refreshes
from tests.web.test_same_work import CONFIGURED, FAILURES, Work, populate, work
from tests.world import PASSWORD, World

__all__ = ["work"]

WRONG = "The name or the current password is wrong."


@pytest.fixture(scope="module")
def standing(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with lasting(template, tmp_path_factory, CONFIGURED) as made:
        populate(made)
        yield made


def change(
    world: World,
    name: str = "bob",
    current: str = PASSWORD,
    new: str = NEW,
    again: str | None = None,
    headers: dict[str, str] | None = None,
) -> TestResponse:
    form = {"name": name, "current": current, "password": new}
    form["again"] = new if again is None else again
    return world.client.post("/password", data=form, headers=headers)


def passwords_set(world: World) -> int:
    with world.wiring.store.read() as session:
        query = select(func.count()).where(AuditRecord.action == "user.passwd")
        return session.scalar(query) or 0


def test_a_person_changes_the_password_and_other_logins_end(world: World) -> None:
    world.user("bob")
    session = world.log_in("bob")
    _, app_token = world.app_token("bob")
    response = change(world)
    assert response.status_code == 200
    assert "docker login -u bob</code>" in response.text
    assert logs_in(world, "bob", NEW)
    assert not logs_in(world, "bob", PASSWORD)
    assert not refreshes(world, session)
    assert logs_in(world, "bob", app_token)
    with world.wiring.store.read() as session_:
        query = select(AuditRecord).where(AuditRecord.action == "user.passwd")
        record = session_.scalars(query).one()
    assert (record.actor, record.target) == ("account:bob", "user:bob")
    dump = dumped(world.wiring.store)
    assert PASSWORD not in dump
    assert NEW not in dump


def test_the_command_of_the_page_can_be_pasted_whatever_the_name_is(world: World) -> None:
    world.user("a;b$c")
    response = change(world, name="a;b$c")
    assert response.status_code == 200
    assert "docker login -u &#39;a;b$c&#39;</code>" in response.text


@pytest.mark.parametrize("path", ["/password", "/password/"])
def test_the_form_is_one_that_password_managers_know(world: World, path: str) -> None:
    response = world.client.get(path)
    assert (response.status_code, response.mimetype) == (200, "text/html")
    for field in ("username", "current-password", "new-password"):
        assert f'autocomplete="{field}"' in response.text
    assert "<script" not in response.text


@pytest.mark.parametrize("auth", FAILURES.values(), ids=FAILURES.keys())
def test_every_refusal_is_the_same_after_the_same_work(
    standing: World, work: Work, auth: tuple[str, str]
) -> None:
    response = change(standing, *auth)
    assert work.taken() == 2**CONFIGURED
    assert response.status_code == 403
    expected = change(standing, "someone", "else")
    assert work.taken() == 2**CONFIGURED
    assert without_name(response) == without_name(expected)
    assert WRONG in response.text


def without_name(response: TestResponse) -> str:
    """Return the page without the name, which the form gives back, and without the nonce."""
    lines = response.text.splitlines()
    return "\n".join(line for line in lines if 'name="name"' not in line and "nonce" not in line)


def test_no_other_credential_changes_a_password(world: World) -> None:
    world.user("bob")
    world.robot("ci")
    session = world.log_in("bob")
    _, app_token = world.app_token("bob")
    _, robots = world.app_token("ci")
    for name, current in (
        ("bob", app_token),
        ("bob", session),
        ("bob", ""),
        ("ci", robots),
        ("", ""),
    ):
        response = change(world, name, current)
        assert response.status_code == 403
        assert WRONG in response.text
    assert passwords_set(world) == 0


def test_the_page_has_the_limits_of_a_login(world: World) -> None:
    world.user("bob")
    with capture_logs() as logs:
        statuses = [change(world, "bob", f"{n}").status_code for n in range(12)]
    assert statuses == [403] * 10 + [429] * 2
    assert {line["where"] for line in logs} == {"password page"}
    limited = change(world)
    assert limited.status_code == 429
    assert int(limited.headers["Retry-After"]) > 0
    assert 'role="alert">Too many failed logins' in limited.text
    # One counter for all ways to guess.
    assert world.get("service=registry", auth=("bob", PASSWORD)).status_code == 429
    assert passwords_set(world) == 0


@pytest.mark.parametrize(
    ("new", "again", "says"),
    [
        (NEW, "other", "The two passwords are not the same."),
        ("seven77", None, "A password of 7 characters is too short"),
        ("Football", None, "This password is one of the most common"),
        ("bob20260", None, "A password must not be the account&#39;s name"),
    ],
)
def test_the_new_password_is_refused_before_the_current_one_is_looked_at(
    world: World, new: str, again: str | None, says: str
) -> None:
    world.user("bob")
    for current in (PASSWORD, "wrong"):
        response = change(world, "bob", current, new, again)
        assert response.status_code == 400
        assert says in response.text
        assert new not in response.text
    assert logs_in(world, "bob", PASSWORD)


@pytest.mark.parametrize("path", ["/password", "/invitation"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost"}, None),
        ({"Origin": "https://auth.example.com"}, None),
        ({"Sec-Fetch-Site": "same-origin"}, None),
        ({}, None),
    ],
)
def test_another_sites_form_is_refused(
    settings: Settings, path: str, headers: dict[str, str], status: int | None
) -> None:
    world = World.over(settings.model_copy(update={"public_url": "https://auth.example.com"}))
    response = world.client.post(path, headers=headers)
    if status:
        assert response.status_code == status
        assert "Another site sent this form" in response.text
    else:
        assert "Another site" not in response.text
    world.close()


def test_a_forged_form_with_the_right_password_changes_nothing(world: World) -> None:
    world.user("bob")
    assert change(world, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert logs_in(world, "bob", PASSWORD)


def test_what_is_sent_is_not_taken_for_markup(world: World) -> None:
    response = change(world, '"><script>alert(1)</script>', "x")
    assert "<script" not in response.text


def test_a_password_that_was_changed_meanwhile_is_wrong(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.user("bob")
    hashed = passwords.hash_password("another one", 4)
    hash_password = passwords.hash_password

    def meanwhile(text: str, cost: int) -> str:
        with world.wiring.store.change("test") as begun:
            accounts.set_password(begun, "bob", hashed)
        return hash_password(text, cost)

    monkeypatch.setattr(passwords, "hash_password", meanwhile)
    response = change(world)
    assert response.status_code == 403
    assert WRONG in response.text
    assert logs_in(world, "bob", "another one")


def test_an_open_reset_ends_when_the_password_is_changed(world: World) -> None:
    world.user("bob")
    with world.wiring.store.change("test") as begun:
        _, code = invitations.invite(begun, "bob", secrets.token_bytes, Reset.LATER)
    world.wiring.state.refresh()
    assert change(world).status_code == 200
    assert redeem(world, code, "yet another").status_code == HTTPStatus.NOT_FOUND


def test_without_the_store_the_page_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(world.wiring.state.current), "stale", True)
    response = change(world)
    assert (response.status_code, response.mimetype) == (503, "text/html")
    assert "cannot answer now; try again" in response.text


@pytest.mark.parametrize(
    "origin", ["http://]", "http://[", "null", "", "x", "http://localhost.evil"]
)
def test_an_origin_that_is_not_ours_is_refused_however_it_is_written(
    world: World, origin: str
) -> None:
    world.user("bob")
    assert change(world, headers={"Origin": origin}).status_code == 403
    assert passwords_set(world) == 0


def test_an_app_token_in_the_place_of_the_password_leaves_a_record(world: World) -> None:
    world.user("bob")
    _, app_token = world.app_token("bob")
    assert change(world, current=app_token).status_code == 403
    (event,) = world.wiring.issuer.journal.pending
    assert event.reason == "password page: an app token in the place of the password"


def test_a_password_that_is_changed_was_used(world: World) -> None:
    world.user("bob")
    assert change(world).status_code == 200
    world.wiring.issuer.backends.uses.write(world.wiring.store)
    with world.wiring.store.read() as session:
        assert lookup.account(session, "bob").last_login_at is not None
