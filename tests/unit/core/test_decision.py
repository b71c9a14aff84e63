"""Rules and the one function that decides: examples first, then the laws."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from authserver.core.conditions import ALWAYS
from authserver.core.decision import Cause, Decision, decide
from authserver.core.errors import Refused
from authserver.core.patterns import Pattern
from authserver.core.rules import (
    Effect,
    Limit,
    Rule,
    in_order,
    new_rule,
    rule_actions,
    rule_pattern,
)
from authserver.core.scope import Scope, merge, parse
from authserver.core.subjects import Account, AccountKind, Subject, SubjectKind, subject, subjects
from tests.unit.strategies import (
    Question,
    accounts,
    covers,
    expand,
    formula,
    impossible_scopes,
    possible_scopes,
    questions,
    rules,
    scopes,
)

ALICE = Account("alice", groups=frozenset({"dev"}))
BOB = Account("bob")
ROBOT = Account("ci", AccountKind.ROBOT)


def rule(
    text: str, service: str | None = None, number: int = 1, networks: tuple[str, ...] = ()
) -> Rule:
    """Make a rule as a command would: ``allow user:alice a/** pull``."""
    effect, whom, what, actions = text.split()
    kind, _, name = what.rpartition("!")
    kind = kind or "repository"
    said = new_rule(
        Effect(effect),
        subjects(whom),
        name.split(","),
        actions,
        resource_type=kind,
        service=service,
        networks=networks,
    )
    return replace(said, id=number)


def limit(pattern: str, actions: str) -> Limit:
    return Limit("repository", Pattern(pattern), frozenset(actions.split(",")))


def decided(
    lines: list[str], account: Account | None, text: str, ceiling: list[Limit] | None = None
) -> Decision:
    made = [rule(line, number=number) for number, line in enumerate(lines, 1)]
    return decide(made, account, "r1", parse(text), ceiling)


def granted(
    lines: list[str], account: Account | None, text: str, ceiling: list[Limit] | None = None
) -> str:
    return ",".join(decided(lines, account, text, ceiling).granted)


@pytest.mark.parametrize(
    ("rules", "account", "asked", "expected"),
    [
        # No rule means no access.
        ([], ALICE, "a:pull", ""),
        ([], None, "a:pull", ""),
        (["allow user:alice b pull"], ALICE, "a:pull", ""),
        # Whom a rule is about.
        (["allow user:alice a pull"], ALICE, "a:pull", "pull"),
        (["allow user:alice a pull"], BOB, "a:pull", ""),
        (["allow user:alice a pull"], None, "a:pull", ""),
        (["allow user:Alice a pull"], ALICE, "a:pull", ""),
        (["allow user:ci a pull"], ROBOT, "a:pull", ""),
        (["allow robot:ci a pull"], ROBOT, "a:pull", "pull"),
        (["allow group:dev a pull"], ALICE, "a:pull", "pull"),
        (["allow group:dev a pull"], BOB, "a:pull", ""),
        (["allow group:alice a pull"], ALICE, "a:pull", ""),
        (["allow authenticated a pull"], BOB, "a:pull", "pull"),
        (["allow authenticated a pull"], ROBOT, "a:pull", "pull"),
        (["allow authenticated a pull"], None, "a:pull", ""),
        (["allow anonymous a pull"], None, "a:pull", "pull"),
        (["allow anonymous a pull"], ALICE, "a:pull", "pull"),
        (["allow everyone a pull"], None, "a:pull", "pull"),
        (["allow everyone a pull"], ALICE, "a:pull", "pull"),
        # Only what was asked for is granted, in one order.
        (["allow user:alice a pull,push,delete"], ALICE, "a:push", "push"),
        (["allow user:alice a delete,push,pull"], ALICE, "a:delete,push,pull", "pull,push,delete"),
        (["allow user:alice a pull"], ALICE, "a:pull,push", "pull"),
        (["allow user:alice a pull", "allow user:alice a delete"], ALICE, "a:*", "pull,delete"),
        # A deny always wins.
        (["allow user:alice a pull,push", "deny user:alice a push"], ALICE, "a:pull,push", "pull"),
        (["deny user:alice a push", "allow user:alice a pull,push"], ALICE, "a:pull,push", "pull"),
        (["allow user:alice a push", "deny user:alice a pull"], ALICE, "a:pull,push", ""),
        (["allow user:alice a all", "deny group:dev a all"], ALICE, "a:*", ""),
        (["allow user:alice a all", "deny everyone a push"], ALICE, "a:pull,push", "pull"),
        (["allow user:alice ** all", "deny authenticated b pull"], ALICE, "a:pull", "pull"),
        (["allow anonymous a pull", "deny user:alice a pull"], ALICE, "a:pull", ""),
        (["allow anonymous a pull", "deny user:alice a pull"], BOB, "a:pull", "pull"),
        (["allow everyone a pull", "deny anonymous a pull"], None, "a:pull", ""),
        (["allow authenticated a pull", "deny anonymous a pull"], ALICE, "a:pull", "pull"),
        (["allow everyone a pull", "deny authenticated a pull"], None, "a:pull", "pull"),
        # The star: all of it with its names beside it, or the names that are granted.
        (["allow user:alice a all"], ALICE, "a:*", "pull,push,delete,*"),
        (["allow user:alice a all"], ALICE, "a:pull", "pull"),
        (["allow user:alice a all"], ALICE, "a:pull,push,delete", "pull,push,delete"),
        (["allow user:alice a all"], ALICE, "a:pull,*", "pull,push,delete,*"),
        (["allow user:alice a pull,push,delete"], ALICE, "a:*", "pull,push,delete"),
        (["allow user:alice a pull"], ALICE, "a:*", "pull"),
        (["allow user:alice a all", "deny user:alice a push"], ALICE, "a:*", "pull,delete"),
        (["allow user:alice a all", "deny user:alice a delete"], ALICE, "a:*", "pull,push"),
        (["allow user:alice a all", "deny anonymous a all"], ALICE, "a:*", "pull,push,delete,*"),
        # {account} is the asking account's place; a name that is no path component has none.
        (["allow authenticated {account}/** push"], ALICE, "alice/x:push", "push"),
        (["allow authenticated {account}/** push"], ALICE, "bob/x:push", ""),
        (["allow authenticated {account}/** push"], Account("alice@x"), "alice/x:push", ""),
        (["allow authenticated {account}/** push"], Account("müller"), "m/x:push", ""),
        (["allow everyone {account}/** push"], ALICE, "alice/x:push", "push"),
        (["allow everyone {account}/** push"], None, "alice/x:push", ""),
        (["allow anonymous {account}/** push"], ALICE, "alice/x:push", ""),
        (["allow user:alice ** all", "deny everyone {account}/x all"], ALICE, "alice/x:pull", ""),
        # Unknown actions are dropped, with none left nothing is granted.
        (["allow user:alice a all"], ALICE, "a:fly,pull", "pull"),
        (["allow user:alice a all"], ALICE, "a:fly", ""),
        (["allow user:alice a all"], ALICE, "a:", ""),
        (["allow user:alice a all"], ALICE, "a:Pull", ""),
        (["allow user:alice a all"], ALICE, "a:all", ""),
        # Names that no registry accepts, and hosts, which are segments like any other.
        (["allow user:alice ** all"], ALICE, "a/App:pull", ""),
        (["allow user:alice ** all"], ALICE, "Org/App:pull", ""),
        (["allow user:alice ** all"], ALICE, "a//b:pull", ""),
        (["allow user:alice ** all"], ALICE, "../x:pull", ""),
        (["allow user:alice ** all"], ALICE, f"{'a' * 256}:pull", ""),
        (["allow user:alice ** all"], ALICE, f"{'a' * 255}:pull", "pull"),
        (["allow user:alice ** all"], ALICE, "h:5000/x:pull", "pull"),
        (["allow user:alice ** all"], ALICE, "Org/app:pull", "pull"),
        (["allow user:alice x pull"], ALICE, "h:5000/x:pull", ""),
    ],
)
def test_a_repository_scope(
    rules: list[str], account: Account | None, asked: str, expected: str
) -> None:
    assert granted(rules, account, f"repository:{asked}") == expected


@pytest.mark.parametrize(
    ("rules", "asked", "expected"),
    [
        (["allow user:alice registry!catalog all"], "registry:catalog:*", "*"),
        (["allow everyone registry!catalog all"], "registry:catalog:*", "*"),
        (["allow user:alice registry!catalog all"], "registry:catalog:*,pull", "*"),
        (["allow user:alice registry!catalog all"], "registry:catalog:pull", ""),
        (["allow user:alice registry!catalog all"], "registry:other:*", ""),
        (["allow user:alice registry!catalog all"], "repository:catalog:*", ""),
        (["allow user:alice ** all"], "registry:catalog:*", ""),
        (["allow user:alice catalog all"], "registry:catalog:*", ""),
        (["allow user:bob registry!catalog all"], "registry:catalog:*", ""),
        (
            ["allow everyone registry!catalog all", "deny group:dev registry!catalog all"],
            "registry:catalog:*",
            "",
        ),
        (["allow user:alice ** all"], "plugin:a:pull", ""),
        (["allow user:alice ** all"], "repository(plugin):a:pull", "pull"),
        (["allow user:alice ** all"], "registry(plugin):a:pull", ""),
    ],
)
def test_other_scopes(rules: list[str], asked: str, expected: str) -> None:
    assert granted(rules, ALICE, asked) == expected


@pytest.mark.parametrize(
    ("rules", "ceiling", "asked", "expected"),
    [
        (["allow user:alice ** all"], [], "a:*", ""),
        (["allow user:alice ** all"], [limit("a", "pull")], "a:*", "pull"),
        (["allow user:alice ** all"], [limit("a", "pull")], "b:pull", ""),
        (
            ["allow user:alice ** all"],
            [limit("a", "pull"), limit("**", "push")],
            "a:*",
            "pull,push",
        ),
        (["allow user:alice ** all"], [limit("a", "*")], "a:*", "pull,push,delete,*"),
        (["allow user:alice ** all"], [limit("a", "pull,push,delete")], "a:*", "pull,push,delete"),
        (["allow user:alice ** pull"], [limit("**", "*")], "a:*", "pull"),
        (["allow user:alice ** all"], [limit("{account}/*", "pull")], "alice/x:pull", "pull"),
        (["allow user:alice ** all"], [limit("{account}/*", "pull")], "bob/x:pull", ""),
        # What anybody may do, a narrow credential may do too, unless a deny names the account.
        (["allow everyone a pull"], [], "a:pull", "pull"),
        (["allow anonymous a pull"], [], "a:pull", "pull"),
        (["allow authenticated a pull"], [], "a:pull", ""),
        (["allow everyone a all"], [], "a:*", "pull,push,delete,*"),
        (["allow everyone a pull", "allow user:alice a all"], [], "a:*", "pull"),
        (["allow everyone a pull", "deny user:alice a pull"], [], "a:pull", ""),
        (["allow everyone {account}/x pull"], [], "alice/x:pull", ""),
        (["allow everyone a all", "deny group:dev a delete"], [], "a:*", "pull,push"),
    ],
)
def test_a_ceiling(rules: list[str], ceiling: list[Limit], asked: str, expected: str) -> None:
    assert granted(rules, ALICE, f"repository:{asked}", ceiling) == expected


def test_a_ceiling_on_repositories_leaves_no_catalog() -> None:
    rules = ["allow user:alice registry!catalog all"]
    assert granted(rules, ALICE, "registry:catalog:*", [limit("**", "*")]) == ""
    whole = [Limit("registry", Pattern("catalog"), frozenset("*"))]
    assert granted(rules, ALICE, "registry:catalog:*", whole) == "*"


@pytest.mark.parametrize(
    ("service", "expected"), [("r1", ("pull",)), ("r2", ()), ("R1", ()), ("", ())]
)
def test_a_rule_on_one_registry_holds_there_only(service: str, expected: tuple[str, ...]) -> None:
    rules = [rule("allow user:alice a pull", "r1")]
    assert decide(rules, ALICE, service, parse("repository:a:pull")).granted == expected


def test_a_deny_on_one_registry_takes_nothing_away_on_another() -> None:
    rules = [rule("allow user:alice a pull"), rule("deny user:alice a pull", "r1")]
    asked = parse("repository:a:pull")
    assert [decide(rules, ALICE, s, asked).granted for s in ("r1", "r2")] == [(), ("pull",)]


@pytest.mark.parametrize(
    ("effect", "kind", "text", "stored"),
    [
        ("allow", "repository", "pull", "pull"),
        ("allow", "repository", "push", "pull,push"),
        ("allow", "repository", "push,pull", "pull,push"),
        ("allow", "repository", "delete", "delete"),
        ("allow", "repository", "delete,push", "pull,push,delete"),
        ("deny", "repository", "pull", "pull,push"),
        ("deny", "repository", "push", "push"),
        ("deny", "repository", "delete", "delete"),
        ("deny", "repository", "pull,delete", "pull,push,delete"),
        ("allow", "repository", "all", "*"),
        ("deny", "repository", "*", "*"),
        ("allow", "repository", "pull,all", "*"),
        ("allow", "repository", "pull,pull", "pull"),
        ("allow", "registry", "all", "*"),
        ("deny", "registry", "*", "*"),
    ],
)
def test_actions_are_stored_so_that_an_upload_works(
    effect: str, kind: str, text: str, stored: str
) -> None:
    assert ",".join(in_order(kind, rule_actions(Effect(effect), kind, text))) == stored


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("repository", ""),
        ("repository", "fly"),
        ("repository", "pull,"),
        ("repository", "Pull"),
        ("repository", "pull, push"),
        ("repository", "all,fly"),
        ("registry", "pull"),
        ("registry", ""),
    ],
)
def test_an_unknown_action_in_a_rule_is_refused(kind: str, text: str) -> None:
    with pytest.raises(Refused, match=r"unknown action .* choose from"):
        rule_actions(Effect.ALLOW, kind, text)


@pytest.mark.parametrize("text", ["other", "catalog/x", "", "{account}", "Catalog"])
def test_the_catalog_is_the_only_resource_of_type_registry(text: str) -> None:
    assert str(rule_pattern("registry", "catalog")) == "catalog"
    with pytest.raises(Refused, match="only resource of type registry"):
        rule_pattern("registry", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user:alice", Subject(SubjectKind.USER, "alice")),
        ("robot:ci", Subject(SubjectKind.ROBOT, "ci")),
        ("group:dev", Subject(SubjectKind.GROUP, "dev")),
        ("user:mu\u0308ller", Subject(SubjectKind.USER, "müller")),
        ("anonymous", Subject(SubjectKind.ANONYMOUS)),
        ("authenticated", Subject(SubjectKind.AUTHENTICATED)),
        ("everyone", Subject(SubjectKind.EVERYONE)),
    ],
)
def test_a_subject_is_read(text: str, expected: Subject) -> None:
    assert subject(text) == expected
    assert subject(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "unknown subject"),
        ("alice", "write user:alice"),
        ("User:alice", "unknown subject"),
        ("account:alice", "unknown subject"),
        ("Everyone", "unknown subject"),
        ("user", "needs a name"),
        ("group", "needs a name"),
        ("everyone:x", "takes no name"),
        ("anonymous:", "takes no name"),
        ("user:", "1 to 128 characters"),
        ("user:a:b", "not allowed in names"),
        ("group:everyone", "choose another"),
    ],
)
def test_what_is_no_subject_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        subject(text)


@pytest.mark.parametrize(
    ("rules", "asked", "ceiling", "why"),
    [
        ([], "repository:a:pull,push", None, ["no rule allows pull,push"]),
        (
            ["allow user:alice a pull"],
            "repository:a:pull,push",
            None,
            [
                "pull allowed by rule 1 (allow user:alice a pull on every registry)",
                "no rule allows push",
            ],
        ),
        (
            ["allow everyone a all", "deny group:dev a delete"],
            "repository:a:delete",
            None,
            [
                "delete allowed by rule 1 (allow everyone a * on every registry)",
                "delete denied by rule 2 (deny group:dev a delete on every registry)",
            ],
        ),
        (
            ["allow user:alice a pull"],
            "repository:a:pull",
            [],
            [
                "pull allowed by rule 1 (allow user:alice a pull on every registry)",
                "pull is beyond what this credential may be used for",
            ],
        ),
        (["allow user:bob a pull"], "repository:a:pull", None, ["no rule allows pull"]),
        (
            ["allow everyone a all", "deny group:dev a push"],
            "repository:a:*",
            None,
            [
                "pull,push,delete,* allowed by rule 1 (allow everyone a * on every registry)",
                "push denied by rule 2 (deny group:dev a push on every registry)",
            ],
        ),
        (
            ["allow anonymous a pull"],
            "repository:a:pull",
            None,
            ["pull allowed by rule 1 (allow anonymous a pull on every registry)"],
        ),
        ([], "repository:a:fly", None, ["unknown action fly"]),
        ([], "repository:a:", None, ["unknown action (empty)"]),
        ([], "plugin:a:pull", None, ["unknown resource type"]),
        (["allow everyone ** all"], "repository:a/B:pull", None, ["no registry accepts this name"]),
        ([], "registry:other:*", None, ["no registry accepts this name"]),
    ],
)
def test_a_decision_says_why(
    rules: list[str], asked: str, ceiling: list[Limit] | None, why: list[str]
) -> None:
    assert [str(reason) for reason in decided(rules, ALICE, asked, ceiling).reasons] == why


def test_a_reason_cites_the_rule_and_what_it_touched() -> None:
    [allowed] = decided(["allow everyone ** all"], ALICE, "repository:a:push").reasons
    assert allowed.cause is Cause.ALLOWED
    assert allowed.actions == ("push",)
    assert allowed.rule == rule("allow everyone ** all")


@pytest.mark.parametrize(
    ("asked", "complete"),
    [
        ("a:pull", True),
        ("a:pull,push", True),
        ("a:pull,delete", False),
        ("a:pull,fly", False),
        ("a:*", False),
        ("a:", False),
        ("b:pull", False),
    ],
)
def test_a_decision_is_complete_if_all_is_granted(asked: str, complete: bool) -> None:
    decision = decided(["allow user:alice a push"], ALICE, f"repository:{asked}")
    assert decision.complete is complete


# The laws. Where they compare, a requested ``*`` is read as all that the type knows.

any_question = questions(possible_scopes | impossible_scopes)


@settings(max_examples=500)
@given(questions())
def test_the_formula_of_the_design(question: Question) -> None:
    assume(question.account or question.ceiling is None)
    assert question.granted() == formula(question)


@given(any_question)
def test_no_more_is_granted_than_was_asked_for(question: Question) -> None:
    assert question.granted() <= expand(question.scope.type, question.scope.actions)


@given(any_question, st.data())
def test_the_order_of_rules_is_irrelevant(question: Question, data: st.DataObject) -> None:
    one = question.decide()
    other = question.decide(rules=data.draw(st.permutations(question.rules)))
    assert one.granted == other.granted
    assert sorted(map(str, one.reasons)) == sorted(map(str, other.reasons))


def grants(question: Question, asked: list[Scope]) -> dict[tuple[str, str], set[str]]:
    return {(s.type, s.name): question.granted(scope=s) for s in merge(asked)}


@given(questions(), st.lists(scopes, max_size=5), st.data())
def test_the_order_and_number_of_scopes_is_irrelevant(
    question: Question, asked: list[Scope], data: st.DataObject
) -> None:
    other = data.draw(st.permutations([*asked, *asked]))
    assert grants(question, asked) == grants(question, other)


@given(questions(), st.lists(possible_scopes, max_size=4), impossible_scopes)
def test_an_impossible_scope_gets_nothing_and_changes_nothing_for_the_others(
    question: Question, asked: list[Scope], impossible: Scope
) -> None:
    alone = grants(question, [impossible])
    beside = grants(question, [impossible, *asked])
    assume(len(beside) == len(alone) + len(merge(asked)))
    assert list(alone.values()) == [set()]
    assert beside == alone | grants(question, asked)


@given(any_question, rules((Effect.DENY,)))
def test_adding_a_deny_never_widens(question: Question, deny: Rule) -> None:
    assert question.granted(rules=[*question.rules, deny]) <= question.granted()


@given(any_question, rules((Effect.ALLOW,)))
def test_adding_an_allow_never_narrows(question: Question, allow: Rule) -> None:
    assert question.granted(rules=[*question.rules, allow]) >= question.granted()


@given(questions(), rules((Effect.DENY,)))
def test_a_deny_always_wins(question: Question, deny: Rule) -> None:
    account, scope = question.account, question.scope
    asking = account.name if account else None
    named = any(covers(pattern.text, scope.name, asking) for pattern in deny.patterns)
    bound = deny.type == scope.type and deny.service in {None, question.service}
    deny = replace(deny, conditions=ALWAYS, enabled=True)
    left = question.granted(rules=[*question.rules, deny])
    if named and bound and deny.binds(account):
        assert not left & expand(deny.type, deny.actions)
    else:
        assert left == question.granted()


@given(any_question, accounts)
def test_removing_an_account_changes_nothing_for_another(
    question: Question, removed: Account
) -> None:
    gone = f"{removed.kind}:{removed.name}"
    asking = question.account
    assume(asking is None or gone != f"{asking.kind}:{asking.name}")
    left = without(question.rules, gone)
    assert question.granted(rules=left) == question.granted()


def without(rules_of: list[Rule], gone: str) -> list[Rule]:
    """Take a subject out of all rules, and with it the rules that are about nobody else."""
    kept = [replace(r, subjects=tuple(s for s in r.subjects if str(s) != gone)) for r in rules_of]
    return [r for r in kept if r.subjects]


@given(any_question)
def test_removing_a_group_changes_nothing_for_who_is_not_in_it(question: Question) -> None:
    assume(question.account is None or "dev" not in question.account.groups)
    left = without(question.rules, "group:dev")
    assert question.granted(rules=left) == question.granted()


@given(questions(anybody=False))
def test_removing_a_group_that_no_deny_names_widens_nothing(question: Question) -> None:
    member = question.account
    assert member is not None
    dev = subject("group:dev")
    rules_of = [r for r in question.rules if dev not in r.subjects or r.effect is Effect.ALLOW]
    left = without(rules_of, "group:dev")
    outside = replace(member, groups=member.groups - {"dev"})
    assert question.granted(rules=left, account=outside) <= question.granted(rules=rules_of)


@given(questions(anybody=False))
def test_an_account_may_what_anybody_may_unless_a_deny_binds_it(question: Question) -> None:
    unbound = [
        r for r in question.rules if r.effect is Effect.ALLOW or not r.binds(question.account)
    ]
    public = question.granted(rules=unbound, account=None, ceiling=None)
    assert public <= question.granted(rules=unbound)


@given(questions(anybody=False))
def test_a_ceiling_never_widens(question: Question) -> None:
    assert question.granted() <= question.granted(ceiling=None)


@given(any_question)
def test_a_star_is_granted_only_with_every_action_beside_it(question: Question) -> None:
    granted_now = question.granted()
    assert "*" not in granted_now or "*" in question.scope.actions
    assert "*" not in granted_now or granted_now == expand(question.scope.type, ("*",))


@given(questions())
def test_what_is_not_known_never_helps(question: Question) -> None:
    known = replace(question.circumstances)
    for part in ("address", "at"):
        less = replace(known, **{part: None})
        assert question.granted(circumstances=less) <= question.granted()


@given(any_question)
def test_a_disabled_rule_is_as_none(question: Question) -> None:
    enabled = [r for r in question.rules if r.enabled]
    assert question.granted(rules=enabled) == question.granted()


@given(questions())
def test_a_rule_with_several_subjects_and_patterns_is_as_several_rules(question: Question) -> None:
    single = [
        replace(r, subjects=(s,), patterns=(p,))
        for r in question.rules
        for s in r.subjects
        for p in r.patterns
    ]
    assert question.granted(rules=single) == question.granted()


@given(questions())
def test_every_action_is_explained(question: Question) -> None:
    decision = question.decide()
    allowing = {a for r in decision.reasons if r.cause is Cause.ALLOWED for a in r.actions}
    refusing = {a for r in decision.reasons if r.cause is not Cause.ALLOWED for a in r.actions}
    assert set(decision.granted) <= allowing
    # A star that was cut down is explained by what was taken from it.
    missing = expand(question.scope.type, question.scope.actions) - set(decision.granted)
    assert missing <= refusing | {"*"}
    assert refusing or not missing
