"""The console's pages on lockouts and delegations."""

from datetime import timedelta

import pytest

from authserver.db import accounts, delegations, lockouts
from authserver.db.lockouts import Noted
from tests.web.test_api import call, got
from tests.web.visitor import Visitor, content, hidden
from tests.world import SERVICE, World


@pytest.fixture
def office(world: World) -> Visitor:
    """An administrator who is logged in."""
    visitor = Visitor(world)
    assert visitor.log_in().status_code == 303
    return visitor


def lock_out(world: World) -> None:
    with world.wiring.store.append() as session:
        now = world.wiring.store.time(session)
        until = now + timedelta(minutes=1)
        lockouts.note(session, now, [Noted("a key", "192.0.2.7", "bob", until)])


def test_a_lockout_is_listed_and_lifted(world: World, office: Visitor) -> None:
    assert "Nobody is locked out." in content(office.get("lockouts"))
    world.user("bob")
    lock_out(world)
    (lockout,) = got(world, "/lockouts")["items"]
    assert "192.0.2.7 bob" in content(office.get("lockouts"))
    shown = office.get("lockouts/lift", id=lockout["id"])
    assert "192.0.2.7?" in content(shown)
    assert office.post("lockouts/lift", hidden(shown.text), id=lockout["id"]).status_code == 303
    assert "Nobody is locked out." in content(office.get("lockouts"))
    assert office.get("lockouts/lift", id=99).status_code == 404


FORM = {"group": "dev", "registry": SERVICE, "pattern": "team/**", "comment": "<i>theirs"}


def test_a_delegation_is_made_and_ended(world: World, office: Visitor) -> None:
    world.user("alice")
    world.group("dev", "alice")
    nothing = office.submit("delegations/new", FORM)
    assert nothing.status_code == 422
    assert 'value="team/**"' in nothing.text
    made = office.submit("delegations/new", FORM | {"actions": ["pull", "push"]})
    assert made.location == "/console/delegations"
    page = office.get("delegations")
    assert "dev registry team/** pull push <i>theirs" in content(page)
    assert "<i>theirs" not in page.text
    (one,) = got(world, "/delegations")["items"]
    rule = {"effect": "allow", "subjects": ["user:alice"], "patterns": ["team/x"]}
    body = rule | {"actions": ["pull"], "registry": SERVICE}
    written = call(world, "POST", "/rules", ("alice", "correct horse"), 201, json=body).json
    assert written is not None
    shown = office.get("delegations/end", id=one["id"])
    assert "1 rule" in content(shown)
    assert "team/x" in content(shown)
    assert office.post("delegations/end", hidden(shown.text), id=one["id"]).status_code == 303
    assert "There are no delegations." in content(office.get("delegations"))
    assert got(world, f"/rules/{written['id']}")["enabled"] is False


def test_a_delegation_to_no_group_is_refused(office: Visitor) -> None:
    answer = office.submit("delegations/new", FORM | {"actions": ["pull"]})
    assert answer.status_code == 409
    assert "dev" in content(answer)
    assert "There are no delegations." in content(office.get("delegations"))


@pytest.mark.parametrize("role", ["user", "delegate", "auditor"])
def test_others_change_neither(world: World, office: Visitor, role: str) -> None:
    world.user("alice")
    world.group("dev", "alice")
    lock_out(world)
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", auditor=role == "auditor")
        if role == "delegate":
            delegations.add(change, "dev", SERVICE, delegations.extent("team/**", "pull"))
    world.wiring.state.refresh()
    visitor = Visitor(world)
    (lockout,) = got(world, "/lockouts")["items"]
    visitor.log_in("alice")
    for page in ("lockouts/lift", "delegations/new", "delegations/end"):
        assert visitor.get(page, id=lockout["id"]).status_code == 403
        assert visitor.post(page, FORM, id=lockout["id"]).status_code == 403
    assert visitor.get("lockouts/lift", id=99).status_code == 403
    for page in ("lockouts", "delegations"):
        shown = visitor.get(page)
        assert shown.status_code == (200 if role == "auditor" else 403)
        for act in ("lift", "new", "end"):
            assert f"{page}/{act}" not in shown.text
    assert office.get("lockouts").status_code == 200
