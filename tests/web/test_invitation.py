"""The page on which an invited user sets a password."""

import re
import secrets
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from authserver.core.errors import NotFound, Refused
from authserver.db import accounts, invitations
from authserver.db.invitations import Reset
from authserver.db.models import AuditRecord, InvitationRow
from authserver.runtime.settings import Settings
from authserver.web.bodies import Bodies
from tests.stores import dumped
from tests.world import PASSWORD, World

NEW = "a new password"


def invite(world: World, name: str = "dora") -> str:
    with world.wiring.store.change("test") as change:
        _, code = invitations.invite(change, name, secrets.token_bytes)
    world.wiring.state.refresh()
    return code


def redeem(world: World, code: str, password: str = NEW, again: str | None = None) -> TestResponse:
    form = {"code": code, "password": password, "again": password if again is None else again}
    return world.client.post("/invitation", data=form)


def opened(world: World, code: str) -> TestResponse:
    """Return the answer to the code alone, as the page's script sends it."""
    return world.client.post("/invitation/", data={"code": code})


def refreshes(world: World, session: str) -> bool:
    world.wiring.state.refresh()
    response = world.post(grant_type="refresh_token", refresh_token=session)
    return response.status_code == 200


def logs_in(world: World, name: str, password: str) -> bool:
    world.wiring.state.refresh()
    return world.get("service=registry", auth=(name, password)).status_code == 200


def test_an_invited_user_sets_a_password_and_logs_in(world: World) -> None:
    code = invite(world)
    assert not logs_in(world, "dora", NEW)
    response = redeem(world, code)
    assert response.status_code == 200
    assert "docker login -u dora</code> and the name of the registry" in response.text
    assert logs_in(world, "dora", NEW)


def test_a_slow_body_is_counted_for_the_client_behind_the_proxy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Settings(**settings.model_dump() | {"trusted_proxies": "127.0.0.1/32"})
    world = World.over(chosen)
    read: list[str] = []
    monkeypatch.setattr(Bodies, "read", lambda _self, _environ, client: read.append(client))
    world.client.post("/invitation", headers={"X-Forwarded-For": "192.0.2.7"})
    world.close()
    assert read == ["192.0.2.7"]


def test_a_code_is_good_once(world: World) -> None:
    code = invite(world)
    redeem(world, code)
    assert redeem(world, code, "another one").status_code == 404
    assert logs_in(world, "dora", NEW)


@pytest.mark.parametrize("code", ["", "x", "authserver_invite_" + "a" * 49])
def test_another_code_is_none(world: World, code: str) -> None:
    response = redeem(world, code)
    assert response.status_code == 404
    assert (
        "This invitation is unknown, was used, or has expired: ask for a new one." in response.text
    )


@pytest.mark.parametrize("path", ["/invitation", "/invitation/"])
def test_the_page_asks_for_the_code_where_the_link_has_none(world: World, path: str) -> None:
    response = world.client.get(path)
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert "There is no invitation in this link." in response.text
    assert 'name="code" required' in response.text
    assert 'name="password"' not in response.text
    assert world.client.post(path, data={"password": NEW, "again": NEW}).status_code == 404


def test_the_code_alone_shows_whose_it_is_and_is_used_up_by_a_password_only(world: World) -> None:
    code = invite(world)
    for _ in range(2):
        page = opened(world, code)
        assert page.status_code == 200
        assert "At least 8 characters, at most 72 bytes." in page.text
        assert 'name="username" value="dora" readonly autocomplete="username"' in page.text
        assert f'name="code" type="hidden" value="{code}"' in page.text
    assert redeem(world, code).status_code == 200


def test_a_refused_password_leaves_the_name_and_the_code_hidden(world: World) -> None:
    code = invite(world)
    page = redeem(world, code, "short").text
    assert 'name="username" value="dora" readonly' in page
    assert f'name="code" type="hidden" value="{code}"' in page


