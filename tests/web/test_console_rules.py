"""The console's pages of rules: lists, the form with its preview, switches, undo; and who may."""

import json
import re
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from authserver.core.conditions import FIELDS
from authserver.db import accounts, rules
from authserver.db.models import RuleRow
from tests.web.visitor import Visitor, content, hidden
from tests.world import SERVICE, World

FIRST = 3
"""The id of the first rule of a test."""
HOSTILE = "<b>\"&'x"


@pytest.fixture
def office(world: World) -> Visitor:
    world.user("alice")
    with world.wiring.store.change("test") as change:
        for row in change.session.scalars(select(RuleRow)).all():
            rules.delete(change, row)
    visitor = Visitor(world)
    assert visitor.log_in().status_code == 303
    return visitor


def rule(**more: Any) -> dict[str, Any]:
    return {
        "do": "save",
        "effect": "allow",
        "type": "repository",
        "subjects": "user:alice",
        "patterns": "team/**",
        "actions": ["pull"],
        "registry": "",
        "comment": "",
    } | more


def filled(page: str) -> dict[str, Any]:
    """Return what stands in the form of a rule."""
    form: dict[str, Any] = hidden(page)
    for name, text in re.findall(r'<textarea id="(\w+)"[^>]*>([^<]*)</textarea>', page):
        form[name] = unescape(text)
    for name, value in re.findall(r'<input id="(\w+)"[^>]*type="text" value="([^"]*)"', page):
        form[name] = unescape(value)
    boxes = re.findall(r'name="actions" value="([^"]+)" checked', page)
    chosen = re.findall(r'<option value="([^"]*)" selected', page)
    return form | {"actions": boxes, "registry": (chosen or [""])[0]}


def saved(visitor: Visitor, page: str, form: dict[str, Any], **query: Any) -> TestResponse:
    """Fill in the form of a rule, look at what it does, and save it."""
    shown = visitor.post(page, hidden(visitor.get(page, **query).text) | form, **query)
    if "nothing is saved yet" not in shown.text:
        return shown
    previewed = {"previewed": hidden(shown.text)["previewed"]}
    return visitor.post(page, hidden(shown.text) | form | previewed, **query)


def stored(world: World, rule_id: int) -> RuleRow | None:
    with world.wiring.store.read() as session:
        return session.get(RuleRow, rule_id)


def change_behind(world: World, rule_id: int, comment: str) -> None:
    with world.wiring.store.change("test") as change:
        row = change.session.get(RuleRow, rule_id)
        assert row is not None
        row.comment, row.edited_at = comment, change.at


def test_a_rule_is_previewed_before_it_is_saved(world: World, office: Visitor) -> None:
    shown = office.submit("rules/new", rule(do="preview", comment="why"))
    assert shown.status_code == 200
    assert "alice gains pull team/**" in content(shown)
    assert filled(shown.text)["patterns"] == "team/**"
    assert filled(shown.text)["comment"] == "why"
    assert "acl allow user:alice &#39;team/**&#39; pull --comment why" in shown.text
    assert json.loads(office.get("rules", format="json").text) == []
    # What was shown is another rule.
    form = hidden(shown.text) | rule(comment="else")
    assert "nothing is saved yet" in office.post("rules/new", form).text
    assert json.loads(office.get("rules", format="json").text) == []
    made = office.post("rules/new", hidden(shown.text) | rule(comment="why"))
    assert made.location == "/console/rules/show?id=3"
    page = content(office.client.get(made.location))
    for text in ("Rule 3", "user:alice", "team/**", "every registry", "why"):
        assert text in page


