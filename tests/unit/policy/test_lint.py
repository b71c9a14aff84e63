"""Lint: each finding, and that what is called without effect is without effect."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authserver.core.conditions import Circumstances
from authserver.core.decision import decide
from authserver.core.patterns import Pattern
from authserver.core.rule_index import RuleIndex
from authserver.core.rules import Effect, Limit, Rule, new_rule
from authserver.core.scope import Scope
from authserver.core.subjects import Account, AccountKind, subjects
from authserver.db.snapshot import Snapshot
from authserver.db.snapshot_rows import KnownAccount
from authserver.policy.lint.checks import errors_of, lint
from authserver.policy.lint.coverage import RulesInForce, parts
from authserver.policy.lint.findings import Code, Level, LintReport
from authserver.policy.lint.rule_usage import DelegationStanding, RuleDates, RuleUpkeep, RuleUse
from authserver.policy.lint.stale import LintAges
from tests.unit.strategies import ADDRESSES, NAMES, NOON, OWN_PATTERNS, PATTERNS, rules, when

ACCOUNTS = (
    Account("alice", groups=frozenset({"dev"})),
    Account("bob", groups=frozenset({"dev", "ops"})),
    Account("ci", AccountKind.ROBOT, frozenset({"ops"})),
    Account("a@x", groups=frozenset({"dev"})),
    Account("gone", groups=frozenset({"left"})),
    Account("lost", AccountKind.ROBOT),
)
DISABLED = frozenset({"gone", "lost"})
AGES = LintAges(NOON, days=90, record_days=90)
OLD = NOON - timedelta(days=200)


def snapshot(of: Sequence[Rule]) -> Snapshot:
    known = {
        account.name: KnownAccount(number, account, None, account.name in DISABLED)
        for number, account in enumerate(ACCOUNTS)
    }
    return Snapshot(1, "issuer", {}, known, {}, {}, RuleIndex.of(of), 4)


def upkeep(
    of: Sequence[Rule],
    written: Mapping[int, RuleDates] | None = None,
    use: RuleUse | None = None,
    delegations: Sequence[DelegationStanding] = (),
) -> RuleUpkeep:
    """All rules are old, and requests touched each of them, unless something else is said."""
    everything = {rule.id: RuleDates(OLD) for rule in of} | dict(written or {})
    touched = use or RuleUse(AGES.since, frozenset(rule.id for rule in of))
    return RuleUpkeep(everything, delegations, frozenset({"lost"}), touched)


def rule(text: str, number: int, **more: object) -> Rule:
    effect, about, patterns, actions = text.split()
    said = new_rule(Effect(effect), subjects(about), patterns.split(","), actions, **more)  # type: ignore[arg-type]
    return replace(said, id=number)


def numbered(*said: str | Rule) -> list[Rule]:
    return [
        rule(text, number) if isinstance(text, str) else replace(text, id=number)
        for number, text in enumerate(said, 1)
    ]


def look(of: Sequence[Rule], **more: object) -> LintReport:
    return lint(snapshot(of), upkeep(of, **more), AGES)  # type: ignore[arg-type]


def found(*said: str | Rule) -> list[str]:
    """Return the findings on rules that are numbered from 1."""
    return [
        f"{finding.code} {' '.join(map(str, finding.rules))}"
        for finding in look(numbered(*said)).findings
    ]


NIGHT = {"valid_from": NOON, "valid_until": NOON + timedelta(hours=8)}
DAY = {"valid_until": NOON + timedelta(days=1)}
NET, WIDE = {"networks": ["10.1.0.0/16"]}, {"networks": ["10.0.0.0/8"]}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # A deny takes all of it away.
        (["allow user:alice a/* pull", "deny user:alice a/** all"], ["denied 1 2"]),
        (["allow user:alice a/* push", "deny everyone a/* pull"], ["denied 1 2"]),
        (["allow user:alice a/* all", "deny authenticated a/* pull,push,delete"], ["denied 1 2"]),
        (["allow group:dev a/* pull", "deny group:dev a/* pull"], ["denied 1 2"]),
        (["allow user:alice a/* pull", "deny group:dev a/* pull"], ["denied 1 2"]),
        (["allow anonymous a/* pull", "deny everyone a/* pull"], ["denied 1 2"]),
        (["allow anonymous a/* pull", "deny anonymous,authenticated a/* pull"], ["denied 1 2"]),
        (["allow user:alice,user:bob a pull", "deny user:alice a pull", "deny user:bob a pull"],
         ["denied 1 2 3"]),
        (["allow user:alice a,b pull", "deny user:alice a all", "deny user:alice b all"],
         ["denied 1 2 3"]),
        (["allow user:alice a,b pull", "deny user:alice a all", "deny user:alice a,b all"],
         ["shadowed 2 3", "denied 1 3"]),
        (["allow user:alice {account}/** pull", "deny user:alice alice/** pull"], ["denied 1 2"]),
        (["allow user:alice alice/** pull", "deny everyone {account}/** pull"], ["denied 1 2"]),
        (["allow everyone {account}/** pull", "deny authenticated {account}/** pull"],
         ["denied 1 2"]),
        # It leaves something.
        (["allow user:alice a/** pull", "deny user:alice a/* pull"], []),
        (["allow user:alice a/* pull,delete", "deny user:alice a/* pull"], []),
        (["allow user:alice a pull", "deny user:bob a pull"], []),
        (["allow group:dev a pull", "deny user:alice a pull"], []),
        (["allow anonymous a pull", "deny anonymous a pull"], []),
        (["allow everyone a pull", "deny authenticated a pull"], []),
        (["allow user:alice a pull", rule("deny user:alice a pull", 0, service="r")], []),
        (["allow user:alice a pull", rule("deny user:alice a pull", 0, **NET)], []),
        (["allow user:alice a pull", rule("deny user:alice a pull", 0, **DAY)], []),
        ([rule("allow user:alice a pull", 0, enabled=False), "deny user:alice a pull"], []),
        (["allow user:alice a pull", rule("deny user:alice a pull", 0, enabled=False)], []),
        # Uploads take both.
        (["allow user:alice a/* all", "deny user:alice a/* push"], ["upload-denied 1 2"]),
        (["allow user:alice a/* pull,push", "deny group:dev a/** push"], ["upload-denied 1 2"]),
        (["allow user:alice a/* pull", "deny user:alice a/* push"], []),
        (["allow user:alice a/* push", "deny user:alice a/b push"], []),
        # A wider rule says it too.
        (["allow user:alice a/* pull", "allow user:alice a/** pull"], ["shadowed 1 2"]),
        (["allow user:alice a/* pull", "allow group:dev a/* pull"], ["shadowed 1 2"]),
        (["allow user:alice a/* pull", "allow authenticated a/* push"],
         ["shadowed 1 2", "authenticated-write 2"]),
        (["allow group:dev a/* pull", "allow everyone a/* pull"], ["shadowed 1 2"]),
        (["allow robot:ci a/* pull", "allow anonymous a/* pull"], ["shadowed 1 2"]),
        (["allow everyone a/* pull", "allow anonymous a/* pull"], ["shadowed 2 1"]),
        (["allow everyone a/* pull", "allow anonymous a/** pull"], ["shadowed 1 2"]),
        (["allow user:alice a/* pull", "allow user:alice,user:bob a/**,b all"], ["shadowed 1 2"]),
        (["allow user:alice a,b pull", "allow user:alice a pull"], ["shadowed 2 1"]),
        (["allow user:alice x/*/app-1 pull", "allow user:alice **/app-* pull"], ["shadowed 1 2"]),
        (["allow user:alice alice/app pull", "allow authenticated {account}/** pull"],
         ["shadowed 1 2"]),
        (["deny user:alice a pull", "deny everyone a pull"], ["shadowed 1 2"]),
        (["deny anonymous a pull", "deny everyone a pull"], ["shadowed 1 2"]),
        ([rule("allow user:alice a pull", 0, service="r"), "allow user:alice a pull"],
         ["shadowed 1 2"]),
        ([rule("allow user:alice a pull", 0, **NET), rule("allow user:alice a pull", 0, **WIDE)],
         ["shadowed 1 2"]),
        ([rule("allow user:alice a pull", 0, **NIGHT), rule("allow user:alice a pull", 0, **DAY)],
         ["shadowed 1 2"]),
        (["allow user:alice a pull", rule("allow user:alice a pull", 0, valid_from=OLD)],
         ["shadowed 2 1"]),
        # Of rules that say the same, the oldest stays.
        (["allow user:alice {account} pull", "allow user:alice alice pull"], ["shadowed 2 1"]),
        (["deny user:alice a all", "deny user:alice a all"], ["shadowed 2 1"]),
        # It says more.
        (["allow user:alice a pull", "allow user:bob a pull"], []),
        (["allow group:dev a pull", "allow user:alice a pull"], ["shadowed 2 1"]),
        (["allow user:alice a all", "allow user:alice a pull,push,delete"], ["shadowed 2 1"]),
        (["allow anonymous a pull", "allow authenticated a pull"], ["shadowed 2 1"]),
        (["deny anonymous a pull", "deny authenticated a pull"], []),
        (["deny authenticated a pull", "deny user:a@x,anonymous a pull"], []),
        (["allow user:alice * pull", "allow user:alice a* pull", "allow user:alice b* pull"],
         ["shadowed 2 1", "shadowed 3 1"]),
        (["allow user:alice a,b pull", "allow user:alice b,c pull", "allow user:alice a,c pull"],
         []),
        (["allow robot:alice a pull", "allow user:alice a pull"], []),
        # More than is often meant.
        (["allow anonymous a/* push"], ["public-write 1"]),
        (["allow everyone a/* delete"], ["public-write 1"]),
        (["allow everyone a/*,{account}/* all"], ["public-write 1"]),
        (["allow everyone {account}/** all"], []),
        (["allow authenticated {account}/** all"], []),
        (["allow authenticated a all"], ["authenticated-write 1"]),
        (["allow everyone a pull"], []),
        (["deny everyone a push"], []),
        ([rule("allow everyone a push", 0, enabled=False)], []),
        ([rule("allow anonymous catalog all", 0, resource_type="registry")], ["public-catalog 1"]),
        ([rule("allow authenticated catalog all", 0, resource_type="registry")], []),
        # About nobody.
        (["allow group:none a pull"], ["nobody 1"]),
        (["allow group:left a pull"], ["nobody 1"]),
        (["allow user:gone,robot:lost a pull"], ["nobody 1"]),
        (["deny user:gone a pull"], ["nobody 1"]),
        (["allow user:gone,user:alice a pull"], ["disabled-account 1"]),
        (["allow robot:lost,user:alice a pull"], ["disabled-owner 1"]),
        (["allow group:none,group:left,user:alice a pull"], ["empty-group 1"]),
        (["allow user:a@x {account}/** pull"], ["no-path-component 1"]),
        (["allow anonymous {account}/** pull"], ["no-path-component 1"]),
        (["allow user:a@x,user:alice {account}/**,a pull"], ["no-path-component 1"]),
        # Over.
        ([rule("allow anonymous a push", 0, valid_until=NOON)], ["expired 1"]),
        ([rule("allow user:alice a pull", 0, valid_until=NOON), "deny user:alice a pull"],
         ["expired 1"]),
        (["allow user:alice a pull", rule("deny user:alice a pull", 0, valid_until=NOON)],
         ["expired 2"]),
    ],
)  # fmt: skip
def test_it_finds(said: list[str | Rule], expected: list[str]) -> None:
    assert sorted(found(*said)) == sorted(expected)


_patterns = st.lists(
    st.sampled_from([*PATTERNS, *OWN_PATTERNS, "alice/**", "alice/b"]).map(Pattern),
    min_size=1,
    max_size=2,
).map(tuple)
_PARTS = ("effect", "subjects", "patterns", "actions", "service", "conditions")


@st.composite
def _worlds(draw: st.DrawFn) -> list[Rule]:
    """Draw rules that are put together from the parts of a few: so they often cover each other."""
    on_repositories = rules().filter(lambda rule: rule.type == "repository" and rule.enabled)
    few = [replace(draw(on_repositories), patterns=draw(_patterns)) for _ in range(2)]
    return [
        replace(
            few[0],
            id=number,
            **{part: getattr(draw(st.sampled_from(few)), part) for part in _PARTS},
        )
        for number in range(1, draw(st.integers(2, 5)) + 1)
    ]


_ceilings = (None, [Limit("repository", Pattern("a/**"), frozenset({"pull"}))])
_SCOPES = [
    Scope("repository", name, (action,)) for name in NAMES for action in ("pull", "push", "*")
]
_MOMENTS = [
    Circumstances(ip_address(address), NOON + timedelta(minutes=minutes))
    for address in ADDRESSES[:3]
    for minutes in (0, 90)
]


def grants(of: Sequence[Rule]) -> list[tuple[str, ...]]:
    """Return every decision from noon on that the rules of a small world can tell apart."""
    return [
        decide(of, who, service, scope, ceiling, moment).granted
        for who in (None, *ACCOUNTS[:4])
        for service in ("r1", "r2")
        for scope in _SCOPES
        for ceiling in _ceilings
        for moment in _MOMENTS
    ]


@settings(max_examples=40)
@given(_worlds())
def test_rules_without_effect_can_all_be_removed(of: list[Rule]) -> None:
    without = {
        finding.rules[0]
        for finding in look(of).findings
        if finding.code in (Code.DENIED, Code.SHADOWED, Code.EXPIRED)
    }
    if without:
        assert grants([rule for rule in of if rule.id not in without]) == grants(of)


@settings(max_examples=40)
@given(_worlds())
def test_a_rule_that_never_lets_anybody_upload_never_does(of: list[Rule]) -> None:
    never = {f.rules[0] for f in look(of).findings if f.code is Code.UPLOAD_DENIED}
    for rule in of:
        if rule.id in never:
            alone = [rule, *(other for other in of if other.effect is Effect.DENY)]
            assert not any({"pull", "push"} <= set(granted) for granted in grants(alone))


@given(_worlds())
def test_no_rule_that_covers_is_overlooked(of: list[Rule]) -> None:
    accounts = {account.name: account for account in ACCOUNTS}
    standing = RulesInForce(of, accounts, NOON)
    for rule, other in product(standing.rules, repeat=2):
        if rule.id != other.id and rule.type == other.type:
            for part in parts(rule):
                near = standing.near(rule, part, other.effect)
                assert other in near or not standing.covers(other, rule, part)


def test_it_says_on_whose_membership_it_rests() -> None:
    of = numbered("allow user:alice a pull", "deny group:dev a pull")
    (finding,) = look(of).findings
    assert finding.text == (
        "rule 1 (allow user:alice a pull on every registry) never has any effect: "
        "rule 2 (deny group:dev a pull,push on every registry) denies all of it, "
        "as long as group:dev has the members that it has now"
    )
    for wider in ("deny authenticated a pull", "deny group:dev,authenticated a pull"):
        (finding,) = look(numbered("allow user:alice a pull", wider)).findings
        assert "as long as" not in finding.text


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("allow everyone a push", "authserver acl edit 1 --actions pull"),
        ("allow everyone a delete", "authserver acl remove 1"),
        ("allow everyone,group:dev,user:a@x a push",
         "authserver acl edit 1 --subjects group:dev,user:a@x"),
        ("allow user:gone,user:x$(y)'z a pull",
         """authserver acl edit 1 --subjects 'user:x$(y)'"'"'z'"""),
        ("allow user:gone a pull", "authserver acl disable 1"),
        # Without it they would be let in when they are back.
        ("deny user:gone a pull", None),
        ("deny user:gone,user:alice a pull", None),
    ],
)  # fmt: skip
def test_the_remedy_is_a_command(said: str, remedy: str | None) -> None:
    assert [finding.remedy for finding in look(numbered(said)).findings] == [remedy]


def test_what_guards_is_no_warning() -> None:
    of = numbered("deny user:gone a pull", "deny user:alice b pull", "allow user:bob a pull")
    levels = {
        f.rules: f.level
        for f in look(of, use=RuleUse(AGES.since, frozenset())).findings
        if f.code is not Code.UNUSED or f.rules != (1,)
    }
    assert levels == {(1,): Level.INFO, (2,): Level.INFO, (3,): Level.WARNING}


def test_the_gravest_comes_first() -> None:
    of = numbered("allow authenticated a push", "allow group:none a pull", "allow everyone b push")
    report = look(of)
    assert [finding.level for finding in report.findings] == [
        Level.ERROR, Level.WARNING, Level.WARNING, Level.INFO
    ]  # fmt: skip
    assert [len(report.at_least(level)) for level in Level] == [4, 3, 1]


def test_a_rule_that_was_disabled_long_ago() -> None:
    off = [replace(rule, enabled=False) for rule in numbered("allow user:alice a pull")]
    for days, expected in ((90, [Code.LONG_DISABLED]), (89, [])):
        written = {1: RuleDates(OLD, NOON - timedelta(days=days))}
        assert [f.code for f in look(off, written=written).findings] == expected


def unused(
    of: Sequence[Rule], use: RuleUse, ages: LintAges = AGES, **more: object
) -> tuple[list[int], Sequence[str]]:
    report = lint(snapshot(of), upkeep(of, use=use, **more), ages)  # type: ignore[arg-type]
    return [f.rules[0] for f in report.findings if f.code is Code.UNUSED], report.notes


TWO = numbered("allow user:alice a pull", "allow user:bob b pull")


def test_a_rule_that_no_request_touched_is_unused() -> None:
    assert unused(TWO, RuleUse(AGES.since, frozenset({1}))) == ([2], ())
    later = AGES.since + timedelta(days=9)
    assert unused(TWO, RuleUse(later, frozenset({1}))) == ([2], ())


@pytest.mark.parametrize(
    "change",
    [{"enabled": False}, {"conditions": when(end=NOON)}],
    ids=["disabled", "expired"],
)
def test_a_rule_that_is_not_in_force_is_not_called_unused(change: dict[str, object]) -> None:
    of = [TWO[0], replace(TWO[1], **change)]  # type: ignore[arg-type]
    assert unused(of, RuleUse(AGES.since, frozenset({1}))) == ([], ())


@pytest.mark.parametrize(
    ("use", "record_days", "why"),
    [
        (RuleUse(AGES.since, frozenset()), 89, "kept for 89 days; say --unused-days 89"),
        (RuleUse(None, frozenset()), 90, "no record says"),
        (RuleUse(AGES.since + timedelta(days=10), frozenset()), 90, "begin 2026-03-13T12:00:00Z"),
    ],
)
def test_records_that_are_too_young_find_no_unused_rules(
    use: RuleUse, record_days: int, why: str
) -> None:
    rules_found, (note,) = unused(TWO, use, replace(AGES, record_days=record_days))
    assert rules_found == []
    assert why in note


@pytest.mark.parametrize("young", ["edited", "valid"])
def test_a_young_rule_is_not_called_unused(young: str) -> None:
    later = AGES.since + timedelta(seconds=1)
    written = {1: RuleDates(later if young == "edited" else OLD)}
    valid = when(begin=later if young == "valid" else None)
    of = [replace(TWO[0], conditions=valid), TWO[1]]
    found_unused, (note,) = unused(of, RuleUse(AGES.since, frozenset({2})), written=written)
    assert found_unused == []
    assert note == "1 rule that nothing has touched is younger than 90 days."


def test_records_that_were_cut_leave_doubt() -> None:
    of = numbered(*(f"allow user:alice {name} pull" for name in "abcd"))
    assert unused(of, RuleUse(AGES.since, frozenset({1, 3}), sure_below=3))[0] == [2]


def test_delegations() -> None:
    of = numbered("allow user:alice a pull")
    held = [
        DelegationStanding(1, "none", "pull within a/** on r", empty=True, strangers={}),
        DelegationStanding(2, "dev", "pull within a on r", empty=False, strangers={1: "ci"}),
        DelegationStanding(3, "dev", "pull within b on r", empty=False, strangers={}),
    ]
    nobodys, left = look(of, delegations=held).findings
    assert (nobodys.code, nobodys.level, nobodys.rules) == ("empty-delegation", "warning", ())
    assert nobodys.remedy == "authserver acl undelegate 1"
    assert (left.code, left.level, left.rules) == ("delegate-left", "info", (1,))
    assert "was written by ci, who is in group:dev no more" in left.text


def test_what_is_ignored_is_left_out() -> None:
    of = numbered("allow everyone a push", "allow group:none b pull")
    known = upkeep(of, use=RuleUse(None, frozenset()))
    report = lint(snapshot(of), known, AGES, frozenset({Code.PUBLIC_WRITE}))
    assert [finding.code for finding in report.findings] == [Code.NOBODY]
    assert report.notes
    assert not lint(snapshot(of), known, AGES, frozenset({Code.UNUSED})).notes


def test_many_rules_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    covers = RulesInForce.covers

    def counted(*arguments: object) -> bool:
        nonlocal asked
        asked += 1
        return covers(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RulesInForce, "covers", counted)
    for shape in ("team/app-{}", "**/app-{}", "*/app-{}-x/*", "team/**/{}/**"):
        of = numbered(*(f"allow group:dev {shape.format(n + 1000)} push" for n in range(500)))
        assert not look([*of, rule("deny group:dev **/no pull", 501)]).findings
    assert asked < 5000


# Names with capitals.


@pytest.mark.parametrize("pattern", ["Team/**", "tEam/app", "T*/**", "Team/{account}"])
def test_a_pattern_that_only_an_impossible_host_matches_is_an_error(pattern: str) -> None:
    for effect in ("allow", "deny"):
        report = look(numbered(f"{effect} user:alice {pattern},ok/** pull"))
        (finding,) = report.at_least(Level.ERROR)
        assert finding.code is Code.HOST_ONLY
        assert pattern in finding.text
        lower = pattern.lower()
        assert finding.remedy is not None
        *command, patterns = shlex.split(finding.remedy)
        assert command == ["authserver", "acl", "edit", "1", "--patterns"]
        assert set(patterns.split(",")) == {lower, "ok/**"}


@pytest.mark.parametrize(
    "pattern", ["team/**", "Hub.example.com/app", "H:5000/**", "localhost/a", "{account}/a", "*/a"]
)
def test_a_host_that_may_be_one_is_no_error(pattern: str) -> None:
    assert look(numbered(f"allow user:alice {pattern} pull")).at_least(Level.ERROR) == []


def test_only_errors_of_an_enabled_rule_are_told_when_it_is_written() -> None:
    (bad,) = numbered("allow everyone Team/** push")
    assert {error.code for error in errors_of(bad)} == {Code.HOST_ONLY, Code.PUBLIC_WRITE}
    assert errors_of(replace(bad, enabled=False)) == []
    (wide,) = numbered("allow authenticated ** push")
    assert errors_of(wide) == []
