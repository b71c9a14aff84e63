"""Rules and delegations in the store: writing, editing, and what becomes of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from authserver.core.errors import NotFound, Refused
from authserver.core.rules import Rule
from authserver.db import accounts, delegations, groups, rule_rows, rules
from authserver.db.delegations import Covered, extent
from authserver.db.models import AccountRow, DelegationRow
from authserver.db.store import Change, Store
from authserver.registry import entries
from tests.unit.db.test_store import audit, contents, do, group, registry, said, seen, user
from tests.world import SERVICE, Clock

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def peopled(store: Store) -> Store:
    """The store of ``init`` (rules 1 and 2) with alice and bob in dev, carol in nothing."""
    do(store, user("alice"), user("bob"), user("carol"), group("dev", "alice", "bob"), group("ops"))
    do(store, registry("r2"))
    return store


def add(store: Store, line: str, **more: Any) -> int:
    number: int = do(store, lambda c: rules.add(c, said(line, **more))).id
    return number


def texts(store: Store) -> dict[int, str]:
    return {rule.id: str(rule) for rule in seen(store).rules if rule.id > 2}


# Writing.


def test_a_rule_comes_back_as_it_was_written(peopled: Store) -> None:
    wanted = said(
        "deny user:bob,group:dev,anonymous b/*,a push,delete",
        SERVICE,
        networks=["10.0.0.0/8", "2001:db8::/32"],
        valid_from=NOON,
        valid_until=NOON + timedelta(days=1),
        enabled=False,
    )
    number = do(peopled, lambda c: rules.add(c, wanted, "why")).id
    (loaded,) = [rule for rule in seen(peopled).rules if rule.id == number]
    with peopled.read() as session:
        row = rules.get(session, number)
        assert rule_rows.as_rule(row) == loaded
        assert rule_rows.described(row)["comment"] == "why"
    assert str(loaded) == str(wanted)


@pytest.mark.parametrize(
    ("more", "other"),
    [
        ({}, {"networks": ["10.0.0.0/8"]}),
        ({"networks": ["10.0.0.0/8"]}, {"networks": ["10.0.0.0/9"]}),
        ({}, {"valid_until": NOON}),
        ({"valid_from": NOON}, {"valid_until": NOON}),
        ({}, {"service": "r2"}),
    ],
)
def test_what_differs_in_a_condition_is_no_duplicate(
    peopled: Store, more: dict[str, Any], other: dict[str, Any]
) -> None:
    add(peopled, "allow user:alice,user:bob a pull", **more)
    add(peopled, "allow user:alice,user:bob a pull", **other)
    with pytest.raises(Refused, match="there already"):
        add(peopled, "allow user:bob,user:alice a pull", **more)


@pytest.mark.parametrize(
    "line", ["allow user:alice a pull", "allow user:alice,user:bob,group:dev a pull"]
)
def test_fewer_or_more_subjects_are_no_duplicate(peopled: Store, line: str) -> None:
    add(peopled, "allow user:alice,user:bob a pull")
    assert add(peopled, line)


def test_a_disabled_duplicate_is_to_be_enabled(peopled: Store) -> None:
    number = add(peopled, "allow user:alice a pull", enabled=False)
    with pytest.raises(Refused, match=f"authserver acl enable {number}"):
        add(peopled, "allow user:alice a pull")


@pytest.mark.parametrize(
    ("line", "service"),
    [
        ("allow user:nobody a pull", None),
        ("allow group:no a pull", None),
        ("deny anonymous a pull", "no"),
    ],
)
def test_what_does_not_exist_is_not_found_and_nothing_is_written(
    peopled: Store, line: str, service: str | None
) -> None:
    before = contents(peopled)
    with pytest.raises(NotFound):
        add(peopled, line, service=service)
    assert contents(peopled) == before


# Editing, disabling.


def test_an_edit_changes_what_a_rule_says_and_who_edited_it(peopled: Store, clock: Clock) -> None:
    number = add(peopled, "allow user:alice a pull")
    clock.move(timedelta(hours=1))
    wanted = said("allow group:dev,user:carol b,c/** push", "r2", networks=["10.0.0.0/8"])
    row, changed = do(peopled, lambda c: rules.edit(c, number, wanted, "moved"))
    assert changed
    assert texts(peopled) == {number: str(wanted)}
    described = rule_rows.described(row)
    assert (described["comment"], described["edited_by"]) == ("moved", "cli:tester")
    assert described["edited_at"] == clock.at.isoformat()
    with peopled.read() as session:
        assert len(rules.get(session, number).subjects) == 2
    assert audit(peopled)[-1] == ("acl.edit", f"rule:{number}")


def test_an_edit_that_changes_nothing_writes_nothing(peopled: Store) -> None:
    number = add(peopled, "allow user:alice,user:bob a pull")
    before = contents(peopled)
    _, changed = do(
        peopled, lambda c: rules.edit(c, number, said("allow user:bob,user:alice a pull"))
    )
    assert not changed
    assert contents(peopled) == before


def test_an_edit_into_what_another_rule_says_is_refused(peopled: Store) -> None:
    number = add(peopled, "allow user:alice a pull")
    add(peopled, "allow user:alice b pull")
    before = contents(peopled)
    with pytest.raises(Refused, match="there already"):
        do(peopled, lambda c: rules.edit(c, number, said("allow user:alice b pull")))
    with pytest.raises(NotFound):
        do(peopled, lambda c: rules.edit(c, number, said("allow user:nobody b pull")))
    assert contents(peopled) == before


def test_a_disabled_rule_stays_and_says_so(peopled: Store) -> None:
    number = add(peopled, "allow user:alice a pull")
    assert do(peopled, lambda c: rules.set_enabled(c, number, enabled=False))
    assert not do(peopled, lambda c: rules.set_enabled(c, number, enabled=False))
    assert texts(peopled)[number].endswith("(disabled)")
    assert do(peopled, lambda c: rules.set_enabled(c, number, enabled=True))
    assert audit(peopled)[-2:] == [
        ("acl.disable", f"rule:{number}"),
        ("acl.enable", f"rule:{number}"),
    ]


# What becomes of a rule when somebody whom it names goes.


def test_a_rule_stays_for_the_others_that_it_names(peopled: Store) -> None:
    number = add(peopled, "allow user:alice,user:carol a pull")
    (became,) = do(peopled, lambda c: accounts.remove(c, "alice"))
    assert became.endswith("names it no more")
    assert texts(peopled) == {number: "allow user:carol a pull on every registry"}
    assert ("acl.edit", f"rule:{number}") in audit(peopled)


def test_a_rule_that_named_only_what_is_gone_goes(peopled: Store) -> None:
    add(peopled, "allow group:ops a pull")
    do(peopled, lambda c: groups.remove(c, "ops"))
    assert texts(peopled) == {}


@pytest.mark.parametrize(
    ("first", "second"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_of_two_that_say_the_same_then_the_one_in_force_stays(
    peopled: Store, first: bool, second: bool
) -> None:
    one = add(peopled, "allow user:alice,user:carol a pull", enabled=first)
    other = add(peopled, "allow user:carol a pull", enabled=second)
    do(peopled, lambda c: accounts.remove(c, "alice"))
    left = texts(peopled)
    assert len(left) == 1
    assert left.get(other if second or not first else one, "").startswith("allow user:carol a pull")
    assert "disabled" in "".join(left.values()) or first or second


def test_a_deny_that_names_several_still_holds_an_account_back(peopled: Store) -> None:
    add(peopled, "deny user:alice,user:carol a pull")
    with pytest.raises(Refused, match="say --force"):
        do(peopled, lambda c: accounts.remove(c, "alice"))
    do(peopled, lambda c: accounts.remove(c, "alice", force=True))
    assert list(texts(peopled).values()) == ["deny user:carol a pull,push on every registry"]


# Delegation.


@pytest.fixture
def delegated(peopled: Store) -> Store:
    do(peopled, lambda c: delegations.add(c, "dev", SERVICE, extent("dev/**", "push")))
    return peopled


def account(change: Change, name: str) -> AccountRow:
    return change.session.scalars(select(AccountRow).where(AccountRow.name == name)).one()


def covered(change: Change, author: str, wanted: Rule) -> tuple[AccountRow, Covered]:
    row = account(change, author)
    return row, delegations.covered(change.session, row, wanted)


def write(store: Store, author: str, line: str, service: str | None = SERVICE, **more: Any) -> int:
    wanted = said(line, service, **more)
    number: int = do(store, lambda c: delegations.write(c, *covered(c, author, wanted))).id
    return number


def rewrite(store: Store, author: str, number: int, wanted: Rule) -> None:
    def act(change: Change) -> None:
        row, new = covered(change, author, wanted)
        delegations.rewrite(change, row, number, new)

    do(store, act)


@pytest.mark.parametrize(
    "line",
    [
        "allow user:carol dev/app pull",
        "allow group:ops,user:carol dev/app,dev/x/** push",
        "allow user:alice dev/{account} pull",
    ],
)
def test_a_delegate_writes_within_the_bounds(delegated: Store, line: str) -> None:
    number = write(delegated, "alice", line)
    assert texts(delegated)[number].startswith(line.rpartition(" ")[0])
    with delegated.read() as session:
        row = rules.get(session, number)
        assert (row.author_id is not None, row.delegation_id) == (True, 1)


@pytest.mark.parametrize(
    ("line", "service", "why"),
    [
        ("deny user:carol dev/app pull", SERVICE, "allows only"),
        ("allow anonymous dev/app pull", SERVICE, "not on anonymous"),
        ("allow user:carol,everyone dev/app pull", SERVICE, "not on everyone"),
        ("allow authenticated dev/app pull", SERVICE, "not on authenticated"),
        ("allow user:carol other/app pull", SERVICE, "none of your delegations"),
        ("allow user:carol dev pull", SERVICE, "none of your delegations"),
        ("allow user:carol ** pull", SERVICE, "none of your delegations"),
        ("allow user:carol dev/a,other/b pull", SERVICE, "none of your delegations"),
        ("allow user:carol dev*/a pull", SERVICE, "none of your delegations"),
        ("allow user:carol {account}/a pull", SERVICE, "none of your delegations"),
        ("allow user:carol dev/app delete", SERVICE, "none of your delegations"),
        ("allow user:carol dev/app all", SERVICE, "none of your delegations"),
        ("allow user:carol dev/app pull", None, "none of your delegations"),
        ("allow user:carol dev/app pull", "r2", "none of your delegations"),
    ],
)
def test_a_delegate_cannot_leave_the_bounds(
    delegated: Store, line: str, service: str | None, why: str
) -> None:
    before = contents(delegated)
    with pytest.raises(Refused, match=why):
        write(delegated, "alice", line, service)
    assert contents(delegated) == before


def test_the_catalog_cannot_be_delegated(delegated: Store) -> None:
    do(delegated, lambda c: delegations.add(c, "dev", SERVICE, extent("**", "all")))
    with pytest.raises(Refused, match="none of your delegations"):
        write(delegated, "alice", "allow user:carol catalog all", kind="registry")
    with pytest.raises(NotFound):
        write(delegated, "alice", "allow user:nobody dev/a pull")


def test_who_is_in_no_such_group_writes_nothing(delegated: Store) -> None:
    with pytest.raises(Refused, match="you have: none"):
        write(delegated, "carol", "allow user:carol dev/app pull")


def test_a_delegate_touches_only_what_they_wrote(delegated: Store) -> None:
    operators = add(delegated, "allow user:carol dev/other pull", service=SERVICE)
    bobs = write(delegated, "bob", "allow user:carol dev/app pull")
    other = Covered(said("allow user:carol dev/b pull", SERVICE), 1)
    for number in (operators, bobs):
        for act in (
            lambda c, n: delegations.rewrite(c, account(c, "alice"), n, other),
            lambda c, n: delegations.switch(c, account(c, "alice"), n, enabled=False),
            lambda c, n: delegations.own(c.session, account(c, "alice"), n),
        ):
            with pytest.raises(Refused, match="is not yours"):
                do(delegated, lambda c, act=act, n=number: act(c, n))  # type: ignore[misc]


def test_a_delegate_changes_and_removes_their_own(delegated: Store) -> None:
    number = write(delegated, "bob", "allow user:carol dev/app pull")
    wanted = said("allow user:carol dev/b push", SERVICE)
    rewrite(delegated, "bob", number, wanted)
    assert texts(delegated)[number] == str(wanted)
    beyond = said("allow user:carol x push", SERVICE)
    with pytest.raises(Refused, match="none of your delegations"):
        rewrite(delegated, "bob", number, beyond)
    do(delegated, lambda c: delegations.switch(c, account(c, "bob"), number, enabled=False))
    do(delegated, lambda c: delegations.switch(c, account(c, "bob"), number, enabled=True))
    do(delegated, lambda c: rules.delete(c, delegations.own(c.session, account(c, "bob"), number)))
    assert texts(delegated) == {}


def test_what_an_administrator_changes_is_no_delegates_any_more(delegated: Store) -> None:
    number = write(delegated, "bob", "allow user:carol dev/app pull")
    do(delegated, lambda c: rules.set_enabled(c, number, enabled=False))
    with pytest.raises(Refused, match="is not yours"):
        do(delegated, lambda c: delegations.switch(c, account(c, "bob"), number, enabled=True))


def test_who_left_the_group_touches_nothing_any_more(delegated: Store) -> None:
    number = write(delegated, "bob", "allow user:carol dev/app pull")
    do(delegated, lambda c: groups.remove_member(c, "dev", "bob"))
    with pytest.raises(Refused, match="yours no more"):
        do(delegated, lambda c: delegations.own(c.session, account(c, "bob"), number))


def test_ending_a_delegation_disables_what_was_written_under_it(delegated: Store) -> None:
    number = write(delegated, "bob", "allow user:carol dev/app pull")
    operators = add(delegated, "allow user:carol dev/other pull")
    (said_so,) = do(delegated, lambda c: delegations.end(c, 1))
    assert "was disabled" in said_so
    assert texts(delegated)[number].endswith("(disabled)")
    assert "disabled" not in texts(delegated)[operators]
    with delegated.read() as session:
        assert list(delegations.listed(session)) == []
    with pytest.raises(Refused, match="is not yours"):
        do(delegated, lambda c: delegations.switch(c, account(c, "bob"), number, enabled=True))
    with pytest.raises(NotFound, match="no delegation 1"):
        do(delegated, lambda c: delegations.end(c, 1))


@pytest.mark.parametrize(
    "remove",
    [
        lambda c: groups.remove(c, "dev"),
        lambda c: entries.remove(c, SERVICE, force=True),
    ],
)
def test_a_delegation_ends_with_its_group_and_its_registry(delegated: Store, remove: Any) -> None:
    write(delegated, "bob", "allow user:carol dev/app pull")
    do(delegated, remove)
    assert all(text.endswith("(disabled)") for text in texts(delegated).values())
    with delegated.read() as session:
        assert session.scalars(select(DelegationRow)).all() == []


def test_a_name_that_is_made_again_is_no_author(delegated: Store) -> None:
    number = write(delegated, "bob", "allow user:carol dev/app pull")
    do(delegated, lambda c: accounts.remove(c, "bob"))
    do(delegated, user("bob"), lambda c: groups.add_member(c, "dev", "bob"))
    with pytest.raises(Refused, match="is not yours"):
        do(delegated, lambda c: delegations.own(c.session, account(c, "bob"), number))


@pytest.mark.parametrize(
    ("group_name", "service", "pattern", "actions", "error"),
    [
        ("no", SERVICE, "a", "pull", NotFound),
        ("dev", "no", "a", "pull", NotFound),
        ("dev", SERVICE, "A", "pull", Refused),
        ("dev", SERVICE, "a", "fly", Refused),
        ("dev", SERVICE, "dev/**", "pull,push", Refused),
    ],
)
def test_a_delegation_that_is_no_good_is_refused(
    delegated: Store,
    group_name: str,
    service: str,
    pattern: str,
    actions: str,
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        do(delegated, lambda c: delegations.add(c, group_name, service, extent(pattern, actions)))
