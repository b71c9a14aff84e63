"""Plans: what a file would change, who would gain or lose by it, and that this is what is done."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from authserver.core.conditions import Circumstances
from authserver.core.decision import decide
from authserver.core.errors import NotFound, Refused
from authserver.core.rules import Effect, new_rule
from authserver.core.scope import Scope
from authserver.core.subjects import ANONYMOUS, AccountKind, Subject, SubjectKind, subjects
from authserver.db import (
    accounts,
    app_tokens,
    delegations,
    groups,
    invitations,
    refresh_tokens,
    rule_rows,
    rules,
)
from authserver.db.app_tokens import Wanted
from authserver.db.delegations import extent
from authserver.db.models import AccountRow, AlterationRow, AppTokenRow, InvitationRow
from authserver.db.store import Change, NoRecorder, Store
from authserver.policy.files import current_state, effects, export, parser
from authserver.policy.files import plan as policy_plan
from authserver.policy.files.current_state import PolicyState
from authserver.policy.files.differences import differences
from authserver.policy.files.document import (
    AccountEntry,
    BadPolicy,
    GroupEntry,
    Policy,
    RegistryEntry,
    RuleEntry,
)
from authserver.policy.files.effects import AccessChange
from authserver.policy.files.plan import Plan
from authserver.policy.files.store_copy import StoreCopy
from tests import stores
from tests.unit.db.test_losses import record_requests
from tests.unit.db.test_snapshot import HASH, log_in
from tests.unit.db.test_store import audit, contents, do, said, version
from tests.world import ADMIN, SERVICE

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)

BASE = f"""\
registries:
  {SERVICE}:
accounts:
  {ADMIN}: {{kind: user, admin: true}}
  alice: {{kind: user}}
  bob: {{kind: user}}
  ci: {{kind: robot, owner: bob}}
groups:
  dev: [user:alice, robot:ci]
