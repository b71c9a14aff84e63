"""The admin API: who may, and that nobody overwrites what he has not seen."""

from datetime import timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from authserver.audit import records
from authserver.audit.records import Filter
from authserver.db import accounts, app_tokens, groups, lookup
from authserver.runtime.settings import Settings
from authserver.web.api import router
from tests.world import ADMIN, PASSWORD, World, basic

AS_ADMIN = (ADMIN, PASSWORD)
ALICE = ("alice", PASSWORD)


def call(
    world: World,
    method: str,
    path: str,
    auth: tuple[str, str] | None = AS_ADMIN,
    status: int | None = None,
    **more: Any,
) -> TestResponse:
    """Ask the API; what is written is in force at once, as after the thread's next look."""
    headers = dict(more.pop("headers", {}))
    if auth is not None:
        headers["Authorization"] = basic(*auth)
    url = path if path.startswith("/api") else f"/api/v1{path}"
    response = world.client.open(url, method=method, headers=headers, **more)
    world.wiring.state.refresh()
    assert status in (None, response.status_code), response.text
    return response


def got(world: World, path: str, auth: tuple[str, str] = AS_ADMIN) -> Any:
    return call(world, "GET", path, auth, 200).json


def tag(world: World, path: str) -> dict[str, str]:
    return {"If-Match": call(world, "GET", path, status=200).headers["ETag"]}


def last_change(world: World) -> dict[str, Any]:
    with world.wiring.store.read() as session:
        return records.listed(session, Filter("change"))[-1]


@pytest.fixture
def office(world: World) -> World:
    """alice, who administers nothing, and her robot."""
    world.user("alice")
    world.robot("ci", owner="alice")
    return world


# Who may.

ADMINISTRATIVE = [
    ("GET", "/users"),
    ("GET", "/users/alice"),
    ("GET", "/users/nobody"),
    ("PUT", "/users/nobody"),
    ("PATCH", "/users/alice"),
    ("DELETE", "/users/nobody"),
    ("POST", "/users/alice/password"),
    ("POST", "/users/alice/rename"),
    ("POST", "/groups/nobody/rename"),
    ("GET", "/robots/ci"),
    ("GET", "/groups"),
    ("GET", "/tokens/99"),
    ("POST", "/tokens"),
    ("GET", "/sessions"),
    ("GET", "/registries/registry"),
    ("GET", "/rules"),
    ("GET", "/rules/1"),
    ("GET", "/rules/99"),
    ("GET", "/delegations"),
    ("GET", "/keys"),
    ("POST", "/keys/1/rotate"),
    ("POST", "/keys/9/revoke"),
    ("POST", "/authorities"),
    ("POST", "/checks"),
    ("GET", "/registry-config?registry=registry"),
    ("GET", "/audit"),
    ("GET", "/overview"),
    ("GET", "/checks/registry"),
    ("POST", "/invitations"),
    ("GET", "/policy"),
    ("POST", "/policy/plan"),
    ("POST", "/policy/apply"),
]


@pytest.mark.parametrize(("method", "path"), ADMINISTRATIVE)
def test_without_good_credentials_nothing_is_told(office: World, method: str, path: str) -> None:
    told = {
        call(office, method, path, auth, 401).text
        for auth in (None, (ADMIN, "wrong"), ("nobody", "x"), (ADMIN, ""))
    }
    response = call(office, method, path, None, headers={"Authorization": "Bearer x"})
    assert {response.text} == told
    assert response.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize(("method", "path"), ADMINISTRATIVE)
def test_others_get_the_same_whether_the_thing_exists_or_not(
    office: World, method: str, path: str
) -> None:
    response = call(office, method, path, ALICE, 403)
    assert response.mimetype == "application/problem+json"
    assert response.json is not None
    assert response.json["detail"].startswith("only an administrator")


def test_a_registry_token_is_no_credential(office: World) -> None:
    token = office.get("service=registry", auth=AS_ADMIN).json
    assert token is not None
    for shown in (f"Bearer {token['token']}", basic(ADMIN, token["token"])):
        call(office, "GET", "/me", None, 401, headers={"Authorization": shown})


def test_a_refused_login_leaves_a_record_without_the_name_that_nobody_has(office: World) -> None:
    call(office, "GET", "/me", ("secret words", "x"), 401)
    event = office.wiring.issuer.journal.pending[-1]
    assert event.outcome == "refused"
    assert event.account.startswith("unknown-")
    assert "secret words" not in repr(event)


