"""authserver audit prune: the oldest records of token requests are deleted by hand."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from authserver.db.space import reserve_of
from tests import stores
from tests.cli.commands import Commands
from tests.disks import small_disk
from tests.world import ADMIN, PASSWORD, World

NUMBER = 2600


@pytest.fixture
def asked(run: Commands) -> Commands:
    """NUMBER logins, all but the last hundred of the day before yesterday."""
    fill(run)
    return run


def fill(run: Commands) -> None:
    world = World.over(stores.settings(run.data_dir))
    journal, store = world.wiring.issuer.journal, world.wiring.store
    world.get("service=registry", auth=(ADMIN, PASSWORD))
    (event,) = journal.take()
    for number in range(NUMBER):
        made: dict[str, Any] = {name: getattr(event, name) for name in type(event).__slots__}
        days = 0 if number >= NUMBER - 100 else 2
        made |= {"request_id": str(number), "at": event.at - timedelta(days=days)}
        journal.add(type(event)(**made))
    while journal.write(store):
        pass
    world.wiring.maintenance.stop()
    world.close()


def left(run: Commands) -> list[int]:
    found = run.json("audit", "list", "--kind", "token", "--limit", NUMBER)
    return [int(record["request_id"]) for record in found]


@pytest.mark.parametrize(
    ("flags", "number"),
    [
        (["--keep", 1500], 1500),
        (["--keep", 0], 0),
        (["--before", "1d"], 100),
        (["--before", "1d", "--keep", 30], 30),
        (["--before", "3d"], NUMBER),
        (["--keep", NUMBER], NUMBER),
    ],
)
def test_the_oldest_are_deleted_and_the_chains_go_on_to_verify(
    asked: Commands, flags: list[str | int], number: int
) -> None:
    told = asked.json("audit", "prune", *flags, "--yes")
    assert told == {"deleted": NUMBER - number}
    assert left(asked) == list(range(NUMBER - number, NUMBER))
    assert asked.json("audit", "verify")["ok"]


def test_it_is_recorded_who_did_it_and_what_was_asked(asked: Commands) -> None:
    asked("audit", "prune", "--keep", 100, "--yes")
    change = asked.last_change()
    assert (change["action"], change["target"]) == ("audit.prune", "token records")
    assert change["after"] == {"records": NUMBER - 100, "before": None, "keep": 100}
    asked("audit", "prune", "--keep", 100, "--yes")
    assert asked.last_change() == change


def test_without_a_terminal_it_has_to_be_said_to_be_sure(asked: Commands) -> None:
    asked("audit", "prune", "--keep", 100, status=2)
    assert (
        f"Delete {NUMBER - 100} records of token requests for good? If so: authserver audit prune"
        in asked.err
    )
    assert len(left(asked)) == NUMBER


def test_what_is_to_be_deleted_has_to_be_said(run: Commands) -> None:
    run("audit", "prune", "--yes", status=2)
    assert "--before TIME, --keep N" in run.err


def test_what_was_altered_is_not_deleted(asked: Commands) -> None:
    store = stores.opened(asked.data_dir)
    with store.append() as session:
        session.execute(text("UPDATE token_record SET account = 'x' WHERE request_id = '7'"))
    store.engine.dispose()
    asked("audit", "prune", "--keep", 100, "--yes", status=1)
    assert "authserver audit verify" in asked.err
    assert len(left(asked)) == NUMBER
    assert asked.last_change()["action"] != "audit.prune"


@pytest.mark.sqlite
def test_a_full_store_can_be_changed_again_when_it_was_pruned(template: Path) -> None:
    with small_disk(40) as disk:
        run = Commands(stores.copied(template, disk.path / "data"))
        fill(run)
        store = stores.opened(run.data_dir)
        reserve_of(store).keep()
        store.engine.dispose()
        disk.fill()
        run("group", "add", "ops", status=1)
        assert "the store is full" in run.err
        assert "authserver audit prune" in run.err
        run("audit", "prune", "--keep", 1000, "--yes")
        run("group", "add", "ops")
        assert run.json("audit", "verify")["ok"]