rules:
  - {{effect: allow, subjects: [user:{ADMIN}], patterns: ['**'], actions: [all],
     comment: made by init}}
  - {{effect: allow, subjects: [user:{ADMIN}], patterns: [catalog], actions: [all], type: registry,
     comment: made by init}}
  - {{effect: allow, subjects: [group:dev], patterns: [team/**], actions: [pull, push]}}
  - {{effect: deny, subjects: [user:bob], patterns: [team/x], actions: [all]}}
delegations: []
"""


TEAM = "allow group:dev team/** pull,push on every registry"


def read(text: str) -> Policy:
    return parser.read(text.encode(), "p.yaml")


@pytest.fixture
def peopled(store: Store) -> Store:
    """A store of which BASE says all that there is."""
    do(store, lambda c: policy_plan.apply(c, read(BASE)))
    with store.change("cli:tester") as change:
        for name in ("alice", "bob", "ci"):
            accounts.set_disabled(change, name, disabled=False)
    return store


def planned(store: Store, text: str, **more: Any) -> Plan:
    with store.read() as session:
        copy = StoreCopy.of(session)
    return policy_plan.plan(copy, read(text), **more)


def apply(store: Store, text: str, **more: Any) -> Plan:
    plan: Plan = do(store, lambda c: policy_plan.apply(c, read(text), **more))
    return plan


def exported(store: Store) -> str:
    with store.read() as session:
        return export.export(current_state.as_policy(current_state.load(session)))


def told(plan: Plan) -> list[str]:
    """Return the steps with their effects, as text."""
    return [
        line
        for step, effects in zip(plan.steps, plan.effects, strict=True)
        for line in (str(step), *(f"  {each}" for each in effects.changes))
    ]


def without(text: str, line: str) -> str:
    """Return a file without the lines that have ``line`` in them."""
    assert line in text
    return "".join(each for each in text.splitlines(keepends=True) if line not in each)


# Plans.


def test_a_file_that_says_what_there_is_changes_nothing(peopled: Store) -> None:
    for text in (BASE, exported(peopled)):
        plan = planned(peopled, text, prune=True)
        assert (list(plan.steps), list(plan.prunable), list(plan.notes)) == ([], [], [])


def test_an_export_is_the_same_to_the_byte_and_has_no_secrets(peopled: Store) -> None:
    text = exported(peopled)
    assert exported(peopled) == text
    assert "$2b$" not in text
    apply(peopled, text, prune=True)
    assert exported(peopled) == text


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (
            "patterns: [team/**], actions: [pull, push]",
            "patterns: [team/**], actions: [pull]",
            [
                f"~ edit rule 3 ({TEAM.replace('pull,push', 'pull')}): actions pull,push → pull",
                "  alice, ci lose push on team/**",
            ],
        ),
        (
            "patterns: [team/**], actions: [pull, push]",
            "patterns: [team/**], actions: [pull, push], networks: [10.0.0.0/8]",
            [
                f"~ edit rule 3 ({TEAM} from 10.0.0.0/8): networks none → 10.0.0.0/8",
                "  alice, ci lose pull,push on team/**",
            ],
        ),
        (
            "patterns: [team/**], actions: [pull, push]",
            "patterns: [team/**], actions: [pull, push], enabled: false",
            [
                f"~ disable rule 3 ({TEAM} (disabled)): enabled yes → no",
                "  alice, ci lose pull,push on team/**",
            ],
        ),
        (
            "dev: [user:alice, robot:ci]",
            "dev: [user:alice, robot:ci, user:bob]",
            [
                "+ add user:bob in group dev",
                "  bob gains pull,push on some of team/**",
            ],
        ),
        (
            "alice: {kind: user}",
            "alice: {kind: user, disabled: true}",
            ["~ disable user alice: disabled no → yes", "  alice loses pull,push on team/**"],
        ),
        (
            "bob: {kind: user}",
            "bob: {kind: user, disabled: true}",
            ["~ disable user bob: disabled no → yes", "  ci loses pull,push on team/**"],
        ),
        (
            "delegations: []",
            "  - {effect: deny, subjects: [everyone], patterns: ['*/secret'], actions: [pull]}\n",
            [
                "+ add rule (deny everyone */secret pull,push on every registry)",
                f"  {ADMIN} loses pull,push on */secret",
                f"  {ADMIN}, alice, ci lose pull,push on some of team/**",
            ],
        ),
        (
            "delegations: []",
            "  - {effect: allow, subjects: [anonymous], patterns: [team/a], actions: [pull]}\n",
            [
                "+ add rule (allow anonymous team/a pull on every registry)",
                "  anonymous, bob gain pull on team/a",
            ],
        ),
        (
            "delegations: []",
            (
                "  - {effect: deny, subjects: [user:alice], patterns: [team/*, a/**], "
                f"actions: [push], registry: {SERVICE}}}\n"
            ),
            [
                f"+ add rule (deny user:alice a/**,team/* push on {SERVICE})",
                f"  alice loses push on team/* on {SERVICE}",
            ],
        ),
        (
            "admin: true",
            "admin: true, disabled: false",
            [],
        ),
        (f"  {SERVICE}:", f"  {SERVICE}: {{token_ttl: 60}}", [
            f"~ edit registry {SERVICE}: token_ttl none → 60"
        ]),
        (f"  {SERVICE}:", f"  {SERVICE}: {{app_tokens_only: true}}", [
            f"~ edit registry {SERVICE}: app_tokens_only no → yes"
        ]),
        ("alice: {kind: user}", "alice: {kind: user, app_tokens_only: true}", [
            "~ edit user alice: app_tokens_only no → yes"
        ]),
        ("owner: bob", "owner: alice, description: x", [
            "~ edit robot ci: owner bob → alice, description none → x"
        ]),
    ],
)  # fmt: skip
def test_a_plan_shows_who_gains_or_loses(
    peopled: Store, old: str, new: str, lines: list[str]
) -> None:
    assert old in BASE
    text = BASE.replace(old, new)
    before = contents(peopled)
    assert told(planned(peopled, text)) == lines
    assert contents(peopled) == before
    apply(peopled, text)
    assert told(planned(peopled, text)) == []


@pytest.mark.parametrize(
    ("default", "set_to", "line", "notes"),
    [
        (
            f"  {SERVICE}:",
            f"  {SERVICE}: {{app_tokens_only: true}}",
            f"~ edit registry {SERVICE}: app_tokens_only yes → no",
            [f"registry {SERVICE} takes passwords again"],
        ),
        (
            f"  {SERVICE}:",
            f"  {SERVICE}: {{token_ttl: 60, refresh_tokens: false}}",
            f"~ edit registry {SERVICE}: token_ttl 60 → none, refresh_tokens no → yes",
            [],
        ),
        (
            "alice: {kind: user}",
            "alice: {kind: user, app_tokens_only: true}",
            "~ edit user alice: app_tokens_only yes → no",
            ["the password of user alice gets registry tokens again"],
        ),
    ],
)
def test_a_plan_shows_what_becomes_its_default(
    peopled: Store, default: str, set_to: str, line: str, notes: list[str]
) -> None:
    assert default in BASE
    apply(peopled, BASE.replace(default, set_to))
    plan = planned(peopled, BASE)
    assert (told(plan), plan.notes) == ([line], notes)


