"""`was` in a policy file: an account or a group goes on under another name."""

import secrets
from typing import Any

import pytest
from sqlalchemy import select

from authserver.core.errors import Refused
from authserver.db import app_tokens
from authserver.db.app_tokens import Wanted
from authserver.db.models import AccountRow, AuditRecord, GroupRow
from authserver.db.store import Store
from tests.unit.policy.test_plan import BASE, apply, exported, peopled, planned, read, told

__all__ = ["peopled"]

RENAMED = (
    BASE.replace("  alice: {kind: user}", "  alicia: {kind: user, was: alice}")
    .replace("dev: [user:alice, robot:ci]", "devs: {members: [user:alicia, robot:ci], was: dev}")
    .replace("group:dev]", "group:devs]")
)


def ids(store: Store) -> dict[str, int]:
    with store.read() as session:
        rows = [*session.scalars(select(AccountRow)), *session.scalars(select(GroupRow))]
        return {row.name: row.id for row in rows}


def test_a_renamed_account_and_group_keep_all_they_have(peopled: Store) -> None:
    before = ids(peopled)
    with peopled.change("cli:tester") as change:
        app_tokens.create(change, "alice", Wanted("t", None), secrets.token_bytes)
    steps = ["~ rename user alice to alicia", "~ rename group dev to devs"]
    assert told(planned(peopled, RENAMED, prune=True)) == steps
    assert told(apply(peopled, RENAMED, prune=True)) == steps
    after = ids(peopled)
    assert (after["alicia"], after["devs"]) == (before["alice"], before["dev"])
    assert not {"alice", "dev"} & after.keys()
    with peopled.read() as session:
        assert len(app_tokens.listed(session, "alicia")) == 1
        actions = set(session.scalars(select(AuditRecord.action)))
    assert {"user.rename", "group.rename"} <= actions


def test_a_rename_that_is_done_asks_for_nothing(peopled: Store) -> None:
    apply(peopled, RENAMED)
    assert told(planned(peopled, RENAMED, prune=True)) == []
    assert "was" not in exported(peopled)


def test_the_former_name_may_be_somebody_elses_at_once(peopled: Store) -> None:
    text = RENAMED.replace("  bob:", "  alice: {kind: user}\n  bob:")
    before = ids(peopled)
    for _ in range(2):
        apply(peopled, text)
    after = ids(peopled)
    assert after["alicia"] == before["alice"]
    assert after["alice"] not in before.values()


def test_names_that_move_up_are_renamed_in_an_order_that_works(peopled: Store) -> None:
    before = ids(peopled)
    text = "accounts:\n  bob: {kind: user, was: alice}\n  bert: {kind: user, was: bob}"
    apply(peopled, text)
    after = ids(peopled)
    assert (after["bob"], after["bert"]) == (before["alice"], before["bob"])


def test_who_was_never_there_is_new(peopled: Store) -> None:
    (step,) = told(planned(peopled, "accounts: {dora: {kind: user, was: dorothy}}"))
    assert step == "+ add user dora"


def test_a_plan_says_which_repositories_follow_the_name(peopled: Store) -> None:
    rule = (
        "  - {effect: allow, subjects: [everyone], patterns: ['{account}/**'], actions: [pull]}\n"
    )
    apply(peopled, BASE.replace("delegations:", f"{rule}delegations:"))
    plan = planned(peopled, "accounts: {alicia: {kind: user, was: alice}}")
    assert plan.notes == [
        "{account} in patterns stands for alicia now: repositories under alice/ stay where they are"
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("accounts: {ci2: {kind: user, was: ci}}", "ci2 is a robot already: remove it first"),
        ("accounts: {BOB: {kind: user, was: alice}}", "bob"),
        ("accounts: {a: {kind: user, was: ''}}", "was has no value"),
        ("accounts: {a: {kind: user, was: 'a b'}}", "a b"),
        (
            "accounts: {a: {kind: user, was: bob}, c: {kind: user, was: bob}}",
            "was bob says the entry on line 1 too",
        ),
        ("groups: {devs: {was: [dev]}}", "p.yaml:1: was is one line of text"),
        ("groups: {devs: {membrs: []}}", "p.yaml:1: unknown key 'membrs'; is members meant?"),
        ("groups: {devs: {members: [group:x]}}", "a member is user:NAME or robot:NAME"),
        ("groups: {devs: text}", "devs is a list; write [] for none"),
    ],
)
def test_a_rename_that_cannot_be_is_refused(peopled: Store, text: str, why: str) -> None:
    before = ids(peopled)
    for attempt in (planned, apply):
        with pytest.raises(Refused) as refused:
            attempt(peopled, text)
        assert why in str(refused.value)
    assert ids(peopled) == before


@pytest.mark.parametrize("members", ["[]", "{}", "{members: []}", "{was: devs}"])
def test_a_group_may_be_a_list_or_a_mapping(members: str) -> None:
    group: Any = (read(f"groups: {{dev: {members}}}").groups or {})["dev"]
    assert (group.name, group.members) == ("dev", frozenset())
