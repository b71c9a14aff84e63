"""authserver db copy: from SQLite to PostgreSQL, all of it or nothing."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, Table, func, select, text

from authserver.audit.chain import RecordKind
from authserver.db.backup import copy
from authserver.db.models import Base, StoreStateRow
from authserver.db.store import Store, open_store
from authserver.keys.master_key import make_master_key
from tests import stores
from tests.cli.commands import Commands
from tests.cli.conftest import RECORDS
from tests.postgres import Cluster
from tests.programs import Authserver
from tests.world import ADMIN, PASSWORD, Clock, World, wait_until

# About both engines at once.
pytestmark = pytest.mark.sqlite


@pytest.fixture
def moved(full: World, run: Commands, cluster: Cluster, database: str) -> Commands:
    """The commands of that installation, with an empty PostgreSQL database as its store."""
    url = cluster.url(database).render_as_string(hide_password=False)
    run.env["AUTHSERVER_DATABASE_URL"] = url
    return run


@pytest.fixture
def target(cluster: Cluster, database: str) -> Iterator[Store]:
    store = open_store(cluster.url(database), Clock())
    yield store
    store.engine.dispose()


def file(run: Commands) -> Path:
    return run.data_dir / "authserver.db"


def tables(target: Store) -> int:
    with target.read() as session:
        return (
            session.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) or 0
        )


def test_everything_is_there_afterwards(full: World, moved: Commands, target: Store) -> None:
    before = stores.contents(full.wiring.store)
    assert all(before.values()), "a table is not tested"
    moved("db", "copy", file(moved))
    after = stores.contents(target)
    copied = after["audit_record"].pop()
    (chain, *_), (state,) = after["audit_chain"], after["audit_state"]
    assert copied.action == "store.copy"
    assert copied.after == {name: len(rows) for name, rows in before.items()}
    assert (chain.seq, chain.mac, chain.record_id) == (copied.seq, copied.mac, copied.id)
    assert state.key == before["audit_state"][0].key
    assert but_for_the_copy(after) == but_for_the_copy(before)
    verified = moved.json("audit", "verify")
    assert {kind: verified["verified"][kind] + verified["closed"][kind] for kind in RecordKind} == {
        "change": len(before["audit_record"]) + 1,
        "token": len(before["token_record"]),
    }
    assert verified["closed_faults"] == []
    assert (verified["ok"], verified["open"]) == (True, 0)
    assert stores.contents(full.wiring.store) == before


def but_for_the_copy(contents: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the record of the copy goes on from: the chain of changes, and the version."""
    (state,) = contents["store_state"]
    chains = {"audit_chain": contents["audit_chain"][1:], "audit_mark": [], "audit_state": []}
    return contents | chains | {"store_state": state._asdict() | {"version": None}}


def test_it_says_how_far_it_is(moved: Commands) -> None:
    moved("db", "copy", file(moved))
    assert f"token_record: {RECORDS + 2}" in moved.err
    assert "Copied and compared" in moved.err


def test_the_installation_goes_on_there(full: World, moved: Commands, target: Store) -> None:
    refresh = full.log_in("alice")
    moved("db", "copy", file(moved))
    assert all(line.endswith(": ok") for line in moved("db", "check").splitlines())
    there = World.over(
        stores.settings(moved.data_dir, database_url=moved.env["AUTHSERVER_DATABASE_URL"])
    )
    assert there.granted("scope=repository:a/b:pull", auth=(ADMIN, PASSWORD))
    answer = there.post(grant_type="refresh_token", refresh_token=refresh)
    assert full.claims(answer)["sub"] == "alice"
    there.close()


def test_no_id_that_there_ever_was_is_given_out_again(
    full: World, moved: Commands, target: Store
) -> None:
    with full.wiring.store.read() as session:
        highest: Any = dict(session.execute(text("SELECT name, seq FROM sqlite_sequence")).all())
    moved("db", "copy", file(moved))
    highest["audit_record"] += 1  # that it was copied
    numbered = [table for table in Base.metadata.sorted_tables if gives_out_ids(table)]
    with target.append() as session:
        following = {table.name: session.scalar(next_id(table)) for table in numbered}
    assert following == {name: number + 1 for name, number in highest.items()}


def gives_out_ids(table: Table) -> bool:
    column = table.autoincrement_column
    return column is not None and not column.foreign_keys and table is not StoreStateRow.__table__


