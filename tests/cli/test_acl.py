"""authserver acl: rules, and what they come to."""

import pytest

from tests.cli.commands import Commands
from tests.world import ADMIN, PASSWORD, SERVICE


@pytest.fixture
def alice(run: Commands) -> Commands:
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    return run


def last_rule(run: Commands) -> tuple[object, ...]:
    rule = run.json("acl", "list")[-1]
    return tuple(rule[name] for name in ("effect", "subjects", "patterns", "actions", "registry"))


def test_a_rule_is_added_listed_and_removed(alice: Commands) -> None:
    before = alice.json("acl", "list")
    alice("acl", "allow", "user:alice", "team/**", "pull", "--comment", "for the team")
    rule = alice.json("acl", "list")[-1]
    number = rule["id"]
    assert rule.pop("created_at")
    assert rule.pop("created_by").startswith("cli:")
    assert rule == {
        "id": number,
        "effect": "allow",
        "subjects": ["user:alice"],
        "type": "repository",
        "patterns": ["team/**"],
        "actions": ["pull"],
        "registry": None,
        "networks": [],
        "valid_from": None,
        "valid_until": None,
        "enabled": True,
        "comment": "for the team",
        "delegation": None,
        "edited_by": None,
        "edited_at": None,
    }
    *head, registry, comment = alice("acl", "list").splitlines()[-1].split(maxsplit=7)
    assert head == [str(number), "allow", "user:alice", "repository", "team/**", "pull"]
    assert (registry, comment) == ("every", "for the team")
    alice("acl", "remove", number)
    assert "team/**" in alice.err
    assert alice.json("acl", "list") == before


@pytest.mark.parametrize(
    ("effect", "written", "stored", "added"),
    [
        ("allow", "push", ["pull", "push"], "pull was added"),
        ("allow", "delete,push", ["pull", "push", "delete"], "pull was added"),
        ("allow", "push,pull", ["pull", "push"], None),
        ("allow", "pull", ["pull"], None),
        ("allow", "delete", ["delete"], None),
        ("allow", "all", ["*"], None),
        ("allow", "*", ["*"], None),
        ("deny", "pull", ["pull", "push"], "push was added"),
        ("deny", "push", ["push"], None),
        ("deny", "all", ["*"], None),
    ],
)
def test_what_a_registry_needs_together_is_stored_together_and_said(
    alice: Commands, effect: str, written: str, stored: list[str], added: str | None
) -> None:
    alice("acl", effect, "user:alice", "a", written)
    assert (added in alice.err) if added else ("was added" not in alice.err)
    assert last_rule(alice)[3] == stored


def test_without_a_registry_the_answer_says_every_registry(alice: Commands) -> None:
    alice("acl", "allow", "user:alice", "a", "pull")
    assert "on every registry" in alice.err
    alice("acl", "allow", "user:alice", "a", "pull", "--registry", SERVICE)
    assert f"on {SERVICE}" in alice.err
    assert "every" not in alice.err
    assert last_rule(alice)[4] == SERVICE


@pytest.mark.parametrize("subject", ["user:alice", "group:dev", "anonymous", "authenticated"])
def test_rules_take_every_kind_of_subject(alice: Commands, subject: str) -> None:
    alice("group", "add", "dev")
    for effect in ("allow", "deny"):
        alice("acl", effect, subject, "a/*", "pull,push")
        assert last_rule(alice) == (effect, [subject], ["a/*"], ["pull", "push"], None)


@pytest.mark.parametrize(
    "subject",
    [
        "user:nobody",
        "user:Alice",
        "robot:alice",
        "robot:nobody",
        "group:nowhere",
        "alice",
        "user:",
        "everyone:x",
        "everybody",
        "",
        "User:alice",
        "user:a b",
    ],
)
@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_an_unknown_subject_is_refused(standing: Commands, effect: str, subject: str) -> None:
    standing("acl", effect, subject, "a", "pull", status=1)


