"""The API's preview of a change of a rule, and undoing the latest change."""

from typing import Any

import pytest

from authserver.db import delegations
from tests.web.test_api import ALICE, call, got, last_change, tag
from tests.world import SERVICE, World

RULE: dict[str, Any] = {
    "effect": "allow",
    "subjects": ["user:alice"],
    "patterns": ["a/**"],
    "actions": ["pull"],
}
OWN = RULE | {"subjects": ["group:team", "user:bob"], "registry": SERVICE}


@pytest.fixture
def delegated(world: World) -> World:
    """alice and bob are in team, which may allow pull,push within a/**."""
    world.user("alice")
    world.user("bob")
    world.group("team", "alice", "bob")
    with world.wiring.store.change("test") as change:
        to = delegations.extent("a/**", "pull,push")
        delegations.add(change, "team", SERVICE, to)
    return world


def preview(
    world: World, auth: tuple[str, str] | None = None, status: int = 200, **body: Any
) -> Any:
    more = {} if auth is None else {"auth": auth}
    return call(world, "POST", "/rules/preview", status=status, json=body, **more).json


def told(answer: Any) -> list[tuple[str, list[str], list[str]]]:
    effects = answer["effects"]["told"]
    return [(each["change"], each["accounts"], each["actions"]) for each in effects]


def test_each_change_of_a_rule_has_a_preview(delegated: World) -> None:
    rules = got(delegated, "/rules")
    answer = preview(delegated, terms=RULE)
    assert answer["change"]["do"] == "add"
    assert told(answer) == [("gain", ["alice"], ["pull"])]
    assert answer["effects"]["told"][0]["count"] == 1
    assert got(delegated, "/rules") == rules
    made: Any = call(delegated, "POST", "/rules", status=201, json=RULE).json
    number = made["id"]
    assert told(preview(delegated, id=number, enabled=False)) == [("lose", ["alice"], ["pull"])]
    assert told(preview(delegated, id=number, remove=True)) == [("lose", ["alice"], ["pull"])]
    wider = preview(delegated, id=number, terms=RULE | {"subjects": ["everyone"]})
    assert told(wider) == [("gain", ["anonymous", "bob"], ["pull"])]
    assert preview(delegated, id=number, enabled=True)["change"] is None
    open_ = preview(delegated, terms=RULE | {"subjects": ["anonymous"], "actions": ["push"]})
    assert [each["code"] for each in open_["warnings"]] == ["public-write"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"remove": True},
        {"enabled": True},
        {"id": 1, "enabled": True, "remove": True},
        {"id": 1, "terms": RULE | {"effect": "deny"}},
        {"terms": RULE | {"subjects": ["user:nobody"]}},
        {"terms": RULE | {"patterns": ["A"]}},
    ],
)
def test_a_preview_refuses_what_is_no_change(delegated: World, body: dict[str, Any]) -> None:
    preview(delegated, status=409, **body)


def test_names_of_an_effect_are_bounded_and_counted(
    delegated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authserver.policy.files.preview.MAX_ACCOUNTS", 1)
    (effect,) = preview(delegated, terms=RULE | {"subjects": ["everyone"]})["effects"]["told"]
    assert (effect["accounts"], effect["count"]) == (["anonymous"], 3)


def test_a_delegates_preview_tells_nothing_of_others(delegated: World) -> None:
    """Not who is in a group, who may do it already, who is disabled, or which names there are."""
    delegated.allow("user:bob", "a/**", "pull,push")
    delegated.disable("bob")
    gains = [("gain", ["bob", "group:team"], ["pull"])]
    assert told(preview(delegated, ALICE, terms=OWN)) == gains
    unknown = OWN | {"subjects": ["group:nothing", "user:nobody"]}
    gains = [("gain", ["group:nothing", "nobody"], ["pull"])]
    assert told(preview(delegated, ALICE, terms=unknown)) == gains
    for number in (1, 3, 99):
        preview(delegated, ALICE, 403, id=number, remove=True)
    preview(delegated, ALICE, 409, terms=OWN | {"patterns": ["b"]})
    preview(delegated, ("bob", ALICE[1]), 401, terms=OWN)


def test_the_latest_change_is_shown_and_undone(delegated: World) -> None:
    made: Any = call(delegated, "POST", "/rules", status=201, json=RULE).json
    where = f"/rules/{made['id']}"
    call(delegated, "DELETE", where, status=200, headers=tag(delegated, where))
    shown = got(delegated, "/rules/undo")
    assert (shown["by"], shown["rule"], shown["undoes"]) == ("account:admin", made["id"], False)
    assert (shown["change"]["do"], shown["undoing"]["change"]["do"]) == ("remove", "add")
    assert told(shown["undoing"]) == [("gain", ["alice"], ["pull"])]
    undo = {"change": shown["id"]}
    call(delegated, "POST", "/rules/undo", status=409, json={"change": shown["id"] - 1})
    call(delegated, "POST", "/rules/undo", ALICE, 409, json=undo)
    back: Any = call(delegated, "POST", "/rules/undo", status=200, json=undo).json
    assert (back["rule"], back["undoing"]["do"]) == (made["id"], "add")
    assert got(delegated, where) == made
    assert delegated.granted("scope=repository:a/b:pull", auth=ALICE)
    record = last_change(delegated)
    assert record["action"] == "acl.undo"
    assert record["target"] == f"rule:{made['id']} change:{shown['id']}"
    call(delegated, "POST", "/rules/undo", status=409, json=undo)
    again = got(delegated, "/rules/undo")
    assert again["undoes"]
    call(delegated, "POST", "/rules/undo", status=200, json={"change": again["id"]})
    call(delegated, "GET", where, status=404)


def test_a_delegate_sees_and_undoes_their_own_change_only(delegated: World) -> None:
    call(delegated, "GET", "/rules/undo", ALICE, 404)
    made: Any = call(delegated, "POST", "/rules", ALICE, 201, json=OWN).json
    call(delegated, "POST", "/rules", status=201, json=RULE)
    shown: Any = call(delegated, "GET", "/rules/undo", ALICE, 200).json
    assert shown["rule"] == made["id"]
    assert told(shown["undoing"]) == [("lose", ["bob", "group:team"], ["pull"])]
    call(delegated, "GET", "/rules/undo", ("bob", ALICE[1]), 404)
    call(delegated, "POST", "/rules/undo", ALICE, 200, json={"change": shown["id"]})
    call(delegated, "GET", f"/rules/{made['id']}", status=404)
