"""The console's pages of the rules that a delegate writes."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from authserver.db import accounts, delegations
from tests.web.test_api import ALICE, call, got
from tests.web.test_console import made_with
from tests.web.visitor import Visitor, content, hidden
from tests.world import ADMIN, SERVICE, World

RULE = {
    "do": "save",
    "subjects": "user:bob",
    "patterns": "team/app/**",
    "actions": ["pull", "push"],
    "registry": SERVICE,
}


def delegate(world: World) -> None:
    for name in ("alice", "bob", "mallory"):
        world.user(name)
    world.group("team", "alice")
    with world.wiring.store.change("test") as change:
        delegations.add(change, "team", SERVICE, delegations.extent("team/**", "*"))
    world.wiring.state.refresh()


@pytest.fixture
def alice(world: World) -> Visitor:
    """A delegate who is logged in, beside rules of the administrator."""
    delegate(world)
    world.allow("user:bob", "other/**", "pull")
    visitor = Visitor(world)
    assert visitor.log_in("alice").status_code == HTTPStatus.SEE_OTHER
    return visitor


def write(visitor: Visitor, **changes: Any) -> int:
    """Write a rule as a person does: look at who gains, then save."""
    form = RULE | changes
    looked = visitor.submit("my/rules/new", form)
    assert looked.status_code == 200, content(looked)
    answer = visitor.post("my/rules/new", hidden(looked.text) | form)
    assert answer.status_code == 303, content(answer)
    return int(answer.location.rpartition("=")[2])


def rules_of(world: World) -> list[dict[str, Any]]:
    every: list[dict[str, Any]] = got(world, "/rules")["items"]
    return [rule for rule in every if rule["delegation"] is not None]


def test_who_gains_is_shown_before_a_rule_is_saved(world: World, alice: Visitor) -> None:
    looked = alice.submit("my/rules/new", RULE)
    assert "bob gains pull, push team/app/** on registry" in content(looked)
    assert rules_of(world) == []
    saving = hidden(looked.text)
    other = alice.post("my/rules/new", saving | RULE | {"subjects": "user:mallory"})
    assert "mallory gains pull, push" in content(other)
    assert rules_of(world) == []
    answer = alice.post("my/rules/new", saving | RULE)
    assert answer.status_code == 303
    (rule,) = rules_of(world)
    assert (rule["subjects"], rule["created_by"]) == (["user:bob"], "account:alice")
    assert "team/app/**" in content(alice.client.get(answer.location))
    assert "user:bob" in content(alice.get("my/rules"))


def test_all_that_a_rule_may_say(world: World, alice: Visitor) -> None:
    number = write(
        alice,
        subjects="user:bob\ngroup:team",
        patterns="team/a\nteam/b",
        actions="*",
        networks="10.0.0.0/8",
        valid_from="2030-01-01T10:00Z",
        valid_until="2031-01-01T10:00:30Z",
        comment="for <b>now</b>",
    )
    (rule,) = rules_of(world)
    assert rule["subjects"] == ["group:team", "user:bob"]
    assert rule["patterns"] == ["team/a", "team/b"]
    assert rule["actions"] == ["*"]
    assert rule["networks"] == ["10.0.0.0/8"]
    assert rule["valid_from"] == "2030-01-01T10:00:00Z"
    assert rule["valid_until"] == "2031-01-01T10:00:30Z"
    page = alice.get("my/rules/edit", id=number).text
    for text in ("2030-01-01T10:00:00Z", "2031-01-01T10:00:30Z", "10.0.0.0/8", "for &lt;b&gt;now"):
        assert text in page
    assert '"*" checked' in page


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"patterns": "other/**"}, "covers this rule"),
        ({"subjects": "everyone"}, "accounts and groups only"),
        ({"subjects": "bob"}, "user:bob"),
        ({"subjects": "user:nobody"}, "nobody"),
        ({"effect": "deny"}, "allows only"),
        ({"type": "registry", "patterns": "catalog", "actions": "*"}, "covers this rule"),
        ({"registry": ""}, "covers this rule"),
        ({"registry": "elsewhere"}, "covers this rule"),
        ({"actions": []}, "marked"),
        ({"valid_from": "soon"}, "marked"),
    ],
)
def test_what_no_delegation_covers_is_refused(
    world: World, alice: Visitor, change: dict[str, Any], text: str
) -> None:
    form = RULE | {"comment": "kept"} | change
    answer = alice.submit("my/rules/new", form)
    if answer.status_code == 200:
        # A preview looks up no names.
        answer = alice.post("my/rules/new", hidden(answer.text) | form)
    assert answer.status_code in (409, 422)
    assert text in content(answer)
    assert 'value="kept"' in answer.text
    assert rules_of(world) == []


def test_a_rule_is_edited(world: World, alice: Visitor) -> None:
    number = write(alice)
    form = RULE | {"actions": "pull", "comment": "less"}
    looked = alice.submit("my/rules/edit", form, id=number)
    assert "bob loses push team/app/**" in content(looked)
    answer = alice.post("my/rules/edit", hidden(looked.text) | form, id=number)
    assert answer.location == f"/console/my/rules/show?id={number}"
    (rule,) = rules_of(world)
    assert (rule["actions"], rule["comment"], rule["enabled"]) == (["pull"], "less", True)


def test_a_conflict_shows_both_versions(world: World, alice: Visitor) -> None:
    number = write(alice)
    form = RULE | {"comment": "mine"}
    looked = hidden(alice.submit("my/rules/edit", form, id=number).text)
    theirs = {"comment": "theirs"}
    # In another window: what an administrator edits is no delegate's any more.
    call(world, "PATCH", f"/rules/{number}", ALICE, 200, json=theirs, headers={"If-Match": "*"})
    answer = alice.post("my/rules/edit", looked | form, id=number)
    assert answer.status_code == 412
    for text in ("mine", "theirs", "changed meanwhile"):
        assert text in content(answer)
    again = alice.post("my/rules/edit", hidden(answer.text) | form, id=number)
    assert again.status_code == 303
    (rule,) = rules_of(world)
    assert rule["comment"] == "mine"


def test_a_rule_is_disabled_enabled_and_removed_and_that_is_undone(
    world: World, alice: Visitor
) -> None:
    number = write(alice)
    asked = alice.get("my/rules/disable", id=number)
    assert f"Disable rule {number}?" in content(asked)
    assert "bob loses pull, push" in content(asked)
    assert alice.submit("my/rules/disable", {}, id=number).status_code == 303
    assert [rule["enabled"] for rule in rules_of(world)] == [False]
    assert "Enable rule" in content(alice.get("my/rules/enable", id=number))
    alice.submit("my/rules/enable", {}, id=number)
    assert [rule["enabled"] for rule in rules_of(world)] == [True]
    assert alice.submit("my/rules/remove", {}, id=number).location == "/console/my/rules"
    assert rules_of(world) == []
    assert "bob gains pull, push" in content(alice.get("my/rules/undo"))
    assert alice.submit("my/rules/undo", {}).status_code == 303
    assert [rule["id"] for rule in rules_of(world)] == [number]


def test_only_the_change_that_was_shown_is_undone(world: World, alice: Visitor) -> None:
    assert alice.get("my/rules/undo").status_code == 404
    write(alice)
    shown = hidden(alice.get("my/rules/undo").text)
    write(alice, patterns="team/other")
    assert alice.post("my/rules/undo", shown).status_code == 409
    assert len(rules_of(world)) == 2
    assert alice.post("my/rules/undo").status_code == 404


def test_rules_of_others_are_not_there(world: World, alice: Visitor) -> None:
    theirs = got(world, "/rules")["items"][-1]["id"]
    assert "other/**" not in alice.get("my/rules").text
    assert "other/**" not in alice.get("my/rules", format="csv").text
    for page in ("show", "edit", "enable", "disable", "remove"):
        answers = [alice.get(f"my/rules/{page}", id=number) for number in (theirs, 999)]
        assert [answer.status_code for answer in answers] == [403, 403]
        assert "other/**" not in answers[0].text
        assert alice.post(f"my/rules/{page}", RULE, id=theirs).status_code in (403, 405)
    assert alice.get("my/rules/show", id="x").status_code == 404
    assert len(got(world, "/rules")["items"]) == len(rules_of(world)) + theirs


def test_a_delegate_has_no_pages_of_all_rules(alice: Visitor) -> None:
    for page in ("rules", "rules/new", "rules/show?id=3", "rules/edit?id=3", "rules/undo"):
        assert alice.client.get(f"/console/{page}").status_code == 403, page
    assert alice.post("rules/new", RULE).status_code == 403


def test_the_pages_are_for_delegates_alone(world: World, alice: Visitor) -> None:
    assert "My rules" in alice.get("me").text
    for name in ("mallory", ADMIN):
        visitor = Visitor(world)
        visitor.log_in(name)
        assert "my/rules" not in visitor.get("me").text
        for page in ("", "/new", "/show?id=1", "/edit?id=1", "/disable?id=1", "/undo"):
            assert visitor.client.get(f"/console/my/rules{page}").status_code == 403, page
        assert visitor.post("my/rules/new", RULE).status_code == 403
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", admin=True)
    world.wiring.state.refresh()
    assert alice.get("my/rules").status_code == 403


def test_an_administrator_writes_no_rules_on_the_public_listener(
    template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = made_with(template, tmp_path_factory, admin_listen="127.0.0.1:1")
    delegate(world)
    office, alice = Visitor(world), Visitor(world)
    office.log_in()
    assert office.get("my/rules").status_code == 403
    assert office.post("my/rules/new", RULE).status_code == 403
    alice.log_in("alice")
    assert write(alice) > 0
    world.close()
