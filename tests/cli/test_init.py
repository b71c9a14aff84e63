"""authserver init: once, whole, and again after whatever happened."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from authserver.auth import passwords
from authserver.cli import init
from authserver.db import schema, snapshot
from authserver.db.snapshot import Snapshot
from authserver.keys.master_key import make_master_key
from tests import stores
from tests.cli.commands import Commands
from tests.programs import Authserver, free_port
from tests.world import PASSWORD


def state(run: Commands) -> Snapshot:
    store = stores.opened(run.data_dir)
    with store.read() as session:
        read = snapshot.load(session)
    store.engine.dispose()
    return read


def upgrade_only(data_dir: Path) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    store = stores.opened(data_dir)
    schema.upgrade(store.engine)
    store.engine.dispose()


def knows(run: Commands, name: str, password: str) -> bool:
    stored = state(run).accounts[name].password_hash
    made = passwords.Passwords(4, 0, lambda: 0.0, b"")
    return stored is not None and made.check(password, stored, 0)


def files(data_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data_dir.iterdir() if path.is_file()}


def test_init_makes_keys_a_registry_and_an_administrator_with_two_visible_rules(
    bare: Commands,
) -> None:
    bare("init", "--admin-password-stdin", stdin=f"{PASSWORD}\nsecond line\n")
    assert knows(bare, "admin", PASSWORD)
    assert PASSWORD not in bare.out + bare.err
    (admin,) = bare.json("user", "list")
    assert (admin["name"], admin["admin"], admin["password"]) == ("admin", True, True)
    assert [r["service"] for r in bare.json("registry", "list")] == ["registry"]
    rules = [
        (r["effect"], r["type"], r["patterns"][0], *r["actions"]) for r in bare.json("acl", "list")
    ]
    assert rules == [("allow", "repository", "**", "*"), ("allow", "registry", "catalog", "*")]
    assert [key["role"] for key in bare.json("key", "list")] == ["authority", "signing key"]
    assert bare("db", "check").count(": ok") == 5


def test_init_takes_the_names_it_is_given(bare: Commands) -> None:
    bare("init", "--admin", "root", "--registry", "hub.example.com", "--print-password")
    assert [user["name"] for user in bare.json("user", "list")] == ["root"]
    assert [r["service"] for r in bare.json("registry", "list")] == ["hub.example.com"]
    for service in ("hub.example.com", None):
        asked = ["root", "repository:a:*", *(["--registry", service] if service else [])]
        bare("acl", "check", *asked)


@pytest.mark.parametrize(
    "args",
    [
        ["--admin", "a/b"],
        ["--admin", "everyone"],
        ["--registry", 'a"b'],
        ["--registry", " "],
    ],
)
def test_init_refuses_names_that_are_none_and_makes_nothing(
    bare: Commands, args: list[str]
) -> None:
    bare("init", *args, status=1)
    assert not bare.data_dir.exists()


def test_init_says_what_comes_next(bare: Commands) -> None:
    said = bare("init", "--registry", "hub")
    for step in ("registry config hub", "user add", "acl allow", "acl explain", "master.key"):
        assert step in said


@pytest.mark.sqlite
def test_the_next_steps_name_the_data_directory_that_was_named(bare: Commands) -> None:
    place = bare.data_dir.parent / "my data"
    said = bare("--data-dir", place, "init")
    for step in ("registry config", "user add", "acl allow", "acl explain"):
        assert f"authserver --data-dir '{place}' {step}" in said
    assert f"authserver --data-dir '{place}' user passwd" in bare.err


def test_a_new_administrators_password_follows_the_rule(bare: Commands) -> None:
    bare("init", "--admin-password-stdin", stdin="seven77", status=1)
    assert "at least 8 characters" in bare.err
    assert not (bare.data_dir / "authserver.db").exists()


@pytest.mark.parametrize(
    ("password", "why"), [("sunshine", "most common"), ("root-of-all-7", "the account's name")]
)
def test_a_new_administrators_password_is_no_guess(bare: Commands, password: str, why: str) -> None:
    args = ["init", "--admin", "root-of-all-", "--admin-password-stdin"]
    bare(*args, stdin=password, status=1)
    assert why in bare.err
    assert not (bare.data_dir / "authserver.db").exists()


@pytest.mark.parametrize("minimum", [8, 25, 63, 64])
def test_a_generated_password_follows_the_rules(bare: Commands, minimum: int) -> None:
    bare.env["AUTHSERVER_PASSWORD_MIN_LENGTH"] = str(minimum)
    (password,) = re.findall(r"password  (\S+)", bare("init", "--print-password"))
    assert max(minimum, 24) <= len(password) <= 72
    assert knows(bare, "admin", password)


def test_init_again_does_not_look_at_the_password(run: Commands) -> None:
    run("init", "--admin-password-stdin", stdin="seven77")
    assert "already" in run.err


def test_init_again_changes_nothing(bare: Commands) -> None:
    bare("init", "--print-password")
    before = state(bare)
    key = (bare.data_dir / "master.key").read_bytes()
    said = bare("init", "--admin", "other", "--registry", "other", "--print-password")
    assert "password" not in said
    assert "already" in bare.err
    assert state(bare) == before
    assert (bare.data_dir / "master.key").read_bytes() == key


def test_init_again_does_not_change_the_password(bare: Commands) -> None:
    bare("init", "--admin-password-stdin", stdin=PASSWORD)
    bare("init", "--admin-password-stdin", stdin="another")
    assert knows(bare, "admin", PASSWORD)
    assert not knows(bare, "admin", "another")


def master_key_only(data_dir: Path) -> None:
    data_dir.mkdir(parents=True)
    make_master_key(data_dir / "master.key")


def empty_store_only(data_dir: Path) -> None:
    data_dir.mkdir(parents=True)
    (data_dir / "authserver.db").touch()


def schema_and_master_key(data_dir: Path) -> None:
    upgrade_only(data_dir)
    make_master_key(data_dir / "master.key")


def empty_directory(data_dir: Path) -> None:
    data_dir.mkdir(parents=True)


@pytest.mark.parametrize(
    "left",
    [master_key_only, empty_store_only, upgrade_only, schema_and_master_key, empty_directory],
)
def test_init_completes_what_a_crash_left(bare: Commands, left: Callable[[Path], None]) -> None:
    left(bare.data_dir)
    key = bare.data_dir / "master.key"
    before = key.read_bytes() if key.exists() else None
    bare("init", "--admin-password-stdin", stdin=PASSWORD)
    assert before in (None, key.read_bytes())
    assert knows(bare, "admin", PASSWORD)
    bare("db", "check")


@pytest.mark.parametrize(
    "place", ["schema.upgrade", "master_keys.make_master_key", "new_store.initialise"]
)
def test_init_completes_after_it_was_cut_off(
    bare: Commands, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"{init.__name__}.{place}", cut)
        bare("init", "--print-password", status=1)
    bare("user", "list", status=1)
    bare("init", "--admin-password-stdin", stdin=PASSWORD)
    assert knows(bare, "admin", PASSWORD)
    bare("db", "check")


def test_a_set_up_that_fails_half_way_leaves_nothing_of_it(
    bare: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("authserver.cli.new_store.rules.add", cut)
        bare("init", "--admin", "first", "--print-password", status=1)
    bare("init", "--admin", "second")
    assert [user["name"] for user in bare.json("user", "list")] == ["second"]


def test_a_generated_password_is_printed_where_asked_and_is_the_right_one(bare: Commands) -> None:
    said = bare("init", "--print-password")
    (shown,) = re.findall(r"^ +password +(\S+)$", said, re.MULTILINE)
    assert len(shown) >= 20
    assert knows(bare, "admin", shown)
    assert shown.encode() not in b"".join(files(bare.data_dir).values())


def test_two_installations_have_different_passwords_and_keys(
    bare: Commands, tmp_path: Path
) -> None:
    seen = set()
    for name in ("one", "two"):
        bare.data_dir = tmp_path / name
        said = bare("init", "--print-password")
        seen |= {*re.findall(r"password +(\S+)$", said, re.MULTILINE)}
        seen.add(bare("key", "bundle"))
        seen.add((bare.data_dir / "master.key").read_text())
    assert len(seen) == 6


def test_without_a_terminal_no_password_is_made_or_printed(bare: Commands) -> None:
    bare("init")
    assert state(bare).accounts["admin"].password_hash is None
    assert "authserver user passwd admin" in bare.err
    bare("user", "passwd", "admin", "--password-stdin", stdin=PASSWORD)
    assert knows(bare, "admin", PASSWORD)


@pytest.fixture(scope="module")
def at_a_terminal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data directory that the real program set up, and what it said to the terminal."""
    data_dir = tmp_path_factory.mktemp("terminal") / "data"
    controller, terminal = os.openpty()
    subprocess.run(
        [sys.executable, "-m", "authserver", "init"],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        env=Authserver(data_dir).environ,
        check=True,
        timeout=60,
    )
    os.close(terminal)
    said = b"".join(iter(lambda: _read(controller), b"")).decode()
    os.close(controller)
    return data_dir, said


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 4096)
    except OSError:  # how Linux says that the other side is closed
        return b""