@pytest.mark.parametrize(
    ("subject", "hint"),
    [("alice", "user:alice"), ("robot:alice", "is a user"), ("user:Alice", "case")],
)
def test_a_subject_that_is_nearly_right_gets_a_hint(
    standing: Commands, subject: str, hint: str
) -> None:
    standing("acl", "allow", subject, "a", "pull", status=1)
    assert hint in standing.err


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "a/../b",
        "a/.",
        "a b",
        "ä",
        "Team/x/Y",
        "host:5000",
        "x" * 256,
        "a/**b",
        "x{account}",
        "{user}",
        "^a$",
        "(a|b)",
    ],
)
def test_a_pattern_that_can_match_nothing_is_refused(standing: Commands, pattern: str) -> None:
    standing("acl", "allow", "user:alice", pattern, "pull", status=1)
    assert "pattern" in standing.err


@pytest.mark.parametrize("actions", ["", "fly", "pull,", "pull,fly", "Pull", "pull push", "ALL"])
def test_an_unknown_action_is_refused(standing: Commands, actions: str) -> None:
    standing("acl", "allow", "user:alice", "a", actions, status=1)
    assert "unknown action" in standing.err


def test_the_catalog_is_a_resource_of_its_own_type(alice: Commands) -> None:
    alice("acl", "allow", "user:alice", "catalog", "all", "--type", "registry")
    alice("acl", "check", "alice", "registry:catalog:*")
    alice("acl", "allow", "user:alice", "other", "all", "--type", "registry", status=1)
    alice("acl", "allow", "user:alice", "catalog", "pull", "--type", "registry", status=1)
    alice("acl", "allow", "user:alice", "catalog", "all", "--type", "other", status=2)


def test_the_same_rule_again_is_refused_and_named(alice: Commands) -> None:
    alice("acl", "allow", "user:alice", "a", "push")
    number = alice.json("acl", "list")[-1]["id"]
    for again in ("push", "pull,push", "push,pull"):
        alice("acl", "allow", "user:alice", "a", again, status=1)
        assert f"already: {number} " in alice.err
    for another in (
        ["deny", "user:alice", "a", "push"],
        ["allow", "user:alice", "b", "push"],
        ["allow", "user:alice", "a", "pull"],
        ["allow", "everyone", "a", "push"],
        ["allow", "user:alice", "a", "push", "--registry", SERVICE],
    ):
        alice("acl", *another)


def test_a_rule_on_an_unknown_registry_is_refused(standing: Commands) -> None:
    standing("acl", "allow", "user:alice", "a", "pull", "--registry", "nowhere", status=1)
    assert "'nowhere'" in standing.err


@pytest.mark.parametrize("effect", ["allow", "deny"])
@pytest.mark.parametrize("extra", [["docs"], ["docs", "tests", "pull"]])
def test_a_stray_argument_hints_at_quoting_the_pattern(
    standing: Commands, effect: str, extra: list[str]
) -> None:
    standing("acl", effect, "user:alice", "a", "pull", *extra, status=2)
    assert "quote it" in standing.err
    assert extra[0] in standing.err


def test_a_missing_argument_does_not_hint_at_quoting(standing: Commands) -> None:
    standing("acl", "allow", "user:alice", "a", status=2)
    assert "ACTIONS" in standing.err
    assert "quote" not in standing.err


@pytest.mark.parametrize(("number", "status"), [("9999", 1), ("0", 1), ("x", 2), ("1.5", 2)])
def test_a_rule_that_does_not_exist_is_not_removed(
    standing: Commands, number: str, status: int
) -> None:
    standing("acl", "remove", number, status=status)


def test_rules_are_listed_by_subject_and_by_pattern(alice: Commands) -> None:
    alice("acl", "allow", "user:alice", "a", "pull")
    alice("acl", "allow", "user:alice", "b", "pull")
    alice("acl", "deny", "everyone", "a", "push")

    def patterns(*filters: str) -> list[str]:
        return [
            f"{r['subjects'][0]} {r['patterns'][0]}" for r in alice.json("acl", "list", *filters)
        ]

    assert patterns("--subject", "user:alice") == ["user:alice a", "user:alice b"]
    assert patterns("--pattern", "a") == ["user:alice a", "everyone a"]
    assert patterns("--subject", "everyone", "--pattern", "a") == ["everyone a"]
    assert patterns("--subject", "user:alice", "--pattern", "*") == []
    assert alice("acl", "list", "--pattern", "nowhere") == ""
    alice("acl", "list", "--subject", "alice", status=1)


