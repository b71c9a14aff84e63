"""The index of rules: it leaves out none that could make a difference."""

from dataclasses import replace
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from authserver.core.patterns import Pattern
from authserver.core.rule_index import MAX_KEYS, RuleIndex
from authserver.core.rules import Effect, Rule
from authserver.core.subjects import Account, subject
from tests.unit import strategies
from tests.unit.strategies import Question, numbered, questions

ALICE = Account("alice", groups=frozenset({"dev"}))


def rule(rule_id: int, about: str, *patterns: str) -> Rule:
    actions = frozenset({"pull"})
    return Rule(rule_id, Effect.ALLOW, (subject(about),), tuple(map(Pattern, patterns)), actions)


def ids(found: list[Rule]) -> list[int]:
    return [one.id for one in found]


@settings(max_examples=400)
@given(question=questions(strategies.scopes))
def test_candidates_decide_as_all_rules_do(question: Question) -> None:
    """More than 10,000 cases: each set of rules is asked by everybody for each name."""
    rules = numbered(question.rules)
    index = RuleIndex.of(rules)
    names = (question.scope.name, *strategies.NAMES)
    for account, name in product((*strategies.ACCOUNTS, None), names):
        asked = replace(question, account=account, scope=replace(question.scope, name=name))
        candidates = index.candidates(account, name)
        assert asked.decide(rules=candidates) == asked.decide(rules=rules)


@given(question=questions(), changes=st.lists(st.tuples(st.integers(1, 9), strategies.rules())))
def test_an_index_that_was_changed_is_the_one_that_is_made_anew(
    question: Question, changes: list[tuple[int, Rule]]
) -> None:
    rules = {one.id: one for one in numbered(question.rules)}
    index = RuleIndex.of(rules.values())
    for number, one in changes:
        if number % 3 == 0:
            index = index.replaced([number], [])
            rules.pop(number, None)
            continue
        new = replace(one, id=number if number in rules else 10 + len(rules) + number)
        if new.id not in rules and rules and new.id < max(rules):
            continue
        index = index.replaced([new.id], [new])
        rules[new.id] = new
    assert list(index) == list(rules.values())
    anew = RuleIndex.of(rules.values())
    for name in strategies.NAMES:
        for account in (None, ALICE, question.account):
            assert index.candidates(account, name) == anew.candidates(account, name)


def test_what_cannot_apply_is_not_looked_at() -> None:
    index = RuleIndex.of(
        [
            rule(1, "user:alice", "team/app"),
            rule(2, "user:bob", "team/app"),
            rule(3, "group:dev", "team/**"),
            rule(4, "group:ops", "**"),
            rule(5, "user:alice", "teamx/**", "other/*"),
            rule(6, "everyone", "*/app"),
            rule(7, "authenticated", "{account}/app", "team/app/deeper"),
            rule(8, "anonymous", "team/**"),
        ]
    )
    assert ids(index.candidates(ALICE, "team/app")) == [1, 3, 6, 7, 8]
    assert ids(index.candidates(None, "team/app")) == [6, 8]
    assert ids(index.candidates(ALICE, "other/app")) == [5, 6, 7]


def test_what_an_index_held_is_left_as_it_was() -> None:
    before = RuleIndex.of([rule(1, "everyone", "a"), rule(2, "everyone", "a")])
    after = before.replaced([1], [])
    assert ids(before.candidates(None, "a")) == [1, 2]
    assert ids(after.candidates(None, "a")) == [2]
    assert (len(before), len(after), len(after.replaced([2], []).candidates(None, "a"))) == (
        2,
        1,
        0,
    )


def test_a_rule_that_names_very_much_is_found_by_its_subjects() -> None:
    many = rule(1, "everyone", *(f"team{number}/app" for number in range(MAX_KEYS + 1)))
    index = RuleIndex.of([many])
    assert ids(index.candidates(None, "team7/app")) == ids(index.candidates(None, "x")) == [1]
