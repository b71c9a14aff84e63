"""The state that a serving process answers from, and how it keeps up with the store."""

import json
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from authserver.auth import state
from authserver.auth.state import STALE_AFTER
from authserver.core.errors import NotReady
from authserver.core.rules import Effect, new_rule
from authserver.core.signatures import HeaderMode, KeyType
from authserver.core.subjects import subjects
from authserver.db import accounts, app_tokens, groups, lookup, refresh_tokens, rules, snapshot
from authserver.db.app_tokens import Wanted
from authserver.db.models import SigningKeyRow, StoreStateRow
from authserver.db.snapshot import Snapshot
from authserver.db.store import Change, Store, open_store
from authserver.keys import registry_keys
from authserver.keys import signing_keys as key_store
from authserver.keys.master_key import MasterKey, beside, make_master_key, take_over
from authserver.keys.private_keys import Safe
from authserver.registry import entries, published_keys
from authserver.runtime.settings import Settings
from authserver.web.wiring import wire
from tests.unit.processes import Process, add_user
from tests.unit.statements import statements
from tests.world import ADMIN, SERVICE, Clock

HASH = "$2b$04$" + "." * 53


def test_before_the_first_look_nothing_can_be_answered(process: Process) -> None:
    new = replace(process.state, _state=None)
    with pytest.raises(NotReady, match="cannot be reached"):
        new.current  # noqa: B018


def test_a_change_is_seen_at_the_next_look(process: Process, store: Store) -> None:
    add_user(store, "alice")
    assert process.accounts == {ADMIN}
    process.state.refresh()
    assert process.accounts == {ADMIN, "alice"}


def test_every_process_sees_it(process: Process, other: Process) -> None:
    add_user(other.store, "alice")
    for each in (process, other):
        each.state.refresh()
        assert each.accounts == {ADMIN, "alice"}


def test_a_state_is_replaced_as_a_whole(process: Process, store: Store) -> None:
    held = process.state.current
    add_user(store, "alice")
    process.state.refresh()
    assert set(held.snapshot.accounts) == {ADMIN}
    assert process.state.current.snapshot.version == held.snapshot.version + 1


def test_where_nothing_changed_nothing_is_loaded_again(process: Process) -> None:
    before = process.state.current
    process.monotonic.at += 1
    process.state.refresh()
    assert process.state.current.snapshot is before.snapshot
    assert process.state.current.signer is before.signer
    assert process.state.current.read_at == before.read_at + 1


def stale(process: Process) -> bool:
    return process.state.current.stale


def lose(process: Process, gone: Store) -> None:
    process.state.store = gone
    with pytest.raises(NotReady, match="there is no store"):
        process.state.refresh()


def test_without_the_store_the_last_state_answers_for_a_while(
    process: Process, gone: Store
) -> None:
    assert not stale(process)
    lose(process, gone)
    process.monotonic.at += 60
    assert process.accounts == {ADMIN}
    assert stale(process)
    process.monotonic.at += 0.1
    with pytest.raises(NotReady, match="cannot be reached"):
        process.accounts  # noqa: B018


def test_the_while_begins_when_the_store_was_last_known_to_agree(
    process: Process, gone: Store
) -> None:
    process.monotonic.at += 5
    process.state.refresh()
    process.monotonic.at += 59
    lose(process, gone)
    assert process.state.age == 59
    process.monotonic.at += 2
    with pytest.raises(NotReady, match="cannot be reached"):
        process.accounts  # noqa: B018


def test_staleness_can_be_turned_off(process: Process, gone: Store) -> None:
    process.state.max_staleness = 0
    assert process.accounts == {ADMIN}
    lose(process, gone)
    with pytest.raises(NotReady, match="cannot be reached"):
        process.accounts  # noqa: B018


