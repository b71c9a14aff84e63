"""authserver backup and restore: the whole store, on either engine, or nothing."""

import gzip
import json
import random
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyrage
import pytest
from alembic import command as alembic
from sqlalchemy import create_engine, inspect, text

from authserver.audit.chain import RecordKind
from authserver.db import rule_rows, rules, schema
from authserver.db.backup import archive, dump
from authserver.db.dialects.postgresql import PostgreSQL
from authserver.db.dialects.sqlite import SQLite
from authserver.db.store import Store, open_store
from authserver.keys.master_key import make_master_key
from tests import stores
from tests.cli.commands import Commands
from tests.world import ADMIN, PASSWORD, Clock, World

# About both engines at once.
pytestmark = pytest.mark.sqlite

PASSPHRASE = "correct horse battery staple"
Record = dict[str, Any]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\n")
    return path


@pytest.fixture(scope="module")
def made(standing: Commands, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup that no test changes; a passphrase takes a second to be turned into a key."""
    directory = tmp_path_factory.mktemp("backup")
    (directory / "passphrase").write_text(PASSPHRASE)
    standing("backup", directory / "store.age", "--passphrase-file", directory / "passphrase")
    return directory / "store.age"


@pytest.fixture(scope="module")
def plain(made: Path) -> list[Record]:
    """What is in it."""
    return records(made)


@pytest.fixture(params=["sqlite", "postgresql"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Commands:
    """The commands of an installation that has nothing yet, on each engine."""
    fresh = Commands(tmp_path / "new" / "data")
    if request.param == "postgresql":
        cluster, database = (request.getfixturevalue(name) for name in ("cluster", "database"))
        url = cluster.url(database).render_as_string(hide_password=False)
        fresh.env["AUTHSERVER_DATABASE_URL"] = url
    else:
        fresh.env["AUTHSERVER_DATABASE_URL"] = None
    return fresh


@pytest.fixture
def opened(new: Commands) -> Iterator[Callable[[], Store]]:
    """Open the store of `new`."""
    found: list[Store] = []

    def opener() -> Store:
        found.append(open_store(url(new), Clock()))
        return found[-1]

    yield opener
    for store in found:
        store.engine.dispose()


def url(new: Commands) -> str:
    return new.env["AUTHSERVER_DATABASE_URL"] or f"sqlite:///{new.data_dir / 'authserver.db'}"


def nothing_in(new: Commands, opened: Any) -> bool:
    """Whether there is no store, or one without a table."""
    if new.env["AUTHSERVER_DATABASE_URL"] is None and not (new.data_dir / "authserver.db").exists():
        return True
    with opened().engine.connect() as connection:
        return not inspect(connection).get_table_names()


def emptied(new: Commands) -> bool:
    """Have nothing in a store any more; return whether there was anything."""
    (new.data_dir / "authserver.db").touch()
    engine = create_engine(url(new))
    with engine.begin() as connection:
        found = inspect(connection).get_table_names()
        if connection.dialect.name == "postgresql":
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    for path in new.data_dir.glob("authserver.db*"):
        path.unlink()
    return bool(found)


def with_master_key(new: Commands, of: Commands) -> None:
    new.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = new.data_dir / "master.key"
    path.write_bytes((of.data_dir / "master.key").read_bytes())
    path.chmod(0o600)


def records(backup: Path) -> list[Record]:
    plain = pyrage.passphrase.decrypt(backup.read_bytes(), PASSPHRASE)
    return [json.loads(line) for line in gzip.decompress(plain).splitlines()]


def lines(told: list[Record]) -> bytes:
    return gzip.compress(b"".join(json.dumps(each).encode() + b"\n" for each in told))


def packed(path: Path, told: list[Record]) -> Path:
    """Write a decrypted backup."""
    path.write_bytes(lines(told))
    return path


def test_everything_is_there_afterwards_and_goes_on(
    full: World, run: Commands, new: Commands, tmp_path: Path, secret: Path, opened: Any
) -> None:
    refresh = full.log_in("alice")
    before = stores.contents(full.wiring.store)
    assert all(before.values()), "a table is not tested"
    backup = tmp_path / "store.age"
    run("backup", backup, "--passphrase-file", secret)
    assert f"Backed up {sum(map(len, before.values()))} rows." in run.err
    with_master_key(new, run)
    new("restore", backup, "--passphrase-file", secret)
    assert "bring the master key" not in new.err
    assert all(line.endswith(": ok") for line in new("db", "check").splitlines())
    verified = new.json("audit", "verify")
    assert {kind: verified["verified"][kind] + verified["closed"][kind] for kind in RecordKind} == {
        "change": len(before["audit_record"]) + 1,
        "token": len(before["token_record"]),
    }
    assert verified["closed_faults"] == []
    assert (verified["ok"], verified["open"]) == (True, 0)
    _require_same(before, stores.contents(opened()))
    there = World.over(stores.settings(new.data_dir, database_url=url(new)))
    assert there.granted("scope=repository:a/b:pull", auth=(ADMIN, PASSWORD))
    answer = there.post(grant_type="refresh_token", refresh_token=refresh)
    assert full.claims(answer)["sub"] == "alice"
    there.close()
    # The user with the highest id had been removed.
    new("user", "add", "next", "--password-stdin", stdin=PASSWORD)
    (highest,) = [row.id for row in stores.contents(opened())["account"] if row.name == "next"]
    assert highest == max(row.id for row in before["account"]) + 2


def _require_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    restored = after["audit_record"].pop()
    assert (restored.action, set(restored.after)) == ("store.restore", {"at"})
    (state,), (earlier,) = after.pop("store_state"), before.pop("store_state")
    assert state._asdict() == earlier._asdict() | {"version": earlier.version + 1}
    # The chain of changes has gone on by that record, and all are sealed.
    for name in ("audit_mark", "audit_state"):
        assert after.pop(name) != before.pop(name)
    assert after["audit_chain"].pop(0) != before["audit_chain"].pop(0)
    assert after == before


def test_it_holds_neither_the_master_key_nor_anything_in_clear(
    made: Path, plain: list[Record], standing: Commands
) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert b"admin" not in made.read_bytes()
    master = (standing.data_dir / "master.key").read_text().strip().splitlines()[-1]
    assert master not in json.dumps(plain)
    assert [p.name for p in made.parent.iterdir() if p.name.startswith(".")] == []


def test_token_records_can_be_left_out(
    full: World, run: Commands, tmp_path: Path, secret: Path, bare: Commands
) -> None:
    small = tmp_path / "small.age"
    run("backup", small, "--passphrase-file", secret, "--no-token-records")
    tables = [record.get("table") for record in records(small)]
    assert "audit_record" in tables
    assert "token_record" not in tables
    with_master_key(bare, run)
    bare("restore", small, "--passphrase-file", secret)
    assert bare.last_change()["after"]["token_records"] == "left out"
    assert bare.json("audit", "verify")["ok"]


def test_without_token_records_it_needs_the_master_key_first(
    full: World, run: Commands, tmp_path: Path, secret: Path, bare: Commands
) -> None:
    small = tmp_path / "small.age"
    run("backup", small, "--passphrase-file", secret, "--no-token-records")
    bare("restore", small, "--passphrase-file", secret, status=1)
    assert "the master key: bring it first" in bare.err


def test_without_the_master_key_it_verifies_and_is_not_recorded(
    plain: list[Record], standing: Commands, new: Commands, tmp_path: Path
) -> None:
    new("restore", packed(tmp_path / "backup", plain))
    assert "no audit record" in new.err
    with_master_key(new, standing)
    assert new.json("audit", "verify")["ok"]
    assert new.last_change() == standing.last_change()


def test_what_age_decrypted_is_taken(plain: list[Record], new: Commands, tmp_path: Path) -> None:
    new("restore", "-", stdin=packed(tmp_path / "plain.gz", plain).read_bytes())
    assert "Restored " in new.err
    assert "bring the master key" in new.err


def test_it_goes_to_standard_output(run: Commands, secret: Path, bare: Commands) -> None:
    content = run.result("backup", "-", "--passphrase-file", secret).stdout_bytes
    bare("restore", "-", "--passphrase-file", secret, stdin=content)


def test_a_file_that_is_there_is_not_overwritten(run: Commands, made: Path, secret: Path) -> None:
    before = made.read_bytes()
    run("backup", made, "--passphrase-file", secret, status=1)
    assert "is there already" in run.err
    assert made.read_bytes() == before


@pytest.mark.parametrize("chosen", ["", "short", "eleven-char"])
def test_a_short_passphrase_is_refused(run: Commands, secret: Path, chosen: str) -> None:
    secret.write_text(chosen)
    run("backup", secret.with_name("b"), "--passphrase-file", secret, status=1)
    assert "at least 12 characters" in run.err
    assert not secret.with_name("b").exists()


def test_without_a_terminal_a_passphrase_file_is_needed(run: Commands, tmp_path: Path) -> None:
    run("backup", tmp_path / "b", status=2)
    assert "--passphrase-file" in run.err


def test_a_store_that_is_there_is_not_touched(
    run: Commands, plain: list[Record], tmp_path: Path
) -> None:
    before = run("audit", "list", "--json")
    run("restore", packed(tmp_path / "backup", plain), status=1)
    assert "there is a store already" in run.err
    assert run("audit", "list", "--json") == before


def altered(change: Callable[[list[Record]], object]) -> Callable[[list[Record]], bytes]:
    def alter(plain: list[Record]) -> bytes:
        told = deepcopy(plain)
        change(told)
        return lines(told)

    return alter


def cut(plain: list[Record]) -> bytes:
    return lines(plain)[:-20]


def damaged(plain: list[Record]) -> bytes:
    """Return a backup in which a row has lost a column, and its checksum is still the old one."""
    other = altered(lambda told: told[1]["rows"][0].pop())(plain)
    return other[:-8] + lines(plain)[-8:]


WRONG = {
    "cut": (cut, "is damaged"),
    "damaged": (damaged, "is damaged"),
    "something else": (lambda _: b"SQLite format 3", "no backup of authserver"),
    "another file of JSON lines": (altered(lambda told: told.pop(0)), "no backup of authserver"),
    "a later format": (altered(lambda told: told[0].update(version=2)), "reads version 1"),
    "a later schema": (altered(lambda told: told[0].update(revision="9")), "upgrade authserver"),
    "rows are missing": (altered(lambda told: told[-2]["rows"].pop()), "it ends after"),
    "no end": (altered(lambda told: told.__delitem__(slice(3, None))), "it ends after"),
    "more after the end": (altered(lambda told: told.append({"end": 1})), "goes on after its end"),
    "an unknown table": (altered(lambda told: told[1].update(table="x")), "rows of x cannot be"),
    "a column too many": (
        altered(lambda told: told[1]["rows"][0].append(1)),
        "cannot be kept",
    ),
    "a row twice": (
        altered(lambda told: told[1]["rows"].append(told[1]["rows"][0])),
        "cannot be kept",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_and_nothing_is_left(
    plain: list[Record], new: Commands, tmp_path: Path, opened: Any, case: str
) -> None:
    alter, said = WRONG[case]
    path = tmp_path / "backup"
    path.write_bytes(alter(plain))
    new("restore", path, status=1)
    assert said in new.err
    assert str(path) in new.err
    assert nothing_in(new, opened)
    new("restore", packed(tmp_path / "good", plain))


@pytest.mark.parametrize("alter", [lambda c: c[:-200], lambda c: c[:-5] + b"x" + c[-4:]])
def test_a_damaged_file_is_not_decrypted(
    made: Path, bare: Commands, secret: Path, tmp_path: Path, alter: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "damaged").write_bytes(alter(made.read_bytes()))
    bare("restore", tmp_path / "damaged", "--passphrase-file", secret, status=1)
    assert "cannot be decrypted" in bare.err


def test_another_passphrase_is_refused(made: Path, bare: Commands, secret: Path) -> None:
    secret.write_text(PASSPHRASE + "r")
    bare("restore", made, "--passphrase-file", secret, status=1)
    assert "the passphrase is another" in bare.err


def test_another_master_key_is_refused_and_nothing_is_left(
    plain: list[Record], new: Commands, tmp_path: Path, opened: Any
) -> None:
    new.data_dir.mkdir(mode=0o700, parents=True)
    make_master_key(new.data_dir / "master.key")
    new("restore", packed(tmp_path / "backup", plain), status=1)
    assert "is not the one of this store" in new.err
    assert nothing_in(new, opened)


def test_an_interrupted_restore_leaves_nothing(
    plain: list[Record],
    new: Commands,
    tmp_path: Path,
    opened: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backup = packed(tmp_path / "backup", plain)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for engine in (SQLite, PostgreSQL):
        monkeypatch.setattr(engine, "continue_ids", interrupted)
    new("restore", backup, status=1)
    monkeypatch.undo()
    assert nothing_in(new, opened)
    new("restore", backup)


def test_conditions_in_an_older_versions_columns_are_restored(
    new: Commands, tmp_path: Path, opened: Any
) -> None:
    old = open_store(f"sqlite:///{tmp_path / 'old.db'}", Clock())
    schema.migrate(old.engine, lambda configured: alembic.upgrade(configured, "0007"))
    with old.append() as session:
        session.execute(
            text(
                "INSERT INTO store_state VALUES (1, 7, 'authserver', 'k', '2026-01-02 03:04:05.6')"
            )
        )
        session.execute(
            text(
                "INSERT INTO rule (effect, resource_type, patterns, actions, networks, valid_from, "
                "valid_until, comment, created_by, created_at) VALUES ('allow', 'repository', "
                "'a', 'pull', :networks, '2026-01-02 03:04:05.000000', NULL, '', 'x', "
                "'2026-01-02 03:04:05.000000')"
            ),
            {"networks": "10.0.0.0/8\n192.0.2.0/24"},
        )
    with old.read() as session:
        connection = session.connection()
        told = dump.header(connection, Clock()(), "0.0.1")
        backup = packed(tmp_path / "old.gz", list(dump.dump(connection, told)))
    old.engine.dispose()
    new("restore", backup)
    with opened().read() as session:
        described = rule_rows.described(rules.get(session, 1))
    assert described["networks"] == ["10.0.0.0/8", "192.0.2.0/24"]
    assert described["valid_from"] == "2026-01-02T03:04:05+00:00"
    assert described["valid_until"] is None


def test_what_an_older_version_wrote_is_restored_and_upgraded(
    new: Commands, tmp_path: Path, opened: Any
) -> None:
    old = open_store(f"sqlite:///{tmp_path / 'old.db'}", Clock())
    schema.migrate(old.engine, lambda configured: alembic.upgrade(configured, "0002"))
    with old.append() as session:
        session.execute(
            text(
                "INSERT INTO store_state VALUES (1, 7, 'authserver', 'k', '2026-01-02 03:04:05.6')"
            )
        )
        session.execute(
            text(
                "INSERT INTO account (name, folded_name, kind, admin, created_at) "
                "VALUES ('Old', 'old', 'user', 1, '2026-01-02 03:04:05')"
            )
        )
    with old.read() as session:
        connection = session.connection()
        told = dump.header(connection, Clock()(), "0.0.1")
        backup = packed(tmp_path / "old.gz", list(dump.dump(connection, told)))
    old.engine.dispose()
    new("restore", backup)
    with opened().read() as session:
        schema.require_head(session.connection())
    (user,) = new.json("user", "list")
    assert (user["name"], user["admin"], user["created_at"]) == (
        "Old",
        True,
        "2026-01-02T03:04:05+00:00",
    )


def test_what_a_wiped_store_had_is_restored_and_the_alarm_stays(
    new: Commands, plain: list[Record], tmp_path: Path, standing: Commands
) -> None:
    audit = {"audit_mark", "audit_chain", "audit_state", "audit_record", "token_record"}
    kept = [record for record in plain if record.get("table") not in audit]
    rows = kept[0]["rows"] | dict.fromkeys(audit, 0)
    kept[0] = kept[0] | {"rows": rows}
    kept[-1] = {"end": sum(rows.values())}
    with_master_key(new, standing)
    new("restore", packed(tmp_path / "backup", kept))
    assert "no audit chains" in new.err
    new("db", "upgrade")
    new("audit", "verify", status=1)
    assert new.json("user", "list") == standing.json("user", "list")


ODD: list[Any] = [
    None, True, 5, -1, 1.5, 2**70, "", "x", "\0", "\ud800", [], [1], {}, {"time": 5}, {"time": "x"},
    {"time": "0001-01-01T00:00:00+14:00"}, {"bytes": "="}, {"bytes": "AA=="}, {"json": [1]},
    "9" * 5000,
]  # fmt: skip


def places(told: list[Record]) -> Iterator[tuple[Any, Any]]:
    """Give all that can be another value in a backup: where it is, and under which key."""
    for each in told:
        for key, value in each.items():
            yield each, key
            if isinstance(value, dict):
                yield from ((value, name) for name in value)
            if key == "rows" and isinstance(value, list):
                yield from ((value, number) for number in range(len(value)))
                yield from ((row, at) for row in value[:2] for at in range(len(row)))


def test_whatever_stands_in_a_backup_it_is_restored_or_refused(
    plain: list[Record], new: Commands, tmp_path: Path
) -> None:
    new.data_dir.mkdir(parents=True, mode=0o700)
    chosen = random.Random(17)
    number = len([*places(plain)])
    for at in [*range(20), *chosen.sample(range(number), 40)]:
        told = deepcopy(plain)
        holder, key = [*places(told)][at % number]
        holder[key] = chosen.choice(ODD)
        result = new.result("restore", packed(tmp_path / "backup", told))
        assert result.exit_code in (0, 1)
        assert emptied(new) is (result.exit_code == 0), (key, holder[key])


BOMBS = {
    "lists": b'{"rows":[' + b"[]," * (8 << 20) + b"[]]}",
    "a text": b'{"rows":["' + b"a" * (70 << 20) + b'"]}',
    "spaces": b" " * (300 << 20),
    "brackets": b'{"rows":' + b"[" * (1 << 20),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_does_not_fill_the_memory(
    plain: list[Record], new: Commands, tmp_path: Path, bomb: str
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(lines(plain[:1]) + gzip.compress(BOMBS[bomb] + b"\n"))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    new("restore", path, status=1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "a line of more than" in new.err or "is damaged" in new.err
    assert most < 4 * archive.MAX_LINE


def test_many_long_rows_are_in_lines_that_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_LINE", 1000)
    rows = [[number, "a" * 90] for number in range(100)]
    packed = archive.pack([{"table": "x", "rows": rows}, {"end": 100}], PASSPHRASE)
    *found, end = archive.unpack(archive.decrypt(packed, PASSPHRASE))
    assert [row for each in found for row in each["rows"]] == rows
    assert {each["table"] for each in found} == {"x"}
    assert end == {"end": 100}