def test_an_app_token_administers_only_with_an_admin_ceiling(office: World) -> None:
    _, plain = office.app_token(ADMIN, name="plain")
    _, narrow = office.app_token(ADMIN, "repository:a:pull", name="narrow")
    _, admin = office.app_token(ADMIN, "admin", name="admin")
    _, useless = office.app_token("alice", "admin", name="useless")
    for secret in (plain, narrow):
        call(office, "GET", "/users", (ADMIN, secret), 403)
    call(office, "GET", "/users", (ADMIN, admin), 200)
    call(office, "GET", "/users", ("alice", useless), 403)
    assert got(office, "/me", (ADMIN, plain))["administers"] is False
    assert got(office, "/me", (ADMIN, admin))["administers"] is True


def test_a_token_without_admin_reads_its_own_things_and_revokes_itself(office: World) -> None:
    number, secret = office.app_token("alice", name="ci")
    other, _ = office.app_token("alice", "admin", name="other")
    leaked = ("alice", secret)
    assert len(got(office, "/me/tokens", leaked)["items"]) == 2
    assert got(office, "/me/sessions", leaked)["items"] == []
    new = {"current": PASSWORD, "new": "mine now"}
    call(office, "POST", "/me/password", leaked, 403, json=new)
    call(office, "POST", "/me/tokens", leaked, 403, json={"name": "more"})
    call(office, "POST", f"/me/tokens/{number}/rotate", leaked, 403, json={})
    call(office, "POST", "/me/sessions/revoke", leaked, 403, json={})
    anyhow = {"If-Match": "*"}
    call(office, "DELETE", f"/me/tokens/{other}", leaked, 403, headers=anyhow)
    call(office, "DELETE", f"/me/tokens/{number}", leaked, 204, headers=anyhow)
    call(office, "GET", "/me", leaked, 401)


def test_what_is_anothers_is_not_ones_own(office: World) -> None:
    number, _ = office.app_token(ADMIN)
    office.log_in(ADMIN)
    anyhow = {"If-Match": "*"}
    call(office, "GET", f"/me/tokens/{number}", ALICE, 404)
    call(office, "DELETE", f"/me/tokens/{number}", ALICE, 404, headers=anyhow)
    call(office, "POST", f"/me/tokens/{number}/rotate", ALICE, 404, json={})
    call(office, "GET", "/me/sessions/1", ALICE, 404)
    call(office, "DELETE", "/me/sessions/1", ALICE, 404, headers=anyhow)
    assert len(got(office, "/sessions?account=admin")["items"]) == 1


def test_an_own_password_changes_with_the_current_one_alone(office: World) -> None:
    _, token = office.app_token("alice", "admin")
    for auth in (ALICE, ("alice", token)):
        for wrong in ("wrong", "", token):
            wish = {"current": wrong, "new": "another one"}
            call(office, "POST", "/me/password", auth, 403, json=wish)
    office.log_in("alice")
    wish = {"current": PASSWORD, "new": "another one"}
    call(office, "POST", "/me/password", ("alice", token), 204, json=wish)
    call(office, "GET", "/me", ALICE, 401)
    assert got(office, "/me", ("alice", "another one"))["name"] == "alice"
    assert got(office, "/me/sessions", ("alice", "another one"))["items"] == []
    assert last_change(office)["actor"] == "account:alice"


# Inside the change.


def spoilt(world: World, monkeypatch: pytest.MonkeyPatch, spoil: Any) -> None:
    """Have something change between a caller's check and his own change."""
    original = type(world.wiring.store).change

    def change(store: Any, actor: str, *args: Any, **more: Any) -> Any:
        if actor.startswith("account:"):
            monkeypatch.setattr(type(store), "change", original)
            with original(store, "test") as earlier:
                spoil(earlier)
        return original(store, actor, *args, **more)

    monkeypatch.setattr(type(world.wiring.store), "change", change)


SPOILS = {
    "disabled": (lambda c: accounts.set_disabled(c, "root", disabled=True), 401),
    "removed": (lambda c: accounts.remove(c, "root"), 401),
    "password changed": (lambda c: accounts.set_password(c, "root", "$2b$04$" + "." * 53), 401),
    "no administrator any more": (lambda c: accounts.set_role(c, "root", admin=False), 403),
}


@pytest.mark.parametrize(("spoil", "status"), SPOILS.values(), ids=SPOILS.keys())
def test_whoever_was_an_administrator_a_moment_ago_writes_nothing(
    office: World, monkeypatch: pytest.MonkeyPatch, spoil: Any, status: int
) -> None:
    office.user("root")
    call(office, "PATCH", "/users/root", json={"admin": True}, headers=tag(office, "/users/root"))
    spoilt(office, monkeypatch, spoil)
    call(office, "PUT", "/users/eve", ("root", PASSWORD), status, json={"admin": True})
    call(office, "GET", "/users/eve", status=404)


