"""Roles: an auditor reads all that an administrator reads, changes nothing and sees no secret."""

import re
import secrets
from datetime import timedelta
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, select
from werkzeug.test import TestResponse

from authserver.audit import records
from authserver.audit.records import Filter
from authserver.core import secret_tokens
from authserver.core.secret_tokens import Prefix
from authserver.db import accounts, app_tokens, console_sessions, lookup, models, schema
from authserver.db.console_sessions import ConsoleLogin, Stage
from authserver.db.models import Base
from authserver.db.store import Change
from authserver.registry import last_checks
from authserver.web.api import router
from authserver.web.api.caller import Need
from authserver.web.api.operations import Operation
from tests.unit.registry.reports import report
from tests.web.test_api import AS_ADMIN, call, got, spoilt
from tests.world import ADMIN, PASSWORD, SERVICE, World

AUDITOR = "vera"
BY_PASSWORD = (AUDITOR, PASSWORD)
OPERATIONS = [operation for noun in router.NOUNS for operation in noun.operations]
READING = [each for each in OPERATIONS if each.need in (Need.READER, Need.SELF_READER)]
WRITING = [each for each in OPERATIONS if each not in READING]
BODIES: dict[str, dict[str, Any]] = {
    "POST /explain": {"account": "alice", "scopes": ["repository:a:pull"], "registry": SERVICE},
    "POST /rules/preview": {"id": 1, "remove": True},
    "POST /rules/undo": {"change": 1},
    "POST /policy/plan": {"accounts": {"new": {"kind": "user"}}},
}
RULE = {"effect": "allow", "subjects": ["user:vera"], "patterns": ["**"], "actions": ["all"]}
QUERIES = {
    "GET /who-can": {"action": "pull", "repository": "team/app", "registry": SERVICE},
    "GET /effective": {"account": "alice"},
    "GET /registry-config": {"registry": SERVICE},
}


def made(world: World, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = call(world, "POST", path, status=201, json=body).json or {}
    return answer


@pytest.fixture
def office(world: World) -> World:
    """Something of every noun, and the auditor vera."""
    for name in ("alice", AUDITOR):
        world.user(name)
    world.robot("ci", owner="alice")
    world.group("team", "alice", "ci")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, AUDITOR, auditor=True)
        last_checks.keep(change, report("token"))
        alice = lookup.account(change.session, "alice").id
        login = ConsoleLogin(alice, Stage.OPEN, "192.0.2.1", "browser")
        secret = secret_tokens.make(Prefix.CONSOLE, secrets.token_bytes)
        console_sessions.add(change, login, secret)
        until = change.at + timedelta(hours=1)
        lockout = {"key": "x", "address": "192.0.2.1", "account": ""}
        change.session.add(models.LockoutRow(**lockout, began_at=change.at, until=until))
    world.wiring.state.refresh()
    world.allow("group:team", "team/**", "pull")
    world.log_in("alice")
    delegation = {"group": "team", "registry": SERVICE, "pattern": "team/**"}
    made(world, "/delegations", delegation)
    world.app_token("ci", name="builds")
    return world


def credentials(world: World) -> dict[str, tuple[str, str]]:
    """Return the credentials by which an auditor reads."""
    return {
        "password": BY_PASSWORD,
        "app token": (AUDITOR, world.app_token(AUDITOR, "auditor", name="reading")[1]),
        "wider app token": (AUDITOR, world.app_token(AUDITOR, "admin", name="wider")[1]),
        "administrator's": (ADMIN, world.app_token(ADMIN, "auditor", name="reading")[1]),
        "robot's": ("ci", world.app_token("ci", "auditor", name="reading")[1]),
    }


