"""Every command with a broken store: one line that says what is wrong, where, and no traceback."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import bcrypt
import click
import pytest
from sqlalchemy.exc import OperationalError

from authserver.cli import COMMANDS, cli
from authserver.db import schema
from authserver.db.dialects.sqlite import DIALECT
from authserver.db.store import Store
from authserver.runtime import logs
from tests import stores
from tests.cli.commands import Commands
from tests.disks import Disk, small_disk
from tests.postgres import Cluster
from tests.world import take_schema_back

Break = Callable[[Path], Iterator[None]]

WITHOUT_STORE = {
    *("completion", "config", "health", "jwt", "policy schema", "policy test"),
    *("audit accept", "db copy"),
}
"""Commands that need no store, or none always."""

SPECIAL = {"ACTIONS": "pull", "PATTERNS": "a", "SUBJECTS": "everyone", "SCOPE": "repository:a:pull"}
"""What stands for an argument that is more than a name."""


CHOSEN: dict[tuple[str, ...], str] = {
    ("acl", "delegate"): "group:dev a --registry registry",
    ("acl", "edit"): "1 --actions pull",
    ("audit", "prune"): "--keep 1 --yes",
    ("backup",): "{files}/new --passphrase-file {files}/passphrase",
    ("import", "docker-auth"): "{files}/docker-auth.yml",
    ("import", "htpasswd"): "{files}/htpasswd",
    ("key", "authority", "retire"): "--yes",
    ("key", "import"): "--certificate {files}/authority.pem",
    ("lockout", "lift"): "192.0.2.1",
    ("registry", "check"): "registry",
    ("registry", "edit"): "registry --token-ttl 300 --yes",
    ("restore",): "{files}/backup --passphrase-file {files}/passphrase",
    ("robot", "edit"): "ci --description x",
    ("session", "revoke"): "--account admin --yes",
    ("user", "edit"): "admin --admin",
}
"""The arguments of commands that want more than names."""


def commands(group: click.Group = cli, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give the words of every command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        elif command is not None:
            yield (*words, name)


SECRET = "not-the-password"
WRITING = 12
"""Fewer commands than these would mean that the walk tries nothing."""

ALL = sorted(commands())


def command_of(words: tuple[str, ...]) -> click.Command:
    found: click.Command | None = cli
    for word in words:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    return found


def arguments(words: tuple[str, ...], files: Path) -> list[str]:
    """Return arguments with which a command does not complain of its usage."""
    if words in CHOSEN:
        return [text.format(files=files) for text in CHOSEN[words].split()]
    given: list[str] = []
    for param in command_of(words).params:
        if param.required or isinstance(param, click.Argument):
            flag = [] if isinstance(param, click.Argument) else [param.opts[0]]
            given += [*flag, value(param, files)]
        elif param.name in ("password_stdin", "sure", "yes"):
            given.append(param.opts[0])
        elif param.name == "secret":
            given += [param.opts[0], str(files / "passphrase")]
    return given


def value(param: click.Parameter, files: Path) -> str:
    name = param.make_metavar(click.Context(click.Command("x")))
    if param.name == "file":
        return str(files / "file")
    if isinstance(param.type, click.types.IntParamType):
        return "1"
    if isinstance(param.type, click.Choice):
        return str(param.type.choices[0])
    return next((text for word, text in SPECIAL.items() if word in name), "admin")


@pytest.fixture
def files(run: Commands, tmp_path: Path) -> Path:
    """Files that commands read."""
    made = tmp_path / "files"
    made.mkdir()
    (made / "file").write_text("groups: {}\n")
    (made / "passphrase").write_text("a passphrase that is long\n")
    (made / "htpasswd").write_text(
        f"carol:{bcrypt.hashpw(b'sesame', bcrypt.gensalt(4)).decode()}\n"
    )
    (made / "docker-auth.yml").write_text("acl: [{match: {account: x}, actions: [pull]}]\n")
    (made / "authority.pem").write_text(run("key", "bundle"))
    run("backup", made / "backup", "--passphrase-file", made / "passphrase")
    return made


def store_file(data_dir: Path) -> Path:
    return data_dir / "authserver.db"


def replaced(data_dir: Path, content: bytes) -> None:
    for beside in data_dir.glob("authserver.db-*"):
        beside.unlink()
    store_file(data_dir).write_bytes(content)


@contextmanager
def no_directory(data_dir: Path) -> Iterator[None]:
    shutil.rmtree(data_dir)
    yield


@contextmanager
def no_file(data_dir: Path) -> Iterator[None]:
    store_file(data_dir).unlink()
    yield


@contextmanager
def a_directory(data_dir: Path) -> Iterator[None]:
    store_file(data_dir).unlink()
    store_file(data_dir).mkdir()
    yield


@contextmanager
def no_database(data_dir: Path) -> Iterator[None]:
    replaced(data_dir, b"this is a letter to my aunt\n" * 1000)
    yield


@contextmanager
def an_empty_file(data_dir: Path) -> Iterator[None]:
    replaced(data_dir, b"")
    yield


@contextmanager
def truncated(data_dir: Path) -> Iterator[None]:
    replaced(data_dir, store_file(data_dir).read_bytes()[: 3 * 4096])
    yield


@contextmanager
def newer(data_dir: Path) -> Iterator[None]:
    with closing(sqlite3.connect(store_file(data_dir))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    yield


@contextmanager
def older(data_dir: Path) -> Iterator[None]:
    take_schema_back(stores.settings(data_dir))
    yield


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    with closing(sqlite3.connect(store_file(data_dir), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


KINDS: dict[str, tuple[Callable[[Path], AbstractContextManager[None]], tuple[str, ...]]] = {
    "no-directory": (no_directory, ("there is no store at", "No such file or directory")),
    "no-file": (no_file, ("there is no store at",)),
    "a-directory": (a_directory, ("Is a directory",)),
    "no-database": (no_database, ("file is not a database",)),
    "an-empty-file": (an_empty_file, ("is not set up",)),
    "truncated": (truncated, ("malformed", "is not a database", "disk I/O error")),
    "newer": (newer, ("upgrade authserver",)),
    "older": (older, ("db upgrade",)),
    "locked": (locked, ("another writer holds the store",)),
}

HARMLESS: dict[str, set[tuple[str, ...]]] = {
    "no-directory": {("init",), ("restore",)},
    "no-file": {("init",), ("restore",)},
    "an-empty-file": {("init",), ("restore",), ("db", "upgrade")},
    "older": {("backup",), ("db", "upgrade"), ("restore",)},
}
"""What mends the kind, or has reason to go on."""


def walk(
    run: Commands,
    files: Path,
    said: tuple[str, ...],
    *,
    place: str = "",
    harmless: Collection[tuple[str, ...]] = (),
    reads_go_on: bool = False,
) -> None:
    """Run every command. Each fails with a line that names the store and its fault.

    Where ``reads_go_on``, only those fail so that write.
    """
    wrong: list[str] = []
    named = 0
    # What mends the store comes last.
    for words in sorted(ALL, key=harmless.__contains__):
        # A server may begin while the store takes nothing.
        if reads_go_on and words == ("serve",):
            continue
        result = run.result(*words, *arguments(words, files), stdin="sesame, open sesame\n")
        text = f"{' '.join(words)}: {result.exit_code}: {result.output}"
        if "Traceback" in result.output or SECRET in result.output:
            wrong.append(text)
        names_it = any(each in result.output for each in said)
        names_it = names_it and (place or str(run.data_dir)) in result.output
        named += names_it
        if words in harmless or {words[0], " ".join(words)} & WITHOUT_STORE or reads_go_on:
            continue
        if result.exit_code != 1 or not names_it:
            wrong.append(text)
    assert not wrong, "\n\n".join(wrong)
    assert named > WRITING


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for other writers only briefly."""
    monkeypatch.setattr(Store.change.__wrapped__, "__defaults__", (0.05,))  # type: ignore[attr-defined]
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.05)
    monkeypatch.setattr(logs, "configure", lambda _: None)


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", KINDS)
def test_every_command_names_what_is_wrong_with_the_store(
    run: Commands, files: Path, kind: str
) -> None:
    broken, said = KINDS[kind]
    with broken(run.data_dir):
        harmless = HARMLESS.get(kind, set())
        walk(run, files, said, harmless=harmless, reads_go_on=kind == "locked")