@pytest.mark.parametrize(("grace", "status"), [(None, 401), (0, 401), (60, 403)])
def test_a_token_that_is_revoked_or_rotated_meanwhile_writes_nothing(
    office: World, monkeypatch: pytest.MonkeyPatch, grace: int | None, status: int
) -> None:
    number, secret = office.app_token(ADMIN, "admin")

    def spoil(change: Any) -> None:
        if grace is None:
            app_tokens.revoke(change, number)
        else:
            again = timedelta(seconds=grace)
            app_tokens.rotate(change, number, again, lambda size: bytes([7]) * size)

    spoilt(office, monkeypatch, spoil)
    call(office, "PUT", "/users/eve", (ADMIN, secret), status, json={})
    call(office, "GET", "/users/eve", status=404)


def test_the_hash_of_a_password_made_anew_meanwhile_is_no_change(
    office: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = office.wiring.state.current.snapshot.accounts[ADMIN]
    assert known.password_hash is not None
    call(office, "GET", "/me", status=200)
    new = known.password_hash[:7] + "." * 53
    office.wiring.issuer.backends.passwords.learn(known.id, new, PASSWORD)
    old = known.password_hash
    spoilt(office, monkeypatch, lambda c: accounts.rehash(c, known.id, old, new))
    call(office, "PUT", "/users/bob", status=201, json={})


# The last administrator.


@pytest.mark.parametrize("terms", [{"admin": False}, {"admin": True, "disabled": True}])
def test_the_last_administrator_stays(office: World, terms: dict[str, bool]) -> None:
    anyhow = {"If-Match": "*"}
    response = call(office, "PUT", "/users/admin", status=409, json=terms, headers=anyhow)
    assert "last administrator" in response.text
    call(office, "DELETE", "/users/admin", status=409, headers=anyhow)
    call(office, "PATCH", "/users/alice", json={"admin": True}, headers=anyhow, status=200)
    going = call(office, "DELETE", "/users/admin", status=409, headers=anyhow).json
    assert going is not None
    assert [(loss["what"], loss["count"]) for loss in going["goes"]] == [("rule", 2)]
    call(office, "DELETE", "/users/admin?confirm=true", status=200, headers=anyhow)
    call(office, "GET", "/users", AS_ADMIN, 401)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_no_forgotten_app_token_administers_when_its_user_may(office: World, method: str) -> None:
    _, secret = office.app_token("alice", "admin", name="forgotten")
    office.app_token("alice", "admin", name="expired", lifetime=timedelta(0))
    anyhow, body = {"If-Match": "*"}, {"admin": True}
    told = call(office, method, "/users/alice", status=409, json=body, headers=anyhow)
    assert "1 (forgotten)." in told.text
    call(office, "GET", "/users", ("alice", secret), 403)
    kept = "/users/alice?admin_tokens=keep"
    call(office, method, kept, status=200, json=body, headers=anyhow)
    call(office, "GET", "/users", ("alice", secret), 200)
    call(office, method, "/users/alice", status=200, json={"admin": False}, headers=anyhow)
    revoked = "/users/alice?admin_tokens=revoke"
    call(office, method, revoked, status=200, json=body, headers=anyhow)
    call(office, "GET", "/users", ("alice", secret), 401)
    call(office, method, "/users/alice?admin_tokens=all", status=422, json=body, headers=anyhow)


# Two editors.

THINGS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("/users/bob", {}, {"disabled": True}),
    ("/robots/bot", {"owner": "alice"}, {"description": "builds"}),
    ("/groups/dev", {"members": ["user:alice"]}, {"members": ["user:alice", "robot:ci"]}),
    ("/registries/r%2F2", {"token_ttl": 100}, {"refresh_tokens": False}),
    ("/registries/r4", {"challenge_anonymous": True}, {"challenge_anonymous": False}),
    ("/registries/r3", {"header_mode": "libtrust"}, {"header_mode": "rfc7638"}),
]


