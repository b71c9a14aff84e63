"""Renaming: what stays with an account or a group, and what nobody finds under the former name."""

import secrets
from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from authserver.audit import records
from authserver.audit.records import Filter
from authserver.db import accounts, delegations, invitations
from authserver.db.delegations import extent
from tests.web.test_api import AS_ADMIN, call, got, last_change
from tests.world import PASSWORD, SERVICE, World, basic

ALICE, ALICIA = ("alice", PASSWORD), ("alicia", PASSWORD)
ASKED = "scope=repository:own:pull&scope=repository:group:pull"
BOTH = {"repository:own": ["pull"], "repository:group": ["pull"]}


@pytest.fixture
def office(world: World) -> World:
    """alice, her robot ci, and the group dev, each with a right."""
    world.user("alice")
    world.robot("ci", owner="alice")
    world.group("dev", "alice", "ci")
    world.allow("user:alice,robot:ci", "own", "pull")
    world.allow("group:dev", "group", "pull")
    world.allow("authenticated", "{account}/**", "pull")
    with world.wiring.store.change("test") as change:
        delegations.add(change, "dev", SERVICE, extent("team/**", "pull"))
    return world


def rename(world: World, path: str, name: str, status: int = 200) -> TestResponse:
    return call(world, "POST", f"{path}/rename", AS_ADMIN, status, json={"name": name})


def refresh(world: World, token: str) -> TestResponse:
    return world.post(grant_type="refresh_token", refresh_token=token, scope="repository:own:pull")


def test_everything_stays_with_a_renamed_user(office: World) -> None:
    _, secret = office.app_token("alice", "repository:own:pull")
    session = office.log_in("alice")
    assert office.granted(ASKED, auth=ALICE) == BOTH
    answer = rename(office, "/users/alice", "alicia")
    assert answer.json is not None
    assert (answer.json["name"], answer.json["groups"]) == ("alicia", ["dev"])
    assert answer.headers["ETag"] == call(office, "GET", "/users/alicia").headers["ETag"]
    assert office.granted(ASKED, auth=ALICIA) == BOTH
    assert office.granted("scope=repository:own:pull", auth=("alicia", secret)) == {
        "repository:own": ["pull"]
    }
    assert refresh(office, session).status_code == 200
    assert office.claims(refresh(office, session))["sub"] == "alicia"
    assert got(office, "/robots/ci")["owner"] == "alicia"
    for credential in (PASSWORD, secret):
        assert office.get(auth=("alice", credential)).status_code == 401
    call(office, "GET", "/users/alice", status=404)


def test_everything_stays_with_a_renamed_robot(office: World) -> None:
    _, secret = office.app_token("ci")
    rename(office, "/robots/ci", "builder")
    assert office.granted(ASKED, auth=("builder", secret)) == BOTH
    assert office.get(auth=("ci", secret)).status_code == 401


def test_everything_stays_with_a_renamed_group(office: World) -> None:
    assert office.granted(ASKED, auth=ALICE) == BOTH
    rename(office, "/groups/dev", "devs")
    assert office.granted(ASKED, auth=ALICE) == BOTH
    assert got(office, "/delegations")["items"][0]["group"] == "devs"
    assert [rule["subjects"] for rule in got(office, "/rules")["items"]][3] == ["group:devs"]


def test_a_new_account_of_the_former_name_inherits_nothing(office: World) -> None:
    _, secret = office.app_token("alice")
    office.log_in("alice")
    assert office.granted(f"{ASKED}&account=alice", auth=ALICE) == BOTH
    rename(office, "/users/alice", "alicia")
    office.user("alice", "another one")
    for credential in (PASSWORD, secret):
        assert office.get(auth=("alice", credential)).status_code == 401
    fresh = ("alice", "another one")
    assert office.granted(f"{ASKED}&account=alice", auth=fresh) == {}
    assert got(office, "/me/tokens", fresh)["items"] == []
    assert got(office, "/me/sessions", fresh)["items"] == []
    assert got(office, "/me", fresh)["groups"] == []
    assert got(office, "/robots/ci")["owner"] == "alicia"


def test_a_new_group_of_the_former_name_inherits_nothing(office: World) -> None:
    rename(office, "/groups/dev", "devs")
    office.user("bob")
    office.group("dev", "bob")
    assert office.granted(ASKED, auth=("bob", PASSWORD)) == {}
    assert [each["group"] for each in got(office, "/delegations")["items"]] == ["devs"]


