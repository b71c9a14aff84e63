"""Attacks on other registries that became public, tried on this one.

docs/threat-model.md names each with its incident; what is tried elsewhere is named there too.
"""

from typing import Any

import pytest

from authserver.db import app_tokens
from tests.web.test_api import ADMINISTRATIVE, ALICE, call, got
from tests.world import ADMIN, PASSWORD, World

MOUNT = "service=registry&scope=repository:open/a:pull,push&scope=repository:closed/b:pull"


@pytest.fixture
def office(world: World) -> World:
    """alice, who administers nothing, and her robot."""
    world.user("alice")
    world.robot("ci", owner="alice")
    return world


# Gitea CVE-2025-68944: a token's bounds were lost on the way.


def test_an_answer_is_not_shared_by_credentials_of_one_account(office: World) -> None:
    office.allow("user:alice", "**", "pull,push")
    _, wide = office.app_token("alice", name="wide")
    _, narrow = office.app_token("alice", "repository:open/**:pull,push", name="narrow")
    for _ in range(2):
        assert office.granted(MOUNT, auth=("alice", wide)) == {
            "repository:open/a": ["pull", "push"],
            "repository:closed/b": ["pull"],
        }
        assert office.granted(MOUNT, auth=("alice", narrow)) == {
            "repository:open/a": ["pull", "push"]
        }


def test_a_narrow_token_is_exchanged_for_nothing_wider(office: World) -> None:
    office.allow("user:alice", "**", "pull,push")
    _, narrow = office.app_token("alice", "repository:open/**:pull", name="narrow")
    form = {"grant_type": "password", "username": "alice", "password": narrow}
    scope = "repository:open/a:pull,push repository:closed/b:pull"
    response = office.post(**form, access_type="offline", scope=scope)
    assert response.json is not None
    assert response.json["scope"] == "repository:open/a:pull"
    assert "refresh_token" not in response.json
    exchanged = office.post(grant_type="refresh_token", refresh_token=narrow, scope=scope)
    assert exchanged.status_code in (400, 401)
    call(office, "POST", "/me/tokens", ("alice", narrow), 403, json={"name": "wider"})


# A secret from an old log: its owner has rotated it away, and it is good for the grace.

CHANGES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("PUT", "/users/bob", {}),
    ("PATCH", "/users/alice", {"disabled": True}),
    ("POST", "/users/alice/password", {"password": "another one"}),
    ("POST", "/invitations", {"user": "carol"}),
    ("PUT", "/robots/bot", {}),
    ("PUT", "/groups/dev", {}),
    ("PUT", "/registries/other", {}),
    ("POST", "/rules", {"effect": "deny", "subjects": ["everyone"], "patterns": ["**"]}),
    ("POST", "/tokens", {"account": "ci", "name": "mine"}),
    ("POST", "/me/tokens", {"name": "mine"}),
    ("POST", "/sessions/revoke", {"account": ADMIN}),
    ("POST", "/me/sessions/revoke", {}),
    ("POST", "/authorities", {}),
    ("POST", "/me/password", {"current": PASSWORD, "new": "another one"}),
    ("POST", "/tokens/{id}/rotate", {"grace": 0}),
    ("POST", "/me/tokens/{id}/rotate", {"grace": 0}),
    ("DELETE", "/robots/ci", None),
    ("DELETE", "/tokens/{id}", None),
    ("DELETE", "/me/tokens/{id}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_a_secret_that_was_rotated_away_changes_nothing(
    office: World, method: str, path: str, body: dict[str, Any] | None
) -> None:
    unbounded = ("admin", "repository:**:all", "registry:catalog:*")
    number, old = office.app_token(ADMIN, *unbounded, lifetime=None)
    path, anyhow = path.format(id=number), {"If-Match": "*"}
    body = body | {"actions": ["pull"]} if path == "/rules" and body else body
    sent: dict[str, Any] = {"headers": anyhow if method in ("PATCH", "DELETE") else {}}
    sent |= {} if body is None else {"json": body}
    rotated = call(office, "POST", f"/tokens/{number}/rotate", status=200, json={}).json
    assert rotated is not None
    before = office.wiring.state.current.snapshot.version
    told = call(office, method, path, (ADMIN, old), 403, **sent)
    assert "was rotated" in told.text
    assert office.wiring.state.current.snapshot.version == before
    assert office.get("service=registry", auth=(ADMIN, old)).status_code == 200
    done = call(office, method, path, (ADMIN, rotated["token"]), **sent)
    assert done.status_code < 300, done.text