@pytest.mark.parametrize(("path", "first", "second"), THINGS)
def test_of_two_editors_one_is_told(
    office: World, path: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    made = call(office, "PUT", path, status=201, json=first)
    assert made.headers["Location"] == f"/api/v1{path.replace('%2F', '/')}"
    seen = {"If-Match": made.headers["ETag"]}
    assert tag(office, path) == seen
    won = call(office, "PATCH", path, status=200, json=second, headers=seen)
    for method in ("PUT", "PATCH"):
        lost = call(office, method, path, status=412, json=first, headers=seen)
        assert "changed meanwhile" in lost.text
        call(office, method, path, status=428, json=first)
    call(office, "DELETE", path, status=412, headers=seen)
    call(office, "DELETE", path, status=428)
    assert got(office, path) == won.json
    weak = {"If-Match": f"W/{won.headers['ETag']}"}
    call(office, "DELETE", f"{path}?confirm=true", status=200, headers=weak)
    call(office, "GET", path, status=404)
    call(office, "PUT", path, status=412, json=first, headers={"If-Match": "*"})


@pytest.mark.parametrize(("path", "first", "second"), THINGS)
def test_put_can_be_sent_again_and_can_only_create(
    office: World, path: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    call(office, "PUT", path, status=201, json=first)
    version = office.wiring.state.current.snapshot.version
    call(office, "PUT", path, status=200, json=first)
    assert office.wiring.state.current.snapshot.version == version
    call(office, "PUT", path, status=412, json=first, headers={"If-None-Match": "*"})


def test_a_thing_made_again_is_another_thing(office: World) -> None:
    seen = {"If-Match": call(office, "PUT", "/groups/g", json={}).headers["ETag"]}
    with office.wiring.store.change("test") as change:
        change.at = lookup.group(change.session, "g").created_at
        groups.remove(change, "g")
        groups.add(change, "g")
    call(office, "DELETE", "/groups/g", status=412, headers=seen)


def test_use_makes_no_edit_fail(office: World) -> None:
    number, secret = office.app_token(ADMIN)
    seen = tag(office, f"/tokens/{number}")
    office.get("service=registry", auth=(ADMIN, secret))
    office.wiring.issuer.backends.uses.write(office.wiring.store)
    assert got(office, f"/tokens/{number}")["last_used"] is not None
    call(office, "DELETE", f"/tokens/{number}", status=204, headers=seen)


# What is sent.

BAD_BODIES = {
    "no JSON": (b"{", 400),
    "nothing": (b"", 400),
    "not UTF-8": (b'{"admin": "\xff"}', 400),
    "a name twice": (b'{"admin": false, "admin": true}', 400),
    "deep": (b"[" * 60_000, 400),
    "a list": (b"[]", 422),
    "an unknown field": (b'{"adm": true}', 422),
    "a number for a boolean": (b'{"admin": 1}', 422),
    "a string for a boolean": (b'{"admin": "true"}', 422),
    "half a character": (b'{"admin": "\\ud800"}', 422),
}


@pytest.mark.parametrize(("body", "status"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_is_read_strictly(office: World, body: bytes, status: int) -> None:
    more: Any = {"data": body, "content_type": "application/json"}
    response = call(office, "PUT", "/users/bob", status=status, **more)
    assert response.mimetype == "application/problem+json"
    call(office, "GET", "/users/bob", status=404)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_what_another_sites_form_can_send_is_no_request(office: World, kind: str) -> None:
    more: Any = {"data": b"{}", "content_type": kind}
    call(office, "POST", "/me/sessions/revoke", status=415, **more)
    response = call(office, "OPTIONS", "/users", status=405)
    assert not [name for name in dict(response.headers) if "Access-Control" in name]
    assert "Set-Cookie" not in response.headers


def test_a_body_is_not_read_for_whoever_may_not(office: World) -> None:
    more: Any = {"data": b"x" * 70_000, "content_type": "application/json"}
    call(office, "PUT", "/users/bob", None, 401, **more)
    call(office, "PUT", "/users/bob", ALICE, 403, **more)
    call(office, "PUT", "/users/bob", AS_ADMIN, 413, **more)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=1.0", "other=1", "limit=1&limit=2"]
)
def test_a_query_is_read_strictly(office: World, query: str) -> None:
    call(office, "GET", f"/users?{query}", status=422)


def test_what_is_unknown_is_answered_with_what_is_known(office: World) -> None:
    asked = call(office, "GET", "/audit?knd=token", status=422).get_json()
    assert asked["detail"].startswith("knd: unknown; known: account, ")
    sent = call(office, "PUT", "/robots/ci", status=422, json={"desc": "x"}).get_json()
    assert "/desc: unknown; known: " in sent["detail"]
    assert "description" in sent["detail"]


def test_all_stands_for_every_action(office: World) -> None:
    terms = {"effect": "allow", "subjects": ["everyone"], "patterns": ["a/**"], "actions": ["all"]}
    assert call(office, "POST", "/rules", status=201, json=terms).get_json()["actions"] == ["*"]


def test_the_start_of_the_api_says_where_its_lists_are(office: World) -> None:
    places = call(office, "GET", "/").json or {}
    assert places.pop("openapi.json") == "/api/v1/openapi.json"
    assert {"users", "rules", "registries", "me"} <= set(places)
    headers = {"Authorization": basic(*AS_ADMIN)}
    found = {office.client.get(path, headers=headers).status_code for path in places.values()}
    assert found <= {200, 405, 409, 422}
    assert office.client.post("/api/v1/").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/registries/a%0Ab",
        "/a%0Ab",
        "/tokens/99999999999999999999",
        "/tokens/x",
        "/users/a%00b",
        "/nothing",
        "/users/a/b",
    ],
)
def test_what_cannot_be_is_not_there(office: World, path: str) -> None:
    response = call(office, "GET", path, status=404)
    assert response.mimetype == "application/problem+json"


def test_a_path_that_is_not_utf8_names_nothing(office: World) -> None:
    environ = {"PATH_INFO": "/api/v1/users/\xff"}
    call(office, "PUT", "/users/x", status=400, json={}, environ_overrides=environ)


def test_nothing_is_cached_and_no_secret_is_told_twice(office: World) -> None:
    made = call(office, "POST", "/me/tokens", ALICE, 201, json={"name": "laptop"})
    assert made.json is not None
    secret = made.json["token"]
    assert made.headers["Cache-Control"] == "no-store"
    assert got(office, "/me", ("alice", secret))["credential"]["kind"] == "app token"
    for path in ("/me/tokens", f"/me/tokens/{made.json['id']}"):
        assert secret not in call(office, "GET", path, ALICE, 200).text
    for path in ("/tokens", "/users", "/audit", "/keys"):
        text = call(office, "GET", path, status=200).text
        assert secret not in text
        assert "$2b$" not in text
        assert "PRIVATE" not in text


# Lists.


def walk(world: World, path: str) -> list[Any]:
    found, more = [], path
    while more:
        part = got(world, more)
        assert len(part["items"]) <= 2
        found += part["items"]
        more = part["next"]
    return found


def test_lists_are_whole_part_by_part(office: World) -> None:
    for name in ("Zoe", "bob", "carol"):
        office.user(name)
    office.log_in("alice")
    for path in ("users", "robots", "groups", "registries", "rules", "keys", "sessions", "audit"):
        whole = got(office, f"/{path}?limit=500")["items"]
        assert walk(office, f"/{path}?limit=2") == whole
        assert whole or path == "groups"
    assert [u["name"] for u in walk(office, "/users?limit=2")] == [
        "admin", "alice", "bob", "carol", "Zoe"
    ]  # fmt: skip


def test_the_audit_list_is_the_commands(office: World) -> None:
    office.get("service=registry", auth=ALICE)
    office.wiring.issuer.journal.write(office.wiring.store)
    with office.wiring.store.read() as session:
        told = records.listed(session)
    shown = got(office, "/audit")["items"][::-1]
    assert [(r["kind"], r.get("action"), r.get("account")) for r in shown] == [
        (r["kind"], r.get("action"), r.get("account")) for r in told
    ]
    assert all(r["kind"] == "token" for r in got(office, "/audit?kind=token")["items"])


def test_the_audit_list_has_the_filters_of_the_command(office: World) -> None:
    office.get("service=registry&scope=repository:a/b:pull", auth=ALICE)
    office.get("service=registry", auth=("alice", "wrong"))
    office.wiring.issuer.journal.write(office.wiring.store)
    for query, number in {
        "outcome=refused": 1,
        "repository=a/b": 1,
        "registry=registry&account=alice": 2,
        "address=192.0.2.1": 0,
        "since=2999-01-01T00:00:00Z": 0,
        "until=2999-01-01T00:00:00Z&kind=token": 2,
        "action=user.add&account=alice": 1,
    }.items():
        assert len(got(office, f"/audit?{query}")["items"]) == number, query
    for time in ("1", "2026-11-24", "2026-11-24T12:00:00", "soon"):
        call(office, "GET", f"/audit?since={time}", status=422)


@pytest.mark.parametrize("cursor", ["", "x", "WzFd", "WyJhIiwxXQ", "W3RydWVd", "é"])
def test_a_cursor_of_another_list_is_none(office: World, cursor: str) -> None:
    call(office, "GET", f"/users?cursor={cursor}", status=400)


# Invitations.


def test_an_invitation_is_redeemed_without_an_account(office: World) -> None:
    made = call(office, "POST", "/invitations", status=201, json={"user": "dora"}).json
    assert made is not None
    assert made["link"].endswith(made["code"])
    bad = {"code": made["code"], "password": "é" * 40}
    call(office, "POST", "/invitations/redeem", None, 409, json=bad)
    good = {"code": made["code"], "password": "a new password"}
    call(office, "POST", "/invitations/redeem", None, 200, json=good)
    call(office, "POST", "/invitations/redeem", None, 404, json=good)
    assert got(office, "/me", ("dora", "a new password"))["name"] == "dora"


def test_a_user_with_a_password_is_reset(office: World) -> None:
    office.user("erin", "the former one")
    erin = ("erin", "the former one")
    for reset, status in ((None, 409), ("later", 201), ("now", 201)):
        assert got(office, "/me", erin)["name"] == "erin"
        body = {"user": "erin", "reset": reset}
        made = call(office, "POST", "/invitations", status=status, json=body).json
        office.wiring.state.refresh()
    call(office, "GET", "/me", erin, 401)
    assert made is not None
    good = {"code": made["code"], "password": "a new password"}
    call(office, "POST", "/invitations/redeem", None, 200, json=good)
    office.wiring.state.refresh()
    assert got(office, "/me", ("erin", "a new password"))["name"] == "erin"


def test_what_must_not_be_reset_is_not(office: World) -> None:
    for user, reset, status in (
        ("nobody", "later", 409),
        ("nobody", "now", 409),
        ("alice", "soon", 422),
        # The last one that can log in.
        (ADMIN, "now", 409),
    ):
        body = {"user": user, "reset": reset}
        call(office, "POST", "/invitations", status=status, json=body)
    assert got(office, "/me", (ADMIN, PASSWORD))["name"] == ADMIN


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("fifteen letters", "15 characters is too short: choose one of at least 16 characters"),
        ("brief", "choose one of at least 16 characters"),
        ("", "a password is empty"),
        ("123456789987654321", "one of the most common"),
        ("Alice00000000000", "the account's name"),
    ],
)
def test_each_way_to_a_new_password_has_its_rules(
    settings: Settings, password: str, why: str
) -> None:
    office = World.over(settings.model_copy(update={"password_min_length": 16}))
    made = call(office, "POST", "/invitations", status=201, json={"user": "alice"}).json
    assert made is not None
    redemption = {"code": made["code"], "password": password}
    refusals = [call(office, "POST", "/invitations/redeem", None, 409, json=redemption)]
    office.wiring.state.refresh()
    good = {"code": made["code"], "password": PASSWORD + " battery"}
    call(office, "POST", "/invitations/redeem", None, 200, json=good)
    office.wiring.state.refresh()
    own = {"current": good["password"], "new": password}
    refusals += [
        call(office, "POST", "/me/password", ("alice", good["password"]), 409, json=own),
        call(office, "POST", "/users/alice/password", status=409, json={"password": password}),
    ]
    for refusal in refusals:
        assert why in str(refusal.json)
        assert not password or password not in refusal.text
    got(office, "/me", ("alice", good["password"]))
    office.close()