@pytest.mark.parametrize("most", [0, 3, 60])
def test_a_store_that_hangs_makes_the_state_stale(process: Process, most: int) -> None:
    """Nobody can say then that a look has failed."""
    process.state.max_staleness = most
    process.monotonic.at += min(STALE_AFTER, most or STALE_AFTER)
    assert not stale(process)
    process.monotonic.at += 0.1
    assert process.state.stale
    if most > STALE_AFTER:
        assert stale(process)
        return
    with pytest.raises(NotReady, match="cannot be reached"):
        process.accounts  # noqa: B018


def test_nobody_waits_for_long_with_one_who_hangs(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "LOOK_WAITS", 0.01)
    with (
        process.state._session(),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(NotReady, match="too long"),
    ):
        pool.submit(process.state.refresh).result(30)
    process.state.refresh()
    assert not stale(process)


def test_the_time_of_day_makes_nothing_stale(process: Process, clock: Clock) -> None:
    clock.move(timedelta(days=1))
    assert process.accounts == {ADMIN}


def spoil_the_signing_key(change: Change) -> None:
    change.session.scalars(select(SigningKeyRow)).one().private_key = b"x" * 50


def name_another_master_key(change: Change) -> None:
    change.session.scalars(select(StoreStateRow)).one().master_key_id = "other"


