"""authserver audit: every change is recorded with who made it."""

import os
import pwd
from typing import Any

import pytest

from tests.cli.commands import Commands
from tests.world import ADMIN, PASSWORD, World

SELF = f"cli:{pwd.getpwuid(os.geteuid()).pw_name}"

# A change, what it is called, what it is about, and some of what it says of before and after.
CHANGES: list[tuple[list[str], str, str, Any, Any]] = [
    (["registry", "add", "hub", "--token-ttl", "60"], "registry.add", "registry:hub", None, 60),
    (["registry", "remove", "spare"], "registry.remove", "registry:spare", None, None),
    (["user", "add", "bob", "--password-stdin"], "user.add", "user:bob", None, False),
    (["user", "add", "bob", "--password-stdin", "--admin"], "user.add", "user:bob", None, True),
    (["user", "passwd", "alice", "--password-stdin"], "user.passwd", "user:alice", None, None),
    (["user", "disable", "alice"], "user.disable", "user:alice", None, None),
    (["user", "remove", "alice"], "user.remove", "user:alice", "alice", None),
    (["group", "add", "ops"], "group.add", "group:ops", None, None),
    (["group", "remove", "dev"], "group.remove", "group:dev", "user:alice", None),
    (["group", "add-member", "dev", ADMIN], "group.add-member", "group:dev", None, f"user:{ADMIN}"),
    (
        ["group", "remove-member", "dev", "alice"],
        "group.remove-member",
        "group:dev",
        "user:alice",
        None,
    ),
    (["acl", "allow", "everyone", "a", "pull"], "acl.allow", "rule:4", None, "everyone"),
    (["acl", "deny", "user:alice", "a", "pull"], "acl.deny", "rule:4", None, "user:alice"),
    (["acl", "remove", "3"], "acl.remove", "rule:3", "team/*", None),
]


@pytest.fixture
def populated(run: Commands) -> Commands:
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    run("group", "add", "dev")
    run("group", "add-member", "dev", "alice")
    run("registry", "add", "spare")
    run("acl", "allow", "group:dev", "team/*", "pull")
    return run


@pytest.mark.parametrize(("args", "action", "target", "before", "after"), CHANGES)
def test_a_change_is_recorded_with_who_made_it_and_what_it_was(
    populated: Commands, args: list[str], action: str, target: str, before: Any, after: Any
) -> None:
    if args[:2] == ["group", "remove"]:
        populated("acl", "remove", "3")
    populated(*args, stdin="open sesame")
    record = populated.last_change()
    assert (record["actor"], record["action"], record["target"]) == (SELF, action, target)
    for said, state in ((before, record["before"]), (after, record["after"])):
        assert said is None or repr(said) in repr(state)
    assert "sesame" not in populated.out
    assert "$2b$" not in populated.out


@pytest.mark.parametrize(
    "args",
    [
        ["registry", "add", "spare"],
        ["user", "add", "alice", "--password-stdin"],
        ["user", "enable", "alice"],
        ["group", "add-member", "dev", "alice"],
        ["acl", "allow", "group:dev", "team/*", "pull"],
        ["acl", "remove", "99"],
        ["user", "list"],
        ["acl", "explain", "alice", "repository:a:pull"],
        ["registry", "config", "spare"],
    ],
)
def test_what_changes_nothing_is_not_recorded(populated: Commands, args: list[str]) -> None:
    before = populated.json("audit", "list", "--limit", 100_000)
    populated.result(*args, stdin="open sesame")
    assert populated.json("audit", "list", "--limit", 100_000) == before


def test_the_actor_is_who_the_system_says_and_not_who_the_environment_says(
    run: Commands,
) -> None:
    claims = {"USER": "mallory", "LOGNAME": "mallory", "SUDO_USER": "mallory"}
    run.env |= claims
    run("group", "add", "dev")
    assert run.last_change()["actor"] == SELF


def test_records_are_listed_oldest_first_and_the_latest_are_kept(populated: Commands) -> None:
    records = populated.json("audit", "list", "--kind", "change")
    assert records[-1]["action"] == "acl.allow"
    assert [r["at"] for r in records] == sorted(r["at"] for r in records)
    assert populated.json("audit", "list", "--limit", 2) == records[-2:]
    head, *lines = populated("audit", "list", "--limit", 2).splitlines()
    assert head.split() == ["AT", "WHO", "WHAT", "ON"]
    assert [line.split()[3:] for line in lines] == [
        ["registry.add", "registry:spare"],
        ["acl.allow", "rule:3"],
    ]


def test_records_are_found_by_account_and_by_kind(populated: Commands, world: World) -> None:
    world.get("service=registry&scope=repository:x:pull", auth=("alice", PASSWORD))
    world.wiring.issuer.journal.write(world.wiring.store)
    found = populated.json("audit", "list", "--account", "alice")
    assert [(r["kind"], r.get("action") or r["outcome"]) for r in found] == [
        ("change", "user.add"),
        ("token", "denied"),
    ]
    (token,) = populated.json("audit", "list", "--kind", "token")
    assert token == found[-1]
    line = populated("audit", "list", "--kind", "token").splitlines()[1]
    for word in ("alice", "token denied", "registry", "127.0.0.1", "no rule allows pull"):
        assert word in line


def test_no_records_is_an_empty_list(run: Commands) -> None:
    assert run.json("audit", "list", "--account", "nobody") == []
    assert run("audit", "list", "--account", "nobody") == ""


@pytest.mark.parametrize("limit", ["0", "-1", "100001", "x"])
def test_a_limit_out_of_range_is_wrong_usage(run: Commands, limit: str) -> None:
    run("audit", "list", "--limit", limit, status=2)
