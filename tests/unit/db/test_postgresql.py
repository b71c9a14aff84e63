"""What is PostgreSQL's own: who waits for whom, what is said of its errors, what it keeps."""

import secrets
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, insert, inspect, select, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from authserver.audit.recorder import Trail
from authserver.audit.token_event import TokenEvent
from authserver.auth import usage
from authserver.auth.usage import CredentialKind, CredentialUse, CredentialUses
from authserver.core.errors import NotReady
from authserver.db import accounts, app_tokens, refresh_tokens, schema, snapshot
from authserver.db.app_tokens import Wanted
from authserver.db.dialects import dialect_of
from authserver.db.dialects.bulk_insert import Bulk
from authserver.db.models import AccountRow, AuditChain, StoreStateRow, TokenRecord
from authserver.db.refresh_tokens import Login
from authserver.db.store import Store, open_store
from authserver.registry import entries
from authserver.runtime.settings import Pool, Settings
from tests.postgres import PASSWORD, Cluster
from tests.programs import free_port
from tests.world import Clock, set_up, trail_in, wait_until

SECRET = "open-sesame"
FILLED = "filled"


@pytest.fixture(scope="module")
def filled(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A database that was set up; tests work on copies."""
    data_dir = tmp_path_factory.mktemp("filled")
    cluster.create(FILLED)
    url = cluster.url(FILLED).render_as_string(hide_password=False)
    made = Settings.model_validate({"data_dir": data_dir, "database_url": url})
    set_up(made)
    yield made
    cluster.drop(FILLED)


@pytest.fixture
def url(cluster: Cluster, filled: Settings, database: str) -> URL:
    cluster.drop(database)
    cluster.create(database, FILLED)
    return cluster.url(database)


@pytest.fixture
def store(url: URL, clock: Clock, filled: Settings) -> Iterator[Store]:
    with opened(url, clock, trail=trail_in(filled)) as store:
        yield store


@pytest.fixture
def other(url: URL, clock: Clock, filled: Settings) -> Iterator[Store]:
    """The same store, in another process."""
    with opened(url, clock, trail=trail_in(filled)) as store:
        yield store


@contextmanager
def opened(
    url: URL, clock: Clock, pool: Pool | None = None, trail: Trail | None = None
) -> Iterator[Store]:
    store = open_store(url, clock, pool, trail)
    yield store
    store.engine.dispose()


def setting(store: Store, name: str) -> str:
    with store.read() as session:
        return str(session.scalar(text(f"SHOW {name}")))


# How it is connected to.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("application_name", "authserver"),
        ("statement_timeout", "1min"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("timezone", "UTC"),
        ("transaction_isolation", "repeatable read"),
        ("transaction_read_only", "on"),
    ],
)
def test_every_connection_that_reads_is_prepared(store: Store, name: str, value: str) -> None:
    for _ in range(2):
        assert setting(store, name) == value
        with store.change("test"):  # the same connection is used to read again
            pass


def test_what_the_url_says_stands_above_what_we_say(url: URL, clock: Clock) -> None:
    with opened(url.update_query_dict({"application_name": "mine"}), clock) as store:
        assert setting(store, "application_name") == "mine"


@pytest.mark.parametrize("options", ["-c timezone=Asia/Tokyo", ""])
def test_times_are_told_in_utc_whatever_the_url_says(url: URL, clock: Clock, options: str) -> None:
    with opened(url.update_query_dict({"options": options}), clock) as store:
        assert setting(store, "timezone") == "UTC"


@pytest.mark.parametrize("begin", [Store.append, lambda store: store.change("test")])
def test_what_is_written_is_read_committed(store: Store, begin: Any) -> None:
    with begin(store) as given:
        session = getattr(given, "session", given)
        assert session.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert session.scalar(text("SHOW transaction_read_only")) == "off"


def test_reading_writes_nothing(store: Store) -> None:
    with pytest.raises(NotReady, match="takes no writes"), store.read() as session:
        session.execute(insert(TokenRecord).values(account="x"))


# Who waits for whom.


def test_a_change_that_waits_too_long_gives_up(store: Store, other: Store) -> None:
    with (
        store.change("first"),
        pytest.raises(NotReady, match="another writer holds the store"),
        other.change("second", wait=0.05),
    ):
        pytest.fail("two changes at once")


def test_rows_that_nothing_depends_on_wait_for_no_change(
    store: Store, other: Store, one: TokenEvent
) -> None:
    with store.change("first") as change:
        accounts.add_user(change, "alice", None)
        with other.append() as session:
            session.execute(insert(TokenRecord), [asdict(one)])
    with store.read() as session:
        assert session.scalars(select(TokenRecord.request_id)).all() == [one.request_id]


def test_a_change_sees_what_the_one_before_it_did(store: Store, other: Store) -> None:
    waiting = threading.Event()

    def second() -> list[str]:
        waiting.set()
        with other.change("second") as change:
            return [row.name for row in accounts.listed(change.session)]

    with ThreadPoolExecutor(1) as pool:
        with store.change("first") as change:
            accounts.add_user(change, "alice", None)
            found = pool.submit(second)
            assert waiting.wait(30)
            assert_waits(store)
        assert found.result(30) == ["admin", "alice"]


def assert_waits(store: Store) -> None:
    """Wait until some transaction waits for another."""
    waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

    def one_waits() -> bool:
        with store.engine.connect() as connection:
            return bool(connection.scalar(waits))

    assert wait_until(one_waits, 30)


def test_uses_and_a_removal_do_not_lock_each_other_out(
    store: Store, other: Store, clock: Clock
) -> None:
    with store.change("test") as change:
        accounts.add_robot(change, "ci")
        wanted = Wanted("main", timedelta(days=1))
        token, _ = app_tokens.create(change, "ci", wanted, secrets.token_bytes)
    uses = CredentialUses(timedelta(days=1))
    uses.note(
        CredentialUse(
            CredentialKind.APP, token.id, token.account_id, clock.at, "192.0.2.1", "docker"
        )
    )
    with store.change("test") as change:
        accounts.remove(change, "ci")
        uses.write(other)
        assert uses._pending
    uses.write(other)
    assert not uses._pending


@pytest.fixture
def login_used(store: Store, clock: Clock) -> CredentialUses:
    """A pending use of the docker login of alice."""
    with store.change("test") as change:
        alice = accounts.add_user(change, "alice", None)
        entries.add(change, "registry.test")
        by = Login(alice.id, "alice", None, "192.0.2.1", "docker")
        login = refresh_tokens.add(change, by, "registry.test", "s", timedelta(days=1))
    uses = CredentialUses(timedelta(days=1))
    uses.note(
        CredentialUse(
            CredentialKind.REFRESH, login.id, login.account_id, clock.at, "192.0.2.1", "docker"
        )
    )
    return uses


def last_used(store: Store) -> datetime | None:
    with store.read() as session:
        return session.scalar(select(AccountRow.last_used_at).where(AccountRow.name == "alice"))


def test_uses_wait_for_the_end_of_a_change_of_the_account(
    store: Store, other: Store, clock: Clock, login_used: CredentialUses
) -> None:
    with store.change("test") as change:
        accounts.set_role(change, "alice", admin=True)
        change.session.flush()
        login_used.write(other)
        assert login_used._pending
    assert last_used(store) is None
    login_used.write(other)
    assert not login_used._pending
    assert last_used(store) == clock.at


def test_a_new_password_and_uses_cause_no_deadlock(
    store: Store,
    other: Store,
    clock: Clock,
    login_used: CredentialUses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note_accounts = usage._note_accounts
    changing: list[Future[None]] = []

    def set_password() -> None:
        with store.change("test") as change:
            accounts.set_password(change, "alice", "x")

    def note_later(session: Session, uses: Iterable[CredentialUse]) -> None:
        changing.append(pool.submit(set_password))
        assert_waits(store)
        note_accounts(session, uses)

    monkeypatch.setattr(usage, "_note_accounts", note_later)
    with ThreadPoolExecutor(1) as pool:
        login_used.write(other)
        changing[0].result(30)
    assert not login_used._pending
    assert last_used(store) == clock.at


def test_who_asks_for_too_many_connections_is_told(url: URL, clock: Clock) -> None:
    with (
        opened(url, clock, Pool(size=1, timeout=0)) as store,
        store.read() as session,
    ):
        session.connection()
        with pytest.raises(NotReady, match="AUTHSERVER_DATABASE_POOL_SIZE"), store.read() as second:
            second.connection()


def test_two_upgrades_at_once_are_one(cluster: Cluster, database: str, clock: Clock) -> None:
    with (
        opened(cluster.url(database), clock) as first,
        opened(cluster.url(database), clock) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        with schema.migrating(first.engine):
            both = [pool.submit(schema.upgrade, store.engine) for store in (first, second)]
            assert_waits(first)
        assert {upgraded.result(60) for upgraded in both} == {
            (None, schema.head()),
            (schema.head(), schema.head()),
        }


def test_an_upgrade_that_fails_leaves_nothing(
    cluster: Cluster, database: str, clock: Clock
) -> None:
    def cut(configured: Config) -> None:
        command.upgrade(configured, "0002")
        raise KeyboardInterrupt

    with opened(cluster.url(database), clock) as store:
        with pytest.raises(KeyboardInterrupt):
            schema.migrate(store.engine, cut)
        with store.read() as session:
            assert inspect(session.connection()).get_table_names() == []


# What is said of its errors.


def failing(url: URL, clock: Clock) -> str:
    with opened(url, clock, Pool(connect_timeout=2)) as store:
        begins: list[Any] = [store.read, lambda: store.change("test"), store.append]
        for begin in begins:
            with pytest.raises(NotReady) as raised, begin() as given:
                getattr(given, "session", given).scalar(select(StoreStateRow.version))
        with pytest.raises(NotReady):
            schema.upgrade(store.engine)
    return str(raised.value)


def test_a_wrong_password_is_told_without_it(cluster: Cluster, database: str, clock: Clock) -> None:
    said = failing(cluster.url(database, by_tcp=True, password=SECRET), clock)
    assert "cannot be reached" in said
    assert 'password authentication failed for user "owner"' in said
    assert "AUTHSERVER_DATABASE_URL" in said
    assert SECRET not in said


def test_the_right_password_lets_in(cluster: Cluster, database: str, clock: Clock) -> None:
    with opened(cluster.url(database, by_tcp=True, password=PASSWORD), clock) as store:
        assert schema.upgrade(store.engine) == (None, schema.head())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"port": 0}, "connection"),
        ({"host": "nowhere.invalid"}, "nowhere.invalid"),
        ({"database": "none", "password": PASSWORD}, '"none" does not exist'),
        ({"query": {"sslmode": "sometimes"}}, "sslmode"),
        ({"query": {"nonsense": "1"}}, "nonsense"),
    ],
)
def test_what_cannot_be_reached_is_not_ready(
    cluster: Cluster, database: str, clock: Clock, change: dict[str, Any], said: str
) -> None:
    if "port" in change:
        change = {"port": free_port()}
    url = cluster.url(database, by_tcp=True, password=SECRET).set(**change)
    found = failing(url, clock)
    assert said in found
    assert SECRET not in found
    assert PASSWORD not in found
    assert "\n" not in found


def test_a_role_that_may_not_is_told_what_it_needs(
    cluster: Cluster, store: Store, url: URL, clock: Clock
) -> None:
    cluster.do("CREATE ROLE {} LOGIN", "guest")
    try:
        with (
            opened(url.set(username="guest"), clock) as guest,
            pytest.raises(NotReady, match="lacks a right"),
            guest.read() as session,
        ):
            snapshot.version(session)
    finally:
        cluster.do("DROP ROLE {}", "guest")


def test_without_its_driver_the_remedy_is_told(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(NotReady, match=r"pip install '\.\[postgresql\]'"):
        open_store(URL.create("postgresql+psycopg"), clock)


def test_no_values_are_in_what_is_raised(store: Store) -> None:
    row: dict[str, Any] = {
        "name": "x",
        "folded_name": "admin",
        "kind": "user",
        "password_hash": SECRET,
    }
    row |= {"admin": False, "description": "", "outlives_owner": False}
    with pytest.raises(IntegrityError) as raised, store.change("test") as change:
        change.session.execute(insert(AccountRow).values(**row, created_at=change.at))
    assert SECRET not in str(raised.value)


# What it keeps.


def insert_into(session: Session, *batches: Sequence[tuple[object, ...]]) -> None:
    columns = ["id", "name", "seq", "mac", "ended"]
    bulk = Bulk(AuditChain.metadata.tables["audit_chain"], columns)
    with bulk.into(session.connection()) as put:
        for rows in batches:
            put(rows)


def test_rows_arrive_as_they_are(store: Store) -> None:
    rows = [(n, f"Grüße\t\n\\{n}", n << 32, "", n % 2 == 0) for n in range(2, 6)]
    with store.append() as session:
        insert_into(session, rows[:1], rows[1:])
    with store.read() as session:
        table = AuditChain.metadata.tables["audit_chain"]
        found = session.execute(
            select(table.c.id, table.c.name, table.c.seq, table.c.mac, table.c.ended)
            .where(table.c.id > 1)
            .order_by(table.c.id)
        )
        assert [tuple(row) for row in found] == rows


def test_what_rows_cannot_hold_is_told_as_ever(store: Store) -> None:
    """They are copied in, which is nothing that SQLAlchemy does."""
    with store.append() as session, pytest.raises(DataError, match="0x00"):
        insert_into(session, [(2, "a\0b", 0, "", False)])
    with store.append() as session, pytest.raises(IntegrityError):
        insert_into(session, [(2, "twice", 0, "", False)] * 2)


def test_a_connection_that_is_lost_while_rows_are_copied_is_told_as_ever(store: Store) -> None:
    def write(*, ending: bool) -> None:
        with store.append() as session:
            pid = session.scalar(text("SELECT pg_backend_pid()"))
            if ending:
                with store.engine.connect() as another:
                    another.execute(text(f"SELECT pg_terminate_backend({pid})"))
            insert_into(session, [(2, "a", 0, "", False)])

    with pytest.raises(NotReady, match="terminat"):
        write(ending=True)
    write(ending=False)


def test_ids_are_not_given_out_again_and_have_64_bits(store: Store) -> None:
    with store.change("test") as change:
        first = accounts.add_user(change, "alice", None).id
        accounts.remove(change, "alice")
        change.session.execute(text("SELECT setval('token_record_id_seq', 3000000000)"))
    with store.change("test") as change:
        assert accounts.add_user(change, "bob", None).id > first
        assert change.session.get(AccountRow, 2**62) is None


def test_ids_are_known_however_the_database_looks_them_up(store: Store) -> None:
    """What it knows of its tables after a while has it take another way."""
    with store.change("test") as change:
        connection = change.session.connection()
        before = dialect_of(connection).highest_ids(connection)
        assert before["audit_record"] > 1
        connection.execute(text("ANALYZE"))
        assert dialect_of(connection).highest_ids(connection) == before


def test_names_are_in_the_order_of_their_code_points(store: Store) -> None:
    names = ["Zoe", "_x", "a-b", "aa", "alice", "Émile", "éa", "\U0001f600"]
    with store.change("test") as change:
        for name in names:
            accounts.add_user(change, name, None)
            entries.add(change, name) if name.isascii() else None
        listed = accounts.listed(change.session)
        services = [row.service for row in entries.listed(change.session)]
    folded = [row.folded_name for row in listed]
    assert folded == sorted(folded)
    assert services == sorted(services)
