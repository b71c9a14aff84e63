"""docker_auth's ACL as rules: examples, then that nothing is allowed which it would not allow."""

import re
from dataclasses import replace
from ipaddress import ip_address
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authserver.core.conditions import Circumstances
from authserver.core.decision import decide
from authserver.core.names import is_path_component
from authserver.core.rules import ACTIONS
from authserver.core.scope import Scope
from authserver.core.subjects import Account, AccountKind
from authserver.importers.docker_auth import compare
from authserver.importers.docker_auth.compare import agreed, disagreements
from authserver.importers.docker_auth.config import AclEntry, Config, ConfigUser, Match
from authserver.importers.docker_auth.coverage import ImportContext, import_context
from authserver.importers.docker_auth.evaluate import AclOutcome, AclRequest, outcomes
from authserver.importers.docker_auth.sample_requests import cases
from authserver.importers.docker_auth.translate import (
    ClaimState,
    ClaimVerdict,
    Translation,
    translate,
)

ACCOUNTS = {"alice": AccountKind.USER, "bob": AccountKind.USER, "ci": AccountKind.ROBOT}
SERVICES = frozenset({"r1", "r2"})


def config(*entries: AclEntry, anonymous: bool = True, elsewhere: bool = True) -> Config:
    """Make a configuration; ``elsewhere`` are accounts that are not in the file."""
    users = (ConfigUser(1, "", None),) if anonymous else ()
    return Config(users, entries, {"ldap_auth": 1} if elsewhere else {}, {}, {}, {})


def entry(text: str, line: int) -> AclEntry:
    """Make an entry from ``alice a/* pull,push``; ``-`` stands for nothing, ``''`` for empty."""
    account, name, actions, *more = text.split()
    said = {"account": account, "name": name, **dict(pair.split("=") for pair in more)}
    given: Any = {k: "" if v == "''" else v for k, v in said.items() if v != "-"}
    return AclEntry(line, Match(**given), () if actions == "-" else tuple(actions.split(",")))


def translated(
    lines: list[str], *, anonymous: bool = True, elsewhere: bool = True
) -> tuple[list[str], list[str]]:
    """Return the rules, and each entry's states; both must agree in all cases."""
    entries = [entry(text, line) for line, text in enumerate(lines, 1)]
    read = config(*entries, anonymous=anonymous, elsewhere=elsewhere)
    ours = import_context(read, ACCOUNTS, SERVICES)
    found = translate(read, ours)
    asked = cases(read, [v.claim for v in found.verdicts], ours)
    assert list(disagreements(read, ours, found, list(asked))) == []
    states = [" ".join(v.state for v in found.of(e)) for e in read.entries]
    return [str(rule).removesuffix(" on every registry") for rule in found.rules()], states


