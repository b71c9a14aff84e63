"""authserver acl lint."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from authserver.audit.records import MAX_RULES
from authserver.core.rules import Effect, new_rule
from authserver.core.subjects import subjects
from authserver.db import delegations, groups, lookup, models
from authserver.db.models import TokenRecord
from tests.cli.commands import Commands
from tests.world import PASSWORD, World


@pytest.fixture
def alice(run: Commands) -> Commands:
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    return run


def codes(run: Commands, *options: str | int, status: int = 0) -> list[tuple[str, list[int]]]:
    report = run.json("acl", "lint", *options, status=status)
    return [(finding["code"], finding["rules"]) for finding in report["findings"]]


def record(world: World, days: float, rules: str) -> None:
    """Keep a record of a token request so many days ago that touched those rules."""
    empty = {
        column.name: ""
        for column in TokenRecord.__table__.columns
        if column.name not in ("id", "at", "rules") and not column.nullable
    }
    store = world.wiring.store
    with store.append() as session:
        at = store.clock() - timedelta(days=days)
        session.add(TokenRecord(at=at, rules=rules, **empty))


def age(world: World, days: float) -> None:
    """Have all rules written so many days ago."""
    store = world.wiring.store
    with store.append() as session:
        session.execute(
            update(models.RuleRow).values(created_at=store.clock() - timedelta(days=days))
        )


def test_a_clean_store_says_so(run: Commands) -> None:
    assert run("acl", "lint") == ""
    assert run.err.splitlines()[-1] == "2 rules: no findings."


def test_it_shows_findings_and_remedies_and_exits_with_1(alice: Commands) -> None:
    alice("acl", "allow", "everyone", "public/**", "push")
    alice("acl", "allow", "user:alice", "a/*", "pull")
    alice("acl", "allow", "user:alice", "a/**", "pull")
    assert alice("acl", "lint", status=1).splitlines() == [
        (
            "error public-write: rule 3 (allow everyone public/** pull,push on every registry) "
            "lets anybody push without credentials"
        ),
        "  authserver acl edit 3 --actions pull",
        (
            "warning shadowed: rule 4 (allow user:alice a/* pull on every registry) adds nothing: "
            "rule 5 (allow user:alice a/** pull on every registry) says all of it"
        ),
        "  authserver acl remove 4",
    ]
    assert alice.err.splitlines()[-1] == "5 rules: 1 error, 1 warning."


def test_the_level_is_what_makes_it_fail(alice: Commands) -> None:
    alice("acl", "allow", "authenticated", "a", "push")
    info = [("authenticated-write", [3])]
    assert codes(alice) == info
    assert codes(alice, "--level", "info", status=1) == info
    assert codes(alice, "--quiet") == []
    alice("acl", "lint", "--quiet")
    assert alice.out == ""
    assert alice.err.endswith("3 rules: 1 info.\n")
    alice("acl", "allow", "user:alice", "a", "pull")
    assert codes(alice, "--level", "error") == [("shadowed", [4, 3]), *info]
    assert codes(alice, "--ignore", "shadowed") == info
    assert codes(alice, "--ignore", "shadowed", "--ignore", "authenticated-write") == []


@pytest.mark.parametrize("options", [["--level", "fatal"], ["--ignore", "x"], ["--unused-days", 0]])
def test_what_it_does_not_know_is_refused(run: Commands, options: list[str | int]) -> None:
    run("acl", "lint", *options, status=2)


def test_it_says_why_it_cannot_tell_what_is_unused(run: Commands, world: World) -> None:
    age(world, 100)
    assert codes(run) == []
    (note,) = run.json("acl", "lint", "--unused-days", 90)["notes"]
    assert "kept for 30 days; say --unused-days 30" in note
    (note,) = run.json("acl", "lint")["notes"]
    assert "no record says which rules" in note
    # A version that kept no rules wrote this one.
    record(world, 29.9, "")
    record(world, 5, "1")
    (note,) = run.json("acl", "lint", "--unused-days", 30)["notes"]
    assert "begin" in note


def test_it_finds_what_no_token_request_touched(run: Commands, world: World) -> None:
    run("acl", "allow", "user:admin", "a", "pull", "--valid-from", "2020-01-01")
    run("acl", "allow", "user:admin", "b", "pull", "--registry", "registry")
    age(world, 31)
    record(world, 29.5, "2 4")
    record(world, 40, "3")
    world.get("service=registry&scope=repository:x:pull", auth=("admin", PASSWORD))
    world.wiring.issuer.journal.write(world.wiring.store)
    kinds: list[str | int] = ["--ignore", "shadowed"]
    assert codes(run, *kinds, status=1) == [("unused", [3])]
    age(world, 29)
    assert codes(run, *kinds) == []
    run.env["AUTHSERVER_TOKEN_RECORD_DAYS"] = "29"
    age(world, 31)
    assert codes(run, "--unused-days", 30, *kinds) == []


def test_rules_beyond_what_a_record_keeps_are_not_called_unused(
    run: Commands, world: World
) -> None:
    for name in ("a", "b"):
        run("acl", "allow", "user:admin", name, "all")
    age(world, 31)
    record(world, 29.5, "1 " * (MAX_RULES - 1) + "3")
    kinds: list[str | int] = ["--unused-days", 30, "--ignore", "shadowed"]
    assert codes(run, *kinds, status=1) == [("unused", [2])]


def test_delegates_who_left_and_delegations_to_nobody(alice: Commands, world: World) -> None:
    alice("group", "add", "dev")
    alice("group", "add-member", "dev", "alice")
    alice("acl", "delegate", "group:dev", "team/**", "--registry", "registry")
    with world.wiring.store.change("test") as change:
        author = lookup.account(change.session, "alice")
        said = new_rule(
            Effect.ALLOW, subjects("user:admin"), ["team/a"], "pull", service="registry"
        )
        new = delegations.covered(change.session, author, said)
        rule_id = delegations.write(change, author, new).id
    assert codes(alice, "--ignore", "shadowed") == []
    with world.wiring.store.change("test") as change:
        groups.remove_member(change, "dev", "alice")
    assert codes(alice, "--ignore", "shadowed", status=1) == [
        ("empty-delegation", []),
        ("delegate-left", [rule_id]),
    ]


def test_robots_whose_owner_is_disabled(alice: Commands) -> None:
    for name in ("ci", "cd"):
        alice("robot", "add", name, "--owner", "alice")
        alice("acl", "allow", f"robot:{name},user:admin", f"{name}/x", "pull")
    alice("robot", "disable", "cd")
    alice("user", "disable", "alice")
    assert codes(alice, "--ignore", "shadowed") == [
        ("disabled-owner", [3]),
        ("disabled-account", [4]),
    ]