def test_what_the_file_does_not_name_goes_only_with_prune(peopled: Store) -> None:
    text = without(without(BASE, "team/**"), "team/x").replace("user:alice, ", "")
    plan = planned(peopled, text)
    assert (list(plan.steps), [str(step) for step in plan.prunable]) == (
        [],
        [
            f"- remove rule 3 ({TEAM})",
            "- remove rule 4 (deny user:bob team/x pull,push,delete,* on every registry)".replace(
                "pull,push,delete,*", "*"
            ),
            "- remove user:alice in group dev",
        ],
    )
    assert told(planned(peopled, text, prune=True))[:2] == [
        f"- remove rule 3 ({TEAM})",
        "  alice, ci lose pull,push on team/**",
    ]
    apply(peopled, text)
    assert planned(peopled, BASE).steps == []
    apply(peopled, text, prune=True)
    assert planned(peopled, text, prune=True).steps == []
    assert [str(step.verb) for step in planned(peopled, BASE).steps] == ["add"] * 3


def test_a_section_that_is_not_in_the_file_is_left_alone(peopled: Store) -> None:
    plan = planned(peopled, "groups: {}", prune=True)
    assert [str(step) for step in plan.steps] == ["- remove group dev"]
    assert plan.notes == [f"rule 3 ({TEAM}) goes with group:dev"]
    assert planned(peopled, "tests: []", prune=True).steps == []


def test_new_accounts_start_disabled_whatever_the_file_says(peopled: Store) -> None:
    text = BASE.replace("groups:\n", "  eve: {kind: user, disabled: false}\ngroups:\n", 1)
    plan = apply(peopled, text)
    assert plan.notes == ["user eve starts disabled"]
    with peopled.read() as session:
        assert current_state.load(session).accounts["eve"].disabled
    assert [str(step.verb) for step in planned(peopled, text).steps] == ["enable"]


def test_a_disabled_account_is_not_enabled_by_a_file_that_does_not_say_so(peopled: Store) -> None:
    do(peopled, lambda c: accounts.set_disabled(c, "alice", disabled=True))
    assert planned(peopled, BASE).steps == []


def test_a_rule_that_equals_another_without_a_removed_account_goes(peopled: Store) -> None:
    for line in ("allow user:alice b pull", "allow user:alice,robot:ci b pull"):
        with peopled.change("test") as change:
            rules.add(change, said(line))
    text = "accounts: {admin: {kind: user, admin: true}, alice: {kind: user}, bob: {kind: user}}"
    after = apply(peopled, text, prune=True).after
    assert exported(peopled) == export.export(current_state.as_policy(after))
    assert exported(peopled).count("patterns: [b]") == 1


def test_the_version_goes_up_by_as_much_as_is_recorded(peopled: Store) -> None:
    before, records = version(peopled), len(audit(peopled))
    apply(peopled, without(BASE, "team/"), prune=True)
    assert version(peopled) - before == len(audit(peopled)) - records == 2


def test_many_rules_are_edited_as_one_is(peopled: Store) -> None:
    text = (
        BASE.replace("actions: [pull, push]", "actions: [pull], comment: less")
        .replace("patterns: [team/x]", "patterns: [team/x], enabled: false")
        .replace("comment: made by init}", "comment: mine}", 1)
    )
    before = len(audit(peopled))
    apply(peopled, text)
    assert audit(peopled, before) == [
        ("acl.edit", "rule:1"),
        ("acl.edit", "rule:3"),
        ("acl.disable", "rule:4"),
    ]
    with peopled.read() as session:
        edited = {row.id: (row.edited_by, row.comment) for row in rules.listed(session)}
    assert edited == {
        1: ("cli:tester", "mine"),
        2: (None, "made by init"),
        3: ("cli:tester", "less"),
        4: ("cli:tester", ""),
    }


def test_two_rules_cannot_be_edited_to_say_the_same(peopled: Store) -> None:
    before = contents(peopled)
    with peopled.read() as session:
        third = rule_rows.as_rule(rules.get(session, 3))
    fourth = replace(third, id=4)
    with pytest.raises(Refused, match="rules 3 and 4 would say the same"):
        do(peopled, lambda c: rules.edit_all(c, [(fourth, "")]))
    with pytest.raises(NotFound, match="there is no rule 9"):
        do(peopled, lambda c: rules.edit_all(c, [(replace(third, id=9), "")]))
    assert contents(peopled) == before


def test_a_plan_says_if_it_does_not_show_all_effects(peopled: Store) -> None:
    named = ", ".join(f"t/{number}" for number in range(effects.MAX_PIECES + 1))
    deny = "{effect: deny, subjects: [user:bob], patterns: ['**'], actions: [all]}"
    allow = f"{{effect: allow, subjects: [user:bob], patterns: [{named}], actions: [pull]}}"
    apply(peopled, f"rules: [{deny}, {allow}]")
    more = "{effect: deny, subjects: [user:bob], patterns: ['t/*'], actions: [all]}"
    (told,) = planned(peopled, f"rules: [{more}]").effects
    assert (told.changes, told.more) == ([], True)


