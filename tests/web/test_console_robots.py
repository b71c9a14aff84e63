"""The console's pages on robots and groups."""

import pytest

from authserver.db import accounts, lookup
from tests.web.visitor import Visitor, content, hidden
from tests.world import World


@pytest.fixture
def office(world: World) -> Visitor:
    """An administrator who is logged in."""
    visitor = Visitor(world)
    assert visitor.log_in().status_code == 303
    return visitor


def test_a_robot_is_made_edited_and_removed(world: World, office: Visitor) -> None:
    world.user("alice")
    form = {"name": "ci", "owner": "alice", "description": "<b>builds</b>"}
    assert office.submit("robots/new", form).location == "/console/robots/show?name=ci"
    shown = office.get("robots/show", name="ci")
    assert "<b>builds</b> Owner alice" in content(shown)
    assert "<b>builds" not in shown.text
    assert "ci" in content(office.get("robots"))
    edited = office.submit("robots/edit", {"outlives_owner": "on"}, name="ci")
    assert edited.location == "/console/robots/show?name=ci"
    shown = office.get("robots/show", name="ci")
    assert "outlives its owner Description \N{EN DASH} Owner \N{EN DASH}" in content(shown)
    assert office.submit("robots/remove", {}, name="ci").location == "/console/robots"
    assert office.get("robots/show", name="ci").status_code == 404


def test_a_robot_without_such_an_owner_is_not_made(office: Visitor) -> None:
    answer = office.submit("robots/new", {"name": "ci", "owner": "nobody"})
    assert answer.status_code == 409
    assert "nobody" in content(answer)
    assert 'value="ci"' in answer.text
    assert office.get("robots/show", name="ci").status_code == 404


def test_a_robot_is_disabled_enabled_and_renamed(world: World, office: Visitor) -> None:
    world.robot("ci")
    office.submit("robots/disable", {}, name="ci")
    assert "State disabled" in content(office.get("robots/show", name="ci"))
    office.submit("robots/enable", {}, name="ci")
    assert "disabled" not in content(office.get("robots/show", name="ci"))
    assert office.submit("robots/rename", {"name": "a/b"}, name="ci").status_code == 409
    renamed = office.submit("robots/rename", {"name": ".."}, name="ci")
    assert renamed.location == "/console/robots/show?name=.."
    assert office.client.get(renamed.location).status_code == 200


def test_an_edit_of_a_robot_that_was_changed_meanwhile_shows_both(
    world: World, office: Visitor
) -> None:
    world.robot("ci")
    form = hidden(office.get("robots/edit", name="ci").text) | {"description": "mine"}
    with world.wiring.store.change("test") as change:
        accounts.edit_robot(change, "ci", description="theirs")
    answer = office.post("robots/edit", form, name="ci")
    assert answer.status_code == 412
    assert "Description mine theirs" in content(answer)
    again = hidden(answer.text) | {"description": "mine"}
    assert office.post("robots/edit", again, name="ci").status_code == 303


def members(world: World, group: str) -> set[str]:
    with world.wiring.store.read() as session:
        return {row.name for row in lookup.group(session, group).members}


def test_a_group_is_made_with_members_by_name(world: World, office: Visitor) -> None:
    world.user("alice")
    world.robot("ci")
    form = {"name": "dev", "members": "alice, robot:ci\nalice"}
    assert office.submit("groups/new", form).location == "/console/groups/show?name=dev"
    assert members(world, "dev") == {"alice", "ci"}
    assert "dev 2 alice, ci" in content(office.get("groups"))
    unknown = office.submit("groups/new", {"name": "ops", "members": "nobody"})
    assert unknown.status_code == 404
    assert "nobody" in content(unknown)
    assert office.get("groups/show", name="ops").status_code == 404


def test_members_come_and_go(world: World, office: Visitor) -> None:
    world.user("alice")
    world.user("bob")
    world.group("dev", "bob")
    shown = "/console/groups/show?name=dev"
    assert office.submit("groups/show", {"add": "alice"}, name="dev").location == shown
    assert members(world, "dev") == {"alice", "bob"}
    assert office.submit("groups/show", {"remove": "user:bob"}, name="dev").location == shown
    assert members(world, "dev") == {"alice"}
    wrong = office.submit("groups/show", {"add": "nobody"}, name="dev")
    assert wrong.status_code == 404
    assert 'value="nobody"' in wrong.text


def test_a_member_whom_a_deny_holds_back_leaves_after_a_question(
    world: World, office: Visitor
) -> None:
    world.user("bob")
    world.group("dev", "bob")
    world.deny("group:dev", "secret/**", "pull")
    asked = office.submit("groups/show", {"remove": "user:bob"}, name="dev")
    assert asked.status_code == 409
    assert members(world, "dev") == {"bob"}
    done = office.post("groups/show", hidden(asked.text) | {"force": "on"}, name="dev")
    assert done.status_code == 303
    assert members(world, "dev") == set()


def test_a_group_is_renamed_and_removed(world: World, office: Visitor) -> None:
    world.user("bob")
    world.group("dev", "bob")
    assert "name=ops" in office.submit("groups/rename", {"name": "ops"}, name="dev").location
    shown = office.get("groups/remove", name="ops")
    assert "1 member" in content(shown)
    assert office.post("groups/remove", hidden(shown.text), name="ops").status_code == 303
    assert office.get("groups/show", name="ops").status_code == 404


PAGES = [
    *("robots/new", "robots/edit", "robots/disable", "robots/enable", "robots/rename"),
    *("robots/remove", "groups/new", "groups/rename", "groups/remove"),
]


@pytest.mark.parametrize("role", ["user", "auditor"])
@pytest.mark.parametrize("page", PAGES)
def test_others_change_no_robot_and_no_group(world: World, page: str, role: str) -> None:
    world.user("alice")
    world.robot("thing")
    world.group("thing", "alice")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", auditor=role == "auditor")
    world.wiring.state.refresh()
    visitor = Visitor(world)
    visitor.log_in("alice")
    assert visitor.get(page, name="thing").status_code == 403
    assert visitor.post(page, name="thing").status_code == 403
    shown = {visitor.get(f"{noun}/show", name="thing").status_code for noun in ("robots", "groups")}
    assert shown == ({200} if role == "auditor" else {403})
    assert visitor.post("groups/show", {"add": "alice"}, name="thing").status_code == 403