@pytest.mark.parametrize("make", [spoil_the_signing_key, name_another_master_key])
def test_keys_that_do_not_open_leave_the_old_state(
    process: Process, make: Callable[[Change], None]
) -> None:
    with process.store.change("test") as change:
        make(change)
        accounts.add_user(change, "alice", None)
    with pytest.raises(NotReady, match="master key"):
        process.state.refresh()
    assert process.accounts == {ADMIN}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the private keys that are opened from now on."""
    names: list[str] = []
    unseal = MasterKey.open

    def note(self: MasterKey, sealed: bytes, name: str) -> bytes:
        names.append(name)
        return unseal(self, sealed, name)

    monkeypatch.setattr(MasterKey, "open", note)
    return names


def log_in(change: Change) -> None:
    admin = lookup.account(change.session, ADMIN)
    login = refresh_tokens.Login(admin.id, ADMIN, admin.password_hash, "192.0.2.1", "docker")
    refresh_tokens.add(change, login, SERVICE, "secret", timedelta(days=30))


def give_a_password(change: Change) -> None:
    accounts.set_password(change, ADMIN, HASH)


def add_a_rule(change: Change) -> None:
    rules.add(change, new_rule(Effect.ALLOW, subjects("everyone"), ["a"], "pull"))


def make_an_app_token(change: Change) -> None:
    app_tokens.create(change, ADMIN, Wanted("push", None, (), ()), secrets.token_bytes)


@pytest.mark.parametrize(
    "make",
    [give_a_password, log_in, add_a_rule, make_an_app_token, lambda c: groups.add(c, "dev")],
)
def test_a_change_of_something_else_opens_and_reads_no_key(
    process: Process, opened: list[str], make: Callable[[Change], object]
) -> None:
    with process.store.change("test") as change:
        make(change)
    opened.clear()
    before = process.state.current
    with statements(process.store.engine) as sent:
        process.state.refresh()
    assert process.state.current.snapshot.version == before.snapshot.version + 1
    assert process.state.current.keys is before.keys
    assert opened == []
    read = " ".join(sent)
    assert not re.search(r"signing_key|authority|master_key", read)


def test_a_change_of_the_keys_opens_those_that_sign(process: Process, opened: list[str]) -> None:
    with process.store.change("test") as change:
        key_store.rotate(change, process.state.safe)
    opened.clear()
    process.state.refresh()
    assert opened == ["signing key 2"]


def test_a_registry_that_is_added_has_published_keys(process: Process) -> None:
    with process.store.change("test") as change:
        entries.add(change, "other")
    process.state.refresh()
    assert "other" in process.state.current.keys.published


def test_a_retired_key_is_published_for_a_while(process: Process, clock: Clock) -> None:
    with process.store.change("test") as change:
        key_store.rotate(change, process.state.safe)
    kept = []
    for later in (timedelta(0), published_keys.KEPT):
        clock.move(later)
        process.monotonic.at += state.KEYS_EVERY
        process.state.refresh()
        published = process.state.current.keys.published[None]
        kept.append(len(json.loads(published.jwks)["keys"]))
    assert kept == [4, 2]


def test_a_key_that_cannot_be_opened_is_tried_again(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    with process.store.change("test") as change:
        registry = lookup.registry(change.session, SERVICE)
        own = registry_keys.add(
            change, process.state.safe, registry, HeaderMode.RFC7638, KeyType.P256
        )
        registry_keys.activate(change, registry, own.id)
    unseal = MasterKey.open

    def fail(self: MasterKey, sealed: bytes, name: str) -> bytes:
        if name == f"signing key {own.id}":
            raise NotReady("no")
        return unseal(self, sealed, name)

    with monkeypatch.context() as patch:
        patch.setattr(MasterKey, "open", fail)
        process.state.refresh()
    (warning,) = process.state.current.warnings
    assert SERVICE in warning
    process.monotonic.at += state.CLOSED_KEYS_EVERY
    process.state.refresh()
    assert process.state.current.warnings == []


def test_a_master_key_that_was_changed_is_read_anew(
    process: Process, store: Store, safe: Safe
) -> None:
    new = make_master_key(beside(safe.master_key_path))
    with store.change("test") as change:
        key_store.rewrap(change, safe, new)
    process.state.refresh()
    assert process.state.safe.master == new
    take_over(safe.master_key_path)
    add_user(store, "alice")
    process.state.refresh()
    assert process.accounts == {ADMIN, "alice"}


@pytest.mark.parametrize("seconds", [5.1, -5.1, 3600])
def test_a_clock_that_is_off_is_not_ready(process: Process, clock: Clock, seconds: float) -> None:
    process.state.store = replace(
        process.state.store, clock=Clock(clock.at + timedelta(seconds=seconds))
    )
    process.state.refresh()
    with pytest.raises(NotReady, match="off the store's"):
        process.state.current.require_clock()


@pytest.mark.parametrize("seconds", [5, -5, 0])
def test_a_clock_that_is_nearly_right_is_ready(
    process: Process, clock: Clock, seconds: float
) -> None:
    process.state.store = replace(
        process.state.store, clock=Clock(clock.at + timedelta(seconds=seconds))
    )
    process.state.refresh()
    process.state.current.require_clock()


def test_the_stores_own_clock_is_the_databases(settings: Settings) -> None:
    opened = open_store(settings.store_url, Clock())
    before = datetime.now(UTC)
    with opened.read() as session:
        found = opened.time(session)
    opened.engine.dispose()
    # SQLite knows milliseconds.
    assert before - timedelta(milliseconds=1) <= found <= datetime.now(UTC)


def test_nothing_is_warned_of_before(process: Process, clock: Clock) -> None:
    clock.move(timedelta(days=3652 - 181))
    process.maintenance.tick()
    assert process.state.current.warnings == []


def test_a_signing_key_that_was_not_rotated_is_warned_of(process: Process, clock: Clock) -> None:
    clock.move(timedelta(days=36))
    process.state.refresh()
    (warning,) = process.state.current.warnings
    assert "signing key 1 ends" in warning
    process.maintenance.tick()
    assert process.state.current.warnings == []


def first_snapshot(settings: Settings, known: Snapshot | None = None) -> Snapshot:
    started = wire(settings, known=known)
    started.store.engine.dispose()
    return started.state.current.snapshot


def test_a_worker_goes_on_from_what_its_server_has_read(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = first_snapshot(settings)
    monkeypatch.setattr(snapshot, "load", lambda _: pytest.fail("all was read again"))
    assert first_snapshot(settings, known) is known
    with store.change("test") as change:
        accounts.add_user(change, "later", None)
    later = first_snapshot(settings, known)
    assert later.accounts.keys() - known.accounts.keys() == {"later"}
    assert later.rules is known.rules