def test_at_a_terminal_a_generated_password_is_printed(at_a_terminal: tuple[Path, str]) -> None:
    data_dir, said = at_a_terminal
    (shown,) = re.findall(r"^ +password +(\S+)\r?$", said, re.MULTILINE)
    assert knows(Commands(data_dir), "admin", shown)


def test_the_files_are_their_owners_only(at_a_terminal: tuple[Path, str]) -> None:
    data_dir, _ = at_a_terminal
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data_dir.iterdir()}
    assert {"authserver.db", "master.key"} <= modes.keys()
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    "line", [b"x" * 73 + b"\n", b"\xff\xfe\n", "ä".encode() * 37, b"a\0b\n"], ids=repr
)
def test_a_password_that_cannot_be_one_is_refused_and_nothing_is_set_up(
    bare: Commands, line: bytes
) -> None:
    bare("init", "--admin-password-stdin", stdin=line, status=1)
    assert "password" in bare.err
    bare("init", "--admin-password-stdin", stdin=PASSWORD)
    assert knows(bare, "admin", PASSWORD)


def test_the_master_key_can_lie_elsewhere(bare: Commands, tmp_path: Path) -> None:
    elsewhere = tmp_path / "secret.key"
    bare.env["AUTHSERVER_MASTER_KEY_FILE"] = str(elsewhere)
    bare("init")
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o600
    assert not (bare.data_dir / "master.key").exists()
    bare("db", "check")


