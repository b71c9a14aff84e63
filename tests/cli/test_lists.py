"""Searching, sorting and cutting lists, and when accounts were last used."""

import re

import pytest

from authserver.runtime.settings import Settings
from tests.cli.commands import Commands
from tests.world import ADMIN, PASSWORD, World

LISTS = ("user", "robot", "group", "registry", "acl", "token", "session")


@pytest.fixture
def office(run: Commands) -> Commands:
    for name in ("alice", "bob", "Carol"):
        run("user", "add", name, "--password-stdin", stdin=PASSWORD)
    run("robot", "add", "ci", "--owner", "alice", "--description", "Builds")
    run("group", "add", "dev")
    run("token", "create", "ci", "--name", "pipeline")
    run("acl", "allow", "user:alice", "team/**", "pull", "--comment", "the TEAM reads")
    return run


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("user list --search ALI", ["alice"]),
        ("user list --search % ", []),
        ("user list --sort -name", ["Carol", "bob", "alice", ADMIN]),
        ("user list --sort -name --limit 2", ["Carol", "bob"]),
        ("robot list --search build", ["ci"]),
        ("group list --search D", ["dev"]),
        ("registry list --search REG", ["registry"]),
        ("acl list --search team", ["3"]),
        ("acl list --covers team/app", ["1", "3"]),
        ("acl list --covers team/app --search reads", ["3"]),
        ("token list --search line", ["1"]),
        ("token list ci --sort -created --limit 9", ["1"]),
        ("session list --search x", []),
    ],
)
def test_a_list_is_searched_sorted_and_cut(office: Commands, words: str, shown: list[str]) -> None:
    lines = office(*words.split()).splitlines()[1:]
    assert [line.split()[0] for line in lines] == shown
    assert ("Nothing matches." in office.err) == (not shown)
    items = office.json(*words.split())
    assert [str(item.get("id") or item.get("name") or item["service"]) for item in items] == shown


@pytest.mark.parametrize("noun", LISTS)
def test_each_list_has_the_same_options(office: Commands, noun: str) -> None:
    told = office(noun, "list", "--help")
    assert all(option in told for option in ("--search", "--limit", "--sort"))
    assert ("--inactive" in told) == (noun in ("user", "robot", "token"))
    office(noun, "list", "--sort", "nothing", status=2)
    office(noun, "list", "--limit", "0", status=2)
    office(noun, "list", "--search", "x" * 201, status=1)
    assert "at most 200 characters" in office.err


def test_a_list_that_is_cut_says_so(office: Commands) -> None:
    assert len(office.json("user", "list", "--limit", 2)) == 2
    assert "more than the 2" in office.err
    assert len(office.json("user", "list", "--limit", 4)) == 4
    assert "more than" not in office.err


def test_a_name_that_no_repository_has_is_covered_by_nothing(office: Commands) -> None:
    office("acl", "list", "--covers", "Team/App", status=1)
    assert "no repository name" in office.err


def test_the_last_login_and_the_last_use_are_shown(office: Commands, settings: Settings) -> None:
    secret = office("token", "create", "ci", "--name", "x").strip()
    world = World.over(settings)
    assert world.get("service=registry", auth=("alice", PASSWORD)).status_code == 200
    assert world.get("service=registry", auth=("bob", "wrong")).status_code == 401
    assert world.get("service=registry", auth=("ci", secret)).status_code == 200
    api = world.client.get("/api/v1/me", auth=("Carol", PASSWORD))
    assert api.status_code == 200
    world.wiring.maintenance.tick()
    world.close()
    users = {user["name"]: user for user in office.json("user", "list")}
    for name, used in (("alice", True), ("bob", False), ("Carol", True)):
        assert [bool(users[name][at]) for at in ("last_login_at", "last_used_at")] == [used, used]
    assert office.json("robot", "show", "ci")["last_used_at"]
    assert re.search(r"last login +never", office("user", "show", "bob"))
    head, *lines = office("user", "list", "--sort", "used", "--search", "bob").splitlines()
    assert "LAST LOGIN" in head
    assert lines[0].endswith("never       never")
    assert [user["name"] for user in office.json("user", "list", "--sort", "-login")][:2] == [
        "Carol",
        "alice",
    ]


def test_what_was_not_used_for_long_is_listed(office: Commands) -> None:
    # Never used, but made a moment ago.
    for noun in ("user", "robot", "token"):
        assert office(noun, "list", "--inactive", "90d") == ""
        assert "Nothing matches." in office.err
