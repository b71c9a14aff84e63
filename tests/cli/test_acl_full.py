"""Rules in full on the command line: several at once, conditions, questions, delegation."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands import Commands
from tests.world import PASSWORD, SERVICE


@pytest.fixture
def run(run: Commands) -> Commands:
    for name in ("alice", "bob"):
        run("user", "add", name, "--password-stdin", stdin=PASSWORD)
    run("group", "add", "dev")
    run("group", "add-member", "dev", "alice")
    return run


def last(run: Commands) -> dict[str, object]:
    rule: dict[str, object] = run.json("acl", "list")[-1]
    return rule


def test_a_rule_takes_several_of_each(run: Commands) -> None:
    run("acl", "allow", "user:alice,group:dev", "lib/**,tools/*", "pull,delete")
    rule = last(run)
    assert rule["subjects"] == ["group:dev", "user:alice"]
    assert rule["patterns"] == ["lib/**", "tools/*"]
    assert rule["actions"] == ["pull", "delete"]
    run("acl", "list", "--subject", "group:dev")
    assert "lib/**,tools/*" in run.out
    assert run.json("acl", "list", "--pattern", "tools/*") == [rule]
    assert run.json("acl", "show", str(rule["id"])) == rule


def test_conditions_are_stored_listed_and_shown(run: Commands) -> None:
    run(
        "acl", "allow", "user:alice", "a", "pull", "--from", "10.0.0.0/8", "--from", "192.0.2.7",
        "--valid-from", "2030-01-01", "--valid-until", "2030-02-01T06:00+02:00",
    )  # fmt: skip
    rule = last(run)
    assert rule["networks"] == ["10.0.0.0/8", "192.0.2.7/32"]
    assert rule["valid_from"] == "2030-01-01T00:00:00+00:00"
    assert rule["valid_until"] == "2030-02-01T04:00:00+00:00"
    said = "from 10.0.0.0/8,192.0.2.7/32 after 2030-01-01T00:00:00Z until 2030-02-01T04:00:00Z"
    assert said in run("acl", "list")
    assert "10.0.0.0/8,192.0.2.7/32" in run("acl", "show", str(rule["id"]))


def test_a_duration_is_from_now(run: Commands) -> None:
    run("acl", "allow", "user:alice", "a", "pull", "--valid-until", "90d")
    ends = datetime.fromisoformat(str(last(run)["valid_until"]))
    assert timedelta(days=89) < ends - datetime.now(UTC) < timedelta(days=91)


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        (["--from", "0.0.0.0/0"], 1, "every address"),
        (["--from", ""], 1, "no network"),
        (["--from", "10.0.0.1/8"], 1, "host bits"),
        (["--valid-until", "2020-01-01"], 1, "ended already"),
        (["--valid-from", "2031-01-01", "--valid-until", "2030-01-01"], 1, "before it begins"),
        (["--valid-until", "soon"], 2, "2026-12-31T18:00Z"),
        (["--valid-until", "2030-01-01T12:00"], 2, "2030-01-01T12:00Z for UTC"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(
    run: Commands, options: list[str], status: int, why: str
) -> None:
    before = run("acl", "list", "--json")
    run("acl", "allow", "user:alice", "a", "pull", *options, status=status)
    assert why in run.err
    assert run("acl", "list", "--json") == before


def test_an_edit_replaces_what_it_names(run: Commands) -> None:
    run("acl", "allow", "user:alice", "a", "pull", "--from", "10.0.0.0/8", "--valid-until", "9d")
    number = last(run)["id"]
    run("acl", "edit", str(number), "--subjects", "user:bob", "--comment", "now bob")
    kept = last(run)
    assert (kept["subjects"], kept["patterns"], kept["networks"]) == (
        ["user:bob"],
        ["a"],
        ["10.0.0.0/8"],
    )
    assert str(kept["edited_by"]).startswith("cli:")
    run(
        "acl", "edit", str(number), "--patterns", "b,c/*", "--actions", "push", "--from-anywhere",
        "--always", "--registry", SERVICE,
    )  # fmt: skip
    assert "pull was added" in run.err
    rule = last(run)
    assert (rule["patterns"], rule["actions"]) == (["b", "c/*"], ["pull", "push"])
    assert (rule["networks"], rule["valid_until"], rule["registry"]) == ([], None, SERVICE)
    run("acl", "edit", str(number), "--every-registry")
    assert last(run)["registry"] is None
    run("acl", "edit", str(number), "--every-registry")
    assert "is unchanged" in run.err
    run("acl", "edit", "999", "--actions", "pull", status=1)
    run("acl", "edit", str(number), "--subjects", "user:nobody", status=1)


def test_a_disabled_rule_is_listed_and_grants_nothing(run: Commands) -> None:
    run("acl", "allow", "user:alice", "a", "pull")
    number = str(last(run)["id"])
    run("acl", "check", "alice", "repository:a:pull")
    run("acl", "disable", number)
    run("acl", "disable", number)
    assert "disabled already" in run.err
    run("acl", "check", "alice", "repository:a:pull", status=1)
    assert "it is disabled" in run.out
    assert "disabled" in run("acl", "list").splitlines()[-1]
    run("acl", "enable", number)
    run("acl", "check", "alice", "repository:a:pull")


def test_explain_takes_an_address_and_a_time(run: Commands) -> None:
    run("acl", "allow", "user:alice", "a", "pull", "--from", "10.0.0.0/8", "--valid-until", "9d")
    question = ("acl", "explain", "alice", "repository:a:pull")
    assert "for requests from some networks only" in run(*question)
    assert "for requests from other networks" in run(*question, "--from", "192.0.2.1")
    assert "granted: pull" in run(*question, "--from", "10.1.1.1")
    assert "not valid any more" in run(*question, "--from", "10.1.1.1", "--at", "20d")
    answer = run.json(*question, "--from", "10.1.1.1", "--at", "2030-01-01")
    assert (answer["from"], answer["at"]) == ("10.1.1.1", "2030-01-01T00:00:00Z")
    assert answer["scopes"][0]["close"][0]["why"] == "expired"
    run(*question, "--from", "nowhere", status=2)


def test_explain_says_where_an_app_token_is_not_good(run: Commands) -> None:
    run("acl", "allow", "user:alice", "a", "pull")
    made = run.json(
        "token", "create", "alice", "--name", "ci", "--expires", "30d", "--from", "10.0.0.0/8"
    )
    question = ("acl", "check", "alice", "repository:a:pull", "--token", str(made["id"]))
    run(*question, "--from", "10.1.1.1")
    run(*question, "--from", "192.0.2.1", status=1)
    assert "is not good from 192.0.2.1: no token is issued" in run.out
    run(*question, "--from", "10.1.1.1", "--at", "40d", status=1)
    assert "has expired" in run.out


def test_an_account_may_be_written_as_a_subject(run: Commands) -> None:
    run("acl", "allow", "user:alice", "a", "pull")
    run("acl", "check", "user:alice", "repository:a:pull")
    run("acl", "check", "robot:alice", "repository:a:pull", status=1)


def test_effective_lists_what_an_account_may_do(run: Commands) -> None:
    run("acl", "allow", "group:dev", "team/**", "push")
    run("acl", "deny", "user:alice", "team/secret", "all")
    run("acl", "allow", "anonymous", "public/*", "pull")
    found = run.json("acl", "effective", "alice")
    assert [(e["pattern"], e["actions"]) for e in found["effective"]] == [
        ("team/**", ["pull", "push"]),
        ("public/*", ["pull"]),
    ]
    assert len(found["effective"][0]["except"]) == 1
    text = run("acl", "effective", "alice")
    assert "team/**" in text
    assert "deny user:alice team/secret" in text
    run("acl", "effective", "bob", "--registry", "no", status=1)
    run("user", "disable", "bob")
    run("acl", "effective", "bob")
    assert "bob is disabled" in run.err


def test_a_delegation_is_made_listed_and_ended(run: Commands) -> None:
    run("acl", "delegate", "group:dev", "dev/**", "--actions", "push", "--registry", SERVICE)
    assert "Delegation 1: group:dev may allow pull,push within dev/** on registry." in run.err
    (found,) = run.json("acl", "delegations")
    assert (found["group"], found["pattern"], found["actions"]) == (
        "dev",
        "dev/**",
        ["pull", "push"],
    )
    assert "group:dev" in run("acl", "delegations")
    run("acl", "delegate", "user:alice", "dev/**", "--registry", SERVICE, status=1)
    run("acl", "delegate", "group:dev", "dev/**", status=2)
    run("acl", "undelegate", "1")
    assert run.json("acl", "delegations") == []
    run("acl", "undelegate", "1", status=1)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("catalog", "--type registry"),
        ("localhost:5000/team/*", "no part of a repository's name"),
        ("localhost/team/*", "no part of a repository's name"),
    ],
)
def test_a_pattern_that_looks_like_something_else_is_remarked_on(
    run: Commands, pattern: str, hint: str
) -> None:
    run("acl", "allow", "user:alice", pattern, "pull")
    assert hint in run.err