def test_conditions_stand_in_the_form_by_their_table(world: World, office: Visitor) -> None:
    page = office.get("rules/new").text
    for name in FIELDS:
        assert f'name="{name}"' in page
    form = rule(networks="10.0.0.0/8\n192.168.0.0/16", valid_until="30d", registry=SERVICE)
    assert saved(office, "rules/new", form).status_code == 303
    (made,) = json.loads(office.get("rules", format="json").text)
    assert made["networks"] == ["10.0.0.0/8", "192.168.0.0/16"]
    assert made["valid_until"] is not None
    assert "from 10.0.0.0/8,192.168.0.0/16 until" in content(office.get("rules"))
    # What is left alone stays as it is, to the microsecond.
    before = stored(world, FIRST)
    assert before is not None
    again = filled(office.get("rules/edit", id=FIRST).text)
    again |= {"do": "save", "comment": "x"}
    del again["previewed"]
    assert saved(office, "rules/edit", again, id=FIRST).status_code == 303
    after = stored(world, FIRST)
    assert after is not None
    assert (after.conditions, after.comment) == (before.conditions, "x")


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("valid_until", "soon", 422),
        ("subjects", "", 422),
        ("actions", [], 422),
        ("subjects", "user:nobody", 409),
        ("networks", "10.0.0.1/8", 409),
        ("patterns", "Team//x", 409),
        ("registry", "nowhere", 409),
        ("effect", "perhaps", 422),
    ],
)
@pytest.mark.parametrize("do", ["preview", "save"])
def test_what_is_wrong_stands_in_the_form(
    office: Visitor, do: str, field: str, value: Any, status: int
) -> None:
    form = rule(do=do, comment="kept") | {field: value}
    answer = saved(office, "rules/new", form) if do == "save" else office.submit("rules/new", form)
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert filled(answer.text)["comment"] == "kept"
    assert json.loads(office.get("rules", format="json").text) == []


@pytest.mark.parametrize(("effect", "action"), [("allow", "pull"), ("deny", "push")])
def test_an_edit_says_who_loses_and_keeps_what_it_does_not_ask_for(
    world: World, office: Visitor, effect: str, action: str
) -> None:
    write = world.allow if effect == "allow" else world.deny
    write("user:alice", "team/**", "pull,push", enabled=False)
    form = filled(office.get("rules/edit", id=FIRST).text) | {"actions": [action], "comment": "x"}
    shown = office.post("rules/edit", form | {"do": "preview"}, id=FIRST)
    assert "Nobody gains or loses." in content(shown)
    assert f"acl edit 3 --actions {action} --comment x" in content(shown)
    form = form | hidden(shown.text) | {"do": "save"}
    assert office.post("rules/edit", form, id=FIRST).location == "/console/rules/show?id=3"
    row = stored(world, FIRST)
    assert row is not None
    assert (row.effect, row.actions, row.disabled_at is None) == (effect, action, False)


def test_a_preview_names_who_loses(world: World, office: Visitor) -> None:
    world.allow("user:alice", "team/**", "pull,push")
    form = filled(office.get("rules/edit", id=FIRST).text) | {"actions": ["pull"], "do": "preview"}
    assert "alice loses push team/**" in content(office.post("rules/edit", form, id=FIRST))


@pytest.mark.parametrize("do", ["preview", "save"])
def test_an_edit_conflict_shows_both_versions(world: World, office: Visitor, do: str) -> None:
    world.allow("user:alice", "team/**", "pull")
    form = filled(office.get("rules/edit", id=FIRST).text) | {"do": do, "comment": "mine"}
    if do == "save":
        form |= hidden(office.post("rules/edit", form, id=FIRST).text)
    change_behind(world, FIRST, "theirs")
    answer = office.post("rules/edit", form, id=FIRST)
    assert answer.status_code == (412 if do == "save" else 200)
    assert "Comment mine theirs" in content(answer)
    row = stored(world, FIRST)
    assert row is not None
    assert row.comment == "theirs"
    again = filled(answer.text) | {"do": "save"}
    assert again["comment"] == "mine"
    assert office.post("rules/edit", again, id=FIRST).status_code == 303


def test_a_rule_is_switched_and_removed_with_who_loses(world: World, office: Visitor) -> None:
    world.allow("user:alice", "team/**", "pull")
    for step, effect in (("disable", "loses"), ("enable", "gains"), ("remove", "loses")):
        page = office.get(f"rules/{step}", id=FIRST)
        assert f"alice {effect} pull team/**" in content(page)
        assert f"acl {step} 3" in content(page)
        assert office.post(f"rules/{step}", hidden(page.text), id=FIRST).status_code == 303
        row = stored(world, FIRST)
        assert (row is None) == (step == "remove")
        assert row is None or (row.disabled_at is not None) == (step == "disable")
    assert office.get("rules/show", id=FIRST).status_code == 404


