"""What needs attention: each kind of item comes with its cause and goes with it."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from authserver.core.errors import NotReady
from authserver.core.signatures import HeaderMode
from authserver.db import accounts, app_tokens, invitations, lockouts, lookup, rules, second_factors
from authserver.db.lockouts import Noted
from authserver.db.models import (
    AccountRow,
    AppTokenRow,
    AuditMark,
    AuthorityRow,
    InvitationRow,
    SigningKeyRow,
)
from authserver.db.store import Change
from authserver.keys import keyring, registry_keys, rows
from authserver.registry import last_checks
from authserver.runtime.settings import Settings
from authserver.web.overview import from_process, lint_memory
from authserver.web.overview.from_store import KINDS, StoreView
from authserver.web.overview.items import FIRST, OverviewCode
from authserver.web.overview.lint_memory import LintMemory
from tests.cli.commands import Commands
from tests.unit.registry.reports import report
from tests.web.test_api import call, got
from tests.world import ADMIN, PASSWORD, SERVICE, World

DAY = timedelta(days=1)

Trouble = Callable[[World], Iterator[None]]
"""Causes what needs attention, and mends it when it goes on."""


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a server with TLS, whose certificate is good for years."""
    certificate = tmp_path / "tls.pem"
    write_certificate(certificate, 1000 * DAY)
    files = {"tls_certificate_file": certificate, "tls_key_file": tmp_path / "tls.key"}
    return settings.model_copy(update=files)


