"""POST on the token URL (Distribution ``oauth.md``), and refresh tokens."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from authserver.auth import passwords
from authserver.db import accounts, refresh_tokens
from authserver.registry import entries
from authserver.runtime.settings import Settings
from authserver.web.app import create_app
from tests.stores import dumped
from tests.world import ADMIN, COST, PASSWORD, Clock, World

SCOPE = "repository:team/app:pull,push"


@pytest.fixture
def alice(world: World) -> World:
    world.user("alice")
    world.allow("user:alice", "team/**", "push")
    return world


def grant(world: World, **form: Any) -> Any:
    response = world.post(
        **({"grant_type": "password", "username": "alice", "password": PASSWORD} | form)
    )
    assert response.status_code == 200, response.text
    return response.json


def refused(world: World, status: int, error: str, **form: Any) -> Any:
    response = world.post(**form)
    assert response.status_code == status, response.text
    body = response.json
    assert body is not None
    assert body["error"] == error
    assert body["error_description"] == body["details"] == body["errors"][0]["message"]
    assert "access_token" not in body
    return body


def test_a_password_grant_answers_as_oauth_says(alice: World) -> None:
    body = grant(alice, scope=SCOPE)
    assert body["access_token"] == body["token"]
    assert body["scope"] == SCOPE
    assert body["expires_in"] == 300
    assert body["issued_at"].endswith("Z")
    assert "refresh_token" not in body
    assert alice.verified(body["token"])["sub"] == "alice"


@pytest.mark.parametrize(
    "scopes",
    [
        ["repository:team/a:pull", "repository:team/b:pull"],
        ["repository:team/a:pull repository:team/b:pull"],
    ],
)
def test_scopes_may_be_repeated_or_separated_by_spaces(alice: World, scopes: list[str]) -> None:
    assert grant(alice, scope=scopes)["scope"] == "repository:team/a:pull repository:team/b:pull"


def test_what_is_denied_is_left_out_of_the_scope(alice: World) -> None:
    assert grant(alice, scope="repository:team/a:pull,delete repository:b:pull")["scope"] == (
        "repository:team/a:pull"
    )


def test_an_empty_scope_is_a_login(alice: World) -> None:
    assert grant(alice, scope="")["scope"] == ""
    assert grant(alice)["scope"] == ""


def test_a_charset_and_a_missing_length_do_no_harm(alice: World) -> None:
    response = alice.client.post(
        "/token",
        data=f"grant_type=password&username=alice&password={PASSWORD}&client_id=c&service=registry",
        content_type="application/x-www-form-urlencoded; charset=utf-8",
    )
    assert response.status_code == 200


@pytest.mark.parametrize("name", ["username", "password", "client_id", "service", "scope", "x"])
def test_bytes_that_are_no_text_are_no_fault_of_ours(alice: World, name: str) -> None:
    form = f"grant_type=password&username=a&password=b&client_id=c&{name}=".encode()
    response = alice.client.post(
        "/token",
        data=form.replace(f"{name}=".encode(), f"{name}=".encode() + b"\xff", 1),
        content_type="application/x-www-form-urlencoded",
    )
    assert response.status_code in (400, 401)


@pytest.mark.parametrize("grant_type", ["authorization_code", "Password", "anonymous", " "])
def test_another_grant_type_is_not_supported(alice: World, grant_type: str) -> None:
    form = {"username": "alice", "password": PASSWORD}
    refused(alice, 400, "unsupported_grant_type", grant_type=grant_type, **form)


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize(
    ("grant_type", "name"),
    [
        *(("password", name) for name in ("grant_type", "username", "password", "client_id")),
        *(("refresh_token", name) for name in ("grant_type", "refresh_token", "client_id")),
    ],
)
def test_a_missing_or_empty_parameter_is_named(
    alice: World, grant_type: str, name: str, value: str | None
) -> None:
    form = {
        "grant_type": grant_type, "username": "alice", "password": PASSWORD,
        "refresh_token": "x", "client_id": "c",
    }  # fmt: skip
    body = refused(alice, 400, "invalid_request", **{**form, name: value})
    assert body["details"] == f"the parameter {name} is missing"


@pytest.mark.parametrize("form", ["grant_type=&client_id=x&service=registry", "account=ann", ""])
def test_a_form_without_a_grant_type_is_an_invalid_request(alice: World, form: str) -> None:
    kind = "application/x-www-form-urlencoded"
    for auth in (None, ("alice", PASSWORD)):
        response = alice.client.post("/token", data=form, content_type=kind, auth=auth)
        assert response.status_code == 400
        assert response.json is not None
        assert response.json["error"] == "invalid_request"
        assert response.json["error_description"] == "the parameter grant_type is missing"


@pytest.mark.parametrize("name", ["service", "scope", "access_type", "account"])
def test_an_empty_parameter_that_is_not_required_is_left_out(alice: World, name: str) -> None:
    assert grant(alice, **{name: ""})["access_token"]


@pytest.mark.parametrize("name", ["grant_type", "username", "password", "service", "client_id"])
def test_a_repeated_parameter_is_refused(alice: World, name: str) -> None:
    form = {
        "grant_type": "password", "username": "alice", "password": PASSWORD,
        "client_id": "c", "service": "registry",
    }  # fmt: skip
    refused(alice, 400, "invalid_request", **{**form, name: [form[name], form[name]]})


@pytest.mark.parametrize(
    "form",
    [
        {"username": "alice", "password": "wrong"},
        {"username": "nobody", "password": PASSWORD},
        {"username": " ", "password": PASSWORD},
        {"username": "alice", "password": " "},
    ],
)
def test_wrong_credentials_are_an_invalid_grant(alice: World, form: dict[str, str]) -> None:
    refused(alice, 401, "invalid_grant", grant_type="password", **form)


def test_credentials_in_the_query_or_a_header_count_for_nothing(alice: World) -> None:
    query = f"grant_type=password&username=alice&password={PASSWORD}&client_id=c"
    assert alice.client.post(f"/token?{query}", data={"client_id": "c"}).status_code == 400
    good = alice.client.post("/token", auth=("alice", PASSWORD), data={"client_id": "c"})
    assert good.status_code == 400


@pytest.mark.parametrize(
    "kind", ["application/json", "multipart/form-data; boundary=x", "text/plain"]
)
def test_only_a_form_is_read(alice: World, kind: str) -> None:
    response = alice.client.post("/token", data=b"grant_type=password", content_type=kind)
    assert response.status_code == 400


def test_a_body_that_is_too_large_is_refused_in_json(alice: World) -> None:
    response = alice.post(grant_type="password", username="alice", password="x" * 100_000)
    assert response.status_code == 413
    assert response.json is not None


# Refresh tokens.


def refreshed(world: World, token: str, **form: Any) -> Any:
    return world.post(grant_type="refresh_token", refresh_token=token, **form)


def test_it_is_given_only_where_it_is_asked_for(alice: World) -> None:
    auth = ("alice", PASSWORD)
    for query, given in [
        ("", False),
        ("&offline_token=true", True),
        ("&offline_token=false", False),
    ]:
        body = alice.get(f"service=registry{query}", auth=auth).json
        assert body is not None
        assert ("refresh_token" in body) is given
    assert "refresh_token" in grant(alice, access_type="offline")
    assert "refresh_token" not in grant(alice, access_type="online")


def test_it_can_be_used_again_and_again_by_todays_rules(alice: World) -> None:
    token = alice.log_in("alice")
    for _ in range(3):
        assert refreshed(alice, token, scope=SCOPE).json["scope"] == SCOPE
    alice.deny("user:alice", "team/app", "push")
    assert refreshed(alice, token, scope=SCOPE).json["scope"] == "repository:team/app:pull"


def test_a_refresh_gives_the_same_token_back_if_asked_and_never_another(alice: World) -> None:
    token = alice.log_in("alice")
    assert "refresh_token" not in refreshed(alice, token).json
    assert refreshed(alice, token, access_type="offline").json["refresh_token"] == token


def test_it_is_bound_to_its_registry(alice: World) -> None:
    alice.registry("other")
    token = alice.log_in("alice")
    form = {"grant_type": "refresh_token", "refresh_token": token}
    refused(alice, 401, "invalid_grant", service="other", **form)
    assert refreshed(alice, token).status_code == 200


def change_password(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.set_password(change, "alice", passwords.hash_password("new", COST))


def disable_and_enable(world: World) -> None:
    world.disable("alice")
    world.disable("alice", disabled=False)


def revoke(world: World) -> None:
    with world.wiring.store.change("test") as change:
        refresh_tokens.revoke(change, 1)


def remove_and_add_again(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.remove(change, "alice")
    world.user("alice")


def remove_registry_and_add_again(world: World) -> None:
    with world.wiring.store.change("test") as change:
        entries.remove(change, "registry", force=True)
    world.registry("registry")


def turn_off(world: World) -> None:
    with world.wiring.store.change("test") as change:
        entries.edit(change, "registry", refresh_tokens=False)


@pytest.mark.parametrize(
    "ending",
    [
        change_password,
        disable_and_enable,
        revoke,
        remove_and_add_again,
        remove_registry_and_add_again,
        turn_off,
    ],
)
def test_it_ends_for_good(alice: World, ending: Any) -> None:
    token = alice.log_in("alice")
    ending(alice)
    alice.wiring.state.refresh()
    refused(alice, 401, "invalid_grant", grant_type="refresh_token", refresh_token=token)


def test_a_disabled_account_cannot_refresh(alice: World) -> None:
    token = alice.log_in("alice")
    alice.disable("alice")
    refused(alice, 401, "invalid_grant", grant_type="refresh_token", refresh_token=token)


def test_a_rehash_ends_no_login(alice: World) -> None:
    token = alice.log_in("alice")
    with alice.wiring.store.change("test") as change:
        known = alice.wiring.state.current.snapshot.accounts["alice"]
        assert known.password_hash is not None
        assert accounts.rehash(change, known.id, known.password_hash, known.password_hash)
    alice.wiring.state.refresh()
    assert refreshed(alice, token).status_code == 200


def at(world: World, clock: Clock) -> World:
    """Let ``clock`` be the time of a world that was made by another."""
    issuer = world.wiring.issuer
    backends = replace(issuer.backends, clock=clock)
    wiring = replace(world.wiring, issuer=replace(issuer, backends=backends))
    return World(wiring, create_app(wiring).test_client())


def test_it_ends_when_it_was_idle_for_too_long(alice: World) -> None:
    token = alice.log_in("alice")
    clock = Clock()
    later = at(alice, clock)
    clock.move(timedelta(days=89))
    assert refreshed(later, token).status_code == 200
    clock.move(timedelta(days=2))
    refused(later, 401, "invalid_grant", grant_type="refresh_token", refresh_token=token)


def test_use_puts_its_end_off(alice: World) -> None:
    token = alice.log_in("alice")
    clock = Clock()
    later = at(alice, clock)
    clock.move(timedelta(days=80))
    assert refreshed(later, token).status_code == 200
    alice.wiring.maintenance.tick()
    alice.wiring.state.refresh()
    clock.move(timedelta(days=80))
    assert refreshed(later, token).status_code == 200


def test_a_typo_is_told_from_a_revoked_one_only_in_the_log(alice: World) -> None:
    refused(alice, 401, "invalid_grant", grant_type="refresh_token", refresh_token="x")


def test_it_is_no_password(alice: World) -> None:
    token = alice.log_in("alice")
    for name in ("alice", "", "<token>"):
        assert alice.get("service=registry", auth=(name, token)).status_code == 401


def test_one_that_was_made_elsewhere_a_moment_ago_is_known(alice: World) -> None:
    response = alice.get("service=registry&offline_token=true", auth=("alice", PASSWORD))
    assert response.json is not None
    # Nobody refreshed this process since.
    assert refreshed(alice, response.json["refresh_token"]).status_code == 200


def test_a_registry_may_give_none(world: World) -> None:
    with world.wiring.store.change("test") as change:
        entries.add(change, "plain", refresh_tokens=False)
    world.wiring.state.refresh()
    body = world.get("service=plain&offline_token=true", auth=(ADMIN, PASSWORD)).json
    assert body is not None
    assert "refresh_token" not in body


def test_its_last_use_is_written_once_a_minute(alice: World) -> None:
    token = alice.log_in("alice")
    clock = Clock()
    later = at(alice, clock)

    def last_used() -> Any:
        alice.wiring.maintenance.tick()
        with alice.wiring.store.read() as session:
            (row,) = refresh_tokens.listed(session, "alice")
            return refresh_tokens.described(row)["last_used"]

    assert last_used() is None
    refreshed(later, token)
    first = last_used()
    assert first["address"] == "127.0.0.1"
    assert first["client"].startswith("test (")
    clock.move(timedelta(seconds=59))
    refreshed(later, token)
    assert last_used() == first
    clock.move(timedelta(seconds=1))
    refreshed(later, token)
    assert last_used()["at"] > first["at"]


def test_the_store_and_the_records_hold_no_secret(alice: World) -> None:
    token = alice.log_in("alice")
    refreshed(alice, token, scope=SCOPE)
    alice.wiring.maintenance.tick()
    dump = dumped(alice.wiring.store)
    assert token not in dump
    assert PASSWORD not in dump


def meanwhile(world: World, monkeypatch: pytest.MonkeyPatch, happens: Any) -> None:
    """Have something happen after a login was checked and before its refresh token is stored."""
    real = refresh_tokens.add

    def add(change: Any, login: Any, service: str, secret: str, idle: timedelta) -> Any:
        happens(change)
        return real(change, login, service, secret, idle)

    monkeypatch.setattr(refresh_tokens, "add", add)


def new_password(change: Any) -> None:
    accounts.set_password(change, "alice", passwords.hash_password("new", COST))


def no_refresh_tokens(change: Any) -> None:
    entries.edit(change, "registry", refresh_tokens=False)


@pytest.mark.parametrize("happens", [new_password, no_refresh_tokens])
def test_a_login_in_the_moment_of_a_change_leaves_no_refresh_token(
    alice: World, monkeypatch: pytest.MonkeyPatch, happens: Any
) -> None:
    meanwhile(alice, monkeypatch, happens)
    body = alice.get("service=registry&offline_token=true", auth=("alice", PASSWORD)).json
    assert body is not None
    assert "refresh_token" not in body
    with alice.wiring.store.read() as session:
        assert refresh_tokens.listed(session) == []


def test_the_sessions_that_were_used_last_are_kept(
    alice: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh_tokens, "MAX_SESSIONS", 3)
    first, *others = [alice.log_in("alice") for _ in range(5)]
    assert refreshed(alice, first).status_code == 401
    assert [refreshed(alice, token).status_code for token in others] == [401, 200, 200, 200]


def test_an_idle_time_of_a_day_is_put_off_by_use(settings: Settings) -> None:
    world = World.over(Settings(**settings.model_dump() | {"refresh_token_days": 1}))
    token = world.log_in(ADMIN)
    clock = Clock()
    later = at(world, clock)
    for _ in range(5):
        clock.move(timedelta(hours=12))
        assert refreshed(later, token).status_code == 200
        world.wiring.maintenance.tick()
        world.wiring.state.refresh()
    world.close()


def test_a_refused_refresh_is_no_use(alice: World) -> None:
    alice.registry("other")
    token = alice.log_in("alice")
    assert refreshed(alice, token, service="other").status_code == 401
    alice.wiring.maintenance.tick()
    with alice.wiring.store.read() as session:
        (row,) = refresh_tokens.listed(session, "alice")
        assert row.last_used_at is None


def test_where_many_logins_wait_others_get_no_refresh_token_and_do_not_wait(alice: World) -> None:
    storing = alice.wiring.issuer.storing
    while storing.acquire(blocking=False):
        pass
    body = alice.get("service=registry&offline_token=true", auth=("alice", PASSWORD)).json
    assert body is not None
    assert body["token"]
    assert "refresh_token" not in body
