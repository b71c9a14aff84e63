"""The console's pages on everybody's logins, and console sessions in the API and the commands."""

import json

import pytest
from sqlalchemy import select

from authserver.db import accounts
from authserver.db.models import AuditRecord
from tests.cli.commands import Commands
from tests.web.test_api import call, got
from tests.web.visitor import Visitor, content, hidden
from tests.world import PASSWORD, World


@pytest.fixture
def office(world: World) -> Visitor:
    """An administrator who is logged in; alice is too, with docker and to the console."""
    world.user("alice")
    world.log_in("alice")
    Visitor(world).log_in("alice")
    visitor = Visitor(world)
    assert visitor.log_in().status_code == 303
    return visitor


def test_docker_logins_are_listed_and_ended(world: World, office: Visitor) -> None:
    assert "alice registry" in content(office.get("sessions"))
    (session,) = got(world, "/sessions")["items"]
    shown = office.get("sessions/end", id=session["id"])
    assert "alice on registry?" in content(shown)
    assert office.post("sessions/end", hidden(shown.text), id=session["id"]).status_code == 303
    assert "No docker login goes on." in content(office.get("sessions"))


def test_console_sessions_are_listed_and_ended(world: World, office: Visitor) -> None:
    page = content(office.get("sessions/console"))
    assert "alice" in page
    assert "admin" in page
    (session,) = got(world, "/console-sessions?account=alice")["items"]
    assert office.submit("sessions/console/end", {}, id=session["id"]).status_code == 303
    assert got(world, "/console-sessions?account=alice")["items"] == []
    assert len(got(world, "/console-sessions")["items"]) == 1


@pytest.mark.parametrize(
    ("page", "what"), [("sessions", "1 login"), ("sessions/console", "1 console session")]
)
def test_all_of_an_account_end_together(
    world: World, office: Visitor, page: str, what: str
) -> None:
    assert f"{page}/end-all" not in office.get(page).text
    assert f"{page}/end-all?account=alice" in office.get(page, account="alice").text
    shown = office.get(f"{page}/end-all", account="alice")
    assert what in content(shown)
    assert office.post(f"{page}/end-all", account="alice").status_code == 303
    assert "alice" not in content(office.get(page))
    other = "sessions/console" if page == "sessions" else "sessions"
    assert "alice" in content(office.get(other))


def test_the_api_ends_console_sessions_but_one(world: World, office: Visitor) -> None:
    Visitor(world).log_in("alice")
    first, second = got(world, "/console-sessions?account=alice&sort=id")["items"]
    assert [each["account"] for each in got(world, "/console-sessions?q=ALI")["items"]] == [
        "alice",
        "alice",
    ]
    body = {"account": "alice", "keep": second["id"]}
    assert call(world, "POST", "/console-sessions/revoke", json=body).json == {"ended": 1}
    assert got(world, f"/console-sessions/{second['id']}")["account"] == "alice"
    call(world, "GET", f"/console-sessions/{first['id']}", status=404)
    call(world, "POST", "/console-sessions/revoke", status=409, json={"account": "nobody"})
    with world.wiring.store.read() as session:
        last = session.scalars(select(AuditRecord).order_by(AuditRecord.id.desc())).first()
        assert last is not None
        assert (last.action, last.target) == ("session.revoke", "user:alice")
    assert office.get("me").status_code == 200


@pytest.mark.parametrize("role", ["user", "auditor"])
def test_others_end_no_sessions(world: World, office: Visitor, role: str) -> None:
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", auditor=role == "auditor")
    world.wiring.state.refresh()
    auth = ("alice", PASSWORD)
    readable = 200 if role == "auditor" else 403
    call(world, "GET", "/console-sessions", auth, readable)
    call(world, "GET", "/console-sessions/1", auth, readable)
    call(world, "DELETE", "/console-sessions/2", auth, 403, headers={"If-Match": "*"})
    call(world, "POST", "/console-sessions/revoke", auth, 403, json={"account": "admin"})
    visitor = Visitor(world)
    visitor.log_in("alice")
    for page in ("sessions", "sessions/console"):
        shown = visitor.get(page)
        assert shown.status_code == readable
        assert f"{page}/end" not in shown.text
        for end in ("end", "end-all"):
            answer = visitor.post(f"{page}/{end}", id=1, account="admin")
            assert answer.status_code == 403
    assert office.get("me").status_code == 200


def test_commands_list_and_end_console_sessions(world: World, office: Visitor) -> None:
    authserver = Commands(world.wiring.settings.data_dir)
    shown = authserver("session", "list", "alice", "--kind", "console")
    assert "the console" in shown
    assert "admin" not in shown
    (one,) = json.loads(authserver("session", "list", "alice", "--kind", "console", "--json"))
    assert (one["account"], one["stage"]) == ("alice", "open")
    authserver("session", "revoke", one["id"], "--kind", "console")
    assert "Ended the console session of alice." in authserver.err
    authserver("session", "revoke", one["id"], "--kind", "console", status=1)
    assert "session list --kind console" in authserver.err
    assert office.get("me").status_code == 200


def test_revoke_of_an_account_ends_both_kinds_or_the_one_that_is_named(world: World) -> None:
    world.user("alice")
    authserver = Commands(world.wiring.settings.data_dir)

    def left() -> tuple[int, int]:
        return (
            len(got(world, "/sessions?account=alice")["items"]),
            len(got(world, "/console-sessions?account=alice")["items"]),
        )

    for kinds, after in (
        ((), (0, 0)),
        (("--kind", "docker"), (0, 1)),
        (("--kind", "console"), (0, 0)),
    ):
        if left() == (0, 0):
            world.log_in("alice")
            Visitor(world).log_in("alice")
        authserver("session", "revoke", "--account", "alice", *kinds, status=2)
        assert "console session" in authserver.err or kinds == ("--kind", "docker")
        authserver("session", "revoke", "--account", "alice", "--yes", *kinds)
        assert left() == after