@pytest.fixture
def disk(run: Commands) -> Iterator[Disk]:
    """A small disk that the installation lies on."""
    with small_disk(64) as made:
        shutil.copytree(run.data_dir, made.path / "data")
        run.data_dir = made.path / "data"
        yield made


@pytest.mark.sqlite
def test_a_read_only_disk_is_named(run: Commands, files: Path, disk: Disk) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
    walk(run, files, ("Read-only file system",), harmless=[("restore",)])


@pytest.mark.sqlite
def test_a_full_disk_is_named(run: Commands, files: Path, disk: Disk) -> None:
    disk.fill()
    walk(run, files, ("no space left",), reads_go_on=True)


@pytest.mark.sqlite
def test_a_database_that_refuses_connections_is_named(run: Commands, files: Path) -> None:
    run.env["AUTHSERVER_DATABASE_URL"] = f"postgresql://owner:{SECRET}@127.0.0.1:1/authserver"
    walk(run, files, ("refused",), place="127.0.0.1")


@pytest.mark.sqlite
def test_a_database_that_refuses_the_password_is_named(
    run: Commands, files: Path, cluster: Cluster
) -> None:
    url = cluster.url("postgres", by_tcp=True, password=SECRET)
    run.env["AUTHSERVER_DATABASE_URL"] = url.render_as_string(hide_password=False)
    walk(run, files, ("password authentication failed",), place="127.0.0.1")


@pytest.mark.sqlite
@pytest.mark.parametrize("denied", ["authserver.db", "."])
def test_what_may_not_be_written_is_named(
    run: Commands, monkeypatch: pytest.MonkeyPatch, denied: str
) -> None:
    # Root, who may run the tests, may write everywhere.
    path = run.data_dir / denied
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != path and allowed(p, mode))
    fault = sqlite3.OperationalError("attempt to write a readonly database")
    text = DIALECT.remedy(
        OperationalError("", None, fault), stores.settings(run.data_dir).store_url
    )
    assert text == (
        f"the store at {store_file(run.data_dir)} cannot be used: Permission denied: {path}"
    )


@pytest.mark.sqlite
def test_a_fault_that_the_system_does_not_explain_is_told_in_sqlites_words(run: Commands) -> None:
    fault = sqlite3.OperationalError("disk I/O error")
    text = DIALECT.remedy(
        OperationalError("", None, fault), stores.settings(run.data_dir).store_url
    )
    assert text == f"the store at {store_file(run.data_dir)} cannot be used: disk I/O error"


def test_the_walk_finds_every_command() -> None:
    assert len(ALL) > 70
    assert {words[0] for words in ALL} == set(COMMANDS)