def path_of(world: World, operation: Operation) -> str:
    """Return the path of an operation on something that is there."""
    noun = operation.path.split("/")[1]
    keys: dict[str, Any] = {"kind": "change"}
    keys |= {"name": {"users": "alice", "robots": "ci", "groups": "team"}.get(noun, "")}
    if "{id}" in operation.path:
        lists = {"authorities": "/keys", "audit": "/audit?kind=change"}
        items = got(world, lists.get(noun, f"/{noun}"))["items"]
        role = {"keys": "signing key", "authorities": "authority"}.get(noun)
        keys["id"] = next(item["id"] for item in items if item.get("role") in (None, role))
    return operation.path.format(service=SERVICE, **keys)


def asked(world: World, operation: Operation, auth: tuple[str, str], **more: Any) -> TestResponse:
    title = f"{operation.method} {operation.path}"
    if operation.body is not None:
        usual = RULE if operation.path.startswith("/rules") else {}
        more["json"] = BODIES.get(title, usual)
    more["query_string"] = QUERIES.get(title)
    return call(world, operation.method, path_of(world, operation), auth, **more)


def everything(world: World) -> dict[str, list[Any]]:
    """Return every row of the store."""
    with world.wiring.store.read() as session:
        tables = Base.metadata.sorted_tables
        return {table.name: [*map(tuple, session.execute(select(table)))] for table in tables}


def secrets_of(world: World) -> set[str]:
    """Return what the store keeps of secrets: hashes, and private keys as they are stored."""
    columns = [
        column
        for table in Base.metadata.sorted_tables
        for column in table.c
        if re.search("hash|private|secret|sealed", column.name)
    ]
    with world.wiring.store.read() as session:
        values = {value for column in columns for value in session.scalars(select(column))}
    return {str(value) for value in values if len(str(value)) > 20}


def as_text(response: TestResponse) -> str:
    """Return an answer without the moment at which it was made."""
    return re.sub(r'"at":"[^"]+"', "", response.text) + response.headers.get("ETag", "")


def test_an_auditor_reads_what_an_administrator_reads_and_no_secret(office: World) -> None:
    code = made(office, "/invitations", {"user": "guest"})["code"]
    secret = made(office, "/tokens", {"account": "ci", "name": "deploys"})["token"]
    readers = credentials(office)
    before = everything(office)
    hidden = {code, secret, "PRIVATE KEY"} | secrets_of(office)
    assert len(hidden) > 8
    for operation in READING:
        expected = asked(office, operation, AS_ADMIN)
        assert expected.status_code == 200, expected.text
        for reader in readers.values():
            answer = asked(office, operation, reader)
            assert as_text(answer) == as_text(expected), operation.name
            assert not [each for each in hidden if each in answer.text], operation.name
    assert everything(office) == before


def test_an_auditor_changes_nothing(office: World) -> None:
    readers = credentials(office)
    before = everything(office)
    for operation in WRITING:
        if operation.path.startswith("/me") or operation.need is Need.NOTHING:
            continue
        for reader in readers.values():
            answer = asked(office, operation, reader, headers={"If-Match": "*"})
            assert answer.status_code == 403, (operation.name, answer.text)
            may_read = f"may do this; {reader[0]} may read"
            assert may_read in answer.text or re.search("no (admin|self) ceiling", answer.text)
    assert everything(office) == before


def test_every_get_is_for_auditors_and_nothing_else_but_questions() -> None:
    of_others = [each for each in OPERATIONS if not each.path.startswith("/me")]
    gets = {each.name for each in of_others if each.method == "GET"}
    questions = {"explain", "plan_policy", "preview_rule", "verify_records"}
    assert {each.name for each in READING} == gets | questions
    own = [each for each in OPERATIONS if each.need in (Need.ANY, Need.NOTHING)]
    assert {each.path for each in own if not each.path.startswith("/me")} == {"/invitations/redeem"}