# Harbor CVE-2019-16919: who ran one project made robots with rights on others.


def test_nobody_makes_a_credential_for_another(office: World) -> None:
    for made in ({"account": ADMIN}, {"account": "ci"}, {"account": "alice"}):
        call(office, "POST", "/tokens", ALICE, 403, json=made | {"name": "x"})
        call(office, "POST", "/me/tokens", ALICE, 422, json=made | {"name": "x"})
    call(office, "PUT", "/robots/mine", ALICE, 403, json={"owner": "alice"})
    with office.wiring.store.read() as session:
        assert list(app_tokens.listed(session)) == []


def test_a_ceiling_that_is_wider_than_the_account_gives_nothing_more(office: World) -> None:
    office.allow("user:alice", "open/**", "pull")
    wish = {"name": "x", "scopes": ["repository:**:*", "registry:catalog:*"]}
    made = call(office, "POST", "/me/tokens", ALICE, 201, json=wish).json
    assert made is not None
    asked = f"{MOUNT}&scope=registry:catalog:*"
    assert office.granted(asked, auth=("alice", made["token"])) == {"repository:open/a": ["pull"]}


# Harbor CVE-2019-16097: whoever registered sent one field more and was an administrator.


def test_nobody_becomes_an_administrator_by_a_field_more(office: World) -> None:
    anyhow = {"If-Match": "*"}
    invited = call(office, "POST", "/invitations", status=201, json={"user": "bob"}).json
    assert invited is not None
    redeemed = {"code": invited["code"], "password": "bobs password"}
    call(office, "POST", "/invitations/redeem", None, 422, json=redeemed | {"admin": True})
    call(office, "POST", "/invitations/redeem", None, 200, json=redeemed)
    for name in ("alice", "mallory"):
        call(office, "PUT", f"/users/{name}", ALICE, 403, json={"admin": True}, headers=anyhow)
    call(office, "PATCH", "/users/alice", ALICE, 403, json={"admin": True}, headers=anyhow)
    changed = {"current": ALICE[1], "new": "another one", "admin": True}
    call(office, "POST", "/me/password", ALICE, 422, json=changed)
    call(office, "POST", "/me/tokens", ALICE, 201, json={"name": "x", "scopes": ["admin"]})
    administrators = [user["name"] for user in got(office, "/users")["items"] if user["admin"]]
    assert administrators == [ADMIN]


# Harbor CVE-2020-29662: a slash at the end, and the catalog asked for no credentials.

SPELLINGS = (
    "{path}/",
    "/{path}",
    "{path}//",
    "{path}/.",
    "/me/..{path}",
    "/./{path}",
    "{path};x",
    "{path}.json",
    "{path}%20",
    "{path}%2f",
    "/invitations/redeem/..{path}",
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_a_path_gets_around_the_credentials(office: World, spelling: str) -> None:
    for method, path in ADMINISTRATIVE:
        for spelt in (spelling.format(path=path), spelling.format(path=path.upper())):
            for auth, refused in ((None, 401), (ALICE, 403)):
                response = call(office, method, f"/api/v1{spelt}", auth)
                assert response.status_code in (refused, 404, 405), spelt


# A registry token, which anybody may get, as a credential.


@pytest.mark.parametrize("query", ["service=registry", "service=registry&scope=registry:catalog:*"])
def test_a_token_of_anybodys_administers_nothing(office: World, query: str) -> None:
    token = (office.get(query).json or {})["token"]
    for method, path in ADMINISTRATIVE:
        for name in ("", "anonymous", ADMIN):
            call(office, method, path, (name, token), 401)
        call(office, method, path, None, 401, headers={"Authorization": f"Bearer {token}"})


# A name that would be a pattern, or more, to SQL.


@pytest.mark.parametrize("name", ["%", "_lice", "al%", "a_ice", "alice%", "*", "' OR '1'='1"])
def test_a_name_in_a_query_is_no_pattern(office: World, name: str) -> None:
    office.app_token("alice")
    office.log_in("alice")
    for path in ("/tokens", "/sessions", "/audit"):
        query: Any = {"account": name}
        response = call(office, "GET", path, query_string=query)
        assert response.status_code in (200, 404, 409, 422)
        assert (response.json or {}).get("items", []) == []
        found = call(office, "GET", path, status=200, query_string={"account": "alice"}).json
        assert found is not None
        assert found["items"]