# A plan happens in a copy.


def test_a_plan_needs_neither_the_lock_nor_the_master_key(peopled: Store) -> None:
    text = BASE.replace("actions: [pull, push]", "actions: [pull]")
    with peopled.change("cli:tester"):
        plan = planned(replace(peopled, trail=NoRecorder()), text)
    assert [str(step.verb) for step in plan.steps] == ["edit"]


def test_the_copy_that_a_plan_is_made_on_holds_no_hash(peopled: Store) -> None:
    with peopled.change("cli:tester") as change:
        accounts.set_password(change, "alice", HASH)
        app_tokens.create(change, "alice", Wanted("t", None), secrets.token_bytes)
        invitations.invite(change, "bob", secrets.token_bytes)
    with peopled.read() as session:
        kept = [
            *session.scalars(select(AccountRow.password_hash)),
            *session.scalars(select(AppTokenRow.secret_hash)),
            *session.scalars(select(InvitationRow.secret_hash)),
        ]
        copied = str(StoreCopy.of(session).rows)
    hashes = [each for each in kept if each is not None]
    assert len(hashes) == 4
    assert not [each for each in hashes if each in copied]


def test_a_plan_uses_up_no_ids(peopled: Store) -> None:
    rule = "{effect: allow, subjects: [everyone], patterns: [b], actions: [pull]}"
    group = BASE.replace("groups:", "groups:\n  ops: []", 1)
    before, noted = contents(peopled), alterations(peopled)
    planned(peopled, group.replace("delegations:", f"  - {rule}\ndelegations:"))
    assert (contents(peopled), alterations(peopled)) == (before, noted)
    last = list_rules(peopled)
    row = do(peopled, lambda c: rules.add(c, said("allow everyone b pull")))
    assert row.id == len(last) + 1


def alterations(store: Store) -> Sequence[int]:
    with store.read() as session:
        return session.scalars(select(AlterationRow.id)).all()


def test_a_plan_refuses_what_applying_refuses(peopled: Store) -> None:
    with peopled.change("cli:tester") as change:
        wanted = Wanted("t", None, [app_tokens.ADMIN])
        app_tokens.create(change, "alice", wanted, secrets.token_bytes)
    text = BASE.replace("alice: {kind: user}", "alice: {kind: user, admin: true}")
    for attempt in (planned, apply):
        with pytest.raises(Refused, match="has app tokens that would administer"):
            attempt(peopled, text)


def test_notes_name_what_goes_with_a_step(delegated: Store) -> None:
    do(delegated, lambda c: rules.add(c, said("allow user:alice,user:bob b pull")))
    do(delegated, lambda c: rules.add(c, said("allow user:alice b pull")))
    text = "accounts: {admin: {kind: user, admin: true}, alice: {kind: user}}\ngroups: {}"
    assert planned(delegated, text, prune=True).notes == [
        "delegation 1 to dev ends",
        f"rule 3 ({TEAM}) goes with group:dev",
        "rule 4 (deny user:bob team/x * on every registry) goes with user:bob",
        f"rule 5 (allow user:bob pay/a pull on {SERVICE}) goes with user:bob",
        "rule 6 (allow user:alice,user:bob b pull on every registry) names user:bob no more",
        "rule 6 (allow user:alice b pull on every registry) goes: another says the same then",
    ]


# Rules that delegates wrote.


@pytest.fixture
def delegated(peopled: Store) -> Store:
    do(peopled, lambda c: delegations.add(c, "dev", SERVICE, extent("pay/**", "pull")))
    with peopled.change("api:alice") as change:
        alice = session_account(change.session, "alice")
        wanted = said("allow user:bob pay/a pull", SERVICE)
        new = delegations.covered(change.session, alice, wanted)
        delegations.write(change, alice, new, "mine")
    return peopled


def session_account(session: Any, name: str) -> Any:
    return next(row for row in accounts.listed(session) if row.name == name)


def test_what_delegates_wrote_is_neither_exported_nor_removed(delegated: Store) -> None:
    text = exported(delegated)
    assert "pay/a" not in text
    assert "pay/**" in text
    assert planned(delegated, text, prune=True).steps == []


def test_a_file_does_not_take_over_what_a_delegate_wrote(delegated: Store) -> None:
    line = f"user:bob], patterns: [pay/a], actions: [pull], registry: {SERVICE}"
    text = BASE.replace("delegations: []", f"  - {{effect: allow, subjects: [{line}, comment: x}}")
    before = contents(delegated)
    plan = apply(delegated, text)
    assert plan.steps == []
    assert "written under delegation 1: it is left to its delegate" in plan.notes[0]
    assert contents(delegated) == before