@pytest.mark.parametrize(
    ("lines", "rules", "states"),
    [
        (["alice a/* *"], ["allow user:alice a/* *"], ["taken"]),
        # Without a name and a type it is also about the catalog, which only * opens.
        (
            ["alice - *"],
            ["allow user:alice ** *", "allow user:alice registry catalog *"],
            ["taken taken"],
        ),
        (["alice - pull type=repository"], ["allow user:alice ** pull"], ["taken"]),
        (["alice catalog * type=registry"], ["allow user:alice registry catalog *"], ["taken"]),
        (["alice a pull type=plugin"], [], ["no effect"]),
        (["alice a pull type=registry"], [], ["no effect"]),
        # Whom.
        (["/.+/ a pull"], ["allow authenticated a pull"], ["taken"]),
        (["- a pull"], ["allow everyone a pull"], ["taken"]),
        (["* a pull"], ["allow everyone a pull"], ["taken"]),
        (["ci a pull"], ["allow robot:ci a pull"], ["taken"]),
        (["/^(alice|bob)$/ a pull"], ["allow user:alice,user:bob a pull"], ["taken"]),
        (["ghost a pull"], [], ["not taken"]),
        (["al* a pull"], [], ["not taken"]),
        # Where, from where, and what.
        (["- a pull service=r1"], ["allow everyone a pull on r1"], ["taken"]),
        (["- a pull service=r3"], [], ["not taken"]),
        (["- a pull service=*"], [], ["not taken"]),
        (
            ["- a pull ip=10.1.2.3/8"],
            ["allow everyone a pull on every registry from 10.0.0.0/8"],
            ["taken"],
        ),
        (["- a pull ip=0.0.0.0/0"], [], ["not taken"]),
        (["alice a push"], [], ["not taken"]),
        # docker_auth never gets asked for an action that no registry knows.
        (["alice a pull,fly"], ["allow user:alice a pull"], ["taken"]),
        (["alice a pull|push", "/.+/ a pull"],
         ["deny user:alice a pull,push", "allow authenticated a pull"], ["taken", "taken"]),
        (["alice a pull,*"], [], ["not taken"]),
        (["alice a? pull"], [], ["not taken"]),
        (["alice ${account}-x pull"], ["allow user:alice alice-x pull"], ["taken"]),
        (["/.+/ ${account}/* *"], ["allow authenticated {account}/* *"], ["taken"]),
        (["- ${account}/* *"], ["allow authenticated {account}/* *"], ["taken"]),
        (["alice A/b pull"], ["allow user:alice A/b pull"], ["taken"]),
        (["alice a/B pull"], [], ["no effect"]),
        # What an earlier entry gives less of is denied.
        (
            ["alice a -", "/.+/ a pull"],
            ["deny user:alice a pull,push", "allow authenticated a pull"],
            ["taken", "taken"],
        ),
        (
            ["alice a pull", "/.+/ a *"],
            ["allow user:alice a pull", "deny user:alice a push,delete", "allow authenticated a *"],
            ["taken", "taken"],
        ),
        (["alice a *", "/.+/ a pull"], ["allow user:alice a *", "allow authenticated a pull"],
         ["taken", "taken"]),
        (["alice a -", "bob a pull"], ["allow user:bob a pull"], ["taken", "taken"]),
        # The deny is narrowed to what both match, where it would harm an entry before.
        (
            ["alice a-* *", "alice - - type=repository", "/.+/ b/* pull"],
            ["allow user:alice a-* *", "deny user:alice b/* pull,push",
             "allow authenticated b/* pull"],
            ["taken", "taken", "taken"],
        ),
        # Without such a deny those accounts are left out, and so are new accounts.
        (
            ["alice a-* *", "alice - - type=repository", "/.+/ - pull type=repository"],
            ["allow user:alice a-* *", "allow robot:ci,user:bob ** pull"],
            ["taken", "taken", "taken in part"],
        ),
        # An entry that is not taken still comes first.
        (["al* a -", "/.+/ a pull", "bob a pull"], ["allow robot:ci,user:bob a pull"],
         ["not taken", "taken in part", "no effect"]),
        (["alice a? *", "alice ab pull"], ["allow user:alice ab pull"], ["not taken", "taken"]),
        (["al* a *", "/.+/ a pull"], ["allow authenticated a pull"], ["not taken", "taken"]),
        (["ghost a -", "/.+/ a pull"], ["allow robot:ci,user:alice,user:bob a pull"],
         ["not taken", "taken in part"]),
        (["- a - service=r3", "- a pull"], [], ["not taken", "not taken"]),
        (["alice ${account}/* pull,push", "alice - * type=repository"],
         ["allow user:alice alice/* pull,push", "deny user:alice alice/* delete",
          "allow user:alice ** *"], ["taken", "taken"]),
        (["/.+/ ${account}/* pull", "alice - * type=repository"],
         ["allow authenticated {account}/* pull", "deny user:alice alice/* push,delete",
          "allow user:alice ** *"], ["taken", "taken"]),
        # A deny of {account} would not hold for an account that is not a path component.
        (["/.+/ ${account}/* -", "/.+/ - pull type=repository"], [], ["taken", "not taken"]),
        (["alice a pull,push,delete", "/.+/ a *"],
         ["allow user:alice a pull,push,delete", "allow robot:ci,user:bob a *"],
         ["taken", "taken in part"]),
        (["- a pull", "alice a *"], ["allow everyone a pull"], ["taken", "no effect"]),
        # What anonymous may do, every account may do with us.
        (["'' a pull"], [], ["not taken"]),
        (["'' a pull", "/.+/ a pull"], ["allow anonymous a pull", "allow authenticated a pull"],
         ["taken", "taken"]),
        (["'' a -", "- a pull"], ["deny anonymous a pull,push", "allow everyone a pull"],
         ["taken", "taken"]),
    ],
)  # fmt: skip
def test_entries_become_rules(lines: list[str], rules: list[str], states: list[str]) -> None:
    assert translated(lines) == (rules, states)


def test_without_an_anonymous_user_everyone_is_who_logs_in() -> None:
    lines = ["'' a pull", "- b pull"]
    rules = ["allow authenticated b pull"]
    assert translated(lines, anonymous=False) == (rules, ["no effect", "taken"])


