"""The store: its schema, its transactions, and the functions on each noun."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, delete, event, inspect, select, text, update
from sqlalchemy.exc import IntegrityError, StatementError

from authserver.audit import first_chains, records
from authserver.audit.records import Filter
from authserver.core.decision import decide
from authserver.core.errors import NotFound, NotReady, Refused
from authserver.core.rules import Effect, new_rule
from authserver.core.rules import Rule as NewRule
from authserver.core.scope import parse
from authserver.core.subjects import subject, subjects
from authserver.db import accounts, groups, lookup, rule_rows, rules, schema, snapshot
from authserver.db.lists import Window
from authserver.db.models import AccountRow, AlterationRow, AuditRecord, Base, RuleSubjectRow
from authserver.db.store import Change, Store, open_store
from authserver.registry import entries
from tests import stores
from tests.world import ADMIN, SERVICE, Clock

HASH = "$2b$04$" + "." * 53
OTHER_HASH = "$2b$05$" + "." * 53

Act = Callable[[Change], Any]


def do(store: Store, *acts: Act) -> Any:
    """Do all of it in one change; return what the last one returned."""
    with store.change("cli:tester") as change:
        return [act(change) for act in acts][-1]


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row but the notes of what was altered, which nobody misses."""
    with store.read() as session:
        return {
            table.name: sorted(map(tuple, session.execute(select(table))), key=repr)
            for table in Base.metadata.sorted_tables
            if table.name != AlterationRow.__tablename__
        }