def test_a_delegation_that_is_pruned_disables_what_was_written_under_it(delegated: Store) -> None:
    plan = planned(delegated, BASE, prune=True)
    assert told(plan) == [
        f"- remove delegation to group dev: pull within pay/** on {SERVICE}",
    ]
    assert "is disabled with its delegation" in plan.notes[0]
    apply(delegated, BASE, prune=True)
    with delegated.read() as session:
        (rule,) = [e for e in current_state.load(session).rules if "pay/a" in str(e.rule)]
    assert (rule.rule.enabled, rule.delegation) == (False, None)


def test_a_delegations_comment_is_changed_without_ending_it(delegated: Store) -> None:
    text = exported(delegated).replace("pattern: pay/**", "pattern: pay/**\n    comment: why")
    apply(delegated, text)
    assert exported(delegated).count("comment: why") == 1
    assert audit(delegated)[-1] == ("acl.delegation-edit", "group:dev delegation:1")
    assert "pay/a" in str(list_rules(delegated))


def list_rules(store: Store) -> list[str]:
    with store.read() as session:
        return [str(rule) for rule in rule_rows.load(session) if rule.enabled]


# What is refused.


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("robot:ci]", "robot:ci, user:eve]", "p.yaml:9: there is no user 'eve': name it under"),
        ("robot:ci]", "user:ci]", "p.yaml:9: there is no user 'ci'; ci is a robot"),
        ("owner: bob", "owner: eve", "p.yaml:7: there is no user 'eve'"),
        ("owner: bob", "owner: ci", "p.yaml:7: there is no user 'ci'; ci is a robot"),
        ("group:dev", "group:ops", "p.yaml:15: there is no group 'ops': name it under groups"),
        ("user:bob]", "user:Bob]", "p.yaml:16: there is no user 'Bob'"),
        ("actions: [pull, push]", "actions: [pull], registry: x", "p.yaml:15: there is no r"),
        ("alice: {kind: user}", "Alice: {kind: user}", "p.yaml:5: there is alice already, and"),
        ("alice: {kind: user}", "alice: {kind: robot}", "p.yaml:5: alice is a user already"),
        ("  dev:", "  Dev:", "p.yaml:9: there is dev already, and Dev differs"),
        ("[]", "[{group: x, registry: y, pattern: a, actions: [all]}]", "p.yaml:17: there is no g"),
    ],
)  # fmt: skip
def test_a_reference_to_nothing_is_named_with_its_line(
    peopled: Store, old: str, new: str, problem: str
) -> None:
    assert old in BASE
    before = contents(peopled)
    with pytest.raises(BadPolicy) as caught:
        apply(peopled, BASE.replace(old, new))
    assert problem in str(caught.value)
    assert contents(peopled) == before


def test_what_prune_removes_cannot_be_referred_to(peopled: Store) -> None:
    text = without(BASE, "bob: {kind").replace(", owner: bob", "")
    with pytest.raises(BadPolicy, match="no user 'bob' any more: --prune removes what the file"):
        planned(peopled, text, prune=True)
    assert [str(step) for step in planned(peopled, text).prunable] == ["- remove user bob"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"accounts: {{{ADMIN}: {{kind: user}}}}", "no administrator that can log in"),
        (
            f"accounts: {{{ADMIN}: {{kind: user, admin: true, disabled: true}}}}",
            "no administrator that can log in would be left",
        ),
        ("accounts: {}", "rules deny user:bob something: rule 4"),
        ("registries: {}", "is on the registry and goes with it"),
        ("groups: {}", "rules deny group:dev something that its members gain: rule 5"),
        ("groups: {dev: []}", "rules deny group:dev something that user:alice gains: rule 5"),
    ],
)  # fmt: skip
def test_what_takes_away_safety_needs_force(peopled: Store, text: str, reason: str) -> None:
    do(peopled, lambda c: rules.add(c, said("deny group:dev a pull", SERVICE)))
    before = contents(peopled)
    assert any(reason in each for each in planned(peopled, text, prune=True).unsafe)
    with pytest.raises(Refused, match="unless forced \\(--force"):
        apply(peopled, text, prune=True)
    assert contents(peopled) == before
    after = apply(peopled, text, prune=True, force=True).after
    assert exported(peopled) == export.export(current_state.as_policy(after))


def test_a_plan_that_is_another_one_now_is_refused(peopled: Store) -> None:
    text = BASE.replace("actions: [pull, push]", "actions: [pull]")
    seen = planned(peopled, text).id
    do(peopled, lambda c: accounts.add_user(c, "eve", None))
    apply(peopled, BASE, expect=planned(peopled, BASE).id)
    assert planned(peopled, text).id == seen, "what is beside it makes no difference"
    do(peopled, lambda c: groups.add_member(c, "dev", "eve"))
    with pytest.raises(Refused, match="the plan is another one now"):
        apply(peopled, text, expect=seen)
    apply(peopled, text, expect=planned(peopled, text).id)