@pytest.mark.parametrize("name", ["anonymous", "CORP/ann", "/.+", "a|b"])
def test_an_account_that_cannot_exist_has_one_verdict_wherever_it_stands(name: str) -> None:
    ghost, alice = f"{name} a pull", "alice a *"
    assert translated([ghost, alice])[1] == ["not taken", "taken"]
    assert translated([alice, ghost])[1] == ["taken", "not taken"]
    # docker_auth never reaches these.
    assert translated(["- a *", ghost])[1] == ["taken", "no effect"]
    assert translated([ghost, ghost])[1] == ["not taken", "no effect"]
    assert translated([f"/^({re.escape(name)}|alice)$/ a pull"])[1] == ["not taken"]


@pytest.mark.parametrize("type_", ["respository", "Repository", "plugin", "*/"])
def test_an_entry_without_effect_says_why(type_: str) -> None:
    read = config(entry(f"alice a pull type={type_}", 1))
    (verdict,) = translate(read, import_context(read, ACCOUNTS, SERVICES)).verdicts
    (problem,) = verdict.problems
    assert problem.reason == f"no registry asks for the type {type_!r}"
    assert problem.remedy == "write repository or registry"


def test_anonymous_gets_what_nobody_gains_by() -> None:
    all_of_ours = ["alice - *", "bob - *", "ci - *"]
    for lines in (["'' a pull", *all_of_ours], [*all_of_ours, "'' a pull"]):
        rules, states = translated(lines, elsewhere=False)
        assert "allow anonymous a pull" in rules
        assert "not taken" not in states
        # LDAP may know others.
        assert "allow anonymous a pull" not in translated(lines, elsewhere=True)[0]
    # ci would gain.
    assert "allow anonymous a pull" not in translated([*all_of_ours[:2], "'' a pull"])[0]


def test_the_cutting_entry_is_named() -> None:
    read = config(entry("- a? -", 7), entry("/.+/ ab pull", 9))
    (verdict,) = translate(read, import_context(read, ACCOUNTS, SERVICES)).of(read.entries[1])
    assert verdict.problems[0].reason == "line 7 comes first and gives less, and cannot be taken"


def test_only_on_one_registry() -> None:
    read = config(entry("- a pull", 1), entry("- b pull service=r2", 2)).only_on("r1")
    found = translate(read, import_context(read, ACCOUNTS, SERVICES))
    assert list(map(str, found.rules())) == [
        "allow everyone a pull on r1",
        "allow everyone b pull on r2",
    ]


def test_an_entry_that_is_decided_differently_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    read = config(entry("alice a pull", 1), entry("bob b pull", 2))
    ours = import_context(read, ACCOUNTS, SERVICES)

    def faulty(
        config: Config, ours: ImportContext, contested: frozenset[tuple[int, str]]
    ) -> Translation:
        found = translate(config, ours, contested)
        drafts = (
            replace(d, rule=replace(d.rule, actions=frozenset({"*"}))) if d.entry.line == 2 else d
            for d in found.drafts
        )
        return replace(found, drafts=tuple(drafts))

    monkeypatch.setattr(compare, "translate", faulty)
    told: list[tuple[int, int]] = []
    found = agreed(read, ours, lambda done, total: told.append((done, total)))
    assert told[-1] == (found.cases, found.cases)
    assert [draft.entry.line for draft in found.translation.drafts] == [1]
    (verdict,) = found.translation.of(read.entries[1])
    assert "differently" in verdict.problems[0].reason


def test_a_rule_that_gives_too_little_is_noticed() -> None:
    read = config(entry("alice a pull", 1))
    ours = import_context(read, ACCOUNTS, SERVICES)
    found = replace(translate(read, ours), drafts=())
    asked = list(cases(read, [v.claim for v in found.verdicts], ours))
    assert {d.blamed for d in disagreements(read, ours, found, asked)} == {
        frozenset({(1, "repository")})
    }


def test_cases_hold_the_words_of_the_file_and_their_neighbours() -> None:
    read = config(
        entry("alice team/a*b pull ip=10.0.0.0/8", 1), entry("ghost *-x/y pull service=r9", 2)
    )
    ours = import_context(read, ACCOUNTS, SERVICES)
    asked = list(cases(read, [v.claim for v in translate(read, ours).verdicts], ours))
    assert {"", "alice", "alicex", "xalice", "ghost", "ci", "somebody-new"} <= {
        r.account for r in asked
    }
    assert {"team/ab", "team/axb", "team/ab/x", "x/team/ab", "team/abx", "new-name"} <= {
        r.name for r in asked
    }
    assert {"r1", "r2", "r9", "another registry"} <= {r.service for r in asked}
    assert {"10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"} <= {
        str(r.address) for r in asked
    }