def test_others_do_not_read(office: World) -> None:
    for reading in READING:
        # A delegate who has written no rule has nothing to undo.
        others = {200, 404} if reading.name == "show_undo" else {200, 403}
        assert asked(office, reading, ("alice", PASSWORD)).status_code in others
    for path in ("/users", "/audit", "/policy", "/keys"):
        refused = call(office, "GET", path, ("alice", PASSWORD), 403)
        assert "only an administrator or auditor may do this" in refused.text
        _, narrow = office.app_token(AUDITOR, "repository:a:pull", name=path[1:])
        call(office, "GET", path, (AUDITOR, narrow), 403)


def test_an_auditor_has_the_same_of_their_own_as_anybody(office: World) -> None:
    token = call(office, "POST", "/me/tokens", BY_PASSWORD, 201, json={"name": "mine"}).json or {}
    call(office, "DELETE", f"/me/tokens/{token['id']}", BY_PASSWORD, 204, headers={"If-Match": "*"})
    body = {"current": PASSWORD, "new": "another one"}
    call(office, "POST", "/me/password", BY_PASSWORD, 204, json=body)


def test_an_auditor_who_is_a_delegate_writes_as_a_delegate(office: World) -> None:
    call(office, "POST", "/groups/team/members", status=200, json={"add": [f"user:{AUDITOR}"]})
    within = RULE | {"patterns": ["team/**"], "registry": SERVICE, "actions": ["pull"]}
    call(office, "POST", "/rules", BY_PASSWORD, 201, json=within)
    assert len(got(office, "/rules", BY_PASSWORD)["items"]) > 1
    call(office, "DELETE", "/rules/1", BY_PASSWORD, 403, headers={"If-Match": "*"})


def test_an_auditor_has_no_right_on_registries(office: World) -> None:
    scope = "scope=repository:team/app:pull&scope=registry:catalog:*"
    assert office.granted(scope, auth=BY_PASSWORD) == {}


def test_an_administrator_who_is_an_auditor_is_an_administrator(office: World) -> None:
    state = {"If-Match": "*"}
    call(office, "PATCH", "/users/vera", status=200, json={"admin": True}, headers=state)
    me = got(office, "/me", BY_PASSWORD)
    assert (me["admin"], me["auditor"], me["administers"], me["reads"]) == (True,) * 4
    call(office, "PUT", "/robots/new", BY_PASSWORD, 201, json={})
    call(office, "PATCH", "/users/vera", status=200, json={"admin": False}, headers=state)
    me = got(office, "/me", BY_PASSWORD)
    assert (me["admin"], me["administers"], me["auditor"], me["reads"]) == (
        False,
        False,
        True,
        True,
    )
    call(office, "PUT", "/robots/other", BY_PASSWORD, 403, json={})