def test_the_records_are_those_of_the_command_line(store: Store) -> None:
    before = len(audit(store))
    apply(store, BASE)
    assert audit(store, before) == [
        ("user.add", "user:alice"),
        ("user.add", "user:bob"),
        ("robot.add", "robot:ci"),
        ("group.add", "group:dev"),
        ("group.add-member", "group:dev"),
        ("group.add-member", "group:dev"),
        ("acl.allow", "rule:3"),
        ("acl.deny", "rule:4"),
    ]
    before = len(audit(store))
    gone = without(without(BASE, "team/"), "dev:").replace("groups:", "groups: {}")
    apply(store, gone, prune=True)
    assert audit(store, before) == [
        ("acl.remove", "rule:3"),
        ("acl.remove", "rule:4"),
        ("group.remove", "group:dev"),
    ]


# Laws.

NAMES = ("a", "a/b", "a/b/c", "b", "c/b", "alice", "alice/x")
PATTERNS = ("**", "*", "a", "a/*", "a/**", "*/b", "b", "{account}", "{account}/**", "alice/**")
SUBJECTS = ("user:alice", "user:bob", "robot:ci", "group:dev", "group:ops", "everyone",
            "authenticated", "anonymous")  # fmt: skip
ACTIONS = ("pull", "push", "delete", "pull,push", "all", "all")
ADDRESSES = ("10.0.0.1", "192.0.2.1")
MEMBERS = (("user", "alice"), ("user", "bob"), ("robot", "ci"))


