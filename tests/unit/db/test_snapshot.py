"""The snapshot that follows changes is the one that is read anew."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Executable, delete, insert, select, update

from authserver.auth.usage import CredentialKind, CredentialUse, CredentialUses
from authserver.core.rules import Effect, new_rule
from authserver.core.subjects import subjects
from authserver.db import (
    accounts,
    app_tokens,
    change_log,
    delegations,
    groups,
    invitations,
    lookup,
    models,
    refresh_tokens,
    rules,
    snapshot,
)
from authserver.db.app_tokens import Wanted
from authserver.db.models import AlterationRow, StoreStateRow
from authserver.db.snapshot import Snapshot
from authserver.db.store import Change, Store
from authserver.registry import entries, last_checks
from tests.unit.registry.reports import report
from tests.unit.statements import statements
from tests.world import SERVICE, Clock

MONTH = timedelta(days=30)
HASH = "$2b$04$" + "." * 53
COSTLY = "$2b$12$" + "." * 53


def random(length: int) -> bytes:
    return b"r" * length


def allow(change: Change, about: str, pattern: str) -> None:
    rules.add(change, new_rule(Effect.ALLOW, subjects(about), pattern.split(","), "pull"))


def log_in(change: Change, name: str, secret: str) -> None:
    account_id = next(row.id for row in accounts.listed(change.session) if row.name == name)
    login = refresh_tokens.Login(account_id, name, HASH, "192.0.2.1", "docker")
    refresh_tokens.add(change, login, SERVICE, secret, MONTH)


CHANGES: Mapping[str, Callable[[Change], object]] = {
    "a user": lambda change: accounts.add_user(change, "alice", HASH),
    "another": lambda change: accounts.add_user(change, "bob", COSTLY),
    "a robot": lambda change: accounts.add_robot(change, "ci", owner="alice"),
    "a group": lambda change: groups.add(change, "dev"),
    "a member": lambda change: groups.add_member(change, "dev", "alice"),
    "members": lambda change: groups.set_members(change, "dev", ["bob", "ci"]),
    "a rule": lambda change: allow(change, "user:alice", "team/**"),
    "a rule on a group": lambda change: allow(change, "group:dev,user:bob", "a,b"),
    "a changed rule": lambda change: rules.edit(
        change, 3, new_rule(Effect.DENY, subjects("user:bob"), ["c"], "push")
    ),
    "a disabled rule": lambda change: rules.set_enabled(change, 3, enabled=False),
    "a token": lambda change: app_tokens.create(
        change, "ci", Wanted("push", MONTH, ("repository:a:pull",)), random
    ),
    "a rotated token": lambda change: app_tokens.rotate(
        change, app_tokens.listed(change.session)[0].id, timedelta(hours=1), lambda n: b"x" * n
    ),
    "a login": lambda change: log_in(change, "alice", "one"),
    "another login": lambda change: log_in(change, "alice", "two"),
    "a registry": lambda change: entries.add(change, "other", 600),
    "a changed registry": lambda change: entries.edit(change, SERVICE, token_ttl=900),
    "an invited user": lambda change: invitations.invite(change, "carol", random),
    "an invitation": lambda change: invitations.invite(change, "carol", lambda n: b"i" * n),
    "a delegation": lambda change: delegations.add(
        change, "dev", SERVICE, delegations.extent("team/**", "pull")
    ),
    "a disabled owner": lambda change: accounts.set_disabled(change, "alice", disabled=True),
    "a new password": lambda change: accounts.set_password(change, "bob", HASH),
    "an administrator": lambda change: accounts.set_role(change, "bob", admin=True),
    "a member less": lambda change: groups.remove_member(change, "dev", "bob", force=True),
    "a group less": lambda change: groups.remove(change, "dev", force=True),
    "a revoked token": lambda change: app_tokens.revoke(
        change, app_tokens.listed(change.session)[0].id
    ),
    "a robot less": lambda change: accounts.remove(change, "ci", force=True),
    "a user less": lambda change: accounts.remove(change, "alice", force=True),
    "a rule less": lambda change: rules.remove(change, 1),
    "a check": lambda change: last_checks.keep(change, report("token")),
    "a registry less": lambda change: entries.remove(change, "other"),
}


def load(store: Store) -> Snapshot:
    with store.read() as session:
        return snapshot.load(session)


def follow(store: Store, known: Snapshot) -> Snapshot:
    with store.read() as session:
        return snapshot.follow(session, known)


def parts(of: Snapshot) -> dict[str, object]:
    """Return all that a snapshot says."""
    said = {field.name: getattr(of, field.name) for field in fields(of)}
    del said["basis"], said["key_basis"]
    return said


@pytest.fixture
def never_load(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what has every reading of the whole state fail from then on."""

    def load(_: object) -> Snapshot:
        pytest.fail("the whole state was read again")

    return lambda: monkeypatch.setattr(snapshot, "load", load)


