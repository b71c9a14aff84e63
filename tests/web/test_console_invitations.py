"""Open invitations: in the console, in the API and on the command line."""

import json
import secrets

import pytest

from authserver.db import accounts, invitations
from tests.cli.commands import Commands
from tests.web.test_api import call, got, last_change
from tests.web.visitor import Visitor, content
from tests.world import PASSWORD, World


@pytest.fixture
def office(world: World) -> Visitor:
    """An administrator who is logged in."""
    visitor = Visitor(world)
    assert visitor.log_in().status_code == 303
    return visitor


def invite(world: World, name: str, reset: invitations.Reset | None = None) -> str:
    with world.wiring.store.change("test") as change:
        return invitations.invite(change, name, secrets.token_bytes, reset)[1]


def redeem(world: World, code: str, status: int) -> None:
    body = {"code": code, "password": "a long new password"}
    call(world, "POST", "/invitations/redeem", None, status, json=body)


def test_invitations_are_listed_and_ended(world: World, office: Visitor) -> None:
    assert "There are no open invitations." in content(office.get("invitations"))
    world.user("alice")
    code = invite(world, "dora")
    invite(world, "alice", invitations.Reset.LATER)
    page = office.get("invitations")
    assert "dora a first password" in content(page)
    assert "alice another password" in content(page)
    assert code not in page.text
    assert office.submit("invitations/end", {}, name="dora").location == "/console/invitations"
    assert "dora" not in content(office.get("invitations"))
    redeem(world, code, 404)
    again = office.post("invitations/end", name="dora")
    assert again.status_code == 409
    assert "dora has no open invitation" in content(again)


def test_the_api_lists_and_ends_invitations(world: World) -> None:
    code, other = invite(world, "dora"), invite(world, "emil")
    first = got(world, "/invitations?limit=1")
    assert [(each["user"], each["reset"]) for each in first["items"]] == [("dora", False)]
    assert [each["user"] for each in got(world, first["next"])["items"]] == ["emil"]
    call(world, "POST", "/invitations/end", status=204, json={"user": "dora"})
    assert last_change(world)["action"] == "user.uninvite"
    redeem(world, code, 404)
    redeem(world, other, 200)
    assert got(world, "/invitations")["items"] == []
    call(world, "POST", "/invitations/end", status=409, json={"user": "nobody"})


def test_commands_list_and_end_invitations(world: World) -> None:
    code = invite(world, "dora")
    authserver = Commands(world.wiring.settings.data_dir)
    assert "a first password" in authserver("user", "invitations")
    (one,) = json.loads(authserver("user", "invitations", "--json"))
    assert (one["user"], one["reset"]) == ("dora", False)
    authserver("user", "uninvite", "dora")
    assert "Ended the invitation of dora." in authserver.err
    authserver("user", "uninvite", "dora", status=1)
    assert "authserver user invitations" in authserver.err
    redeem(world, code, 404)


@pytest.mark.parametrize("role", ["user", "auditor"])
def test_others_end_no_invitation(world: World, role: str) -> None:
    world.user("alice")
    invite(world, "dora")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", auditor=role == "auditor")
    world.wiring.state.refresh()
    readable = 200 if role == "auditor" else 403
    auth = ("alice", PASSWORD)
    call(world, "GET", "/invitations", auth, readable)
    call(world, "POST", "/invitations/end", auth, 403, json={"user": "dora"})
    visitor = Visitor(world)
    visitor.log_in("alice")
    shown = visitor.get("invitations")
    assert shown.status_code == readable
    assert "invitations/end" not in shown.text
    assert visitor.get("invitations/end", name="dora").status_code == 403
    assert visitor.post("invitations/end", name="dora").status_code == 403
    assert len(got(world, "/invitations")["items"]) == 1