def test_an_administrator_who_only_reads_by_now_writes_nothing(
    office: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", admin=True)
    office.wiring.state.refresh()
    spoilt(office, monkeypatch, lambda c: accounts.set_role(c, "alice", admin=False, auditor=True))
    refused = call(office, "PUT", "/robots/new", ("alice", PASSWORD), 403, json={})
    assert "alice may read" in refused.text


def test_the_last_administrator_does_not_become_an_auditor(office: World) -> None:
    body = {"admin": False, "auditor": True}
    anyhow = {"If-Match": "*"}
    call(office, "PATCH", f"/users/{ADMIN}", status=409, json=body, headers=anyhow)


def test_a_forgotten_app_token_does_not_read_when_its_user_may(office: World) -> None:
    number, secret = office.app_token("alice", "admin", name="forgotten")
    anyhow, body = {"If-Match": "*"}, {"auditor": True}
    refused = call(office, "PATCH", "/users/alice", status=409, json=body, headers=anyhow)
    assert f"{number} (forgotten)" in refused.text
    assert "--auditor --admin-tokens revoke" in refused.text
    kept = "/users/alice?admin_tokens=keep"
    call(office, "PATCH", kept, status=200, json=body, headers=anyhow)
    call(office, "GET", "/users", ("alice", secret), 200)
    # It would administer next.
    call(office, "PATCH", "/users/alice", status=409, json={"admin": True}, headers=anyhow)


def test_an_invitation_of_a_user_who_rises_ends(office: World) -> None:
    code = made(office, "/invitations", {"user": "guest"})["code"]
    anyhow = {"If-Match": "*"}
    document = {"accounts": {"guest": {"kind": "user", "auditor": True}}}
    plan = call(office, "POST", "/policy/plan", json=document).get_json()
    assert any("invitation" in each for each in plan["goes"])
    call(office, "PATCH", "/users/guest", status=200, json={"auditor": True}, headers=anyhow)
    with office.wiring.store.read() as session:
        last = records.listed(session, Filter("change"))[-1]
    assert last["after"] == {"auditor": True, "invitation": "ended"}
    assert last["before"] == {"auditor": False}
    redeemed = {"code": code, "password": "guests new"}
    assert call(office, "POST", "/invitations/redeem", None, json=redeemed).status_code >= 400


def test_a_policy_makes_auditors(office: World) -> None:
    users = {"vera": {"kind": "user"}, "alice": {"kind": "user", "auditor": True}}
    document = {"accounts": users | {"new": {"kind": "user", "auditor": True}}}
    plan = call(office, "POST", "/policy/plan", json=document).get_json()
    call(office, "POST", f"/policy/apply?plan={plan['id']}", status=200, json=document)
    exported = got(office, "/policy")["accounts"]
    marked = {name for name, account in exported.items() if account.get("auditor")}
    assert marked == {"alice", "new"}
    wrong = {"accounts": {"bot": {"kind": "robot", "auditor": True}}}
    assert "no auditor" in call(office, "POST", "/policy/plan", status=409, json=wrong).text


# Robots.


def test_a_robot_administers_by_an_app_token_with_that_right_alone(office: World) -> None:
    neither, both = (False, False), (True, True)
    rights = {(): neither, ("self",): neither, ("auditor",): (False, True), ("admin",): both}
    for scopes, expected in rights.items():
        _, secret = office.app_token("ci", *scopes, name="-".join(("as", *scopes)))
        robot = ("ci", secret)
        me = got(office, "/me", robot)
        assert (me["administers"], me["reads"]) == expected
        assert (me["admin"], me["auditor"]) == (False, False)
        call(office, "GET", "/users", robot, 200 if me["reads"] else 403)
        # The robot is a delegate, for whom the rule is not.
        delegate = scopes == ("self",)
        call(office, "GET", "/rules", robot, 200 if me["reads"] or delegate else 403)
        written = call(office, "PUT", "/robots/new", robot, json={}).status_code
        assert written == (201 if me["administers"] else 403)
        rule = call(office, "POST", "/rules", robot, json=RULE).status_code
        assert rule == (201 if me["administers"] else 409 if delegate else 403)
    with office.wiring.store.read() as session:
        actors = {each["actor"] for each in records.listed(session, Filter("change"))[-2:]}
    assert actors == {"account:ci"}
    assert office.granted("scope=repository:team/app:pull", auth=robot) == {}
    office.disable("alice")
    call(office, "GET", "/users", robot, 401)


def test_a_robots_token_that_was_revoked_meanwhile_writes_nothing(
    office: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, secret = office.app_token("ci", "admin")

    def revoke(change: Change) -> None:
        app_tokens.revoke(change, number)

    spoilt(office, monkeypatch, revoke)
    call(office, "PUT", "/robots/new", ("ci", secret), 401, json={})


@pytest.mark.parametrize("right", ["admin", "auditor"])
def test_only_who_administers_gives_a_robot_a_right(office: World, right: str) -> None:
    call(office, "POST", "/groups/team/members", status=200, json={"add": [f"user:{AUDITOR}"]})
    wish = {"account": "ci", "name": "wider", "scopes": [right]}
    number, plain = office.app_token("ci", name="plain")
    given, _ = office.app_token("ci", right, name="given")
    everywhere = ("auditor", "repository:**:all", "registry:catalog:*")
    makers = (
        ("alice", PASSWORD),
        BY_PASSWORD,
        (ADMIN, office.app_token(ADMIN, *everywhere)[1]),
        ("ci", office.app_token("ci", *everywhere, name="reads")[1]),
        ("ci", plain),
    )
    for maker in makers:
        call(office, "POST", "/tokens", maker, 403, json=wish)
        call(office, "POST", f"/tokens/{given}/rotate", maker, 403, json={})
    call(office, "POST", "/me/tokens", ("ci", plain), 403, json={"name": "w", "scopes": [right]})
    for which in (number, given):
        call(office, "POST", f"/me/tokens/{which}/rotate", ("ci", plain), 403, json={})
    bounded = (ADMIN, office.app_token(ADMIN, "admin", name="bounded")[1])
    token = call(office, "POST", "/tokens", bounded, 201, json=wish).json or {}
    assert token["scopes"] == [right]
    path = f"/tokens/{token['id']}/rotate"
    rotated = call(office, "POST", path, bounded, 200, json={}).json or {}
    assert rotated["scopes"] == [right]
    assert got(office, "/me", ("ci", rotated["token"]))["administers"] == (right == "admin")


def test_a_robot_makes_no_token_that_is_wider_than_its_own(office: World) -> None:
    robot = ("ci", office.app_token("ci", "admin", lifetime=timedelta(days=10))[1])
    for account in ("alice", "ci", ADMIN):
        wish = {"account": account, "name": "made"}
        for more in ({"scopes": ["repository:**:pull"]}, {"scopes": ["admin"], "lifetime": None}):
            call(office, "POST", "/tokens", robot, 403, json=wish | more)
        call(office, "POST", "/tokens", robot, 201, json=wish | {"scopes": ["auditor"]})
    call(office, "POST", "/users/alice/password", robot, 403, json={"password": "another one"})
    call(office, "POST", "/invitations", robot, 403, json={"user": "guest"})


OWN: tuple[tuple[str, str, dict[str, Any], int], ...] = (
    ("POST", "/me/tokens", {"name": "made", "scopes": ["repository:team/app:pull"]}, 201),
    ("POST", "/me/sessions/revoke", {}, 200),
)


@pytest.mark.parametrize("account", [ADMIN, AUDITOR, "alice", "ci"])
def test_a_token_for_its_own_administers_nothing_and_reads_nothing(
    office: World, account: str
) -> None:
    number, secret = office.app_token(account, "self", "repository:team/**:pull")
    own, anyhow = (account, secret), {"If-Match": "*"}
    before = everything(office)
    delegates = {Need.SELF, Need.SELF_READER} if account in ("alice", "ci") else set()
    for operation in OPERATIONS:
        others = not operation.path.startswith("/me") and operation.need is not Need.NOTHING
        if others and operation.need not in delegates:
            answer = asked(office, operation, own, headers=anyhow)
            assert answer.status_code == 403, (operation.name, answer.text)
    for right in ("admin", "auditor"):
        wider = {"name": "wider", "scopes": [right]}
        assert "wider than itself" in call(office, "POST", "/me/tokens", own, 403, json=wider).text
    assert everything(office) == before
    me = got(office, "/me", own)
    assert (me["administers"], me["reads"]) == (False, False)
    for method, path, body, status in OWN:
        call(office, method, path, own, status, json=body)
    other, _ = office.app_token(account, "repository:team/app:pull", name="other")
    rotated = call(office, "POST", f"/me/tokens/{number}/rotate", own, 200, json={}).json or {}
    own = account, rotated["token"]
    call(office, "DELETE", f"/me/tokens/{other}", own, 204, headers=anyhow)


@pytest.mark.parametrize("account", [ADMIN, AUDITOR, "alice", "ci"])
def test_an_auditors_token_changes_nothing_of_its_own_either(office: World, account: str) -> None:
    number, secret = office.app_token(account, "auditor", "repository:**:all", "registry:catalog:*")
    reader, anyhow = (account, secret), {"If-Match": "*"}
    other, _ = office.app_token(account, "repository:a:pull", name="other")
    before = everything(office)
    for method, path, body, _ in OWN:
        assert " ceiling" in call(office, method, path, reader, 403, json=body).text
    call(office, "POST", f"/me/tokens/{number}/rotate", reader, 403, json={})
    call(office, "DELETE", f"/me/tokens/{other}", reader, 403, headers=anyhow)
    assert everything(office) == before


def test_a_token_for_its_own_writes_as_a_delegate(office: World) -> None:
    within = RULE | {"patterns": ["team/**"], "registry": SERVICE, "actions": ["pull"]}
    for account in ("alice", "ci"):
        own = (account, office.app_token(account, "self", name="own")[1])
        rule = call(office, "POST", "/rules", own, 201, json=within).json or {}
        assert [each["id"] for each in got(office, "/rules", own)["items"]] == [rule["id"]]
        call(office, "DELETE", "/rules/1", own, 403, headers={"If-Match": "*"})
        call(office, "POST", "/rules", own, 409, json=RULE)
        reading = (account, office.app_token(account, "auditor", name="reading")[1])
        refused = call(office, "POST", "/rules", reading, 403, json=within)
        assert "--self" in refused.text
        path = f"/rules/{rule['id']}"
        call(office, "DELETE", path, own, 200, headers={"If-Match": "*"})
    call(office, "POST", "/rules", (ADMIN, office.app_token(ADMIN, "self")[1]), 403, json=within)


CEILINGS: dict[str, tuple[str, list[str], list[str] | None, list[str] | None]] = {
    "a robot's": ("ci", ["admin"], ["admin"], ["self"]),
    "a robot's with a scope": ("ci", ["repository:a:pull", "admin"],
                               ["repository:a:pull", "admin"], ["repository:a:pull", "self"]),
    "a robot's plain": ("ci", [], None, None),
    "a robot's own": ("ci", ["self"], ["admin"], ["self"]),
    "a robot's that reads": ("ci", ["auditor"], [], []),
    "a robot's with all": ("ci", ["self", "auditor", "admin"], ["admin"], ["self"]),
    "a user's": ("alice", ["admin"], ["admin"], ["admin"]),
    "a user's own": ("alice", ["self", "repository:a:pull"],
                     ["admin", "repository:a:pull"], ["admin", "repository:a:pull"]),
    "an auditor's": (AUDITOR, ["repository:a:pull", "auditor"],
                     ["repository:a:pull"], ["repository:a:pull"]),
    "an auditor's own": (AUDITOR, ["self"], [], []),
    "an administrator's": (ADMIN, ["admin"], ["admin"], ["admin"]),
    "an administrator's own": (ADMIN, ["self"], [], []),
    "an administrator's with all": (ADMIN, ["admin", "self"], ["admin"], ["admin"]),
}  # fmt: skip
"""Whose token it is, its ceiling, and what becomes of it by a downgrade and an upgrade."""


def test_an_upgrade_gives_no_robot_a_right(office: World) -> None:
    for number, (account, scopes, _, _) in enumerate(CEILINGS.values()):
        office.app_token(account, *scopes, name=str(number))
    token = models.AppTokenRow
    stored = select(token.ceiling).where(token.name != "builds").order_by(token.id)
    engine = create_engine(office.wiring.settings.store_url)
    for column, (migrate, to) in enumerate(
        [(command.downgrade, "0017"), (command.upgrade, "head")], start=2
    ):
        with engine.begin() as connection:
            migrate(schema.config(connection), to)
            found = dict(zip(CEILINGS, connection.scalars(stored), strict=True))
        assert found == {name: ceiling[column] for name, ceiling in CEILINGS.items()}
    engine.dispose()