def test_each_change_is_followed_without_reading_the_rest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = snapshot.load
    known = load(store)
    for name, make in CHANGES.items():
        with store.change("test") as change:
            make(change)
        monkeypatch.setattr(snapshot, "load", lambda _, name=name: pytest.fail(name))
        known = follow(store, known)
        monkeypatch.setattr(snapshot, "load", whole)
        assert parts(known) == parts(load(store)), name


def test_all_changes_at_once_are_followed(store: Store, never_load: Callable[[], None]) -> None:
    before = load(store)
    for make in CHANGES.values():
        with store.change("test") as change:
            make(change)
    anew = parts(load(store))
    never_load()
    assert parts(follow(store, before)) == anew


def test_a_snapshot_that_was_followed_stays_as_it_was(store: Store) -> None:
    before = load(store)
    said = parts(before)
    for make in CHANGES.values():
        with store.change("test") as change:
            make(change)
    follow(store, before)
    assert parts(before) == said


def rename(row: models.AccountRow | models.GroupRow, name: str) -> None:
    row.name = row.folded_name = name


def account(change: Change, name: str) -> models.AccountRow:
    return next(row for row in accounts.listed(change.session) if row.name == name)


@pytest.fixture
def named(store: Store) -> Store:
    """A store in which accounts, a group and a registry are named by all that can name them."""
    for name in list(CHANGES)[: list(CHANGES).index("a disabled owner")]:
        with store.change("test") as change:
            CHANGES[name](change)
    with store.change("test") as change:
        allow(change, "user:alice,robot:ci,group:dev", "d")
        everyone = subjects("everyone")
        rules.add(change, new_rule(Effect.ALLOW, everyone, ["e"], "pull", service=SERVICE))
    return store


def rename_an_account(change: Change) -> None:
    rename(account(change, "alice"), "alicia")


def rename_a_robot(change: Change) -> None:
    rename(account(change, "ci"), "builder")


def rename_a_group(change: Change) -> None:
    rename(change.session.scalars(select(models.GroupRow)).one(), "devs")


def rename_a_registry(change: Change) -> None:
    registry = lookup.registry(change.session, SERVICE)
    registry.service = "hub"


def swap_names(change: Change) -> None:
    alice, bob = account(change, "alice"), account(change, "bob")
    rename(alice, "somebody")
    change.session.flush()
    rename(bob, "alice")
    change.session.flush()
    rename(alice, "bob")
    # A rule that is read anew has the new names already.
    rules.set_enabled(change, 3, enabled=False)


RENAMES = (rename_an_account, rename_a_robot, rename_a_group, rename_a_registry, swap_names)


@pytest.mark.parametrize("make", RENAMES)
def test_a_rename_reaches_all_that_has_the_name(
    named: Store, make: Callable[[Change], None], never_load: Callable[[], None]
) -> None:
    known = load(named)
    with named.change("test") as change:
        make(change)
    anew = load(named)
    never_load()
    assert parts(follow(named, known)) == parts(anew)
    assert anew.rules != known.rules


@pytest.mark.parametrize(
    ("make", "table"),
    [(rename_a_robot, "account"), (rename_a_group, "account_group")],
)
def test_a_rename_reads_one_row(named: Store, make: Callable[[Change], None], table: str) -> None:
    known = load(named)
    with named.change("test") as change:
        make(change)
    with statements(named.engine) as read:
        follow(named, known)
    tables = {name for text in read for name in re.findall(r"(?:FROM|JOIN) (\w+)", text)}
    assert tables <= {"store_state", "alteration", table, "membership", "account_group"}


def test_answers_outlive_logins_and_nothing_else(store: Store) -> None:
    known = load(store)
    outliving = {"a login", "another login", "an invitation", "a delegation", "a check"}
    for name, make in CHANGES.items():
        with store.change("test") as change:
            make(change)
        new = follow(store, known)
        assert (new.basis is known.basis) == (name in outliving), name
        known = new