def test_too_many_at_once_are_sent_away(office: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authserver.web.api.router.AT_ONCE", 0)
    monkeypatch.setattr("authserver.web.api.router.WAITS", 0.0)
    narrow = World.over(office.wiring.settings)
    call(narrow, "GET", "/me", status=503)
    narrow.close()


# Rules and delegates.

RULE = {"effect": "allow", "subjects": ["user:alice"], "patterns": ["a/**"], "actions": ["pull"]}


def test_a_rule_is_written_changed_and_removed(office: World) -> None:
    made = call(office, "POST", "/rules", status=201, json=RULE)
    where = made.headers["Location"]
    assert office.granted("scope=repository:a/b:pull", auth=ALICE)
    call(office, "POST", "/rules", status=409, json=RULE)
    seen = {"If-Match": made.headers["ETag"]}
    changed = call(office, "PATCH", where, status=200, json={"enabled": False}, headers=seen)
    assert changed.json is not None
    assert changed.json["edited_by"] == "account:admin"
    assert not office.granted("scope=repository:a/b:pull", auth=ALICE)
    call(office, "PATCH", where, status=412, json={"enabled": True}, headers=seen)
    call(office, "PATCH", where, status=409, json={"effect": "deny"}, headers=tag(office, where))
    whole = RULE | {"valid_until": "2099-01-01T00:00:00Z", "networks": ["10.0.0.0/8"]}
    call(office, "PUT", where, status=200, json=whole, headers=tag(office, where))
    assert got(office, where)["networks"] == ["10.0.0.0/8"]
    call(office, "DELETE", where, status=200, headers=tag(office, where))
    call(office, "GET", where, status=404)


@pytest.mark.parametrize(
    "worse",
    [
        {"subjects": ["user:nobody"]},
        {"patterns": ["A"]},
        {"networks": ["0.0.0.0/0"]},
        {"registry": "nowhere"},
        {"valid_until": "2001-01-01T00:00:00Z"},
    ],
)
def test_a_rule_that_is_none_is_refused(office: World, worse: dict[str, Any]) -> None:
    call(office, "POST", "/rules", status=409, json=RULE | worse)


@pytest.fixture
def delegated(office: World) -> World:
    """alice is in team, which may allow pull,push within a/** on registry."""
    office.group("team", "alice")
    new = {"group": "team", "registry": "registry", "pattern": "a/**", "actions": ["pull", "push"]}
    call(office, "POST", "/delegations", status=201, json=new)
    return office


WITHIN = RULE | {"subjects": ["robot:ci"], "registry": "registry"}


def test_a_delegate_writes_within_his_bounds(delegated: World) -> None:
    made = call(delegated, "POST", "/rules", ALICE, 201, json=WITHIN)
    assert made.json is not None
    where, seen = made.headers["Location"], {"If-Match": made.headers["ETag"]}
    assert made.json["created_by"] == "account:alice"
    assert [r["id"] for r in got(delegated, "/rules", ALICE)["items"]] == [made.json["id"]]
    assert [d["id"] for d in got(delegated, "/delegations", ALICE)["items"]] == [1]
    off = call(delegated, "PATCH", where, ALICE, 200, json={"enabled": False}, headers=seen)
    call(delegated, "DELETE", where, ALICE, 200, headers={"If-Match": off.headers["ETag"]})


@pytest.mark.parametrize(
    "beyond",
    [
        {"effect": "deny"},
        {"subjects": ["everyone"]},
        {"subjects": ["anonymous"]},
        {"patterns": ["**"]},
        {"patterns": ["{account}/**"]},
        {"registry": None},
        {"actions": ["*"]},
        {"actions": ["delete"]},
        {"type": "registry", "patterns": ["catalog"], "actions": ["*"]},
    ],
)
def test_a_delegate_does_not_reach_beyond(delegated: World, beyond: dict[str, Any]) -> None:
    call(delegated, "POST", "/rules", ALICE, 409, json=WITHIN | beyond)
    made = call(delegated, "POST", "/rules", ALICE, 201, json=WITHIN)
    where, seen = made.headers["Location"], {"If-Match": made.headers["ETag"]}
    call(delegated, "PATCH", where, ALICE, 409, json=beyond, headers=seen)
    assert got(delegated, where, ALICE) == made.json


def test_a_delegate_touches_nothing_that_others_wrote_or_changed(delegated: World) -> None:
    anyhow = {"If-Match": "*"}
    mine = call(delegated, "POST", "/rules", ALICE, 201, json=WITHIN).headers["Location"]
    call(delegated, "PATCH", mine, status=200, json={"comment": "seen"}, headers=anyhow)
    for path in ("/rules/1", "/rules/99", mine):
        call(delegated, "GET", path, ALICE, 403)
        call(delegated, "PATCH", path, ALICE, 403, json={"enabled": False}, headers=anyhow)
        call(delegated, "DELETE", path, ALICE, 403, headers=anyhow)
    new = {"group": "team", "registry": "registry", "pattern": "b/**"}
    call(delegated, "POST", "/delegations", ALICE, 403, json=new)
    call(delegated, "DELETE", "/delegations/1", ALICE, 403, headers=anyhow)
    call(delegated, "POST", "/groups/team/members", ALICE, 403, json={"add": ["robot:ci"]})


def test_a_delegate_is_told_of_nothing_that_they_may_not_list(delegated: World) -> None:
    for service in ("hidden-one", "hidden-two"):
        delegated.registry(service)
    delegated.user("hidden-user")
    delegated.robot("hidden-robot", owner="hidden-user")
    delegated.group("hidden-group", "hidden-user")
    delegated.allow("group:hidden-group", "a/hidden", "pull", service="hidden-one")
    mine = call(delegated, "POST", "/rules", ALICE, 201, json=WITHIN).headers["Location"]
    wrong: list[dict[str, Any]] = [
        {"registry": "nowhere"},
        {"registry": "no/where"},
        {"registry": None},
        {"subjects": ["user:nobody"]},
        {"subjects": ["group:nowhere"]},
        {"patterns": ["b/**"]},
        {"actions": ["delete"]},
    ]
    told = [
        call(delegated, method, path, ALICE, json=WITHIN | terms, headers={"If-Match": "*"})
        for terms in wrong
        for method, path in (("POST", "/rules"), ("PUT", mine), ("PATCH", mine))
    ]
    for noun in router.NOUNS:
        for operation in noun.operations:
            path = operation.path
            for name, value in {"{name}": "x", "{service}": "x", "{id}": "3"}.items():
                path = path.replace(name, value)
            body: dict[str, Any] = {"json": {}} if operation.body else {}
            body |= {"headers": {"If-Match": "*"}}
            told.append(call(delegated, operation.method, path, ALICE, **body))
    assert {response.status_code for response in told} >= {403, 404, 409, 422}
    assert not [response.text for response in told if "hidden" in response.text]


def test_ending_a_delegation_ends_what_was_written_under_it(delegated: World) -> None:
    where = call(delegated, "POST", "/rules", ALICE, 201, json=WITHIN).headers["Location"]
    ended = call(delegated, "DELETE", "/delegations/1", headers={"If-Match": "*"}, status=200)
    assert ended.json is not None
    assert len(ended.json["rules"]) == 1
    assert got(delegated, where)["enabled"] is False
    call(delegated, "POST", "/rules", ALICE, 403, json=WITHIN)


# Questions.


def test_questions_are_answered_by_the_deciding_function(office: World) -> None:
    office.allow("user:alice", "a/**", "pull,push")
    office.deny("user:alice", "a/secret", "pull,push")
    question = {
        "account": "alice",
        "registry": "registry",
        "scopes": ["repository:a/b:pull", "repository:a/secret:pull", "nonsense"],
        "from": "192.0.2.1",
    }
    told = call(office, "POST", "/explain", status=200, json=question).json
    assert told is not None
    assert told["from"] == "192.0.2.1"
    assert [scope["granted"] for scope in told["scopes"]] == [["pull"], [], []]
    asked = "action=pull&registry=registry&repository="
    who = [w["account"] for w in walk(office, f"/who-can?{asked}a/b&limit=1")]
    assert who == ["admin", "alice"]
    assert [w["account"] for w in walk(office, f"/who-can?{asked}a/secret&limit=1")] == ["admin"]
    (entry,) = got(office, "/effective?account=alice")["effective"]
    assert (entry["pattern"], len(entry["except"])) == ("a/**", 1)
    for worse in ({"account": "nobody"}, {"registry": "nowhere"}, {"from": "here"}):
        call(office, "POST", "/explain", status=409, json=question | worse)
    call(office, "POST", "/explain", ALICE, 403, json=question)
    call(office, "GET", f"/who-can?{asked}A", status=409)


def test_lint_finds_what_the_command_does(office: World) -> None:
    office.allow("everyone", "a/**", "push")
    office.allow("user:alice", "a/b", "push")
    told = got(office, "/lint")
    assert [(f["code"], f["level"], f["rules"]) for f in told["findings"]] == [
        ("public-write", "error", [3]),
        ("shadowed", "warning", [4, 3]),
    ]
    assert "no record" in told["notes"][0]
    graver = got(office, "/lint?level=error&unused_days=90")
    assert [f["remedy"] for f in graver["findings"]] == ["authserver acl edit 3 --actions pull"]
    assert "kept for 30 days" in graver["notes"][0]
    call(office, "GET", "/lint?level=fatal", status=422)
    call(office, "GET", "/lint?unused_days=-1", status=422)
    call(office, "GET", "/lint", ALICE, 403)


def test_explaining_takes_the_bounds_of_an_app_token(office: World) -> None:
    office.allow("user:alice", "team/**", "pull,push")
    token, _ = office.app_token("alice", "repository:team/*:pull", networks=("10.0.0.0/8",))
    question = {
        "account": "alice",
        "registry": "registry",
        "scopes": ["repository:team/app:pull,push"],
        "token": token,
        "from": "10.1.1.1",
    }

    def explained(**more: object) -> Any:
        return call(office, "POST", "/explain", status=200, json=question | more).json

    told = explained()
    assert (told["barred"], told["scopes"][0]["granted"]) == ([], ["pull"])
    assert "is not good from 192.0.2.1" in explained(**{"from": "192.0.2.1"})["barred"][0]
    for wrong in ({"token": 999}, {"account": ADMIN}):
        call(office, "POST", "/explain", status=409, json=question | wrong)


def test_rules_come_in_parts_by_subject_and_pattern(office: World) -> None:
    office.group("dev", "alice")
    for name in ("a", "b", "c"):
        office.allow("group:dev,user:alice", f"{name},shared", "pull")
    office.allow("anonymous", "shared", "pull")

    def patterns(query: str) -> list[list[str]]:
        return [rule["patterns"] for rule in walk(office, f"/rules?limit=1&{query}")]

    mine = [["a", "shared"], ["b", "shared"], ["c", "shared"]]
    assert patterns("subject=group:dev") == patterns("subject=user:alice") == mine
    assert patterns("pattern=shared") == [*mine, ["shared"]]
    assert patterns("subject=user:alice&pattern=b") == [["b", "shared"]]
    assert patterns("subject=anonymous") == [["shared"]]
    assert patterns("subject=everyone") == []
