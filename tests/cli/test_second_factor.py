"""authserver user second-factor: what users have, and the reset."""

import json
import secrets
from typing import Any

import pytest

from authserver.db import lookup, second_factors
from tests.cli.commands import Commands
from tests.world import ADMIN, PASSWORD, World, basic


@pytest.fixture
def enrolled(world: World) -> World:
    world.user("alice")
    for name in ("alice", ADMIN):
        with world.wiring.store.change("test") as change:
            account = lookup.account(change.session, name)
            second_factors.add_totp(change, account, "phone", b"sealed", 1, secrets.token_bytes)
    world.wiring.state.refresh()
    return world


def test_they_are_listed_and_shown_without_secrets(enrolled: World, run: Commands) -> None:
    assert "phone" in run("user", "second-factor", "list", "alice")
    (factor,) = json.loads(run("user", "second-factor", "list", "alice", "--json"))
    assert set(factor) == {"id", "kind", "name", "created_at", "last_used_at"}
    assert json.loads(run("user", "show", "alice", "--json"))["second_factor"] is True


def test_a_reset_asks_and_removes_them(enrolled: World, run: Commands) -> None:
    refused = run.result("user", "second-factor", "reset", "alice")
    assert refused.exit_code == 2
    assert "Remove 1 second factor of alice" in refused.output
    said = run("user", "second-factor", "reset", "alice", "--yes", "--json")
    assert json.loads(said) == {"user": "alice", "removed": 1}
    assert json.loads(run("user", "second-factor", "list", "alice", "--json")) == []
    enrolled.wiring.state.refresh()
    assert enrolled.get(auth=("alice", PASSWORD)).status_code == 200
    run("user", "second-factor", "reset", "alice")


def ask(world: World, method: str, secret: str = PASSWORD) -> Any:
    headers = {"Authorization": basic(ADMIN, secret), "If-Match": "*"}
    return world.client.open("/api/v1/users/alice/second-factors", method=method, headers=headers)


def test_the_api_lists_them_and_resets_them_by_no_app_token(enrolled: World) -> None:
    _, token = enrolled.app_token(ADMIN, "admin")
    listed = ask(enrolled, "GET", token)
    assert [factor["name"] for factor in listed.json["items"]] == ["phone"], listed.text
    assert ask(enrolled, "DELETE", token).status_code == 403
    assert ask(enrolled, "DELETE").status_code == 401
    with enrolled.wiring.store.change("test") as change:
        second_factors.reset(change, lookup.account(change.session, ADMIN))
    enrolled.wiring.state.refresh()
    assert ask(enrolled, "DELETE").status_code == 204
    assert ask(enrolled, "GET").json["items"] == []