def test_a_store_without_its_master_key_serves_nothing_and_gets_no_new_one(run: Commands) -> None:
    key, kept = run.data_dir / "master.key", run.data_dir.parent / "kept.key"
    key.rename(kept)
    assert "master key" in run("db", "check", status=1)
    served = Authserver(run.data_dir).run(
        "serve", "--init", "--port", str(free_port()), check=False
    )
    assert served.returncode == 1
    assert "master key" in served.stderr
    assert "Traceback" not in served.stderr
    run("init")
    assert not key.exists()
    kept.rename(key)
    run("db", "check")


def test_another_master_key_is_not_taken_for_the_stores_own(run: Commands) -> None:
    (run.data_dir / "master.key").unlink()
    make_master_key(run.data_dir / "master.key")
    assert "is not the one of this store" in run("db", "check", status=1)


def test_init_refuses_a_master_key_file_that_holds_none(bare: Commands) -> None:
    empty_directory(bare.data_dir)
    (bare.data_dir / "master.key").write_text("not a key")
    (bare.data_dir / "master.key").chmod(0o600)
    bare("init", status=1)
    assert (bare.data_dir / "master.key").read_text() == "not a key"


def test_init_refuses_a_data_directory_that_cannot_be_made(bare: Commands) -> None:
    bare.data_dir.parent.write_text("a file")
    bare("init", status=1)
    assert str(bare.data_dir) in bare.err


def test_init_is_recorded(bare: Commands) -> None:
    bare("init")
    records = bare.json("audit", "list", "--kind", "change")
    assert records[0]["action"] == "store.init"
    assert {"authority.add", "key.add", "registry.add", "user.add", "acl.allow"} <= {
        record["action"] for record in records
    }