# Laws, on requests that have nothing to do with the cases above.

_conditions = {
    "account": [None, None, "", "alice", "bob", "ghost", "*", "/.+/", "/.+/", "/^(alice|bob)$/",
                "al*"],
    "name": [None, None, "a", "a/*", "a/b", "*", "${account}/*", "/^a/.*$/", "/^a/", "a?", "*b",
             "b*", "${account}-x", "catalog"],
    "type": [None, None, None, "repository", "registry"],
    "ip": [None, None, None, "10.0.0.0/8", "10.1.0.0/16", "::1"],
    "service": [None, None, None, "r1", "r9"],
}  # fmt: skip
_actions = [(), (), ("pull",), ("pull",), ("pull", "push"), ("push",), ("*",), ("*",),
            ("pull", "push", "delete"), ("delete",), ("pull", "*")]  # fmt: skip
_matches = st.builds(
    Match,
    **{key: st.sampled_from(values) for key, values in _conditions.items()},
    labels=st.sampled_from([(), (), (), (), (), ("group",)]),
)
_entries = st.lists(st.tuples(_matches, st.sampled_from(_actions)), min_size=1, max_size=6)

WHO = ("", "alice", "bob", "ci", "ghost", "alix", "new", "Alice", "a@x")
NAMES = ("a", "b", "ab", "axb", "bb", "a/b", "a/x", "a/b/c", "b/a", "alice/x", "bob/b", "Alice/x",
         "alice-x", "catalog")  # fmt: skip


def _outcomes(read: Config, request: AclRequest) -> list[AclOutcome]:
    if not request.account and not read.anonymous:
        return [AclOutcome(frozenset(), None)]
    return outcomes(read.entries, request, frozenset(ACTIONS[request.type]))


def _granted(translation: Translation, request: AclRequest) -> set[str]:
    account = None
    if request.account:
        account = Account(request.account, ACCOUNTS.get(request.account, AccountKind.USER))
    where = Circumstances(request.address)
    granted: set[str] = set()
    for action in ACTIONS[request.type]:
        scope = Scope(request.type, request.name, (action,))
        decision = decide(translation.rules(), account, request.service, scope, circumstances=where)
        granted |= {action} & set(decision.granted)
    return granted


def _wholly_taken(verdict: ClaimVerdict, request: AclRequest) -> bool:
    own = verdict.claim.region.has_account_names and not is_path_component(request.account)
    return verdict.state is ClaimState.TAKEN and not own


@settings(max_examples=60)
@given(
    drawn=_entries,
    anonymous=st.booleans(),
    elsewhere=st.booleans(),
    service=st.sampled_from(["r1", "r2", "r9"]),
    address=st.sampled_from(["10.0.0.1", "10.1.0.1", "192.0.2.1", "::1"]),
)
def test_nothing_is_allowed_that_docker_auth_would_not_allow(
    drawn: list[tuple[Match, tuple[str, ...]]],
    anonymous: bool,
    elsewhere: bool,
    service: str,
    address: str,
) -> None:
    entries = (AclEntry(n, match, actions) for n, (match, actions) in enumerate(drawn, 1))
    read = config(*entries, anonymous=anonymous, elsewhere=elsewhere)
    found = translate(read, import_context(read, ACCOUNTS, SERVICES))
    asked = [*product(WHO, ["repository"], NAMES), *product(WHO, ["registry"], ["catalog"])]
    for account, kind, name in asked:
        request = AclRequest(account, kind, name, service, ip_address(address))
        theirs = _outcomes(read, request)
        ours = _granted(found, request)
        made_later = not elsewhere and account not in ACCOUNTS
        for outcome in theirs:
            # docker_auth has decided nothing about an account that is made later.
            public = _outcomes(read, replace(request, account="")) if made_later else [outcome]
            most = outcome.granted.union(*(each.granted for each in public))
            assert ours <= most, (request, found.rules())
        if len(theirs) > 1 or theirs[0].entry is None:
            continue
        (verdict,) = [v for v in found.of(theirs[0].entry) if v.claim.region.type == kind]
        if _wholly_taken(verdict, request):
            assert ours == theirs[0].granted, (request, found.rules())
