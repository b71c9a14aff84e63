"""Undoing the latest change of rules."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from authserver.core.errors import NotFound, Refused
from authserver.db import accounts, delegations, groups, rule_history, rule_rows, rules
from authserver.db.delegations import extent
from authserver.db.models import AccountRow, AuditRecord
from authserver.db.store import Change, Store
from authserver.registry import entries
from tests.unit.db.test_store import audit, do, granted, group, registry, said, seen, user
from tests.world import SERVICE, Clock

Act = Callable[[Change], Any]


@pytest.fixture
def peopled(store: Store, clock: Clock) -> Store:
    """The store of ``init`` (rules 1 and 2) with alice and bob in dev, and rules 3 and 4."""
    do(store, user("alice"), user("bob"), user("carol"), group("dev", "alice", "bob"))
    do(store, registry("r2"))
    then(store, clock, lambda c: rules.add(c, said("allow group:dev team/** pull"), "the team"))
    then(store, clock, lambda c: rules.add(c, said("deny user:bob team/x pull", "r2")))
    return store


def then(store: Store, clock: Clock, *acts: Act) -> Any:
    clock.move(timedelta(seconds=1))
    return do(store, *acts)


def undone(store: Store, clock: Clock) -> None:
    clock.move(timedelta(seconds=1))
    with store.change("cli:tester") as change:
        rule_history.undo(change, rule_history.latest(change.session).id)


def states(store: Store) -> list[dict[str, Any]]:
    with store.read() as session:
        return [rule_rows.recorded(row) for row in rules.listed(session)]


def edit(number: int, line: str, comment: str | None = None, service: str | None = None) -> Act:
    return lambda c: rules.edit(c, number, said(line, service), comment)


def switch(number: int, *, enabled: bool) -> Act:
    return lambda c: rules.set_enabled(c, number, enabled=enabled)


CHANGES: dict[str, Act] = {
    "add": lambda c: rules.add(c, said("allow user:alice,group:dev b/**,a push"), "new"),
    "add, disabled": lambda c: rules.add(c, said("deny everyone x/* pull", enabled=False)),
    "edit": edit(3, "allow user:carol,group:dev team/* pull,push", "other", "r2"),
    "comment": edit(3, "allow group:dev team/** pull", "why"),
    "conditions": lambda c: rules.edit(
        c, 4, said("deny user:bob team/x pull", "r2", networks=["10.0.0.0/8"])
    ),
    "disable": switch(3, enabled=False),
    "remove": lambda c: rules.remove(c, 3),
    "remove the deny": lambda c: rules.remove(c, 4),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_undone_is_as_it_was(peopled: Store, clock: Clock, name: str) -> None:
    before = states(peopled)
    then(peopled, clock, CHANGES[name])
    after = states(peopled)
    assert after != before
    undone(peopled, clock)
    assert states(peopled) == before
    action, target = audit(peopled)[-1]
    assert (action, target.split()[1][:7]) == ("acl.undo", "change:")
    undone(peopled, clock)
    assert states(peopled) == after
    undone(peopled, clock)
    assert states(peopled) == before


def test_an_edit_that_also_disables_is_one_change(peopled: Store, clock: Clock) -> None:
    before = states(peopled)
    acts = (edit(3, "allow group:dev team/** push"), switch(3, enabled=False))
    then(peopled, clock, *acts)
    undone(peopled, clock)
    assert states(peopled) == before


SCOPES = ("repository:team/app:pull,push", "repository:team/x:pull", "repository:b/c:push")


def decisions(store: Store) -> list[tuple[str, ...]]:
    return [granted(store, name, scope) for name in ("alice", "bob") for scope in SCOPES]


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.booleans()), max_size=6))
def test_any_changes_each_undone_leave_rules_and_decisions(
    peopled: Store, clock: Clock, drawn: list[tuple[str, bool]]
) -> None:
    rules_before, decided = states(peopled), decisions(peopled)
    for name, again in drawn:
        then(peopled, clock, CHANGES[name])
        for _ in range(3 if again else 1):
            undone(peopled, clock)
        assert states(peopled) == rules_before
    assert decisions(peopled) == decided
    assert [rule.id for rule in seen(peopled).rules] == [1, 2, 3, 4]


def test_only_what_was_shown_is_undone(peopled: Store, clock: Clock) -> None:
    then(peopled, clock, CHANGES["comment"])
    with peopled.read() as session:
        shown = rule_history.latest(session)
    then(peopled, clock, CHANGES["disable"])
    before = states(peopled)
    with pytest.raises(Refused, match="another one now"):
        do(peopled, lambda c: rule_history.undo(c, shown.id))
    assert states(peopled) == before


# What is refused.


def remake(name: str) -> Iterator[Act]:
    yield lambda c: accounts.remove(c, name, force=True)
    yield user(name)


def take(name: str, other: str) -> Iterator[Act]:
    yield lambda c: accounts.rename(c, name, "former")
    yield lambda c: accounts.rename(c, other, name)


@pytest.mark.parametrize(
    ("acts", "refusal"),
    [
        ([lambda c: accounts.remove(c, "bob")], "there is no user 'bob'"),
        (list(remake("bob")), "user:bob is another one"),
        (list(take("bob", "carol")), "user:bob was renamed since"),
        ([lambda c: entries.remove(c, "r2")], "there is no registry"),
        ([lambda c: entries.remove(c, "r2"), registry("r2")], "registry r2 is another one"),
    ],
    ids=["removed", "made again", "renamed", "no registry", "another registry"],
)
def test_a_rule_does_not_come_back_for_somebody_else(
    peopled: Store, clock: Clock, acts: list[Act], refusal: str
) -> None:
    then(peopled, clock, CHANGES["remove the deny"])
    for act in acts:
        then(peopled, clock, act)
    before = states(peopled)
    with pytest.raises(Refused, match=refusal):
        undone(peopled, clock)
    assert states(peopled) == before


@pytest.mark.parametrize(
    "acts",
    [
        [CHANGES["comment"], CHANGES["remove the deny"]],
        [lambda c: accounts.remove(c, "bob", force=True)],
        [lambda c: groups.remove(c, "dev")],
        [lambda c: entries.remove(c, "r2", force=True)],
    ],
    ids=["two rules", "an account", "a group", "a registry"],
)
def test_what_changed_more_than_one_rule_is_refused(
    peopled: Store, clock: Clock, acts: list[Act]
) -> None:
    then(peopled, clock, *acts)
    with pytest.raises(Refused, match="cannot be undone as one: apply a policy file"):
        undone(peopled, clock)


def test_a_record_of_an_earlier_version_names_the_command(peopled: Store, clock: Clock) -> None:
    then(peopled, clock, lambda c: c.record("acl.disable", "rule:3"))
    with pytest.raises(Refused, match=r"earlier version.*authserver acl enable 3"):
        undone(peopled, clock)


def test_without_a_record_there_is_nothing_to_undo(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(delete(AuditRecord))
    with store.read() as session, pytest.raises(NotFound, match="no change of rules"):
        rule_history.latest(session)


# Delegates.


@pytest.fixture
def delegated(peopled: Store, clock: Clock) -> Store:
    """alice and bob may write allows within team/**."""
    to = extent("team/**", "pull,push")
    then(peopled, clock, lambda c: delegations.add(c, "dev", SERVICE, to))
    return peopled


def as_delegate(store: Store, clock: Clock, name: str, act: Callable[..., Any]) -> Any:
    clock.move(timedelta(seconds=1))
    with store.change(f"account:{name}") as change:
        author = change.session.scalars(select(AccountRow).filter_by(name=name)).one()
        return act(change, author)


def write(line: str) -> Callable[[Change, AccountRow], int]:
    def act(change: Change, author: AccountRow) -> int:
        new = delegations.covered(change.session, author, said(line, SERVICE))
        return delegations.write(change, author, new).id

    return act


def take_back(change: Change, author: AccountRow) -> None:
    rule_history.undo(change, rule_history.latest(change.session, author).id, author)


def test_a_delegate_undoes_the_latest_of_their_own(delegated: Store, clock: Clock) -> None:
    before = states(delegated)
    number = as_delegate(delegated, clock, "alice", write("allow user:carol team/a pull"))
    mine = states(delegated)
    as_delegate(delegated, clock, "bob", write("allow user:carol team/b pull"))
    as_delegate(delegated, clock, "bob", take_back)
    assert states(delegated) == mine
    as_delegate(delegated, clock, "alice", lambda c, _: rules.remove(c, number))
    as_delegate(delegated, clock, "alice", take_back)
    assert states(delegated) == mine
    assert mine[-1]["author"]
    as_delegate(delegated, clock, "alice", take_back)
    as_delegate(delegated, clock, "alice", take_back)
    then(delegated, clock, lambda c: rules.remove(c, number))
    with pytest.raises(Refused, match="not as the latest change of it left it"):
        as_delegate(delegated, clock, "alice", take_back)
    undone(delegated, clock)
    assert states(delegated) == mine
    then(delegated, clock, edit(number, "allow user:carol team/a push", service=SERVICE))
    with pytest.raises(Refused):
        as_delegate(delegated, clock, "alice", take_back)
    undone(delegated, clock)
    assert states(delegated) == mine != before


def test_a_delegate_undoes_nothing_of_others(delegated: Store, clock: Clock) -> None:
    then(delegated, clock, CHANGES["comment"])
    with pytest.raises(NotFound):
        as_delegate(delegated, clock, "alice", take_back)
    # Written as an administrator, so that it is no delegate's rule.
    as_delegate(delegated, clock, "alice", lambda c, _: rules.remove(c, 4))
    with pytest.raises(Refused, match="was not yours"):
        as_delegate(delegated, clock, "alice", take_back)
    as_delegate(delegated, clock, "alice", lambda c, _: CHANGES["add"](c))
    with pytest.raises(Refused, match="is not yours"):
        as_delegate(delegated, clock, "alice", take_back)


def test_a_delegate_does_not_inherit_a_name(delegated: Store, clock: Clock) -> None:
    number = as_delegate(delegated, clock, "alice", write("allow user:carol team/a pull"))
    as_delegate(delegated, clock, "alice", lambda c, _: rules.remove(c, number))
    then(delegated, clock, lambda c: accounts.rename(c, "alice", "former"))
    then(delegated, clock, lambda c: accounts.rename(c, "bob", "alice"))
    with pytest.raises(Refused, match="renamed since"):
        as_delegate(delegated, clock, "alice", take_back)


def test_a_delegate_without_the_delegation_undoes_nothing(delegated: Store, clock: Clock) -> None:
    number = as_delegate(delegated, clock, "alice", write("allow user:carol team/a pull"))
    as_delegate(delegated, clock, "alice", lambda c, _: rules.remove(c, number))
    then(delegated, clock, lambda c: delegations.end(c, 1))
    with pytest.raises(Refused, match="a delegation that has ended"):
        as_delegate(delegated, clock, "alice", take_back)
    with pytest.raises(Refused, match="a delegation that has ended"):
        undone(delegated, clock)