def test_an_invitation_stays_with_the_user(world: World) -> None:
    with world.wiring.store.change("test") as change:
        _, code = invitations.invite(change, "alice", secrets.token_bytes)
    rename(world, "/users/alice", "alicia")
    world.user("alice", "another one")
    store = world.wiring.store
    assert invitations.accept(store, code, PASSWORD, lambda *_: "$2b$04$" + "." * 53) == "alicia"
    world.wiring.state.refresh()
    assert world.get(auth=("alice", "another one")).status_code == 200


def test_records_keep_the_name_of_their_time(office: World) -> None:
    office.get(ASKED, auth=ALICE)
    rename(office, "/users/alice", "alicia")
    office.get(ASKED, auth=ALICIA)
    office.wiring.issuer.journal.write(office.wiring.store)
    change = last_change(office)
    assert (change["action"], change["target"]) == ("user.rename", "user:alice")
    assert (change["before"], change["after"]) == ({"name": "alice"}, {"name": "alicia"})
    with office.wiring.store.read() as session:
        asked = [record["account"] for record in records.listed(session, Filter("token"))]
    assert asked == ["alice", "alicia"]


def test_only_the_case_of_a_name_may_change(office: World) -> None:
    rename(office, "/users/alice", "Alice")
    assert office.granted(ASKED, auth=("Alice", PASSWORD)) == BOTH
    assert office.get(auth=ALICE).status_code == 401
    rename(office, "/groups/dev", "DEV")
    assert office.granted(ASKED, auth=("Alice", PASSWORD)) == BOTH


def test_a_name_that_it_has_already_changes_nothing(office: World) -> None:
    before = last_change(office)
    rename(office, "/users/alice", "alice")
    rename(office, "/groups/dev", "dev")
    assert last_change(office) == before


@pytest.mark.parametrize(
    "name", ["ci", "CI", "admin", "Admin", "everyone", "a b", "a/b", "a:b", "x" * 128 + "y"]
)
def test_a_name_is_refused_as_for_a_new_account(office: World, name: str) -> None:
    before = last_change(office)
    rename(office, "/users/alice", name, 422 if len(name) > 128 else 409)
    assert last_change(office) == before
    assert office.granted(ASKED, auth=ALICE) == BOTH


@pytest.mark.parametrize("path", ["/users/ci", "/robots/alice", "/users/Alice", "/groups/DEV"])
def test_what_is_not_there_is_not_renamed(office: World, path: str) -> None:
    rename(office, path, "new", 404)


def behind(world: World, act: Callable[[], TestResponse]) -> TestResponse:
    """Give alice's name and password to another administrator before this process knows of it."""
    stored = world.wiring.state.current.snapshot.accounts["alice"].password_hash
    with world.wiring.store.change("test") as change:
        accounts.rename(change, "alice", "alicia")
        accounts.add_user(change, "alice", stored, admin=True)
    return act()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/me/tokens", None),
        ("GET", "/me/sessions", None),
        ("POST", "/me/tokens", {"name": "mine"}),
        ("PUT", "/groups/new", {}),
    ],
)
def test_a_caller_who_was_renamed_acts_for_nobody_who_has_the_name_now(
    world: World, method: str, path: str, body: object
) -> None:
    world.user("alice")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", admin=True)
    world.wiring.state.refresh()
    call(world, "GET", "/me", ALICE, 200)
    headers = {"Authorization": basic(*ALICE)}
    answer = behind(
        world,
        lambda: world.client.open(f"/api/v1{path}", method=method, headers=headers, json=body),
    )
    assert answer.status_code == 401, answer.text


def test_a_login_that_was_renamed_is_stored_for_nobody(world: World) -> None:
    world.user("alice")
    world.get(auth=ALICE)
    answer = behind(world, lambda: world.get("offline_token=true", auth=ALICE))
    assert answer.json is not None
    assert "refresh_token" not in answer.json
    assert last_change(world)["action"] == "user.add"


def test_an_administrator_may_take_another_name(world: World) -> None:
    rename(world, "/users/admin", "root")
    call(world, "GET", "/me", AS_ADMIN, 401)
    assert got(world, "/me", ("root", PASSWORD))["name"] == "root"
