"""Near misses, who-can and effective: told by the deciding function, and agreeing with it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.core.conditions import Circumstances
from authserver.core.decision import decide
from authserver.core.errors import NotFound
from authserver.core.rule_index import RuleIndex
from authserver.core.rules import Effect, Rule, expand, new_rule
from authserver.core.scope import Scope
from authserver.core.subjects import Account, AccountKind, subjects
from authserver.db.snapshot import Snapshot
from authserver.db.snapshot_rows import KnownAccount, KnownRegistry
from authserver.policy.access import AccessEntry, effective, who_can
from authserver.policy.explain import explain
from tests.unit.strategies import ADDRESSES, NAMES, NOON, covers, numbered, rules

HERE = Circumstances(ip_address("192.0.2.1"), NOON)
ACCOUNTS = (
    Account("alice", groups=frozenset({"dev"})),
    Account("bob"),
    Account("ci", AccountKind.ROBOT, frozenset({"ops"})),
    Account("a@x", groups=frozenset({"dev", "ops"})),
)


def state(rules_of: list[Rule], disabled: str = "") -> Snapshot:
    known = {
        account.name: KnownAccount(number, account, None, account.name == disabled)
        for number, account in enumerate(ACCOUNTS)
    }
    registries = {service: KnownRegistry(1, None, refresh_tokens=True) for service in ("r1", "r2")}
    empty: MappingProxyType[str, object] = MappingProxyType({})
    tokens: dict[str, object] = dict(empty)
    return Snapshot(1, "issuer", registries, known, tokens, tokens, RuleIndex.of(rules_of), 4)  # type: ignore[arg-type]


def rule(text: str, number: int = 1, **more: object) -> Rule:
    effect, about, patterns, actions = text.split()
    said = new_rule(Effect(effect), subjects(about), patterns.split(","), actions, **more)  # type: ignore[arg-type]
    return replace(said, id=number)


def close(rules_of: list[Rule], account: str, text: str, here: Circumstances = HERE) -> list[str]:
    (explained,) = explain(state(rules_of), "r1", account, [text], here).explained
    return [f"{found.rule.id} {found.hindrance.name.upper()}" for found in explained.close]


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        (rule("allow user:alice a/* pull"), "1 PATTERN"),
        (rule("allow user:bob a pull"), "1 SUBJECT"),
        (rule("allow group:ops a pull"), "1 SUBJECT"),
        (rule("allow user:alice a delete"), "1 ACTION"),
        (rule("allow user:alice a pull", service="r2"), "1 REGISTRY"),
        (rule("allow user:alice a pull", enabled=False), "1 DISABLED"),
        (rule("allow user:alice a pull", networks=["10.0.0.0/8"]), "1 NETWORK"),
        (rule("allow user:alice a pull", valid_until=NOON), "1 EXPIRED"),
        (rule("allow user:alice a pull", valid_from=NOON + timedelta(1)), "1 NOT_YET"),
        (rule("allow anonymous a/* pull"), "1 PATTERN"),
        (rule("allow everyone a/* pull"), "1 PATTERN"),
        (rule("allow user:bob a/* pull"), None),
        (rule("allow user:bob a pull", enabled=False), None),
        (rule("deny user:alice b pull"), None),
        (rule("allow user:alice catalog all", resource_type="registry"), None),
    ],
)
def test_a_rule_that_one_thing_kept_away_came_close(near: Rule, expected: str | None) -> None:
    found = close([near], "alice", "repository:a:pull")
    assert found == ([expected] if expected else []), found


def test_without_an_address_a_rule_for_some_networks_came_close() -> None:
    near = rule("allow user:alice a pull", networks=["10.0.0.0/8"])
    assert close([near], "alice", "repository:a:pull", replace(HERE, address=None)) == [
        "1 NETWORK_UNKNOWN"
    ]


def test_what_is_granted_has_no_near_misses() -> None:
    far = rule("allow user:alice b pull", 2)
    assert close([rule("allow user:alice a pull"), far], "alice", "repository:a:pull") == []


@pytest.mark.parametrize("asked", ["pull,push", "*", "pull,push,delete", "push", "fly,push"])
def test_a_rule_that_applied_did_not_come_close(asked: str) -> None:
    used = [
        rule("allow user:alice a pull,push", 1),
        rule("allow everyone a pull", 2),
        rule("deny user:alice a delete", 3),
    ]
    assert close(used, "alice", f"repository:a:{asked}") == []
    assert close([*used, rule("deny everyone a push", 4)], "alice", f"repository:a:{asked}") == []


def test_no_rule_came_close_to_what_another_allow_cannot_grant() -> None:
    off = rule("allow user:alice ** all", enabled=False)
    denied = [off, rule("deny user:alice a all", 2)]
    assert close(denied, "alice", "repository:a:pull") == []
    assert close([off], "alice", "repository:a/B:pull") == []
    assert close([off], "alice", "repository:a:fly") == []


def test_the_nearest_come_first_and_not_too_many() -> None:
    others = [rule(f"allow user:alice x{n} pull", n) for n in range(10, 30)]
    like = rule("allow user:alice team/b pull", 40)
    off = rule("allow user:alice team/a pull", 50, enabled=False)
    found = close([*others, like, off], "alice", "repository:team/a:pull")
    assert found[:2] == ["50 DISABLED", "40 PATTERN"]
    assert len(found) == 5


def test_a_disabled_account_and_a_bad_credential_bar_everything() -> None:
    allowed = state([rule("allow everyone ** all")], disabled="alice")
    asked = ("r1", "alice", ["repository:a:pull"], HERE)
    assert explain(allowed, *asked).barred == ("the account is disabled",)
    assert not explain(allowed, *asked).complete
    (scope,) = explain(allowed, *asked).explained
    assert (scope.granted, scope.complete, scope.as_json()["granted"]) == ((), False, [])
    assert scope.sentences[0] == "the account is disabled: no token is issued"
    robot = explain(state([], disabled="ci"), "r1", "ci", [], HERE)
    assert robot.barred == ("the account, or its owner, is disabled",)
    barred = explain(state([rule("allow everyone ** all")]), *asked, None, ["it has expired"])
    assert barred.explained[0].granted == ()
    assert not barred.complete
    with pytest.raises(NotFound):
        explain(allowed, "r1", "nobody", [], HERE)


def may(rules_of: list[Rule], account: Account | None, action: str, here: Circumstances) -> bool:
    return decide(
        rules_of, account, "r1", Scope("repository", "a/b", (action,)), None, here
    ).complete


@given(
    st.lists(rules(), max_size=6).map(numbered),
    st.sampled_from(["pull", "push", "delete"]),
    st.sampled_from(ADDRESSES).map(ip_address),
)
def test_who_can_agrees_with_the_decision(
    rules_of: list[Rule], action: str, address: object
) -> None:
    here = Circumstances(address, NOON)  # type: ignore[arg-type]
    found = who_can(state(rules_of, disabled="bob"), "r1", action, "a/b", here)
    asking = {None: None} | {account.name: account for account in ACCOUNTS if account.name != "bob"}
    expected = {name for name, account in asking.items() if may(rules_of, account, action, here)}
    assert {answer.known.account.name if answer.known else None for answer in found} == expected


@given(
    st.lists(rules(), max_size=6).map(numbered),
    st.sampled_from(["pull", "push", "delete"]),
    st.sampled_from(ADDRESSES).map(ip_address),
)
def test_who_can_without_an_address_names_all_who_may_from_anywhere(
    rules_of: list[Rule], action: str, address: object
) -> None:
    anywhere = Circumstances(None, NOON)
    names = {a.name for a in who_can(state(rules_of), "r1", action, "a/b", anywhere)}
    for account in (None, *ACCOUNTS):
        if may(rules_of, account, action, Circumstances(address, NOON)):  # type: ignore[arg-type]
            assert (account.name if account else "anonymous") in names


def given_by(entries: list[AccessEntry], name: str, account: str | None) -> set[str]:
    """Return what a list of what somebody may do says about one name."""
    given_actions: set[str] = set()
    taken: set[str] = set()
    for entry in entries:
        if entry.type == "repository" and covers(str(entry.pattern), name, account):
            given_actions |= expand(entry.type, entry.actions)
            for deny in entry.denies:
                if any(covers(str(pattern), name, account) for pattern in deny.patterns):
                    taken |= expand(deny.type, deny.actions)
    return given_actions - taken - ({"*"} if taken else set())


@given(
    st.lists(rules(), max_size=6).map(numbered),
    st.sampled_from([None, *ACCOUNTS]),
    st.sampled_from(NAMES),
    st.sampled_from(ADDRESSES).map(ip_address),
)
def test_effective_agrees_with_the_decision(
    rules_of: list[Rule], account: Account | None, name: str, address: object
) -> None:
    here = Circumstances(address, NOON)  # type: ignore[arg-type]
    who = account.name if account else "anonymous"
    found = effective(state(rules_of), ["r1"], who, here)
    everything = Scope("repository", name, ("*",))
    decided = set(decide(rules_of, account, "r1", everything, None, here).granted)
    listed = given_by(list(found.entries), name, account.name if account else None)
    assert listed - {"*"} == decided - {"*"}


def test_effective_leaves_out_what_is_denied_whole_and_names_what_cuts() -> None:
    rules_of = [
        rule("allow group:dev team/** push", 1),
        rule("allow user:alice gone/* all", 2),
        rule("deny everyone team/secret pull", 3),
        rule("deny user:alice gone/** all", 4),
        rule("deny user:alice elsewhere all", 5),
        rule("allow anonymous public/* pull", 6),
        rule("allow user:alice night/* pull", 7, networks=["10.0.0.0/8"]),
    ]
    found = effective(state(rules_of), ["r1"], "alice", Circumstances(None, NOON)).entries
    assert [(str(e.pattern), e.actions, [d.id for d in e.denies]) for e in found] == [
        ("team/**", ("pull", "push"), [3]),
        ("public/*", ("pull",), []),
        ("night/*", ("pull",), []),
    ]
    here = effective(state(rules_of), ["r1", "r2"], "alice", HERE).entries
    assert [(e.service, e.rule.id) for e in here] == [
        ("r1", 1), ("r1", 6), ("r2", 1), ("r2", 6)
    ]  # fmt: skip


def test_effective_names_a_deny_on_a_name_that_account_stands_for() -> None:
    of = [rule("allow authenticated {account}/** pull", 1), rule("deny everyone a*/app pull", 2)]
    (entry,) = effective(state(of), ["r1"], "alice", HERE).entries
    assert [deny.id for deny in entry.denies] == [2]


def test_a_time_after_the_end_has_no_effect() -> None:
    ended = rule("allow user:alice a pull", valid_until=NOON)
    later = Circumstances(None, datetime(2027, 1, 1, tzinfo=UTC))
    assert effective(state([ended]), ["r1"], "alice", later).entries == []


def test_a_place_for_the_accounts_name_reaches_nothing_for_a_name_that_is_no_component() -> None:
    rules_of = [rule("allow authenticated {account}/** push"), rule("deny everyone alice/x all", 2)]
    here = Circumstances(None, NOON)
    assert effective(state(rules_of), ["r1"], "a@x", here).entries == []
    (entry,) = effective(state(rules_of), ["r1"], "alice", here).entries
    assert [deny.id for deny in entry.denies] == [2]
