"""authserver db: the schema and the store's health."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from authserver.db import schema
from authserver.runtime import logs
from tests import stores
from tests.cli.commands import Commands
from tests.world import take_schema_back


def execute(data_dir: Path, statement: str, **values: object) -> None:
    # An engine of its own: its connections leave foreign keys alone.
    engine = create_engine(stores.settings(data_dir).store_url)
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


def failing(run: Commands) -> dict[str, str]:
    said = run.json("db", "check", status=1)
    assert said["ok"] is False
    assert "Error" not in run.err
    return {name: reason for name, reason in said["checks"].items() if reason is not None}


def test_a_new_store_is_in_order(run: Commands) -> None:
    names = ["schema", "integrity", "foreign keys", "private keys", "audit chains"]
    assert run.json("db", "check") == {"ok": True, "checks": dict.fromkeys(names)}
    assert run("db", "check").splitlines() == [f"{name}: ok" for name in names]


def test_an_upgrade_of_what_is_at_head_changes_nothing(run: Commands) -> None:
    before = run.json("audit", "list")
    run("db", "upgrade")
    assert f"at {schema.head()}" in run.err
    assert run.json("audit", "list") == before


@pytest.mark.parametrize(
    "args",
    [
        ["user", "list"],
        ["user", "add", "alice", "--password-stdin"],
        ["acl", "list"],
        ["acl", "explain", "anonymous", "repository:a:pull"],
        ["registry", "config", "registry"],
        ["key", "bundle"],
        ["audit", "list"],
        ["serve"],
    ],
)
def test_commands_on_a_schema_that_is_behind_name_the_one_that_helps(
    run: Commands, args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "configure", lambda _: None)  # it would outlive the test
    take_schema_back(stores.settings(run.data_dir))
    run(*args, stdin="sesame", status=1)
    assert "authserver db upgrade" in run.err
    assert run.out == ""


def test_upgrade_brings_the_schema_to_head(run: Commands) -> None:
    take_schema_back(stores.settings(run.data_dir))
    assert "authserver db upgrade" in failing(run)["schema"]
    run("db", "upgrade")
    assert str(schema.head()) in run.err
    assert "schema: ok" in run.result("db", "check").stdout


def test_a_schema_of_a_later_version_is_left_alone(run: Commands) -> None:
    execute(run.data_dir, "UPDATE alembic_version SET version_num = '9999'")
    assert "newer" in failing(run)["schema"]
    run("user", "list", status=1)
    assert "newer" in run.err


@pytest.mark.sqlite
@pytest.mark.parametrize("args", [["db", "upgrade"], ["db", "check"], ["user", "list"]])
def test_where_there_is_no_store_none_is_made(bare: Commands, args: list[str]) -> None:
    bare(*args, status=1)
    assert "authserver init" in bare.err
    assert not bare.data_dir.exists()


@pytest.mark.sqlite
def test_a_row_that_names_what_is_gone_is_found(run: Commands) -> None:
    execute(run.data_dir, "DELETE FROM account")
    assert failing(run).keys() == {"foreign keys"}


def test_a_private_key_that_was_changed_is_found(run: Commands) -> None:
    execute(run.data_dir, "UPDATE signing_key SET private_key = :key", key=bytes(200))
    assert "signing key 1" in failing(run)["private keys"]


def test_a_private_key_that_was_moved_to_another_place_is_found(run: Commands) -> None:
    execute(
        run.data_dir,
        "UPDATE signing_key SET private_key = (SELECT private_key FROM authority)",
    )
    assert failing(run).keys() == {"private keys"}


@pytest.mark.parametrize("mode", [0o644, 0o604])
def test_a_master_key_that_others_can_read_is_refused(run: Commands, mode: int) -> None:
    (run.data_dir / "master.key").chmod(mode)
    assert "chmod 600" in failing(run)["private keys"]


@pytest.mark.parametrize("content", ["", "x", "AAAA", "A" * 43 + "=" + "A" * 43 + "="])
def test_a_master_key_file_that_holds_no_key_is_refused(run: Commands, content: str) -> None:
    (run.data_dir / "master.key").write_text(content)
    assert "master key" in failing(run)["private keys"]
