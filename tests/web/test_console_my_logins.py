"""The console's pages of one's own logins, and the operations on one's console sessions."""

from typing import Any

import pytest
from sqlalchemy import select

from authserver.db.models import AuditRecord, ConsoleSessionRow, RefreshTokenRow
from authserver.web.console.browsers import browser
from tests.web.test_api import ALICE, AS_ADMIN, call, got
from tests.web.visitor import Visitor, content
from tests.world import ADMIN, World

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0"
)
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def alice(world: World) -> Visitor:
    """A user who is logged in, here, elsewhere and with docker; so is the administrator."""
    world.user("alice")
    for name in ("alice", "alice", ADMIN):
        world.log_in(name)
    Visitor(world).log_in()
    Visitor(world).log_in("alice")
    visitor = Visitor(world)
    assert visitor.log_in("alice").status_code == 303
    return visitor


def rows(world: World, kind: type[Any]) -> list[str]:
    with world.wiring.store.read() as session:
        return [row.account.name for row in session.scalars(select(kind).order_by(kind.id))]


def actors(world: World) -> set[str]:
    with world.wiring.store.read() as session:
        records = session.scalars(select(AuditRecord).where(AuditRecord.action == "session.revoke"))
        return {str(record.actor) for record in records}


def test_the_page_lists_my_logins_and_marks_this_one(world: World, alice: Visitor) -> None:
    page = alice.get("my/logins")
    assert page.text.count("my/logins/end?id=") == 2
    assert page.text.count("my/logins/end-console?id=") == 1
    assert content(page).count("this one") == 1
    assert "registry" in content(page)
    assert ADMIN not in content(page)


def test_a_docker_login_is_ended(world: World, alice: Visitor) -> None:
    asked = content(alice.get("my/logins/end", id=1))
    assert "End the docker login on registry?" in asked
    assert "127.0.0.1" in asked
    assert alice.submit("my/logins/end", {}, id=1).location == "/console/my/logins"
    assert rows(world, RefreshTokenRow) == ["alice", ADMIN]
    assert alice.submit("my/logins/end-all", {}).location == "/console/my/logins"
    assert rows(world, RefreshTokenRow) == [ADMIN]
    assert "No docker login of yours goes on." in content(alice.get("my/logins"))
    assert actors(world) == {"account:alice"}


def test_other_console_logins_are_ended_and_this_one_goes_on(world: World, alice: Visitor) -> None:
    other = Visitor(world)
    other.log_in("alice")
    assert alice.submit("my/logins/end-console", {}, id=2).location == "/console/my/logins"
    assert rows(world, ConsoleSessionRow) == [ADMIN, "alice", "alice"]
    assert alice.submit("my/logins/end-console-others", {}).location == "/console/my/logins"
    assert rows(world, ConsoleSessionRow) == [ADMIN, "alice"]
    assert other.get("me").location.startswith("/console/login")
    page = alice.get("my/logins")
    assert page.status_code == 200
    assert "End all others" not in content(page)


def test_logins_of_others_are_not_there(world: World, alice: Visitor) -> None:
    for page, number in (("end", 3), ("end-console", 1), ("end", 99), ("end-console", "x")):
        assert alice.get(f"my/logins/{page}", id=number).status_code == 404
        assert alice.post(f"my/logins/{page}", {"tag": "*"}, id=number).status_code == 404
    assert len(rows(world, RefreshTokenRow)) == 3
    assert len(rows(world, ConsoleSessionRow)) == 3


def test_the_api_has_ones_own_console_sessions(world: World, alice: Visitor) -> None:
    found = got(world, "/me/console-sessions?limit=1&sort=-id", ALICE)
    assert [each["id"] for each in found["items"]] == [3]
    found = call(world, "GET", found["next"], ALICE, 200).json
    assert found is not None
    assert [each["id"] for each in found["items"]] == [2]
    assert found["next"] is None
    assert set(found["items"][0]) == {
        "id",
        "account",
        "stage",
        "created_at",
        "created_address",
        "created_client",
        "seen_at",
        "expires_at",
    }
    call(world, "GET", "/me/console-sessions/1", ALICE, 404)
    anyhow = {"If-Match": "*"}
    call(world, "DELETE", "/me/console-sessions/1", ALICE, 404, headers=anyhow)
    call(world, "DELETE", "/me/console-sessions/2", ALICE, 204, headers=anyhow)
    _, secret = world.app_token("alice")
    call(world, "GET", "/me/console-sessions", ("alice", secret), 403)
    call(world, "POST", "/me/console-sessions/revoke", ("alice", secret), 403, json={})
    ended = call(world, "POST", "/me/console-sessions/revoke", ALICE, 200, json={}).json
    assert ended == {"ended": 1}
    assert rows(world, ConsoleSessionRow) == [ADMIN]
    kept = {"keep": 1}
    assert call(world, "POST", "/me/console-sessions/revoke", AS_ADMIN, json=kept).json == {
        "ended": 0
    }


@pytest.mark.parametrize(
    ("client", "name"),
    [
        (FIREFOX, "Firefox, Linux"),
        (EDGE, "Edge, Windows"),
        (PHONE, "Safari, iPhone"),
        ("curl/8.0", "curl/8.0"),
        ("", ""),
    ],
)
def test_browsers_have_the_names_that_people_know(client: str, name: str) -> None:
    assert browser(client) == name