@pytest.fixture
def world(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An installation in which nothing needs attention; lint looks each time."""
    monkeypatch.setattr(lint_memory, "SHARE", 0)
    made = World.over(settings)
    made.user("alice")
    with changed(made) as change:
        last_checks.keep(change, report())
    yield made
    made.close()


@pytest.fixture
def run(world: World) -> Commands:
    chosen = world.wiring.settings
    env = {
        "AUTHSERVER_TLS_CERTIFICATE_FILE": str(chosen.tls_certificate_file),
        "AUTHSERVER_TLS_KEY_FILE": str(chosen.tls_key_file),
    }
    return Commands(chosen.data_dir, env={**env})


def write_certificate(path: Path, left: timedelta) -> None:
    """Write a certificate that ends when so much time is over."""
    made = keyring.make_authority("tls", datetime.now(UTC) + left - keyring.AUTHORITY_LIFETIME)
    path.write_text(rows.pem(made.certificate))


@contextmanager
def changed(world: World) -> Iterator[Change]:
    with world.wiring.store.change("test") as change:
        yield change
    world.wiring.state.refresh()


@contextmanager
def ending(world: World, table: type[Any], *which: Any, left: timedelta) -> Iterator[None]:
    """Have a key end when so much time is over."""
    with changed(world) as change:
        before = change.session.scalars(select(table.not_after).where(*which)).one()
        change.session.execute(update(table).where(*which).values(not_after=change.at + left))
    yield
    with changed(world) as change:
        change.session.execute(update(table).where(*which).values(not_after=before))


def authority_ends(world: World) -> Iterator[None]:
    with ending(world, AuthorityRow, left=30 * DAY):
        yield


def signing_key_ends(world: World) -> Iterator[None]:
    with ending(world, SigningKeyRow, left=DAY):
        yield


def registry_key_ends(world: World) -> Iterator[None]:
    safe = world.wiring.state.safe
    with changed(world) as change:
        registry = lookup.registry(change.session, SERVICE)
        waiting = registry_keys.choose(change, safe, registry, HeaderMode.LIBTRUST, None)
        assert waiting is not None
        registry_keys.activate(change, registry, waiting.id)
    with ending(world, SigningKeyRow, SigningKeyRow.id == waiting.id, left=30 * DAY):
        yield


def registry_key_closed(world: World) -> Iterator[None]:
    state = world.wiring.state.latest
    assert state is not None
    keys = replace(state.keys, own={SERVICE: NotReady("its file is missing")})
    world.wiring.state._state = replace(state, keys=keys)
    yield
    world.wiring.state._state = state


def tls_ends(world: World) -> Iterator[None]:
    file = world.wiring.settings.tls_certificate_file
    assert file is not None
    write_certificate(file, 3 * DAY)
    yield
    write_certificate(file, 1000 * DAY)


def tokens_end(world: World) -> Iterator[None]:
    token, _ = world.app_token("alice", lifetime=10 * DAY)
    world.app_token("alice", lifetime=20 * DAY, name="later")
    yield
    with changed(world) as change:
        app_tokens.revoke(change, token)


def invitations_end(world: World) -> Iterator[None]:
    with changed(world) as change:
        accounts.add_user(change, "guest", None)
        _, code = invitations.invite(change, "guest", secrets.token_bytes)
    yield
    with changed(world) as change:
        invitations.redeem(change, code, "hash")


def lint_error(world: World) -> Iterator[None]:
    yield from allowed(world, "anonymous", "team/*", "push")


def lint_warning(world: World) -> Iterator[None]:
    world.user("gone")
    world.disable("gone")
    yield from allowed(world, "user:gone", "a", "pull")


def lint_info(world: World) -> Iterator[None]:
    yield from allowed(world, "authenticated", "team/*", "push")


def allowed(world: World, subject: str, pattern: str, actions: str) -> Iterator[None]:
    rule = world.allow(subject, pattern, actions)
    yield
    with changed(world) as change:
        rules.remove(change, rule)


def locked_out(world: World) -> Iterator[None]:
    with world.wiring.store.append() as session:
        at = world.wiring.store.time(session)
        lockouts.note(session, at, [Noted("k", "192.0.2.1", "alice", at + DAY)])
    yield
    with changed(world) as change:
        lockouts.lift_all(change, "192.0.2.1")


def registry_failed(world: World) -> Iterator[None]:
    with changed(world) as change:
        last_checks.keep(change, report("token", "clock"))
    yield
    with changed(world) as change:
        last_checks.keep(change, report())


def registry_unchecked(world: World) -> Iterator[None]:
    with changed(world) as change:
        last_checks.forget(change, lookup.registry(change.session, SERVICE))
    yield
    with changed(world) as change:
        last_checks.keep(change, report())


def records_altered(world: World) -> Iterator[None]:
    with changed(world) as change:
        change.seal()
    with world.wiring.store.append() as session:
        mark = session.scalars(select(AuditMark)).first()
        assert mark is not None
        before, chain = mark.mac, mark.chain_id
        mark.mac = "0" * len(before)
    yield
    with world.wiring.store.append() as session:
        here = AuditMark.chain_id == chain
        session.execute(update(AuditMark).where(here).values(mac=before))


def records_found_altered(world: World) -> Iterator[None]:
    world.wiring.maintenance.altered = "record 7 was altered"
    yield
    world.wiring.maintenance.altered = None


def records_late(world: World) -> Iterator[None]:
    world.wiring.maintenance._written_at = 0
    yield
    world.wiring.maintenance.tick()


def records_spooled(world: World) -> Iterator[None]:
    world.get()
    (event, *_) = world.wiring.issuer.journal.take()
    spool = world.wiring.maintenance.spool
    spool.keep([event])
    yield
    spool.write(world.wiring.store)


def space(world: World) -> Iterator[None]:
    world.wiring.maintenance.capacity.full = True
    yield
    world.wiring.maintenance.capacity.full = False


def proxies(world: World) -> Iterator[None]:
    watch = world.wiring.maintenance.proxies
    assert watch.storage is not None
    watch.storage.incr("proxies/requests", 60, 10)
    watch.storage.incr("proxies/unheeded", 60, 10)
    yield
    watch.storage.incr("proxies/requests", 60, 100)


OF_STORE: dict[str, Trouble] = {
    "authority-ends": authority_ends,
    "signing-key-ends": signing_key_ends,
    "registry-key-ends": registry_key_ends,
    "tls-ends": tls_ends,
    "tokens-end": tokens_end,
    "invitations-end": invitations_end,
    "lint-error": lint_error,
    "lint-warning": lint_warning,
    "lint-info": lint_info,
    "lockouts": locked_out,
    "registry-failed": registry_failed,
    "registry-unchecked": registry_unchecked,
    "records-altered": records_altered,
}
OF_PROCESS: dict[str, Trouble] = {
    "registry-key-closed": registry_key_closed,
    "records-altered": records_found_altered,
    "records-late": records_late,
    "records-spooled": records_spooled,
    "space": space,
    "proxies": proxies,
}


# Every installation of these tests has it: with a second factor, a password would not call the API.
ALWAYS = "no-second-factor"


def shown(world: World) -> list[dict[str, Any]]:
    """Return the items of the API."""
    return [item for item in got(world, "/overview")["items"] if item["code"] != ALWAYS]


def said(run: Commands) -> list[dict[str, Any]]:
    """Return the items of the command line."""
    return [item for item in run.json("overview") if item["code"] != ALWAYS]


def codes(world: World) -> set[str]:
    return {item["code"] for item in shown(world)}


CASES = {
    **OF_STORE,
    **{f"{code} in a process": cause for code, cause in OF_PROCESS.items()},
}


@pytest.mark.parametrize("name", CASES)
def test_each_kind_comes_with_its_cause_and_goes_with_it(
    world: World, run: Commands, name: str
) -> None:
    code, of_store = name.partition(" ")[0], name in OF_STORE
    assert codes(world) == set()
    assert said(run) == []
    trouble = CASES[name](world)
    next(trouble)
    (item,) = shown(world)
    assert (item["code"], item["count"]) == (code, 1)
    assert len(item["first"]) <= min(item["count"], FIRST)
    assert said(run) == ([item] if of_store else [])
    if of_store:
        lines = run("overview").splitlines()
        assert f"{item['level']:<7}  {item['text']}" in lines
        assert item["remedy"] is None or f"         {item['remedy']}" in lines
    for _ in trouble:
        pytest.fail("it is caused once")
    assert codes(world) == set()
    assert said(run) == []


def test_users_without_a_second_factor_are_named_administrators_first(
    world: World, run: Commands
) -> None:
    world.user("aaron")
    world.user("gone")
    world.disable("gone")
    world.robot("ci")
    with changed(world) as change:
        accounts.add_user(change, "guest", None)
    (item,) = got(world, "/overview")["items"]
    assert run.json("overview") == [item]
    assert (item["code"], item["level"]) == (ALWAYS, "warning")
    assert (item["count"], item["first"]) == (3, [ADMIN, "aaron", "alice"])
    protect(world, ADMIN)
    (item,) = run.json("overview")
    assert (item["level"], item["first"]) == ("info", ["aaron", "alice"])
    protect(world, "aaron", "alice")
    run("overview")
    assert (run.out, run.err.splitlines()[-1]) == ("", "Nothing needs attention.")


def protect(world: World, *names: str) -> None:
    """Give accounts a second factor."""
    with changed(world) as change:
        for name in names:
            account = lookup.account(change.session, name)
            second_factors.add_totp(change, account, "phone", b"sealed", 0, secrets.token_bytes)


def test_every_kind_is_tested() -> None:
    elsewhere = {ALWAYS, OverviewCode.CLOCK, OverviewCode.RECORDS_UNVERIFIED}
    assert {*OF_STORE, *OF_PROCESS} == {*OverviewCode} - elsewhere


def test_the_gravest_comes_first_and_many_names_are_few(world: World, run: Commands) -> None:
    for number in range(7):
        world.app_token("alice", lifetime=(8 - number) * DAY, name=f"t{number}")
    for cause in (registry_failed, lint_info):
        next(cause(world))
    items = shown(world)
    assert [item["level"] for item in items] == ["error", "warning", "info"]
    tokens = items[1]
    assert tokens["count"] == 7
    assert tokens["first"] == [f"t{number} of alice" for number in (6, 5, 4, 3, 2)]
    assert "         - … and 2 more\n" in run("overview")


def test_what_is_disabled_or_over_needs_no_attention(world: World) -> None:
    next(tokens_end(world))
    next(invitations_end(world))
    assert codes(world) == {"tokens-end", "invitations-end"}
    for name in ("alice", "guest"):
        world.disable(name)
    assert codes(world) == set()
    for name in ("alice", "guest"):
        world.disable(name, disabled=False)
    with world.wiring.store.append() as session:
        over = world.wiring.store.time(session) - DAY
        session.execute(update(AppTokenRow).values(expires_at=over))
        session.execute(update(InvitationRow).values(expires_at=over))
    assert codes(world) == set()


def test_no_item_tells_a_secret(world: World, run: Commands) -> None:
    _, secret = world.app_token("alice", lifetime=DAY)
    with changed(world) as change:
        accounts.add_user(change, "guest", None)
        _, code = invitations.invite(change, "guest", secrets.token_bytes)
    for name, cause in CASES.items():
        if name not in ("tokens-end", "invitations-end"):
            next(cause(world))
    with world.wiring.store.read() as session:
        columns = (AccountRow.password_hash, AppTokenRow.secret_hash, InvitationRow.secret_hash)
        hashes = [text for each in columns for text in session.scalars(select(each)) if text]
    assert len(hashes) >= 4
    texts = call(world, "GET", "/overview", status=200).text + run("overview", "--json")
    for text in (secret, code, PASSWORD, *hashes):
        assert text not in texts
    assert len(codes(world)) > 12


def test_a_clock_that_is_off_is_an_error(world: World) -> None:
    store = world.wiring.store
    fast = replace(store, clock=lambda: store.clock() + timedelta(minutes=1))
    with store.read() as session:
        view = StoreView(session, fast, world.wiring.settings, LintMemory(lambda: 0.0))
        (item,) = (item for kind in KINDS for item in kind(view) if item.code != ALWAYS)
    assert (item.code, item.level) == (OverviewCode.CLOCK, "error")
    assert "+60 s" in item.text


def test_without_the_master_key_the_rest_is_shown(world: World, run: Commands) -> None:
    next(registry_failed(world))
    world.wiring.settings.master_key_path.rename(world.wiring.settings.data_dir / "away")
    assert [item["code"] for item in said(run)] == [
        "registry-failed",
        "records-unverified",
    ]


def test_a_certificate_that_cannot_be_read_is_left_to_the_server(
    world: World, run: Commands
) -> None:
    file = world.wiring.settings.tls_certificate_file
    assert file is not None
    for content in (b"", b"no certificate"):
        file.write_bytes(content)
        assert said(run) == []
    file.unlink()
    assert said(run) == []


def test_only_an_administrator_sees_it(world: World) -> None:
    call(world, "GET", "/overview", ("alice", PASSWORD), 403)
    call(world, "GET", "/overview", None, 401)


def test_a_process_without_trouble_has_no_items(world: World) -> None:
    assert [*from_process.items(world.wiring.maintenance)] == []
