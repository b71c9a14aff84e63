"""Roles: an auditor reads all that an administrator reads, changes nothing and sees no secret."""

import re
import secrets
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from authserver.audit import records
from authserver.audit.records import Filter
from authserver.core import secret_tokens
from authserver.core.secret_tokens import Prefix
from authserver.db import accounts, console_sessions, lookup, models
from authserver.db.console_sessions import ConsoleLogin, Stage
from authserver.db.models import Base
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
        "app token": (AUDITOR, world.app_token(AUDITOR, "admin", name="reading")[1]),
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
            assert "may do this; vera may read" in answer.text or "no admin ceiling" in answer.text
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