@pytest.mark.parametrize("step", ["disable", "remove"])
def test_a_switch_rests_on_the_rule_that_was_shown(
    world: World, office: Visitor, step: str
) -> None:
    world.allow("user:alice", "team/**", "pull")
    form = hidden(office.get(f"rules/{step}", id=FIRST).text)
    change_behind(world, FIRST, "theirs")
    answer = office.post(f"rules/{step}", form, id=FIRST)
    assert answer.status_code == 412
    row = stored(world, FIRST)
    assert row is not None
    assert row.disabled_at is None


def test_the_latest_change_is_undone_as_it_was_shown(world: World, office: Visitor) -> None:
    assert "changed more than one rule" in content(office.get("rules/undo"))
    saved(office, "rules/new", rule())
    shown = office.get("rules/undo")
    assert "account:admin" in content(shown)
    assert "alice loses pull team/**" in content(shown)
    saved(office, "rules/new", rule(patterns="other/**"))
    late = office.post("rules/undo", hidden(shown.text))
    assert late.status_code == 409
    assert "other/**" in content(late)
    assert office.post("rules/undo", hidden(late.text)).location == "/console/rules"
    assert [row["id"] for row in json.loads(office.get("rules", format="json").text)] == [FIRST]


def test_warnings_stand_in_the_list_the_rule_and_the_preview(world: World, office: Visitor) -> None:
    form = rule(subjects="everyone", actions=["pull", "push"])
    assert "public-write" in content(office.submit("rules/new", form | {"do": "preview"}))
    assert saved(office, "rules/new", form).status_code == 303
    for page in (office.get("rules"), office.get("rules/show", id=FIRST)):
        assert "public-write" in content(page)


def test_rules_are_filtered(world: World, office: Visitor) -> None:
    world.group("dev", "alice")
    world.allow("group:dev", "team/**", "pull", comment="readers")
    world.allow("user:alice", "other/app", "pull")
    for query, ids in (
        ({"q": "readers"}, [FIRST]),
        ({"subject": "user:alice"}, [FIRST + 1]),
        ({"pattern": "team/**"}, [FIRST]),
        ({"covers": "other/app"}, [FIRST + 1]),
        ({"sort": "-id"}, [FIRST + 1, FIRST]),
    ):
        found = json.loads(office.get("rules", format="json", **query).text)
        assert [row["id"] for row in found] == ids, query
    assert office.get("rules", subject="nonsense").status_code == 409


def test_hostile_names_and_comments_stand_as_text(world: World, office: Visitor) -> None:
    with world.wiring.store.change("test") as change:
        accounts.add_user(change, "o'b&x", "$2b$04$" + "a" * 53)
    world.allow("user:o'b&x", "team/**", "pull", comment=HOSTILE)
    for page in ("rules", "rules/show", "rules/edit", "rules/remove"):
        text = office.get(page, **({} if page == "rules" else {"id": FIRST})).text
        assert "<b>" not in text
        assert unescape(text).count("o'b&x") >= 1, page
    assert HOSTILE in content(office.get("rules/show", id=FIRST))


@pytest.mark.parametrize("number", ["", "x", "9", "-1", "1" * 30, "²"])
@pytest.mark.parametrize("step", ["show", "edit", "enable", "disable", "remove"])
def test_a_rule_that_is_not_there_is_no_error(office: Visitor, step: str, number: str) -> None:
    assert office.get(f"rules/{step}", id=number).status_code == 404


def test_others_read_or_get_nothing(world: World, office: Visitor) -> None:
    world.allow("user:alice", "team/**", "pull")
    world.user("erin")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "erin", auditor=True)
    for name, reads in (("alice", False), ("erin", True)):
        visitor = Visitor(world)
        visitor.log_in(name)
        assert visitor.get("rules").status_code == (200 if reads else 403)
        for step in ("new", "edit", "enable", "disable", "remove", "undo"):
            assert f"rules/{step}" not in visitor.get("rules").text
            assert visitor.get(f"rules/{step}", id=FIRST).status_code == 403, step
            form = rule(change="1") if step != "remove" else {}
            assert visitor.post(f"rules/{step}", form, id=FIRST).status_code == 403, step
        shown = visitor.get("rules/show", id=FIRST)
        assert shown.status_code == (200 if reads else 403)
        assert "rules/edit" not in shown.text
    with world.wiring.store.read() as session:
        assert [row.disabled_at for row in session.scalars(select(RuleRow))] == [None]