@st.composite
def statements(draw: st.DrawFn) -> RuleEntry:
    about = draw(st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=2))
    wide = st.sampled_from(PATTERNS) | st.just("**")
    rule = new_rule(
        draw(st.sampled_from(Effect)),
        subjects(",".join(about)),
        draw(st.lists(wide, min_size=1, max_size=2)),
        draw(st.sampled_from(ACTIONS)),
        service=draw(st.sampled_from([None, None, None, "r1"])),
        networks=draw(st.sampled_from([(), (), (), ("10.0.0.0/8",)])),
        valid_from=draw(st.sampled_from([None, None, None, NOON - timedelta(days=1)])),
        valid_until=draw(st.sampled_from([None, None, None, NOON + timedelta(days=1)])),
        enabled=draw(st.sampled_from([True, True, True, False])),
    )
    return RuleEntry(rule, draw(st.sampled_from(["", "why"])))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw a policy of the same few names, of which each may refer to each."""
    flag = st.sampled_from([False, False, True])
    people = {
        name: AccountEntry(name, AccountKind(kind), disabled=draw(flag)) for kind, name in MEMBERS
    }
    people["ci"] = replace(
        people["ci"],
        owner=draw(st.sampled_from([None, "alice", "bob"])),
        outlives_owner=draw(st.booleans()),
    )
    names = draw(st.sampled_from([("dev", "ops"), ("dev", "ops"), ("dev",)]))
    written = draw(st.lists(statements(), max_size=6))
    written = [e for e in written if "ops" in names or "group:ops" not in str(e.rule)]
    return Policy(
        registries={"r1": RegistryEntry("r1"), "r2": RegistryEntry("r2")},
        accounts=people,
        groups={name: GroupEntry(name, draw(_members)) for name in names},
        rules=list({each.meaning: each for each in written}.values()),
        delegations=[],
    )


_subjects = st.sampled_from([Subject(SubjectKind(kind), name) for kind, name in MEMBERS])
_members = st.frozensets(_subjects)


def standing(policy: Policy) -> PolicyState:
    """Return what there is once a policy was applied, and its accounts enabled as it says."""
    applied = policy_plan.applied(policy)
    numbered = count(1)
    return replace(
        applied,
        rules=[replace(e, rule=replace(e.rule, id=next(numbered))) for e in applied.rules],
    )


def granted(there: PolicyState, name: str, service: str, repository: str, address: str) -> set[str]:
    if name != ANONYMOUS and there.is_disabled(name):
        return set()
    account = None if name == ANONYMOUS else there.asking()[name]
    scope = Scope("repository", repository, ("pull", "push", "delete"))
    here = Circumstances(ip_address(address), NOON)
    found = decide([e.rule for e in there.rules], account, service, scope, None, here)
    return set(found.granted)


@given(policies(), policies(), st.booleans())
@settings(max_examples=150)
def test_effects_name_exactly_the_accounts_whose_decisions_differ(
    old: Policy, new: Policy, prune: bool
) -> None:
    before = standing(old)
    with StoreCopy(NOON).opened() as change:
        policy_plan.apply(change, old)
        _enable(change, old)
        plan = policy_plan.apply(change, new, prune=prune, force=True)
    every = [each for effects in plan.effects for each in effects.changes]
    for name in (ANONYMOUS, *before.accounts):
        for service in ("r1", "r2"):
            for repository in NAMES:
                for address in ADDRESSES:
                    where = (name, service, repository, address)
                    had, has = granted(before, *where), granted(plan.after, *where)
                    for action in has - had:
                        assert _is_told(every, where, action, gains=True)
                    for action in had - has:
                        assert _is_told(every, where, action, gains=False)
                    for each in every:
                        if _speaks(each, where) and not each.some:
                            assert set(each.actions) <= (has if each.gains else had)


def _is_told(
    every: Sequence[AccessChange], where: tuple[str, ...], action: str, *, gains: bool
) -> bool:
    return any(e.gains == gains and action in e.actions and _speaks(e, where) for e in every)


def _speaks(each: AccessChange, where: tuple[str, ...]) -> bool:
    name, service, repository, address = where
    asking = None if name == ANONYMOUS else name
    here = Circumstances(ip_address(address), NOON)
    return (
        name in each.names
        and each.piece.service in (None, service)
        and each.piece.pattern.matches(repository, asking)
        and not any(part.unmet(here) for part in each.piece.conditions.parts)
    )


@given(policies())
@settings(max_examples=60)
def test_a_policy_comes_back_from_its_file(policy: Policy) -> None:
    there = standing(policy)
    text = export.export(current_state.as_policy(there))
    again = read(text)
    found = differences(there, again)
    assert (found.changes, found.removals) == ([], [])
    assert export.export(again) == text
    assert _content(again) == _content(current_state.as_policy(there))


def _content(policy: Policy) -> Any:
    """Return what a policy says, not by way of what is written: that might leave something out."""
    accounts = (policy.accounts or {}).values()
    return (
        policy.registries,
        {replace(account, disabled=bool(account.disabled)) for account in accounts},
        {(group.name, group.members) for group in (policy.groups or {}).values()},
        {(each.meaning, each.rule.enabled, each.comment) for each in policy.rules or ()},
    )


@pytest.fixture
def fresh(template: Path, tmp_path: Path) -> Any:
    """Give a store with nothing in it but what init makes, as often as it is asked for."""
    numbers = count()

    @contextmanager
    def make() -> Iterator[Store]:
        data_dir = stores.copied(template, tmp_path / f"fresh-{next(numbers)}")
        store = stores.opened(data_dir)
        try:
            yield store
        finally:
            store.engine.dispose()
            stores.drop_below(data_dir)

    return make


@given(policies(), policies(), st.booleans())
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_done_is_what_was_planned(
    fresh: Any, old: Policy, new: Policy, prune: bool
) -> None:
    with fresh() as store:
        text = export.export(old)
        apply(store, text, prune=True, force=True)
        do(store, lambda c: _enable(c, old))
        assert exported(store) == text, "an export that is applied is what it was"
        for each in (new, old):
            plan = apply(store, export.export(each), prune=prune, force=True)
            assert exported(store) == export.export(current_state.as_policy(plan.after))
            assert planned(store, export.export(each), prune=prune).steps == []
        assume(prune)
        do(store, lambda c: _enable(c, old))
        _require_same_decisions(store, old)


def _enable(change: Change, policy: Policy) -> None:
    for account in (policy.accounts or {}).values():
        accounts.set_disabled(change, account.name, disabled=bool(account.disabled))


def _require_same_decisions(store: Store, policy: Policy) -> None:
    with store.read() as session:
        there, meant = current_state.load(session), standing(policy)
    names = (ANONYMOUS, *meant.accounts)
    for where in product(names, ("r1", "r2"), NAMES, ADDRESSES):
        assert granted(there, *where) == granted(meant, *where)


# What goes with what is removed.

LAST = "only registry that was asked for tokens in the past day"


def test_a_plan_tells_the_credentials_that_go_with_accounts(peopled: Store) -> None:
    wanted = Wanted("laptop", timedelta(days=1), (), ())
    do(peopled, lambda c: app_tokens.create(c, "alice", wanted, secrets.token_bytes))
    text = without(BASE, "  alice:").replace("[user:alice, robot:ci]", "[robot:ci]")
    plan = planned(peopled, text, prune=True)
    assert plan.goes == ["goes with the removed accounts: 1 app token: 1 (laptop of alice)"]
    assert planned(peopled, text).goes == []
    assert plan.as_json()["goes"] == plan.goes
    assert apply(peopled, text, prune=True, force=True, expect=plan.id).goes == plan.goes


def test_a_plan_tells_the_invitations_that_go_with_accounts(peopled: Store) -> None:
    do(peopled, lambda c: invitations.invite(c, "alice", secrets.token_bytes))
    text = without(BASE, "  alice:").replace("[user:alice, robot:ci]", "[robot:ci]")
    plan = planned(peopled, text, prune=True)
    assert plan.goes == ["goes with the removed accounts: 1 invitation: alice"]
    assert apply(peopled, text, prune=True, force=True, expect=plan.id).goes == plan.goes


@pytest.mark.parametrize("new", ["disabled: true", "admin: true"])
def test_a_plan_tells_the_invitations_that_end_with_a_change(peopled: Store, new: str) -> None:
    do(peopled, lambda c: invitations.invite(c, "alice", secrets.token_bytes))
    text = BASE.replace("alice: {kind: user", f"alice: {{kind: user, {new}")
    plan = planned(peopled, text)
    assert plan.goes == ["goes with the changed accounts: 1 invitation: alice"]
    assert apply(peopled, text, expect=plan.id).goes == plan.goes


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (f"  {SERVICE}:", f"  {SERVICE}: {{app_tokens_only: true}}", "registries"),
        (f"  {SERVICE}:", f"  {SERVICE}: {{refresh_tokens: false}}", "registries"),
        ("alice: {kind: user", "alice: {kind: user, app_tokens_only: true", "accounts"),
        ("alice: {kind: user", "alice: {kind: user, disabled: true", "accounts"),
    ],
)
def test_a_plan_tells_the_logins_that_end_with_a_change(
    peopled: Store, old: str, new: str, kind: str
) -> None:
    with peopled.change("cli:tester") as change:
        accounts.set_password(change, "alice", HASH)
        log_in(change, "alice", "secret")
    plan = planned(peopled, BASE.replace(old, new))
    assert plan.goes == [f"goes with the changed {kind}: 1 login: 1 (alice on {SERVICE})"]
    assert apply(peopled, BASE.replace(old, new), expect=plan.id).goes == plan.goes
    with peopled.read() as session:
        assert refresh_tokens.listed(session) == []


def test_a_plan_tells_no_logins_that_stay(peopled: Store) -> None:
    with peopled.change("cli:tester") as change:
        accounts.set_password(change, "alice", HASH)
        log_in(change, "alice", "secret")
    text = BASE.replace(f"  {SERVICE}:", f"  {SERVICE}: {{token_ttl: 60}}")
    text = text.replace("alice: {kind: user", "alice: {kind: user, admin: true")
    assert (len(planned(peopled, text).steps), planned(peopled, text).goes) == (2, [])


def test_a_login_in_between_makes_no_other_plan(peopled: Store) -> None:
    text = without(BASE, "  alice:").replace("[user:alice, robot:ci]", "[robot:ci]")
    plan = planned(peopled, text, prune=True)
    wanted = Wanted("laptop", timedelta(days=1), (), ())
    do(peopled, lambda c: app_tokens.create(c, "alice", wanted, secrets.token_bytes))
    assert planned(peopled, text, prune=True).id == plan.id


def test_the_only_registry_in_use_is_pruned_by_force_only(peopled: Store) -> None:
    record_requests(peopled, SERVICE)
    text = BASE.replace(f"  {SERVICE}:\n", "  new:\n")
    plan = planned(peopled, text, prune=True)
    assert [LAST in line for line in plan.unsafe] == [True]
    assert not planned(peopled, text).unsafe
    with pytest.raises(Refused, match=LAST):
        apply(peopled, text, prune=True)
    assert apply(peopled, text, prune=True, force=True).id == plan.id


def test_a_registry_is_pruned_beside_another_in_use(peopled: Store) -> None:
    apply(peopled, BASE.replace(f"  {SERVICE}:\n", f"  {SERVICE}:\n  other:\n"))
    record_requests(peopled, SERVICE, "other")
    assert not planned(peopled, BASE, prune=True).unsafe


def test_a_plan_warns_of_rules_that_lint_calls_an_error(peopled: Store) -> None:
    text = BASE.replace(
        "delegations: []",
        """\
  - {effect: allow, subjects: [everyone], patterns: ['**'], actions: [push]}
  - {effect: allow, subjects: [user:bob], patterns: [Team/**], actions: [pull]}
delegations: []""",
    )
    warnings = [note for note in planned(peopled, text).notes if note.startswith("Warning")]
    assert [note.partition("(allow")[0] for note in warnings] == [
        "Warning: rule ",
        "Warning: rule ",
    ]
    assert "without credentials (public-write): change it in the file" in warnings[0]
    assert "(host-only)" in warnings[1]
    apply(peopled, text)
    # What is there already is for acl lint.
    assert not planned(peopled, text).notes
