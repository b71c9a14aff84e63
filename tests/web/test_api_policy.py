"""The policy as one document over the API: export, plan, apply what was planned."""

from io import BytesIO
from typing import Any

import pytest

from authserver.policy.files import schema
from authserver.web.api.policy import MAX_BYTES
from authserver.web.api.policy_document import PolicyDocument
from authserver.web.bodies import MAX_BYTES as OF_OTHERS
from tests.web.test_api import ADMINISTRATIVE, ALICE, call, got, last_change
from tests.world import ADMIN, PASSWORD, SERVICE, World

RULE = {"effect": "allow", "subjects": ["user:eve"], "patterns": ["team/**"], "actions": ["pull"]}
DOCUMENT = {"accounts": {"eve": {"kind": "user"}}, "groups": {"dev": ["user:eve"]}, "rules": [RULE]}


def planned(world: World, document: Any, query: str = "", status: int = 200) -> Any:
    return call(world, "POST", f"/policy/plan{query}", status=status, json=document).json


def applied(world: World, document: Any, query: str, status: int = 200) -> Any:
    return call(world, "POST", f"/policy/apply?{query}", status=status, json=document).json


def state_of(world: World) -> Any:
    return got(world, "/policy"), len(got(world, "/audit?limit=500")["items"])


def test_a_plan_is_shown_and_then_applied(world: World) -> None:
    before = state_of(world)
    plan = planned(world, DOCUMENT)
    assert [each["name"] for each in plan["changes"]][:2] == ["user eve", "group dev"]
    assert len(plan["prunable"]) == 3, "the administrator and the two rules that init wrote"
    assert state_of(world) == before
    assert applied(world, DOCUMENT, f"plan={plan['id']}") == plan
    assert last_change(world)["actor"] == f"account:{ADMIN}"
    after = got(world, "/policy")
    assert after["accounts"]["eve"] == {"kind": "user", "disabled": True}
    assert RULE in after["rules"]
    assert planned(world, after, "?prune=true")["changes"] == []


def test_a_plan_shows_gains(world: World) -> None:
    world.user("eve")
    plan = planned(world, {"rules": [RULE]})
    (told,) = plan["changes"][0]["effects"]["told"]
    assert (told["change"], told["accounts"], told["pattern"]) == ("gain", ["eve"], "team/**")


def test_only_the_plan_that_was_seen_is_applied(world: World) -> None:
    before = state_of(world)
    applied(world, DOCUMENT, "", status=422)
    detail = applied(world, DOCUMENT, "plan=0123", status=409)["detail"]
    assert "the plan is another one now" in detail
    plan = planned(world, {"groups": {"dev": ["user:admin"]}})["id"]
    applied(world, {"groups": {"ops": ["user:admin"]}}, f"plan={plan}", status=409)
    assert state_of(world) == before


def test_pruning_is_asked_for_and_force_too(world: World) -> None:
    world.user("eve")
    world.allow("user:eve", "a", "pull")
    call(world, "POST", "/rules", status=201, json=RULE | {"effect": "deny"})
    document = {"accounts": {ADMIN: {"kind": "user", "admin": True}}}
    plan = planned(world, document, "?prune=true")
    assert [each["name"] for each in plan["changes"]] == ["user eve"]
    assert "deny user:eve" in plan["unsafe"][0]
    query = f"plan={plan['id']}&prune=true"
    assert "--force" in applied(world, document, query, status=409)["detail"]
    applied(world, document, f"{query}&force=true")
    assert "eve" not in got(world, "/policy")["accounts"]


def test_not_even_force_leaves_nobody_who_can_administer(world: World) -> None:
    document = {"accounts": {ADMIN: {"kind": "user", "disabled": True}}}
    before = state_of(world)
    plan = planned(world, document)
    assert plan["unsafe"] == ["no administrator that can log in would be left"]
    detail = applied(world, document, f"plan={plan['id']}&force=true", status=409)["detail"]
    assert detail.startswith("no administrator")
    assert state_of(world) == before


@pytest.mark.parametrize(
    ("document", "where", "detail"),
    [
        ({"groups": {"dev": ["user:eve"]}}, "/groups/dev/0", "there is no user 'eve'"),
        ({"rules": [RULE]}, "/rules/0", "there is no user 'eve'"),
        ({"rules": [RULE | {"patterns": ["ok", "a/Team/**"]}]}, "/rules/0/patterns/1", "no valid"),
        ({"rules": [RULE, RULE]}, "/rules/1", "says the same"),
        ({"accounts": {"a/b": {"kind": "user"}}}, "/accounts/a~1b", "name"),
        ({"accounts": {"eve": {"kind": "user", "owner": "x"}}}, "/accounts/eve", "has no owner"),
        ({"rules": [RULE | {"valid_until": "2030-01-01T00:00"}]}, "/rules/0/valid_until", "zone"),
        ({"rules": [RULE | {"registry": "none"}]}, "/rules/0", "there is no registry 'none'"),
    ],
)
def test_a_problem_has_a_json_pointer(world: World, document: Any, where: str, detail: str) -> None:
    for path in ("/policy/plan", "/policy/apply?plan=x"):
        told = call(world, "POST", path, status=409, json=document).json
        assert told is not None
        assert any(e["where"] == where and detail in e["detail"] for e in told["errors"])