def next_id(table: Table) -> Select[tuple[int]]:
    return select(func.nextval(func.pg_get_serial_sequence(table.name, "id")))


def test_a_store_that_is_not_empty_is_refused(moved: Commands, target: Store) -> None:
    moved("db", "copy", file(moved))
    before = stores.contents(target)
    moved("db", "copy", file(moved), status=1)
    assert "is not empty" in moved.err
    assert stores.contents(target) == before


def test_an_empty_schema_is_copied_into(full: World, moved: Commands, target: Store) -> None:
    moved("db", "upgrade")
    moved("db", "copy", file(moved))
    assert stores.contents(target)["account"] == stores.contents(full.wiring.store)["account"]


ALTERED = [
    ("NEW.comment = 'other'; RETURN NEW", "rule did not arrive as it is; nothing was copied: id 1"),
    ("RETURN NULL", "rule did not arrive as it is; nothing was copied: id 1"),
    ("NEW.effect = 'too long for it'; RETURN NEW", "a row of rule cannot be kept there"),
]


@pytest.mark.parametrize(("does", "said"), ALTERED)
def test_a_row_that_does_not_arrive_is_found_and_nothing_is_kept(
    moved: Commands, target: Store, does: str, said: str
) -> None:
    moved("db", "upgrade")
    with target.append() as session:
        session.execute(
            text(
                "CREATE FUNCTION alter_rule() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN {does}; END $$"
            )
        )
        session.execute(
            text(
                "CREATE TRIGGER alter_rule BEFORE INSERT ON rule "
                "FOR EACH ROW EXECUTE FUNCTION alter_rule()"
            )
        )
    moved("db", "copy", file(moved), status=1)
    assert said in moved.err
    assert not any(stores.contents(target).values())


def test_a_copy_that_is_interrupted_leaves_nothing(
    moved: Commands, target: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = copy._compare

    def cut(table: Any, *connections: Any) -> None:
        if table.name == "rule_subject":
            raise KeyboardInterrupt
        real(table, *connections)

    monkeypatch.setattr(copy, "_compare", cut)
    moved("db", "copy", file(moved), status=1)
    assert tables(target) == 0
    monkeypatch.undo()
    moved("db", "copy", file(moved))


def test_a_copy_that_is_killed_leaves_nothing(moved: Commands, target: Store) -> None:
    moved("db", "upgrade")
    copy = Authserver(moved.data_dir, {k: str(v) for k, v in moved.env.items()})
    with target.append() as session:
        session.execute(text("LOCK TABLE rule_subject IN SHARE MODE"))
        process = subprocess.Popen(
            [*copy.program, "db", "copy", str(file(moved))],
            env=copy.environ,
            stderr=subprocess.DEVNULL,
        )
        assert wait_until(lambda: locked_out(target), 60)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert wait_until(lambda: not others(target), 30)
    assert not any(stores.contents(target).values())
    moved("db", "copy", file(moved))


def locked_out(target: Store) -> bool:
    """Whether another process waits for a table."""
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
    with target.engine.connect() as connection:
        return bool(connection.scalar(waits))


def others(target: Store) -> bool:
    """Whether another process's transaction has rows locked or tables open here."""
    open_ = text(
        "SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid() AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with target.engine.connect() as connection:
        return bool(connection.scalar(open_))


@pytest.mark.parametrize("args", [["--help"], []])
def test_the_database_must_be_a_postgresql(run: Commands, args: list[str]) -> None:
    run("db", "copy", file(run), *args, status=0 if args else 1)
    assert args or "AUTHSERVER_DATABASE_URL" in run.err


def test_another_master_key_is_refused(moved: Commands, target: Store) -> None:
    (moved.data_dir / "master.key").unlink()
    make_master_key(moved.data_dir / "master.key")
    moved("db", "copy", file(moved), status=1)
    assert "is not the one of this store" in moved.err
    assert tables(target) == 0


def test_what_is_no_store_is_refused(moved: Commands, target: Store, tmp_path: Path) -> None:
    (tmp_path / "no.db").write_bytes(b"no database at all" * 100)
    (tmp_path / "empty.db").touch()
    for name in ("no.db", "empty.db"):
        moved("db", "copy", tmp_path / name, status=1)
    moved("db", "copy", tmp_path / "none.db", status=2)
    assert tables(target) == 0