@pytest.fixture
def logged_in(store: Store, never_load: Callable[[], None]) -> Snapshot:
    """A state in which alice is logged in; it is not read as a whole any more."""
    with store.change("test") as change:
        accounts.add_user(change, "alice", HASH)
        log_in(change, "alice", "one")
    known = load(store)
    never_load()
    return known


def test_a_login_that_goes_on_is_followed(store: Store, clock: Clock, logged_in: Snapshot) -> None:
    clock.move(timedelta(days=2))
    (token,) = logged_in.refresh_tokens.values()
    uses = CredentialUses(MONTH)
    uses.note(
        CredentialUse(
            CredentialKind.REFRESH,
            token.id,
            token.account_id,
            clock.at,
            "192.0.2.1",
            "docker",
            token.expires_at,
        )
    )
    uses.write(store)
    (token,) = follow(store, logged_in).refresh_tokens.values()
    assert token.expires_at == clock.at + MONTH


def test_logins_that_ended_are_let_go_of(store: Store, clock: Clock, logged_in: Snapshot) -> None:
    clock.move(MONTH)
    with store.append() as session:
        assert refresh_tokens.prune(session, clock.at) == 1
    assert follow(store, logged_in).refresh_tokens == {}


def add_user(store: Store, name: str) -> None:
    with store.change("test") as change:
        accounts.add_user(change, name, None)


def test_a_store_that_was_put_back_is_read_as_a_whole(store: Store) -> None:
    """As many changes as before, but others: a backup was restored, and went on from there."""
    add_user(store, "alice")
    known = load(store)
    with store.append() as session:
        session.execute(update(AlterationRow).values(at=store.clock() - MONTH))
    add_user(store, "bob")
    with store.append() as session:
        session.execute(update(StoreStateRow).values(issuer="another"))
    assert follow(store, known).issuer == "another"


def test_a_store_that_was_put_back_and_has_the_same_version_is_read_as_a_whole(
    store: Store,
) -> None:
    """A worker may be made anew long after its server has read the state."""
    add_user(store, "alice")
    known = load(store)
    with store.append() as session:
        session.execute(update(AlterationRow).values(at=store.clock() - MONTH))
        session.execute(update(StoreStateRow).values(issuer="another"))
    assert follow(store, known).issuer == "another"


def test_what_is_known_already_is_not_read(store: Store, never_load: Callable[[], None]) -> None:
    known = load(store)
    never_load()
    assert follow(store, known) is known


@pytest.mark.parametrize("kept", [0, 1])
def test_what_is_noted_no_more_is_read_as_a_whole(
    store: Store, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = load(store)
    for name in ("alice", "bob"):
        add_user(store, name)
    monkeypatch.setattr(change_log, "KEPT", kept)
    with store.append() as session:
        change_log.prune(session)
    assert follow(store, known).accounts == load(store).accounts


def test_a_version_without_a_note_is_read_as_a_whole(store: Store) -> None:
    known = load(store)
    add_user(store, "alice")
    with store.append() as session:
        session.execute(delete(AlterationRow))
    assert "alice" in follow(store, known).accounts


def test_very_many_changes_are_read_as_a_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_log, "MAX_FOLLOWED", 2)
    known = load(store)
    for name in ("alice", "bob", "carol"):
        add_user(store, name)
    assert follow(store, known).accounts == load(store).accounts


def test_a_change_that_was_taken_back_leaves_no_note(store: Store) -> None:
    before = load(store)
    with store.change("test") as change:
        accounts.add_user(change, "alice", None)
        change.session.rollback()
    assert load(store) == before


def test_a_change_that_was_rolled_back_leaves_no_note(store: Store) -> None:
    def fail() -> None:
        with store.change("test") as change:
            accounts.add_user(change, "alice", None)
            change.session.flush()
            raise LookupError

    before = load(store)
    with pytest.raises(LookupError):
        fail()
    assert load(store).mark == before.mark


@pytest.mark.parametrize(
    "statement",
    [
        update(models.AccountRow).values(admin=True),
        insert(models.RegistryRow).values(
            service="other", refresh_tokens=True, created_at=datetime.now(UTC)
        ),
        delete(models.RuleSubjectRow),
    ],
    ids=["update", "insert", "delete"],
)
def test_what_a_statement_writes_is_read_again(store: Store, statement: Executable) -> None:
    known = load(store)
    with store.change("test") as change:
        change.session.execute(statement)
        change.record("test", "test")
    assert follow(store, known) == load(store) != known