@pytest.mark.parametrize(
    "end", [*["used", "replaced", "disabled", "enabled", "administrator", "expired", "unknown"]]
)
def test_a_link_that_is_no_longer_good_shows_no_form(world: World, end: str) -> None:
    code = invite(world)
    match end:
        case "used":
            redeem(world, code)
        case "replaced":
            invite(world)
        case "disabled":
            world.disable("dora")
        case "enabled":
            world.disable("dora")
            with world.wiring.store.change("test") as change:
                accounts.set_disabled(change, "dora", disabled=False)
        case "administrator":
            with world.wiring.store.change("test") as change:
                accounts.set_role(change, "dora", admin=True)
        case "expired":
            with world.wiring.store.change("test") as change:
                change.session.execute(update(InvitationRow).values(expires_at=change.at))
        case "unknown":
            code += "a"
    for response in (opened(world, code), redeem(world, code)):
        assert response.status_code == 404
        assert "was used, or has expired: ask for a new one" in response.text
        assert "<form" not in response.text
        assert "dora" not in response.text


@pytest.mark.parametrize("action", ["user.disable", "user.edit", "user.passwd"])
def test_what_ends_an_invitation_says_so_in_its_record(world: World, action: str) -> None:
    world.user("bob")
    reset(world, Reset.LATER)
    with world.wiring.store.change("test") as change:
        match action:
            case "user.disable":
                accounts.set_disabled(change, "bob", disabled=True)
            case "user.edit":
                accounts.set_role(change, "bob", admin=True)
            case _:
                accounts.set_password(change, "bob", "$2b$04$" + "a" * 53)
    with world.wiring.store.read() as session:
        record = session.scalars(select(AuditRecord).where(AuditRecord.action == action)).one()
    assert record.after is not None
    assert record.after["invitation"] == "ended"


def reset(world: World, how: Reset) -> str:
    with world.wiring.store.change("test") as change:
        _, code = invitations.invite(change, "bob", secrets.token_bytes, how)
    world.wiring.state.refresh()
    return code


def test_a_reset_leaves_the_former_password_good_until_the_new_one_is_set(world: World) -> None:
    world.user("bob")
    session = world.log_in("bob")
    code = reset(world, Reset.LATER)
    assert logs_in(world, "bob", PASSWORD)
    assert refreshes(world, session)
    assert redeem(world, code).status_code == 200
    assert not logs_in(world, "bob", PASSWORD)
    assert not refreshes(world, session)
    assert logs_in(world, "bob", NEW)


def test_a_reset_now_ends_the_former_password_at_once(world: World) -> None:
    world.user("bob")
    session = world.log_in("bob")
    code = reset(world, Reset.NOW)
    assert not logs_in(world, "bob", PASSWORD)
    assert not refreshes(world, session)
    assert redeem(world, code).status_code == 200
    assert logs_in(world, "bob", NEW)
    assert not refreshes(world, session)


@pytest.mark.parametrize("how", Reset)
def test_only_a_user_that_is_there_is_reset(world: World, how: Reset) -> None:
    with pytest.raises(NotFound):
        reset(world, how)
    world.user("bob")
    world.disable("bob")
    with pytest.raises(Refused, match="authserver user enable bob"):
        reset(world, how)


def test_a_reset_is_recorded_as_one(world: World) -> None:
    world.user("bob")
    reset(world, Reset.NOW)
    reset(world, Reset.LATER)
    with world.wiring.store.read() as session:
        query = select(AuditRecord.after).where(AuditRecord.action == "user.invite")
        recorded = session.scalars(query.order_by(AuditRecord.id)).all()
    # Of the second one there is nothing left to reset.
    assert recorded == [{"reset": "now"}, None]


def test_the_page_says_and_asks_for_the_configured_minimum(settings: Settings) -> None:
    world = World.over(settings.model_copy(update={"password_min_length": 20}))
    code = invite(world)
    page = opened(world, code).text
    assert "At least 20 characters, at most 72 bytes." in page
    assert 'minlength="20"' in page
    response = redeem(world, code, "nineteen characters")
    assert response.status_code == 400
    assert "choose one of at least 20 characters" in response.text
    assert redeem(world, code, "twenty characters in").status_code == 200
    world.close()


