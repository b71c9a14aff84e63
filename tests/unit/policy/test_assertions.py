"""Assertions on policies: how they are read, and when they hold."""

from datetime import UTC, datetime
from ipaddress import ip_address
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authserver.core.conditions import Circumstances
from authserver.core.decision import decide
from authserver.core.errors import Refused
from authserver.core.patterns import Pattern
from authserver.core.scope import Scope
from authserver.core.subjects import ANONYMOUS
from authserver.policy.files import assertions, check, parser, plan
from authserver.policy.files.check import AssertionVerdict
from authserver.policy.files.document import AssertionLine, BadPolicy, Location, Policy
from tests.unit.policy.test_plan import NAMES, PATTERNS, policies, standing

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)

POLICY = """\
registries:
  r1:
  r 2:
accounts:
  alice: {kind: user}
  a@x: {kind: user}
  bob: {kind: user, disabled: true}
  ci: {kind: robot, owner: bob}
  dan: {kind: user}
groups:
  dev: [user:alice, user:bob]
  off: [user:bob]
  none: []
rules:
  - {effect: allow, subjects: [group:dev], patterns: [team/**, lib/*], actions: [pull, push]}
  - {effect: allow, subjects: [authenticated], patterns: ['{account}/**'], actions: [all]}
  - {effect: allow, subjects: [anonymous], patterns: [public/**], actions: [pull], registry: r1}
  - {effect: deny, subjects: [everyone], patterns: [team/secret/**], actions: [all]}
  - {effect: deny, subjects: [user:alice], patterns: [lib/*], actions: [push]}
  - {effect: allow, subjects: [user:dan], patterns: [net/**], actions: [pull], networks: [10.0.0.0/8]}
  - {effect: allow, subjects: [user:dan], patterns: [then/x], actions: [pull], valid_until: 2030-06-01T12:00Z}
  - {effect: allow, subjects: [user:dan], patterns: [catalog], actions: [all], type: registry}
  - {effect: allow, subjects: [user:dan], patterns: [off/x], actions: [pull], enabled: false}
"""  # noqa: E501 - a rule a line


def verdict(text: str, policy: str = POLICY) -> AssertionVerdict:
    there = plan.applied(parser.read(policy.encode(), "p.yaml"))
    (found,) = check.check(there, [assertions.read(text)], NOON)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "alice can push team/app",
        "alice can pull,push team/app",
        "user:alice can push team/app",
        "alice cannot delete team/app",
        "alice cannot pull,delete other/app",
        "alice can pull lib/**".replace("**", "*"),
        "alice cannot push lib/*",
        "alice can all alice/app",
        "alice can all {account}/**",
        "alice can all alice/**",
        "alice cannot pull team/secret/**",
        "alice cannot all team/secret/x",
        "a@x cannot pull {account}/**",
        "a@x cannot pull a/**",
        "anonymous can pull public/x on r1",
        "anonymous can pull public/** on r1",
        "anonymous cannot pull public/** on r 2",
        "a@x can pull public/** on r1",
        "anonymous cannot pull team/**",
        "anonymous cannot pull {account}/**",
        "everyone cannot push public/**",
        "authenticated can pull {account}/x".replace("authenticated", "alice"),
        "group:dev can push team/app",
        "group:dev cannot delete **".replace("**", "team/**"),
        "group:none cannot pull **",
        "bob cannot push team/app",
        "robot:ci cannot pull ci/x",
        "dan can pull net/x from 10.1.2.3",
        "dan can pull net/** from 10.1.2.3",
        "dan cannot pull net/** from 192.0.2.1",
        "dan can pull then/x at 2030-06-01T11:59Z",
        "dan cannot pull then/x at 2030-06-02",
        "dan cannot pull then/x",
        "dan can list catalog",
        "alice cannot list catalog",
        "dan cannot pull off/x",
        "  alice   can  push team/app ",
    ],
)
def test_what_holds(text: str) -> None:
    assert verdict(text).reasons == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("alice can delete team/app", "alice on r 2: team/app: granted nothing: no rule allows"),
        ("alice cannot pull team/app", "granted pull: pull allowed by rule on line 15 ("),
        ("alice can pull team/**", "pull is denied on some of it by rule on line 18 (deny every"),
        ("alice cannot pull team/**", "cannot tell that denies take away all that rule on line 15"),
        ("alice can pull lib/**", "cannot tell that rules allow pull on all of lib/**"),
        ("alice can pull other/**", "no rule allows pull on any of other/**"),
        ("alice cannot pull **", "pull is allowed by rule on line 16 (allow auth"),
        ("alice cannot pull */x", "pull is allowed by rule on line 16 (allow auth"),
        ("a@x can pull {account}/x", "{account}/x covers nothing for it"),
        ("anonymous can pull public/x", "anonymous on r 2: public/x: granted nothing"),
        ("everyone cannot pull public/** on r1", "anonymous: pull is allowed by rule on line 17"),
        ("everyone can pull public/x", "anonymous on r 2"),
        ("group:dev can all team/app", "granted pull,push"),
        ("group:none can pull team/app", "the group has no enabled members"),
        ("group:off can pull team/app", "the group has no enabled members"),
        ("group:x cannot pull team/app", "there is no group 'x'"),
        ("eve cannot pull team/app", "there is no account 'eve'"),
        ("user:ci cannot pull team/app", "there is no user 'ci'"),
        ("bob can push team/app", "bob is disabled: no token is issued to it"),
        ("ci can pull ci/x", "ci is disabled: no token is issued to it"),
        ("dan can pull net/x", "granted nothing: no rule allows pull"),
        ("dan can pull net/**", "no rule allows pull on any of net/**"),
        ("dan cannot pull net/x", "granted pull from 10.0.0.0: pull allowed by"),
        ("dan cannot pull net/**", "from 10.0.0.0"),
        ("dan can pull then/x", "no rule allows pull"),
        ("alice can list catalog", "catalog: granted nothing: no rule allows *"),
        ("alice can pull team/app on r3", "there is no registry 'r3'"),
    ],
)  # fmt: skip
def test_what_does_not_hold_says_why(text: str, reason: str) -> None:
    assert any(reason in each for each in verdict(text).reasons), verdict(text).reasons


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "write WHO can|cannot"),
        ("alice may push team/app", "write WHO can|cannot"),
        ("alice can push", "write WHO can|cannot"),
        ("alice can push team/app today", "write WHO can|cannot"),
        ("alice can fly team/app", "unknown action 'fly'"),
        ("alice can push Team", "can match no valid repository name"),
        ("alice can push team/**x", "must be a whole segment"),
        ("alice can list team", "what can be listed is catalog"),
        ("alice can pull a from here", "'here' is no IP address"),
        ("alice can pull a at noon", "'noon' is no time"),
        ("every:one can pull a", "the name 'every:one' contains"),
        ("user can pull a", "needs a name after it"),
    ],
)
def test_what_is_no_assertion_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why.replace("|", r"\|")):
        assertions.read(text)