def test_explain_says_by_which_rules_and_exits_with_0(alice: Commands) -> None:
    alice("acl", "allow", "user:alice", "team/*", "push")
    allow = alice.json("acl", "list")[-1]["id"]
    alice("acl", "deny", "everyone", "team/x", "push")
    said = alice("acl", "explain", "alice", "repository:team/x:pull,push,delete")
    for line in (
        "  granted: pull",
        f"pull,push allowed by rule {allow} (allow user:alice team/* pull,push on every registry)",
        f"push denied by rule {allow + 1}",
        "no rule allows delete",
    ):
        assert line in said


@pytest.mark.parametrize("of", ["registry", "user"])
def test_explain_says_where_a_password_gets_nothing(alice: Commands, of: str) -> None:
    alice("acl", "allow", "user:alice", "a", "pull")
    asked = ("acl", "explain", "alice", "a:pull")
    sentence = "with an app token only: the password gets no tokens"
    assert sentence not in alice(*asked)
    assert alice.json(*asked)["app_tokens_only"] is False
    alice(of, "edit", SERVICE if of == "registry" else "alice", "--app-tokens-only")
    assert sentence in alice(*asked)
    assert alice.json(*asked)["app_tokens_only"] is True
    assert alice.json("acl", "explain", "anonymous", "a:pull")["app_tokens_only"] is False
    assert sentence not in alice("acl", "explain", "anonymous", "a:pull")


def test_explain_gives_reasons_also_where_no_rule_matches(alice: Commands) -> None:
    said = alice("acl", "explain", "alice", "repository:a:pull", "magic:a:pull")
    assert said.count("granted: nothing") == 2
    for why in ("no rule allows pull", "unknown resource type"):
        assert why in said


def test_the_json_of_explain_and_check(alice: Commands) -> None:
    alice("acl", "allow", "user:alice", "a", "pull")
    number = alice.json("acl", "list")[-1]["id"]
    question = ["alice", "repository:a:pull,push", "magic:a:pull", "--at", "2030-01-01"]
    said = alice.json("acl", "explain", *question)
    assert alice.json("acl", "check", *question, status=1) == said
    assert [said[name] for name in ("account", "registry", "disabled", "complete")] == [
        "alice",
        SERVICE,
        False,
        False,
    ]
    good, bad = said["scopes"]
    assert (good["scope"], good["granted"], good["complete"]) == (question[1], ["pull"], False)
    assert [(r["cause"], r["actions"], r["rule"]) for r in good["reasons"]] == [
        ("allowed", ["pull"], number),
        ("no-rule", ["push"], None),
    ]
    assert (bad["scope"], bad["granted"], bad["complete"]) == ("magic:a:pull", [], False)
    assert [reason["cause"] for reason in bad["reasons"]] == ["unknown-type"]


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        (["repository:a:pull"], 0),
        (["repository:a:push"], 1),
        (["repository:a:pull,push"], 1),
        (["repository:a:pull", "repository:b:pull"], 1),
        (["a:pull"], 0),
        (["a:pull", "a:push"], 1),
        (["a:all"], 1),
        (["localhost:5000/a:pull"], 1),
        (["catalog:list"], 1),
        (["repository:a:pull repository:a:pull"], 0),
        (["repository(plugin):a:pull"], 0),
        (["repository:a:*"], 1),
        (["repository:a:pull,fly"], 1),
        (["repository:a:"], 1),
        (["repository:A/b/C:pull"], 1),
    ],
)
def test_check_exits_with_0_only_where_all_would_be_granted(
    standing: Commands, scopes: list[str], status: int
) -> None:
    standing("acl", "check", "alice", *scopes, status=status)
    standing("acl", "explain", "alice", *scopes)