@pytest.mark.parametrize(
    "document",
    [
        {"rule": []},
        {"rules": None},
        {"rules": [RULE | {"action": ["pull"]}]},
        {"rules": [RULE | {"enabled": "true"}]},
        {"rules": [RULE | {"actions": []}]},
        {"rules": [RULE | {"actions": ["fly"]}]},
        {"registries": {SERVICE: {"token_ttl": 1}}},
        {"accounts": {"eve": {}}},
    ],
)
def test_what_the_schema_does_not_know_is_invalid(world: World, document: Any) -> None:
    assert planned(world, document, status=422)["errors"]


def test_a_name_that_is_there_twice_is_no_json(world: World) -> None:
    text = '{"accounts": {"eve": {"kind": "user"}, "eve": {"kind": "robot"}}}'
    call(world, "POST", "/policy/plan", status=400, data=text, content_type="application/json")


def test_a_document_of_tests_alone_changes_nothing(world: World) -> None:
    for document in ({}, {"tests": ["admin can pull a"]}):
        assert "nothing to plan" in planned(world, document, status=409)["detail"]


def test_what_delegates_wrote_is_left_to_them(world: World) -> None:
    world.user("alice")
    call(world, "PUT", "/groups/dev", status=201, json={"members": ["user:alice"]})
    bounds = {"group": "dev", "registry": SERVICE, "pattern": "pay/**", "actions": ["pull"]}
    call(world, "POST", "/delegations", status=201, json=bounds)
    mine = RULE | {"subjects": ["user:alice"], "patterns": ["pay/a"], "registry": SERVICE}
    call(world, "POST", "/rules", ALICE, 201, json=mine)
    document = got(world, "/policy")
    assert mine not in document["rules"]
    assert document["delegations"] == [bounds]
    assert planned(world, document, "?prune=true")["changes"] == []
    assert len(got(world, "/rules", ALICE)["items"]) == 1


# How large.


def large(size: int) -> bytes:
    return b'{"tests": ["' + b"x" * (size - 15) + b'"]}'


@pytest.mark.parametrize("path", ["/policy/plan", "/policy/apply?plan=x"])
def test_only_an_administrators_document_may_be_large(world: World, path: str) -> None:
    world.user("alice")
    more: Any = {"content_type": "application/json"}
    assert len(large(OF_OTHERS + 1)) == OF_OTHERS + 1
    call(world, "POST", path, status=409, data=large(MAX_BYTES), **more)
    call(world, "POST", path, status=413, data=large(MAX_BYTES + 1), **more)
    for auth, status in ((None, 401), ((ADMIN, "wrong"), 401), (ALICE, 403)):
        unread = _Unread()
        call(world, "POST", path, auth, status, input_stream=unread, **more)
        assert not unread.was_read
    call(world, "POST", "/rules", status=413, data=large(OF_OTHERS + 1), **more)
    _, narrow = world.app_token(ADMIN, name="narrow")
    call(world, "POST", path, (ADMIN, narrow), 403, data=large(OF_OTHERS + 1), **more)


class _Unread(BytesIO):
    """A body that tells whether anybody read of it."""

    was_read = False

    def read(self, size: int | None = -1, /) -> bytes:
        self.was_read = True
        return super().read(size)


def test_only_administrators(world: World) -> None:
    assert ("POST", "/policy/apply") in ADMINISTRATIVE
    world.user("alice")
    call(world, "GET", "/policy", ALICE, 403)
    assert PASSWORD not in call(world, "GET", "/policy", status=200).text


def test_the_document_has_the_keys_of_the_file() -> None:
    told = PolicyDocument.model_json_schema()
    file = schema.schema()
    assert told["properties"].keys() == file["properties"].keys()
    parts = {"registries": "PolicyRegistry", "accounts": "PolicyAccount"}
    for section, name in parts.items():
        of_file = file["properties"][section]["additionalProperties"]
        of_file = of_file.get("anyOf", [of_file])[0]
        assert told["$defs"][name]["properties"].keys() == of_file["properties"].keys()
    for section, name in {"rules": "PolicyRule", "delegations": "PolicyDelegation"}.items():
        of_file = file["properties"][section]["items"]
        assert told["$defs"][name]["properties"].keys() == of_file["properties"].keys()
        assert sorted(told["$defs"][name]["required"]) == sorted(of_file["required"])