def test_without_the_code_nothing_is_said_of_a_password(world: World) -> None:
    invite(world)
    for password in ("x", "password", "dora2026"):
        assert redeem(world, "authserver_invite_" + "a" * 49, password).status_code == 404


def test_the_page_names_the_registry_where_its_host_is_known(settings: Settings) -> None:
    named = settings.model_copy(update={"registry_host": "r.example.com:5000"})
    world = World.over(named)
    code = invite(world)
    assert "<strong>r.example.com:5000</strong>" in opened(world, code).text
    response = redeem(world, code)
    assert "<code>docker login -u dora r.example.com:5000</code>" in response.text
    world.close()


def test_a_code_ends_after_72_hours(world: World) -> None:
    code = invite(world)
    later = world.wiring.store.clock() + timedelta(hours=72, seconds=1)
    with world.wiring.store.read() as session, pytest.raises(Refused):
        invitations.require_open(session, later, code)


def test_a_later_invitation_ends_the_earlier_one(world: World) -> None:
    first, second = invite(world), invite(world)
    assert redeem(world, first).status_code == 404
    assert redeem(world, second).status_code == 200


@pytest.mark.parametrize(
    ("password", "again", "says"),
    [
        (NEW, "other", "The two passwords are not the same."),
        ("", "", "A password is empty."),
        ("seven77", "seven77", "A password of 7 characters is too short"),
        ("Football", "Football", "This password is one of the most common"),
        ("dora2026", "dora2026", "A password must not be the account&#39;s name"),
        ("x" * 73, "x" * 73, "73 bytes"),
    ],
)
def test_a_bad_password_is_told_and_the_code_stays_good(
    world: World, password: str, again: str, says: str
) -> None:
    code = invite(world)
    response = redeem(world, code, password, again)
    assert response.status_code == 400
    assert says in response.text
    assert password == "" or password not in response.text
    assert redeem(world, code).status_code == 200


def test_a_user_with_a_password_is_not_invited(world: World) -> None:
    world.user("bob")
    with pytest.raises(Refused, match="has a password"):
        invite(world, "bob")


def test_setting_a_password_otherwise_ends_the_invitation(world: World) -> None:
    code = invite(world)
    with world.wiring.store.change("test") as change:
        known = world.wiring.state.current.snapshot.accounts["admin"]
        accounts.set_password(change, "dora", str(known.password_hash))
    assert redeem(world, code).status_code == 404
    assert logs_in(world, "dora", PASSWORD)


def test_a_disabled_user_cannot_redeem(world: World) -> None:
    code = invite(world)
    world.disable("dora")
    assert redeem(world, code).status_code == 404


def test_a_user_that_is_made_again_inherits_no_invitation(world: World) -> None:
    code = invite(world)
    with world.wiring.store.change("test") as change:
        accounts.remove(change, "dora")
    world.user("dora", "first")
    assert redeem(world, code).status_code == 404
    assert logs_in(world, "dora", "first")


@pytest.mark.parametrize("path", ["/invitation", "/password"])
def test_the_page_runs_nothing_but_its_own_script(world: World, path: str) -> None:
    response = world.client.get(path)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    nonces = set(re.findall(r'nonce="([^"]+)"', response.text))
    assert {f"'nonce-{nonce}'" for nonce in nonces} == set(re.findall(r"'nonce-[^']+'", policy))
    assert "form-action 'self'" in policy
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["Cache-Control"] == "no-store"
    other = world.client.get(path)
    assert not nonces & set(re.findall(r'nonce="([^"]+)"', other.text))


def test_what_is_sent_is_not_taken_for_markup(world: World) -> None:
    response = redeem(world, '"><script>alert(1)</script>', "a", "b")
    assert "<script>alert" not in response.text


def test_nothing_secret_is_stored(world: World) -> None:
    code = invite(world)
    redeem(world, code)
    dump = dumped(world.wiring.store)
    assert code not in dump
    assert NEW not in dump