@pytest.mark.parametrize("command", ["explain", "check"])
@pytest.mark.parametrize(
    "scope",
    ["", " ", "nonsense", "a:", ":pull", "a:fly", "team/app:latest", "team/app", "::", "A:b:"],
)
def test_a_malformed_scope_exits_with_2(alice: Commands, command: str, scope: str) -> None:
    alice("acl", command, "alice", "repository:a:pull", scope, status=2)
    assert "malformed scope" in alice.err
    assert alice.out == ""


def test_the_short_form_of_a_scope_is_answered_as_the_full_one(alice: Commands) -> None:
    for short, full in (
        ("team/app:pull,push", "repository:team/app:pull,push"),
        ("team/app:all", "repository:team/app:*"),
        ("localhost:5000/app:pull", "repository:localhost:5000/app:pull"),
        ("catalog:list", "registry:catalog:*"),
    ):
        said = alice("acl", "explain", ADMIN, short)
        assert said == alice("acl", "explain", ADMIN, full)
        assert full in said


def test_a_rule_that_applied_never_came_close(alice: Commands) -> None:
    alice("acl", "allow", "user:alice", "team/**", "push")
    alice("acl", "deny", "everyone", "team/archive/**", "push")
    said = alice("acl", "explain", "alice", "team/archive/app:pull,push,delete")
    assert "no rule allows delete" in said
    applied = alice.json("acl", "list")[-2]["id"]
    assert f"pull,push allowed by rule {applied} (" in said
    assert f"rule {applied} (" not in "".join(line for line in said.splitlines() if "close" in line)


def test_anonymous_may_be_asked_about(run: Commands) -> None:
    run("acl", "check", "anonymous", "repository:public/a:pull", status=1)
    run("acl", "allow", "anonymous", "public/*", "pull")
    run("acl", "check", "anonymous", "repository:public/a:pull")
    assert run.json("acl", "explain", "anonymous", "repository:a:pull")["account"] == "anonymous"


@pytest.mark.parametrize("command", ["explain", "check"])
@pytest.mark.parametrize("account", ["nobody", "Alice", "robot:alice", "everyone", ""])
def test_an_account_that_does_not_exist_is_not_found(
    standing: Commands, command: str, account: str
) -> None:
    standing("acl", command, account, "repository:a:pull", status=1)


def test_a_disabled_account_is_granted_nothing(run: Commands) -> None:
    run("acl", "check", ADMIN, "repository:a:*")
    run("user", "disable", ADMIN, "--force")
    run("acl", "check", ADMIN, "repository:a:*", status=1)
    said = run("acl", "explain", ADMIN, "repository:a:*", "b:pull")
    assert said.count("granted: nothing\n  - the account is disabled: no token is issued") == 2
    told = run.json("acl", "explain", ADMIN, "repository:a:*")
    assert (told["disabled"], told["complete"]) == (True, False)
    (scope,) = told["scopes"]
    assert (scope["granted"], scope["complete"]) == ([], False)
    assert scope["reasons"][0]["cause"] == "barred"


@pytest.mark.parametrize("command", ["explain", "check"])
def test_of_several_registries_one_must_be_named(alice: Commands, command: str) -> None:
    alice("registry", "add", "other")
    alice("acl", "allow", "user:alice", "a", "pull", "--registry", "other")
    alice("acl", command, "alice", "repository:a:pull", status=2)
    assert f"--registry: other, {SERVICE}" in alice.err
    alice("acl", command, "alice", "repository:a:pull", "--registry", "nowhere", status=1)
    alice("acl", command, "alice", "repository:a:pull", "--registry", "other")
    assert "other" in alice.out
    denied = 1 if command == "check" else 0
    alice("acl", command, "alice", "repository:a:pull", "--registry", SERVICE, status=denied)


def test_a_rule_without_a_registry_holds_for_one_that_is_added_later(alice: Commands) -> None:
    alice("acl", "allow", "user:alice", "a", "pull")
    alice("registry", "add", "later")
    alice("acl", "check", "alice", "repository:a:pull", "--registry", "later")