def outside_chains(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Return the contents but for what going back forgets: the places of records in chains."""
    forgotten = {"chain_id", "seq", "mac"}
    with store.read() as session:
        return {
            table.name: sorted(map(tuple, session.execute(query)), key=repr)
            for table in Base.metadata.sorted_tables
            if not table.name.startswith("audit_") or table.name == "audit_record"
            if table.name != AlterationRow.__tablename__
            for query in [select(*(c for c in table.columns if c.name not in forgotten))]
        }


def version(store: Store) -> int:
    with store.read() as session:
        return snapshot.version(session)


def audit(store: Store, since: int = 0) -> list[tuple[str, str]]:
    with store.read() as session:
        rows = session.scalars(select(AuditRecord).order_by(AuditRecord.id)).all()
    return [(row.action, row.target) for row in rows[since:]]


def seen(store: Store) -> snapshot.Snapshot:
    with store.read() as session:
        return snapshot.load(session)


def granted(store: Store, name: str, scope: str) -> tuple[str, ...]:
    state = seen(store)
    return decide(state.rules, state.accounts[name].account, SERVICE, parse(scope)).granted


# What a change does, in short words.


def user(name: str, password_hash: str | None = HASH) -> Act:
    return lambda change: accounts.add_user(change, name, password_hash)


def group(name: str, *members: str) -> Act:
    def act(change: Change) -> None:
        groups.add(change, name)
        for member in members:
            groups.add_member(change, name, member)

    return act


def registry(service: str, ttl: int | None = None) -> Act:
    return lambda change: entries.add(change, service, ttl)


def rule(line: str, service: str | None = None, kind: str = "repository") -> Act:
    return lambda change: rules.add(change, said(line, service, kind)).id


def said(line: str, service: str | None = None, kind: str = "repository", **more: Any) -> NewRule:
    """Read a rule as a command would: ``allow user:alice,group:dev a/**,b pull``."""
    effect, about, patterns, actions = line.split()
    return new_rule(
        Effect(effect),
        subjects(about),
        patterns.split(","),
        actions,
        resource_type=kind,
        service=service,
        **more,
    )


@pytest.fixture
def peopled(store: Store) -> Store:
    """The store of ``init`` with a user in a group, a second registry, and rules on each."""
    do(store, user("alice"), user("Ünal"), group("dev", "alice"), group("idle"), registry("r2"))
    do(store, rule("allow user:alice a/** pull"), rule("allow group:dev b/** push", "r2"))
    return store


# The schema.


@pytest.fixture
def empty(engine: None, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = stores.opened(tmp_path / "empty", clock)
    if opened.file is not None:
        opened.file.parent.mkdir()
        opened.file.touch()
    yield opened
    opened.engine.dispose()


def shape(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return what the database itself says of its tables."""

    def plain(found: Sequence[Any]) -> list[str]:
        # A migration that adds a column gives the rows that are there a default.
        kept = [{k: str(v) for k, v in item.items() if k != "default"} for item in found]
        return sorted(repr(sorted(item.items())) for item in kept)

    seen_now = inspect(engine)
    return {
        table: {
            "columns": plain(seen_now.get_columns(table)),
            "primary key": seen_now.get_pk_constraint(table),
            "foreign keys": plain(seen_now.get_foreign_keys(table)),
            "unique": plain(seen_now.get_unique_constraints(table)),
            "indexes": plain(seen_now.get_indexes(table)),
            "checks": plain(seen_now.get_check_constraints(table)),
        }
        for table in seen_now.get_table_names()
        if table != "alembic_version"
    }


def test_migrations_and_models_agree(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_database_looks_as_the_models_would_make_it(store: Store, empty: Store) -> None:
    with empty.engine.begin() as connection:
        Base.metadata.create_all(connection)
    assert shape(store.engine) == shape(empty.engine)


def test_the_schema_goes_up_and_down_and_up_again(empty: Store) -> None:
    schema.upgrade(empty.engine)
    first = shape(empty.engine)
    with empty.engine.begin() as connection:
        command.downgrade(schema.config(connection), "base")
    assert shape(empty.engine) == {}
    schema.upgrade(empty.engine)
    assert shape(empty.engine) == first != {}


def test_an_upgrade_keeps_what_is_there(peopled: Store) -> None:
    before = outside_chains(peopled)
    schema.migrate(peopled.engine, lambda configured: command.downgrade(configured, "0001"))
    peopled.engine.dispose()
    schema.upgrade(peopled.engine)
    assert outside_chains(peopled) == before


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("deny user:alice,group:dev a/** pull", {}),
        ("deny user:alice a/**,b pull", {}),
        ("deny user:alice a/** pull", {"networks": ["10.0.0.0/8"]}),
        ("deny user:alice a/** pull", {"enabled": False}),
    ],
)
def test_going_back_is_refused_where_a_rule_would_say_something_else(
    peopled: Store, line: str, more: dict[str, Any]
) -> None:
    do(peopled, lambda c: rules.add(c, said(line, **more)))
    before = contents(peopled)
    back = schema.migrate
    with pytest.raises(RuntimeError, match="1 rules have several subjects"):
        back(peopled.engine, lambda configured: command.downgrade(configured, "0002"))
    assert contents(peopled) == before


@pytest.mark.parametrize("of", ["registry", "account"])
def test_going_back_is_refused_where_passwords_would_be_taken_again(
    peopled: Store, of: str
) -> None:
    with peopled.engine.begin() as connection:
        only = text(f"UPDATE {of} SET app_tokens_only = :yes WHERE id = 1")
        connection.execute(only, {"yes": True})
    before = contents(peopled)
    with pytest.raises(RuntimeError, match="take app tokens only"):
        schema.migrate(peopled.engine, lambda configured: command.downgrade(configured, "0009"))
    assert contents(peopled) == before


NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)
CONDITIONS: list[dict[str, Any]] = [
    {},
    {"networks": ["10.0.0.0/8", "2001:db8::/32"]},
    {"valid_from": NOON},
    {"valid_until": NOON + timedelta(microseconds=5)},
    {"networks": ["10.0.0.0/9"], "valid_from": NOON, "valid_until": NOON + timedelta(days=1)},
]


def test_conditions_of_the_former_columns_are_brought_over_and_back(peopled: Store) -> None:
    written = [said("deny user:alice c pull", **more) for more in CONDITIONS]
    do(peopled, lambda c: rules.add_all(c, [(rule, "") for rule in written]))
    before = contents(peopled)
    columns = "networks, valid_from, valid_until"
    schema.migrate(peopled.engine, lambda configured: command.downgrade(configured, "0007"))
    with peopled.engine.connect() as connection:
        former = connection.execute(text(f"SELECT {columns} FROM rule ORDER BY id")).all()
    assert [networks for networks, _, _ in former[-5:]] == [
        "", "10.0.0.0/8\n2001:db8::/32", "", "", "10.0.0.0/9"
    ]  # fmt: skip
    assert [(bool(begin), bool(end)) for _, begin, end in former[-5:]] == [
        (False, False), (False, False), (True, False), (False, True), (True, True)
    ]  # fmt: skip
    peopled.engine.dispose()
    schema.upgrade(peopled.engine)
    assert contents(peopled) == before
    assert [rule.conditions.values() for rule in seen(peopled).rules][-5:] == CONDITIONS


@pytest.mark.parametrize(
    "stored",
    [
        '{"networks":5}', '{"networks":null}', '{"networks":true}', '{"networks":{}}',
        '{"networks":[]}', '{"networks":[1]}',
        '{"networks":[1.5]}', '{"networks":["x"]}', '{"valid_until":null}', '{"valid_until":""}',
        '{"valid_until":"2026-01-01"}', '{"valid_until":5}', "[]", "null", "", "{",
    ],
)  # fmt: skip
def test_a_condition_that_is_not_understood_is_never_none(peopled: Store, stored: str) -> None:
    with peopled.engine.begin() as connection:
        connection.execute(text("UPDATE rule SET conditions = :stored"), {"stored": stored})
    with pytest.raises(NotReady, match="a rule cannot be read"):
        seen(peopled)


def test_a_condition_of_a_later_version_is_neither_dropped_nor_passed_over(peopled: Store) -> None:
    later = text('UPDATE rule SET conditions = \'{"moon":["full"]}\' WHERE id = 3')
    with peopled.engine.begin() as connection:
        connection.execute(later)
    with pytest.raises(NotReady, match="a later version wrote it: unknown condition 'moon'"):
        seen(peopled)
    with pytest.raises(RuntimeError, match=r"rule 3 has conditions .* \(moon\)"):
        schema.migrate(peopled.engine, lambda configured: command.downgrade(configured, "0007"))


@pytest.mark.sqlite
def test_no_table_gives_an_id_out_again(store: Store) -> None:
    wanted = {
        table.name
        for table in Base.metadata.sorted_tables
        if table.dialect_options["sqlite"]["autoincrement"]
    }
    made = text("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")
    with store.read() as session:
        assert set(session.scalars(made)) == wanted


def test_an_upgrade_says_from_where_to_where(empty: Store) -> None:
    assert schema.upgrade(empty.engine) == (None, schema.head())
    assert schema.upgrade(empty.engine) == (schema.head(), schema.head())


def test_revisions_are_what_alembic_finds(store: Store) -> None:
    with store.read() as session:
        scripts = ScriptDirectory.from_config(schema.config(session.connection()))
    found = [script.revision for script in scripts.walk_revisions()]
    assert list(schema.revisions()) == found[::-1]
    assert schema.head() == scripts.get_current_head()


def require_head(store: Store) -> None:
    with store.read() as session:
        schema.require_head(session.connection())


def test_a_store_at_head_is_good(store: Store) -> None:
    require_head(store)


def test_an_empty_store_is_to_be_set_up(empty: Store) -> None:
    with pytest.raises(NotReady, match="authserver init"):
        require_head(empty)


def test_a_store_without_a_version_is_to_be_upgraded(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(NotReady, match="authserver db upgrade"):
        require_head(store)


def test_a_store_of_a_later_version_is_refused(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NotReady, match="9999, which is newer"):
        require_head(store)


# The engine.


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("pragma", "value"), [("foreign_keys", 1), ("journal_mode", "wal"), ("synchronous", 2)]
)
def test_every_connection_is_prepared(store: Store, pragma: str, value: object) -> None:
    for _ in range(2):
        with store.read() as session:
            assert session.scalar(text(f"PRAGMA {pragma}")) == value
        store.engine.dispose()


def test_nothing_that_a_rule_names_vanishes_by_a_side_effect(peopled: Store) -> None:
    with pytest.raises(IntegrityError), peopled.change("test") as change:
        change.session.execute(delete(AccountRow).where(AccountRow.name == "alice"))


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "everyone"},
        {"kind": "group"},
        {"account_id": None},
        {"group_id": 1},
        {"rule_id": 999},
    ],
)
def test_a_subject_has_the_one_name_of_its_kind(peopled: Store, values: dict[str, Any]) -> None:
    broken = update(RuleSubjectRow).where(RuleSubjectRow.kind == "user").values(values)
    with pytest.raises(IntegrityError), peopled.change("test") as change:
        change.session.execute(broken)


def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(StatementError, match="without a zone"), store.change("test") as change:
        change.session.execute(update(AccountRow).values(disabled_at=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_times_come_back_in_utc(store: Store, clock: Clock) -> None:
    do(store, user("alice"))
    with store.read() as session:
        row = session.scalars(select(AccountRow).where(AccountRow.name == "alice")).one()
    assert row.created_at == clock.at
    assert row.created_at.utcoffset() == timedelta(0)


@pytest.mark.sqlite
def test_a_store_that_is_not_there_is_not_ready_and_is_not_made(
    tmp_path: Path, clock: Clock
) -> None:
    gone = open_store(f"sqlite:///{tmp_path}/gone/authserver.db", clock)
    with pytest.raises(NotReady, match="store"):
        version(gone)
    with pytest.raises(NotReady, match="store"):
        do(gone, user("alice"))
    assert not (tmp_path / "gone").exists()


# Transactions.

CHANGES: list[tuple[str, str, Act]] = [
    ("user.add", "user:bob", user("bob")),
    ("user.passwd", "user:alice", lambda c: accounts.set_password(c, "alice", OTHER_HASH)),
    ("user.disable", "user:alice", lambda c: accounts.set_disabled(c, "alice", disabled=True)),
    ("user.remove", "user:alice", lambda c: accounts.remove(c, "alice")),
    ("group.add", "group:ops", group("ops")),
    ("group.add-member", "group:dev", lambda c: groups.add_member(c, "dev", "Ünal")),
    ("group.remove-member", "group:dev", lambda c: groups.remove_member(c, "dev", "alice")),
    ("group.remove", "group:dev", lambda c: groups.remove(c, "dev")),
    ("registry.add", "registry:r3", registry("r3", 60)),
    ("registry.remove", "registry:r2", lambda c: entries.remove(c, "r2", force=True)),
    ("acl.allow", "rule:5", rule("allow everyone a pull")),
    ("acl.deny", "rule:5", rule("deny everyone a push", "r2")),
    ("acl.remove", "rule:3", lambda c: rules.remove(c, 3)),
]


@pytest.mark.parametrize(("action", "target", "act"), CHANGES)
def test_a_change_is_recorded_and_makes_others_look_again(
    peopled: Store, action: str, target: str, act: Act
) -> None:
    before, known = version(peopled), len(audit(peopled))
    do(peopled, act)
    written = audit(peopled, known)
    assert written[-1] == (action, target)
    assert version(peopled) == before + len(written)


@pytest.mark.parametrize(("action", "target", "act"), CHANGES)
def test_a_change_that_fails_leaves_neither_itself_nor_its_record(
    peopled: Store, action: str, target: str, act: Act
) -> None:
    before = contents(peopled)
    with pytest.raises(ZeroDivisionError):
        do(peopled, act, lambda _: 1 / 0)
    assert contents(peopled) == before


NOTHING_TO_DO: list[Act] = [
    lambda _: None,
    lambda c: accounts.set_disabled(c, "alice", disabled=False),
    lambda c: groups.add_member(c, "dev", "alice"),
    lambda c: accounts.rehash(c, 2, OTHER_HASH, HASH),
    lambda c: accounts.rehash(c, 999, HASH, OTHER_HASH),
]


@pytest.mark.parametrize("act", NOTHING_TO_DO)
def test_where_nothing_changes_nothing_is_recorded(peopled: Store, act: Act) -> None:
    before = contents(peopled)
    assert not do(peopled, act)
    assert contents(peopled) == before


def test_a_record_says_who_when_what_before_and_after(peopled: Store, clock: Clock) -> None:
    clock.move(timedelta(hours=1))
    do(peopled, lambda c: groups.remove(c, "dev"))
    with peopled.read() as session:
        rule_gone, group_gone = records.listed(session)[-2:]
    assert {rule_gone["at"], group_gone["at"]} == {clock.at.isoformat(timespec="milliseconds")}
    assert {rule_gone["actor"], group_gone["actor"]} == {"cli:tester"}
    assert rule_gone["before"]["subjects"] == ["group:dev"]
    assert group_gone["before"]["members"] == ["user:alice"]
    assert group_gone["after"] is None


def test_no_record_holds_a_hash(peopled: Store) -> None:
    for _, _, act in CHANGES[:4]:
        do(peopled, act)
    with peopled.read() as session:
        assert "$2b$" not in repr(records.listed(session))


def test_records_can_be_asked_for_by_account(peopled: Store) -> None:
    with peopled.read() as session:
        found = records.listed(session, Filter("change", "alice"))
        assert [record["action"] for record in found] == ["user.add"]
        assert records.listed(session, Filter("token")) == []
        assert len(records.listed(session, limit=3)) == 3


def test_rows_that_nothing_depends_on_make_nobody_look_again(peopled: Store) -> None:
    before = version(peopled)
    with peopled.append() as session:
        session.execute(delete(AuditRecord))
    assert version(peopled) == before


def test_a_change_waits_for_the_one_before_it(store: Store) -> None:
    started, entered = threading.Event(), threading.Event()

    def second() -> list[str]:
        started.set()
        with store.change("second") as change:
            entered.set()
            names = [row.name for row in accounts.listed(change.session)]
            accounts.add_user(change, f"after-{len(names)}", None)
            return names

    with ThreadPoolExecutor(1) as pool:
        with store.change("first") as change:
            waiting = pool.submit(second)
            assert started.wait(30)
            assert not entered.wait(0.1)
            accounts.add_user(change, "alice", None)
        assert waiting.result(30) == [ADMIN, "alice"]
    assert set(seen(store).accounts) == {ADMIN, "alice", "after-2"}


def test_many_changes_at_once_all_happen(store: Store) -> None:
    before = version(store)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: do(store, user(f"user-{n}")), range(16)))
    assert version(store) == before + 16
    assert len(seen(store).accounts) == 17


@pytest.mark.sqlite
def test_who_waited_to_write_reads_what_is_written_later(
    store: Store, data_dir: Path, no_collection: None
) -> None:
    """A result that nobody has read holds its state until garbage is looked for."""
    other, waits = stores.opened(data_dir), threading.Event()
    event.listen(store.engine, "handle_error", lambda _: waits.set())
    with ThreadPoolExecutor(1) as pool:
        with other.change("other"):
            waiting = pool.submit(do, store, user("alice"))
            assert waits.wait(30)
        waiting.result(30)
    do(other, user("bob"))
    assert {"alice", "bob"} <= seen(store).accounts.keys()


def test_a_reader_sees_one_state_while_others_write(store: Store) -> None:
    with store.read() as session:
        before = snapshot.version(session)
        do(store, user("alice"))
        assert snapshot.version(session) == before
        assert len(snapshot.load(session).accounts) == 1


@pytest.mark.sqlite
def test_a_writer_that_has_waited_long_tries_as_often_as_one_that_has_just_come(
    store: Store,
) -> None:
    """SQLite itself tries 13 times in a second, and ever less often: the longer, the later."""
    tries: list[str] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def executed(_: object, __: object, statement: str, *___: object) -> None:
        if statement == "BEGIN IMMEDIATE":
            tries.append(statement)

    other = sqlite3.connect(store.file or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(NotReady, match="another writer"), store.change("test", wait=2.0):
        pass
    other.close()
    # Each of them is three of SQLite's.
    assert len(tries) > 20


# Accounts and groups.

REFUSALS: list[tuple[type[Exception], str, Act]] = [
    (Refused, "already a user alice", user("alice")),
    (Refused, "already a user alice: names must differ in more than case", user("ALICE")),
    (Refused, "already a user Ünal: names must differ", user("U\u0308NAL")),
    (Refused, "not allowed in names", user("a:b")),
    (Refused, "1 to 128 characters", user("")),
    (Refused, "already a group dev$", group("dev")),
    (Refused, "already a group dev: names must differ", group("DEV")),
    (Refused, "not allowed in names", group("a b")),
    (NotFound, "no user 'bob'", lambda c: accounts.set_password(c, "bob", HASH)),
    (NotFound, "there is alice: case matters", lambda c: accounts.set_password(c, "Alice", HASH)),
    (NotFound, "no account 'bob'", lambda c: accounts.set_disabled(c, "bob", disabled=True)),
    (NotFound, "alice is a user", lambda c: accounts.remove(c, "alice", kind="robot")),
    (NotFound, "no account 'bob'", lambda c: accounts.remove(c, "bob")),
    (NotFound, "no group 'ops'", lambda c: groups.remove(c, "ops")),
    (NotFound, "there is dev: case matters", lambda c: groups.remove(c, "Dev")),
    (NotFound, "no group 'ops'", lambda c: groups.add_member(c, "ops", "alice")),
    (NotFound, "no account 'bob'", lambda c: groups.add_member(c, "dev", "bob")),
    (NotFound, "case matters", lambda c: groups.add_member(c, "dev", "ALICE")),
    (NotFound, "Ünal is not in group dev", lambda c: groups.remove_member(c, "dev", "Ünal")),
    (NotFound, "no group 'ops'", lambda c: groups.remove_member(c, "ops", "alice")),
    (Refused, "the registry r2 is there already", registry("r2")),
    (Refused, "cannot be a registry's service", registry('a"b')),
    (Refused, "60 to 86400 seconds, not 59", registry("r3", 59)),
    (Refused, "60 to 86400 seconds, not 86401", registry("r3", 86401)),
    (NotFound, "no registry 'r3'; known: r2, registry", lambda c: entries.remove(c, "r3")),
    (Refused, "1 rules are on the registry r2", lambda c: entries.remove(c, "r2")),
    (NotFound, "no user 'bob'", rule("allow user:bob a pull")),
    (NotFound, "case matters", rule("allow user:Alice a pull")),
    (NotFound, "alice is a user", rule("allow robot:alice a pull")),
    (NotFound, "no group 'alice'", rule("allow group:alice a pull")),
    (NotFound, "no registry 'r3'", rule("allow everyone a pull", "r3")),
    (Refused, "no valid repository name", rule("allow everyone A pull")),
    (Refused, "unknown placeholder", rule("allow everyone {user}/x pull")),
    (Refused, "unknown action 'fly'", rule("allow everyone a fly")),
    (Refused, "only resource of type registry", rule("allow everyone a all", kind="registry")),
    (Refused, "unknown action 'pull'", rule("allow everyone catalog pull", kind="registry")),
    (Refused, "there already: 3 .allow user:alice", rule("allow user:alice a/** pull")),
    (Refused, "there already: 4 .allow group:dev", rule("allow group:dev b/** pull,push", "r2")),
    (NotFound, "there is no rule 99", lambda c: rules.remove(c, 99)),
]


@pytest.mark.parametrize(("error", "why", "act"), REFUSALS)
def test_what_is_refused_says_why_and_changes_nothing(
    peopled: Store, error: type[Exception], why: str, act: Act
) -> None:
    before = contents(peopled)
    with pytest.raises(error, match=why):
        do(peopled, act)
    assert contents(peopled) == before


def test_a_user_is_as_it_was_added(store: Store, clock: Clock) -> None:
    do(store, user("mu\u0308ller", None), group("b", "müller"), group("a", "müller"))
    with store.read() as session:
        described = [accounts.described(row) for row in accounts.listed(session, "user")]
        assert list(accounts.listed(session, "robot")) == []
    assert described[1] == {
        "name": "müller",
        "kind": "user",
        "admin": False,
        "disabled": False,
        "auditor": False,
        "app_tokens_only": False,
        "password": False,
        "second_factor": False,
        "groups": ["a", "b"],
        "created_at": clock.at.isoformat(),
        "last_login_at": None,
        "last_used_at": None,
    }


def test_a_new_password_and_a_disabling_are_in_the_next_snapshot(peopled: Store) -> None:
    do(peopled, lambda c: accounts.set_password(c, "alice", OTHER_HASH))
    assert do(peopled, lambda c: accounts.set_disabled(c, "alice", disabled=True))
    known = seen(peopled).accounts["alice"]
    assert (known.password_hash, known.disabled) == (OTHER_HASH, True)
    assert seen(peopled).highest_cost == 5
    assert do(peopled, lambda c: accounts.set_disabled(c, "alice", disabled=False))
    assert not seen(peopled).accounts["alice"].disabled


def test_a_hash_is_made_anew_only_in_the_place_of_the_one_it_stands_for(peopled: Store) -> None:
    alice = seen(peopled).accounts["alice"].id
    assert do(peopled, lambda c: accounts.rehash(c, alice, HASH, OTHER_HASH))
    assert not do(peopled, lambda c: accounts.rehash(c, alice, HASH, "late"))
    assert seen(peopled).accounts["alice"].password_hash == OTHER_HASH
    assert audit(peopled)[-1] == ("user.rehash", "user:alice")


def test_a_group_gives_and_takes_its_rules(peopled: Store) -> None:
    do(peopled, rule("allow group:dev c pull"))
    assert granted(peopled, "Ünal", "repository:c:pull") == ()
    assert do(peopled, lambda c: groups.add_member(c, "dev", "Ünal"))
    assert granted(peopled, "Ünal", "repository:c:pull") == ("pull",)
    do(peopled, lambda c: groups.remove_member(c, "dev", "Ünal"))
    assert granted(peopled, "Ünal", "repository:c:pull") == ()


def test_groups_are_listed_with_their_members(peopled: Store, clock: Clock) -> None:
    do(peopled, lambda c: groups.add_member(c, "dev", ADMIN))
    with peopled.read() as session:
        found = [groups.described(row) for row in groups.listed(session)]
    at = clock.at.isoformat()
    assert found == [
        {"name": "dev", "members": ["user:admin", "user:alice"], "created_at": at},
        {"name": "idle", "members": [], "created_at": at},
    ]


WIDENING: list[tuple[str, Callable[[Change, bool], Any]]] = [
    ("deny user:alice a/x pull", lambda c, force: accounts.remove(c, "alice", force=force)),
    ("deny group:dev a/x pull", lambda c, force: groups.remove(c, "dev", force=force)),
    (
        "deny group:dev a/x pull",
        lambda c, force: groups.remove_member(c, "dev", "alice", force=force),
    ),
]


@pytest.mark.parametrize(("deny", "remove"), WIDENING)
def test_what_would_widen_by_a_removal_is_refused_unless_forced(
    peopled: Store, deny: str, remove: Callable[[Change, bool], Any]
) -> None:
    do(peopled, rule(deny))
    before = contents(peopled)
    with pytest.raises(Refused, match=rf"{deny},push on every registry.*--force"):
        do(peopled, lambda c: remove(c, False))
    assert contents(peopled) == before
    do(peopled, lambda c: remove(c, True))
    assert contents(peopled) != before


@pytest.mark.parametrize(
    ("remove", "cited"),
    [
        (lambda c: accounts.remove(c, "alice"), ["allow user:alice a/** pull on every registry"]),
        (lambda c: groups.remove(c, "dev"), ["allow group:dev b/** pull,push on r2"]),
        (
            lambda c: entries.remove(c, "r2", force=True),
            ["allow group:dev b/** pull,push on r2"],
        ),
        (lambda c: groups.remove(c, "idle"), []),
    ],
)
def test_a_removal_takes_the_rules_with_it_and_says_which(
    peopled: Store, remove: Act, cited: list[str]
) -> None:
    before = len(seen(peopled).rules)
    said = do(peopled, remove)
    assert [text.partition("(")[2].partition(")")[0] for text in said] == cited
    assert len(seen(peopled).rules) == before - len(cited)


# A name that is made again inherits nothing.


def test_an_account_that_is_made_again_inherits_nothing(peopled: Store) -> None:
    old = seen(peopled).accounts["alice"]
    do(peopled, rule("deny user:alice c pull"), lambda c: accounts.remove(c, "alice", force=True))
    do(peopled, user("alice", None))
    new = seen(peopled).accounts["alice"]
    assert new.id != old.id
    assert (new.password_hash, new.disabled, new.account.groups) == (None, False, frozenset())
    assert granted(peopled, "alice", "repository:a/x:*") == ()


def test_a_group_that_is_made_again_inherits_nothing(peopled: Store) -> None:
    do(peopled, lambda c: groups.remove(c, "dev"), group("dev"))
    assert seen(peopled).accounts["alice"].account.groups == frozenset()
    do(peopled, lambda c: groups.add_member(c, "dev", "alice"))
    state = seen(peopled)
    alice = state.accounts["alice"].account
    assert decide(state.rules, alice, "r2", parse("repository:b/x:*")).granted == ()


def test_a_registry_that_is_made_again_inherits_nothing(peopled: Store) -> None:
    do(peopled, lambda c: entries.remove(c, "r2", force=True), registry("r2"))
    assert [rule for rule in seen(peopled).rules if rule.service] == []


def test_even_the_last_id_is_not_given_out_again(store: Store) -> None:
    first = do(store, user("alice")).id
    do(store, lambda c: accounts.remove(c, "alice"))
    assert do(store, user("bob")).id > first


def test_a_list_is_read_window_by_window_whatever_comes_and_goes(store: Store) -> None:
    do(store, *(user(name) for name in ("b", "C", "d", "e", "f")))

    def after(key: str, limit: int = 2) -> list[str]:
        with store.read() as session:
            rows = accounts.listed(session, "user", Window([key], limit))
            return [row.folded_name for row in rows]

    assert after("admin") == ["b", "c"]
    do(store, lambda c: accounts.remove(c, "C"), user("a"), user("c2"))
    assert after("c") == ["c2", "d"]
    assert after("d", 9) == ["e", "f"]
    assert after("f") == []


def test_a_group_gets_exactly_the_members_that_are_said(store: Store) -> None:
    do(store, user("alice"), user("bob"), user("carol"), group("dev", "alice", "bob"))
    do(store, lambda c: groups.set_members(c, "dev", ["bob", "carol", "bob"]))
    with store.read() as session:
        assert groups.described(lookup.group(session, "dev"))["members"] == [
            "user:bob",
            "user:carol",
        ]
        actions = [r["action"] for r in records.listed(session, Filter("change"))][-2:]
    assert actions == ["group.remove-member", "group.add-member"]


def test_the_last_administrator_that_can_log_in_is_known(store: Store) -> None:
    do(store, user("alice"), user("disabled"), user("invited", None))

    def promote(name: str) -> Act:
        return lambda change: accounts.set_role(change, name, admin=True)

    def require(change: Change) -> None:
        row = lookup.account(change.session, "admin")
        accounts.require_other_administrator(change.session, row)

    do(store, promote("disabled"), promote("invited"))
    do(store, lambda c: accounts.set_disabled(c, "disabled", disabled=True))
    with pytest.raises(Refused, match="last administrator"):
        do(store, require)
    do(store, promote("alice"), require)


# Registries and rules.


def test_a_registry_is_listed_with_its_token_life(store: Store) -> None:
    do(store, registry("b", 60), registry("a", 86400), registry("c"))
    with store.read() as session:
        found = [(row.service, row.token_ttl) for row in entries.listed(session)]
    assert found == [("a", 86400), ("b", 60), ("c", None), (SERVICE, None)]
    assert set(seen(store).registries) == {"a", "b", "c", SERVICE}


@pytest.mark.parametrize(
    ("line", "service"),
    [
        ("allow user:alice a/** delete", None),
        ("allow user:alice a/** pull", "r2"),
        ("allow user:alice a/* pull", None),
        ("allow group:dev a/** pull", None),
        ("allow everyone a/** pull", None),
        ("deny user:alice a/** pull", None),
        ("deny group:dev b/** pull", "r2"),
        ("allow group:dev b/** push", None),
        ("allow group:dev b/** push", SERVICE),
    ],
)
def test_a_rule_that_differs_in_anything_is_no_duplicate(
    peopled: Store, line: str, service: str | None
) -> None:
    number = do(peopled, rule(line, service))
    found = next(r for r in seen(peopled).rules if r.id == number)
    assert str(found).startswith(line.rpartition(" ")[0])
    assert found.service == service


def test_the_same_words_on_another_subject_or_kind_are_no_duplicate(peopled: Store) -> None:
    words = ("anonymous", "authenticated", "everyone", "group:dev", "group:idle")
    before = len(seen(peopled).rules)
    for about in (*words, "user:alice", "user:Ünal"):
        for kind in ("repository", "registry"):
            do(peopled, rule(f"allow {about} catalog all", kind=kind))
    assert len(seen(peopled).rules) == before + 14


@pytest.mark.parametrize("service", [None, SERVICE])
@pytest.mark.parametrize("subject", ["anonymous", "authenticated", "everyone", "user:admin"])
def test_a_duplicate_is_refused_for_every_subject_and_registry(
    store: Store, subject: str, service: str | None
) -> None:
    do(store, rule(f"allow {subject} a push", service))
    with pytest.raises(Refused, match="that rule is there already"):
        do(store, rule(f"allow {subject} a push,pull", service))


def test_a_rule_is_stored_and_described_as_it_holds(peopled: Store, clock: Clock) -> None:
    number = do(peopled, rule("allow group:dev c/* delete,push", "r2"))
    with peopled.read() as session:
        [row] = rules.listed(session, subject("group:dev"), "c/*")
        assert rule_rows.described(row) == {
            "id": number,
            "effect": "allow",
            "subjects": ["group:dev"],
            "type": "repository",
            "patterns": ["c/*"],
            "actions": ["pull", "push", "delete"],
            "registry": "r2",
            "networks": [],
            "valid_from": None,
            "valid_until": None,
            "enabled": True,
            "comment": "",
            "delegation": None,
            "created_by": "cli:tester",
            "created_at": clock.at.isoformat(),
            "edited_by": None,
            "edited_at": None,
        }


@pytest.mark.parametrize(
    ("about", "pattern", "found"),
    [
        (None, None, [1, 2, 3, 4]),
        ("user:admin", None, [1, 2]),
        ("user:alice", None, [3]),
        ("group:dev", None, [4]),
        ("user:alice", "b/**", []),
        (None, "b/**", [4]),
        (None, "b/*", []),
        ("everyone", None, []),
    ],
)
def test_rules_are_listed_by_subject_and_pattern(
    peopled: Store, about: str | None, pattern: str | None, found: list[int]
) -> None:
    with peopled.read() as session:
        asked = subject(about) if about else None
        assert [row.id for row in rules.listed(session, asked, pattern)] == found


def test_a_removed_rule_grants_no_more(peopled: Store) -> None:
    assert granted(peopled, "alice", "repository:a/x:pull") == ("pull",)
    said = do(peopled, lambda c: rules.remove(c, 3))
    assert said == "3 (allow user:alice a/** pull on every registry)"
    assert granted(peopled, "alice", "repository:a/x:pull") == ()


def test_what_init_makes(store: Store) -> None:
    state = seen(store)
    assert state.issuer == "authserver"
    assert [str(found) for found in state.rules] == [
        "allow user:admin ** * on every registry",
        "allow user:admin registry catalog * on every registry",
    ]
    assert granted(store, ADMIN, "registry:catalog:*") == ("*",)
    assert [action for action, _ in audit(store)] == [
        "store.init",
        "authority.add",
        "authority.activate",
        "key.add",
        "registry.add",
        "user.add",
        "acl.allow",
        "acl.allow",
    ]


def test_the_highest_ids_outlive_a_table_that_is_made_anew(store: Store) -> None:
    first = do(store, user("alice")).id
    do(store, lambda c: accounts.remove(c, "alice"))
    schema.migrate(store.engine, lambda configured: command.downgrade(configured, "0001"))
    schema.upgrade(store.engine)
    do(store, first_chains.begin_trail)
    assert do(store, user("bob")).id > first
