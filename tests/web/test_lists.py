"""Lists of the API: searched, sorted, and read page by page."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from authserver.db import accounts, lookup
from authserver.web.api.pagination import write_cursor
from tests.web.test_api import ALICE, call, got
from tests.world import PASSWORD, World

NOUNS = ("users", "robots", "groups", "registries", "rules", "tokens", "sessions")


@pytest.fixture
def office(world: World) -> World:
    for name in ("alice", "bob", "Carol"):
        world.user(name)
    world.robot("ci", owner="alice")
    world.group("dev", "alice", "ci")
    world.group("ops")
    world.app_token("alice", name="laptop")
    world.app_token("ci", name="pipeline")
    world.allow("user:alice", "team/**", "pull")
    return world


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["name"] for item in items]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/users?q=ALI", ["alice"]),
        ("/users?q=%25", []),
        ("/users?q=", ["admin", "alice", "bob", "Carol"]),
        ("/users?sort=-name", ["Carol", "bob", "alice", "admin"]),
        ("/robots?q=alice", ["ci"]),
        ("/groups?sort=-size", ["dev", "ops"]),
        ("/tokens?q=LAP", ["laptop"]),
        ("/tokens?account=ci&sort=used", ["pipeline"]),
    ],
)
def test_a_list_is_searched_and_sorted(office: World, path: str, found: list[str]) -> None:
    assert names(got(office, path)["items"]) == found


@pytest.mark.parametrize("sort", ["name", "-name", "created", "-created", "login", "-used"])
def test_pages_of_a_sorted_list_have_each_item_once(office: World, sort: str) -> None:
    office.get("service=registry", auth=("bob", PASSWORD))
    office.wiring.maintenance.tick()
    whole = names(got(office, f"/users?sort={sort}")["items"])
    assert sorted(whole) == ["Carol", "admin", "alice", "bob"]
    read, path = [], f"/api/v1/users?sort={sort}&limit=1&q="
    while path:
        page = got(office, path)
        read += names(page["items"])
        path = page["next"]
    assert read == whole


@pytest.mark.parametrize(
    "cursor", [[1, 1], ["x", "b"], ["0001-01-01T00:00+23:59", "b"], ["2026-01-01", 1]]
)
def test_a_cursor_of_another_order_is_none(office: World, cursor: list[Any]) -> None:
    text = write_cursor(cursor)
    call(office, "GET", f"/users?sort=created&cursor={text}", status=400)


@pytest.mark.parametrize("noun", NOUNS)
def test_each_list_takes_the_same_parameters(office: World, noun: str) -> None:
    assert got(office, f"/{noun}?q=zzz&limit=1")["items"] == []
    call(office, "GET", f"/{noun}?sort=nothing", status=422)
    call(office, "GET", f"/{noun}?q={'x' * 201}", status=422)
    call(office, "GET", f"/{noun}?q=a%00b", status=422)
    expected = 200 if noun in ("users", "robots", "tokens") else 422
    call(office, "GET", f"/{noun}?unused_since=2026-01-01T00:00:00Z", status=expected)


def test_rules_that_cover_a_repository_are_listed(office: World) -> None:
    found = [rule["patterns"] for rule in got(office, "/rules?covers=team/app&sort=-id")["items"]]
    assert found == [["team/**"], ["**"]]
    call(office, "GET", "/rules?covers=Team/App", status=409)


def test_the_caller_finds_only_their_own(office: World) -> None:
    assert names(got(office, "/me/tokens?q=l", ALICE)["items"]) == ["laptop"]
    assert got(office, "/me/sessions?q=a", ALICE)["items"] == []
    call(office, "GET", "/users?q=a", ALICE, 403)
    call(office, "GET", "/rules?q=team", ALICE, 403)


def test_use_is_shown_filters_and_changes_no_tag(office: World) -> None:
    before = call(office, "GET", "/users/bob").headers["ETag"]
    since = quote((datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert got(office, "/users/bob")["last_used_at"] is None
    assert "bob" in names(got(office, f"/users?unused_since={since}")["items"])
    office.get("service=registry", auth=("bob", PASSWORD))
    office.wiring.maintenance.tick()
    bob = got(office, "/users/bob")
    assert bob["last_login_at"] == bob["last_used_at"] != None  # noqa: E711
    assert call(office, "GET", "/users/bob").headers["ETag"] == before
    with office.wiring.store.change("test") as change:
        row = lookup.account(change.session, "bob")
        row.last_used_at = datetime.now(UTC) + timedelta(hours=2)
        assert accounts.described(row)["last_used_at"]
    assert "bob" not in names(got(office, f"/users?unused_since={since}")["items"])
