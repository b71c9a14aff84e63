"""What a credential makes is within that credential: a law, and what is told of it."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete
from werkzeug.test import TestResponse

from authserver.auth.passwords import hash_password
from authserver.db import accounts, models
from tests.web.test_api import call, got
from tests.web.test_grants import at
from tests.world import ADMIN, COST, PASSWORD, SERVICE, Clock, World

MAKERS = [ADMIN, "alice", "dee", "ci"]
NAMES = ["team/app", "team/deep/app", "other", "alice/app", "ci/app", "admin/app"]
ASKED = "&".join(
    ["scope=registry:catalog:*", *(f"scope=repository:{name}:pull,push,delete,*" for name in NAMES)]
)
ADDRESSES = ["10.1.1.1", "10.2.2.2", "192.0.2.1"]
LATER = [timedelta(0), timedelta(days=5), timedelta(days=4000)]

Credential = tuple[str, str]


@pytest.fixture
def office(world: World) -> World:
    """An administrator, a user, a delegate and a robot; all of them may do everything."""
    for name in ("alice", "bob", "dee"):
        world.user(name)
    world.robot("ci", owner="alice")
    world.group("team", "dee")
    new = {"group": "team", "registry": SERVICE, "pattern": "team/**", "actions": ["pull"]}
    call(world, "POST", "/delegations", status=201, json=new)
    world.allow("authenticated", "**", "all")
    world.allow("authenticated", "catalog", "all", resource_type="registry")
    return world


def ask(world: World, path: str, auth: Credential, address: str, **body: Any) -> TestResponse:
    environ = {"REMOTE_ADDR": address}
    return call(world, "POST", path, auth, json=body, environ_overrides=environ)


def reach(world: World, auth: Credential) -> set[Any]:
    """Return all that a credential is good for: what, from where, and when."""
    found: set[Any] = set()
    clock = Clock()
    now, asking = clock.at, at(world, clock)
    for address in ADDRESSES:
        if ask(world, "/me/sessions/revoke", auth, address).status_code == 200:
            found.add(("own", address))
        environ = {"REMOTE_ADDR": address}
        me = call(world, "GET", "/me", auth, environ_overrides=environ).json or {}
        found |= {(role, address) for role in ("administers", "reads") if me.get(role)}
        for later in LATER:
            clock.at = now + later
            environ = {"REMOTE_ADDR": address}
            answer = asking.get(f"service={SERVICE}&{ASKED}", auth=auth, environ_overrides=environ)
            access = [] if answer.status_code == 401 else world.claims(answer)["access"]
            found |= {
                (entry["name"], action, address, later)
                for entry in access
                for action in entry["actions"]
            }
    return found


def forget(world: World) -> None:
    """Take away what an example made."""
    with world.wiring.store.change("test") as change:
        for table in (models.AppTokenRow, models.RefreshTokenRow, models.InvitationRow):
            change.session.execute(delete(table))
        change.session.execute(delete(models.AccountRow).where(models.AccountRow.name == "guest"))
        accounts.set_password(change, "bob", hash_password(PASSWORD, COST))
    world.wiring.state.refresh()


SCOPES = [
    "admin",
    "auditor",
    "self",
    "repository:**:all",
    "repository:**:pull,push",
    "repository:team/**:pull,push",
    "repository:team/*:pull",
    "repository:team/*:delete",
    "repository:{account}/**:pull",
    "repository:alice/*:pull",
    "registry:catalog:*",
]
scopes = st.lists(st.sampled_from(SCOPES), max_size=4, unique=True)
networks = st.lists(
    st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24"]), max_size=2, unique=True
)
lifetimes = st.sampled_from([timedelta(hours=1), timedelta(days=10), timedelta(days=100), None])
wishes = st.fixed_dictionaries(
    {"name": st.just("made")},
    optional={
        "scopes": scopes,
        "networks": networks,
        "lifetime": st.sampled_from([None, 3600, 86400, 100 * 86400]),
    },
)


def token(
    world: World, data: st.DataObject, account: str, name: str, *more: str
) -> tuple[int, str]:
    return world.app_token(
        account,
        *{*data.draw(scopes, f"scopes of {name}"), *more},
        name=name,
        lifetime=data.draw(lifetimes, f"lifetime of {name}"),
        networks=tuple(data.draw(networks, f"networks of {name}")),
    )


def made_by(
    world: World, data: st.DataObject, maker: Credential, number: int, address: str
) -> Credential | None:
    """Have ``maker`` make a credential in one of all ways; return it, None if it was refused."""
    who = data.draw(st.sampled_from(MAKERS), "for")
    match data.draw(st.sampled_from(["token", "rotation", "password", "invitation", "login"])):
        case "token":
            more = {} if who == maker[0] else {"account": who}
            path = "/tokens" if more else "/me/tokens"
            return told(ask(world, path, maker, address, **data.draw(wishes), **more), who)
        case "rotation":
            own = who == maker[0]
            if not (own and data.draw(st.booleans(), "itself")):
                number, _ = token(world, data, who, "other")
            path = f"{'/me' if own else ''}/tokens/{number}/rotate"
            return told(ask(world, path, maker, address), who)
        case "password":
            done = ask(world, "/users/bob/password", maker, address, password="bobs new")
            return ("bob", "bobs new") if done.status_code == 204 else None
        case "invitation":
            done = ask(world, "/invitations", maker, address, user="guest")
            if done.status_code != 201:
                return None
            code = (done.json or {})["code"]
            ask(world, "/invitations/redeem", maker, address, code=code, password="guests new")
            return "guest", "guests new"
    name, secret = maker
    form = {"grant_type": "password", "username": name, "password": secret}
    assert "refresh_token" not in (world.post(**form, access_type="offline").json or {})
    return None


def told(response: TestResponse, account: str) -> Credential | None:
    assert response.status_code in (200, 201, 403), response.text
    return (account, (response.json or {})["token"]) if response.status_code < 300 else None


@given(data=st.data())
@hypothesis_settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_what_a_credential_makes_is_within_that_credential(
    office: World, data: st.DataObject
) -> None:
    forget(office)
    account = data.draw(st.sampled_from(MAKERS), "maker")
    right = data.draw(st.sampled_from(["admin", "self"]), "right")
    number, secret = token(office, data, account, "maker", right)
    maker = account, secret
    before = reach(office, maker)
    places = sorted(entry[1] for entry in before if entry[0] == "own")
    address = data.draw(st.sampled_from(places), "from")
    made = made_by(office, data, maker, number, address)
    if made is not None:
        assert reach(office, made) <= before


NARROW = ("admin", "repository:team/**:pull")
WIDER: dict[str, dict[str, Any]] = {
    "more scopes": {"scopes": ["repository:**:pull"]},
    "more actions": {"scopes": ["repository:team/app:pull,push"]},
    "the catalog": {"scopes": ["registry:catalog:*"]},
    "another network": {"networks": ["192.0.2.0/24"]},
    "a wider network": {"networks": ["10.0.0.0/7"]},
    "for ever": {"lifetime": None},
    "for longer": {"lifetime": 11 * 86400},
}


@pytest.mark.parametrize("account", MAKERS)
@pytest.mark.parametrize("more", WIDER.values(), ids=WIDER.keys())
def test_an_app_token_makes_no_wider_one(office: World, account: str, more: dict[str, Any]) -> None:
    narrow = narrow_token(office, account)
    refused = ask(office, "/me/tokens", narrow, "10.1.1.1", name="wider", **more)
    assert refused.status_code == 403
    assert "no credential that is wider" in refused.text
    within = {"name": "x", "scopes": ["repository:team/*:pull"], "lifetime": 9 * 86400}
    made = ask(office, "/me/tokens", narrow, "10.1.1.1", **within, networks=["10.1.0.0/16"])
    assert made.status_code == 201


def narrow_token(world: World, account: str) -> Credential:
    ten_days, inside = timedelta(days=10), ("10.0.0.0/8",)
    _, secret = world.app_token(account, *NARROW, name="narrow", lifetime=ten_days, networks=inside)
    return account, secret


@pytest.mark.parametrize("account", MAKERS)
def test_what_is_left_out_is_as_the_app_token_that_makes_it_has_it(
    office: World, account: str
) -> None:
    narrow = narrow_token(office, account)
    made = ask(office, "/me/tokens", narrow, "10.1.1.1", name="x").json or {}
    own = got(office, "/tokens")["items"][0]
    assert own["name"] == "narrow"
    assert made["scopes"] == ["repository:team/**:pull"]
    assert (made["networks"], made["expires_at"]) == (own["networks"], own["expires_at"])


def test_an_app_token_for_the_admin_api_alone_makes_none_for_registries(office: World) -> None:
    _, secret = office.app_token(ADMIN, "admin")
    for wish in ({}, {"account": "ci"}):
        path = "/tokens" if wish else "/me/tokens"
        body = wish | {"name": "x"}
        refused = call(office, "POST", path, (ADMIN, secret), 403, json=body)
        assert "repository:**:*" in refused.text
        call(office, "POST", path, (ADMIN, secret), 201, json=body | {"scopes": ["admin"]})


def test_an_app_token_leads_to_no_password(office: World) -> None:
    _, secret = office.app_token(ADMIN, "admin", "repository:**:all", "registry:catalog:*")
    for path, body in (
        ("/users/bob/password", {"password": "a new password"}),
        ("/invitations", {"user": "guest"}),
    ):
        call(office, "POST", path, (ADMIN, secret), 403, json=body)
    assert got(office, "/me", ("bob", PASSWORD))["name"] == "bob"


def test_an_app_token_with_bounds_lifts_no_lockout(office: World) -> None:
    with office.wiring.store.change("test") as change:
        until = change.at + timedelta(hours=1)
        row = models.LockoutRow(
            key="x", address="192.0.2.1", account="", began_at=change.at, until=until
        )
        change.session.add(row)
        change.session.flush()
        path = f"/lockouts/{row.id}"
    _, secret = office.app_token(ADMIN, "admin", "repository:x/y:pull")
    any_state = {"If-Match": "*"}
    call(office, "DELETE", path, (ADMIN, secret), 403, headers=any_state)
    call(office, "DELETE", path, status=204, headers=any_state)


def test_an_app_token_does_not_widen_itself_by_another_name(office: World) -> None:
    _, secret = office.app_token(ADMIN, "admin", "repository:{account}/**:all")
    for path in (f"/users/{ADMIN}", "/users/bob"):
        call(office, "POST", f"{path}/rename", (ADMIN, secret), 403, json={"name": "prod"})
    document = {"accounts": {"prod": {"kind": "user", "was": "bob"}}}
    plan = call(office, "POST", "/policy/plan", json=document).get_json()
    apply = f"/policy/apply?plan={plan['id']}"
    call(office, "POST", apply, (ADMIN, secret), 403, json=document)
    assert got(office, "/me", ("bob", PASSWORD))["name"] == "bob"
    call(office, "POST", apply, status=200, json=document)
    assert got(office, "/me", ("prod", PASSWORD))["name"] == "prod"
    assert got(office, "/me", (ADMIN, PASSWORD))["name"] == ADMIN


def test_an_app_token_that_rotates_itself_keeps_its_end(office: World) -> None:
    number, secret = office.app_token("alice", "admin")
    before = got(office, f"/tokens/{number}")
    after = call(office, "POST", f"/me/tokens/{number}/rotate", ("alice", secret), 200, json={})
    told = {"created_at", "expires_at"}
    assert {name: (after.json or {})[name] for name in told} == {n: before[n] for n in told}


def test_a_rotation_by_a_password_begins_the_life_anew(office: World) -> None:
    number, _ = office.app_token("alice", "admin")
    before = got(office, f"/tokens/{number}")
    after = call(office, "POST", f"/me/tokens/{number}/rotate", ("alice", PASSWORD), 200, json={})
    assert (after.json or {})["expires_at"] > before["expires_at"]