def test_all_that_are_none_are_named_with_their_lines() -> None:
    with pytest.raises(BadPolicy) as caught:
        assertions.read_all(
            [
                AssertionLine(text, Location(("tests", line), line))
                for line, text in enumerate(("a", "a can pull b", "b"), 3)
            ],
            "f",
        )
    assert [problem.line for problem in caught.value.problems] == [3, 5]


def test_without_registries_the_rules_for_every_registry_count() -> None:
    rule = "{effect: allow, subjects: [user:a], patterns: [b], actions: [pull]}"
    policy = f"accounts: {{a: {{kind: user}}}}\nrules:\n- {rule}"
    assert verdict("a can pull b", policy).holds
    assert not verdict("a can push b", policy).holds


def test_a_policy_that_refers_to_nothing_is_not_tested() -> None:
    with pytest.raises(BadPolicy, match=r"p.yaml:\d+: there is no group 'off'"):
        verdict(
            "alice can pull a",
            POLICY.replace("  off: [user:bob]\n", "").replace("[group:dev]", "[group:off]"),
        )


def test_reasons_are_not_without_end() -> None:
    rules = "".join(
        f"\n- {{effect: allow, subjects: [everyone], patterns: [a{n}], actions: [pull]}}"
        for n in range(9)
    )
    assert verdict("anonymous cannot pull **", f"rules:{rules}").reasons[-1] == "… and more"


def test_junit_says_the_same() -> None:
    there = plan.applied(parser.read(POLICY.encode(), "p.yaml"))
    texts = ["alice can push team/app", "anonymous can pull <&>".replace("<&>", "team/x")]
    claims = [assertions.read(text, line) for line, text in enumerate(texts, 7)]
    root = ET.fromstring(check.junit_report(list(check.check(there, claims, NOON)), 'a"<&.yaml'))
    assert root.attrib == {"name": "policy", "tests": "2", "failures": "1"}
    cases = root.findall("testcase")
    assert [case.attrib["line"] for case in cases] == ["7", "8"]
    assert {case.attrib["classname"] for case in cases} == {'a"<&.yaml'}
    assert "no rule allows pull" in (cases[1].findtext("failure") or "")


WHO = (ANONYMOUS, "alice", "bob", "ci", "everyone", "group:dev")


@given(
    policies(),
    st.sampled_from(WHO),
    st.booleans(),
    st.sampled_from(["pull", "push", "delete", "all"]),
    st.sampled_from(PATTERNS + NAMES),
    st.sampled_from([None, "10.0.0.1", "192.0.2.1"]),
)
@settings(max_examples=400)
def test_no_verdict_is_kinder_than_the_deciding_function(
    policy: Policy, who: str, can: bool, action: str, pattern: str, address: str | None
) -> None:
    there = standing(policy)
    word = "can" if can else "cannot"
    text = f"{who} {word} {action} {pattern}" + (f" from {address}" if address else "")
    (found,) = check.check(there, [assertions.read(text)], NOON)
    if not found.holds:
        return
    wanted = ("pull", "push", "delete", "*") if action == "all" else (action,)
    for name in (ANONYMOUS, *there.accounts):
        account = None if name == ANONYMOUS else there.asking()[name]
        about = assertions.read(text).subject
        if (who != name if about is None else not about.binds(account)) or (
            account and there.is_disabled(name)
        ):
            continue
        for repository in NAMES:
            if not Pattern(pattern).matches(repository, account.name if account else None):
                continue
            for service in there.registries:
                for place in [address] if address else ["10.0.0.1", "192.0.2.1"]:
                    here = Circumstances(ip_address(place), NOON)
                    rules = [each.rule for each in there.rules]
                    scope = Scope("repository", repository, wanted)
                    decision = decide(rules, account, service, scope, None, here)
                    assert decision.complete if can else not decision.granted
