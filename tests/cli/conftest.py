"""Fixtures for the command line."""

import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from authserver.audit import restart
from authserver.core import secret_tokens
from authserver.core.secret_tokens import Prefix
from authserver.db import (
    accounts,
    console_sessions,
    delegations,
    invitations,
    lockouts,
    lookup,
    second_factors,
)
from authserver.db.console_sessions import ConsoleLogin, Stage
from authserver.db.lockouts import Noted
from authserver.db.second_factors import NewPasskey
from authserver.registry import last_checks
from tests import stores
from tests.cli.commands import Commands
from tests.unit.registry.reports import report
from tests.world import PASSWORD, SERVICE, World

RECORDS = 2500


@pytest.fixture
def run(data_dir: Path) -> Commands:
    """The commands of an installation that was set up."""
    return Commands(data_dir)


@pytest.fixture
def bare(engine: None, tmp_path: Path) -> Commands:
    """The commands where nothing is set up yet."""
    return Commands(tmp_path / "new" / "data")


@pytest.fixture(scope="session")
def standing(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """One installation for all tests that only ask, or whose changes are refused.

    alice is in the group dev and may pull a.
    """
    run = Commands(tmp_path_factory.mktemp("standing") / "data")
    stores.copied(template, run.data_dir)
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    run("group", "add", "dev")
    run("group", "add-member", "dev", "alice")
    run("acl", "allow", "user:alice", "a", "pull")
    before = run("audit", "list", "--json")
    yield run
    assert run("audit", "list", "--json") == before, "a change was not refused"


@pytest.fixture
def full(world: World) -> World:
    """An installation that has rows in every table, and gaps where there were some."""
    for name in ("alice", "gone"):
        world.user(name)
    world.robot("ci")
    world.user("Ünal")
    world.group("dev", "alice", "ci")
    with world.wiring.store.change("test") as change:
        # It has a lower id than its owner.
        accounts.edit_robot(change, "ci", owner="Ünal", description="builds 'all' of \\ it")
        accounts.remove(change, "gone")
        # Not of alice, who logs in with a password alone below.
        owner = lookup.account(change.session, "Ünal")
        second_factors.add_totp(change, owner, "phone", b"sealed", 7, secrets.token_bytes)
        passkey = NewPasskey(b"id\0", b"key", 0, ("usb",))
        second_factors.add_passkey(change, owner, "key", passkey, secrets.token_bytes)
        login = ConsoleLogin(owner.id, Stage.OPEN, "192.0.2.7", "a browser")
        console_sessions.add(change, login, secret_tokens.make(Prefix.CONSOLE, secrets.token_bytes))
        delegations.add(change, "dev", SERVICE, delegations.extent("dev/**", "push"))
        accounts.add_user(change, "guest", None)
        invitations.invite(change, "guest", secrets.token_bytes)
        last_checks.keep(change, report("token"))
    world.allow("user:alice,group:dev", "team/**,b", "pull", networks=["10.0.0.0/8"])
    world.deny("everyone", "secret/**", "all")
    world.app_token("ci", "repository:a:pull", networks=("192.0.2.0/24",))
    world.app_token("ci", name="forever", lifetime=None)
    world.log_in("alice")
    (event,) = list(world.wiring.issuer.journal.pending)[-1:]
    world.get()
    world.wiring.maintenance.tick()
    with world.wiring.store.change("test") as change:
        restart.restart(change, {}, "so that there are closed chains")
    with world.wiring.store.append() as session:
        at = world.wiring.store.time(session)
        lockouts.note(session, at, [Noted("k", "192.0.2.1", "alice", at + timedelta(hours=1))])
    for _ in range(RECORDS):
        world.wiring.issuer.journal.add(event)
    while world.wiring.maintenance.tick():
        pass
    with world.wiring.store.change("test") as change:
        accounts.add_user(change, "last", None)
        accounts.remove(change, "last")
    return world
