"""What holds for every command."""

import json
import os
import pwd
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import click
import pytest
from sqlalchemy import Connection

from authserver import __version__
from authserver.cli import COMMANDS, cli
from authserver.db.dialects import sqlite
from authserver.runtime import logs
from authserver.runtime.settings.loading import DEFAULT_CONFIG_FILE
from tests.cli.commands import Commands
from tests.programs import Authserver
from tests.world import ADMIN, PASSWORD, SERVICE


def walk(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give every command below ``command`` with the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, inner in inside(command).items():
        yield from walk(inner, *path, name)


def inside(group: click.Group) -> dict[str, click.Command]:
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


ALL = dict(walk(cli))
IDS = [" ".join(path) for path in ALL]
CONTRACT = """
init serve
db/upgrade db/check config/show
registry/add registry/list registry/show registry/remove registry/config
user/add user/passwd user/disable user/enable user/remove user/list user/show
group/add group/remove group/list group/show group/add-member group/remove-member
acl/allow acl/deny acl/list acl/remove acl/explain acl/check
key/list key/bundle
"""

ASKING = {
    "overview": (list, []),
    "registry list": (list, []),
    "registry show": (dict, [SERVICE]),
    "user list": (list, []),
    "user show": (dict, [ADMIN]),
    "group list": (list, []),
    "group show": (dict, ["dev"]),
    "acl list": (list, []),
    "acl explain": (dict, [ADMIN, "repository:a:pull", "--at", "2030-01-01"]),
    "acl check": (dict, [ADMIN, "repository:a:pull", "--at", "2030-01-01"]),
    "key list": (list, []),
    "audit list": (list, []),
    "config show": (dict, []),
    "db check": (dict, []),
}


def test_the_commands_of_the_contract_are_there() -> None:
    assert {tuple(words.split("/")) for words in CONTRACT.split()} <= ALL.keys()


@pytest.mark.parametrize("path", ALL, ids=IDS)
def test_every_command_has_help_that_names_its_arguments_and_flags(
    bare: Commands, path: tuple[str, ...]
) -> None:
    said = bare(*path, "--help")
    assert bare(*path, "-h") == said
    context = click.Context(ALL[path])
    for parameter in ALL[path].params:
        if isinstance(parameter, click.Argument):
            assert parameter.make_metavar(context).strip("[].") in said
        else:
            assert all(flag in said for flag in parameter.opts)
    assert (ALL[path].help or "").split(".")[0].split("\n")[0][:40] in said
    assert not bare.data_dir.exists()


@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_the_help_on_rules_says_what_they_are_made_of(bare: Commands, effect: str) -> None:
    said = " ".join(bare("acl", effect, "--help").split())
    for word in ("user:NAME", "group:NAME", "everyone", "pull, push, delete", "{account}", "**"):
        assert word in said


@pytest.mark.parametrize("group", [[], *([name] for name in inside(cli))], ids=str)
def test_every_group_has_help(bare: Commands, group: list[str]) -> None:
    assert bare(*group, "--help").startswith("Usage: authserver")


@pytest.mark.parametrize("path", ALL, ids=IDS)
def test_an_unknown_flag_is_wrong_usage(bare: Commands, path: tuple[str, ...]) -> None:
    bare(*path, "--no-such-flag", status=2)
    assert "--no-such-flag" in bare.err
    assert not bare.data_dir.exists()


@pytest.mark.parametrize(
    "args",
    [["--no-such-flag"], ["no-such-command"], ["user", "no-such-command"], ["acl"], []],
    ids=str,
)
def test_what_is_no_command_is_wrong_usage(bare: Commands, args: list[str]) -> None:
    bare(*args, status=2)
    assert bare.out == ""


@pytest.mark.parametrize("path", ALL, ids=IDS)
def test_missing_and_stray_arguments_are_wrong_usage(bare: Commands, path: tuple[str, ...]) -> None:
    taken = [p for p in ALL[path].params if isinstance(p, click.Argument)]
    if any(argument.required for argument in taken):
        bare(*path, status=2)
    if all(argument.nargs == 1 for argument in taken):
        bare(*path, *["bash"] * (len(taken) + 1), status=2)
    assert not bare.data_dir.exists()


def test_everything_that_lists_or_shows_takes_json() -> None:
    with_json = {p for p, c in ALL.items() if any("--json" in o.opts for o in c.params)}
    assert {path for path in ALL if path[-1] in ("list", "show", "explain")} <= with_json
    assert {tuple(words.split()) for words in ASKING} <= with_json


@pytest.mark.parametrize(("words", "kind", "args"), [(w, k, a) for w, (k, a) in ASKING.items()])
def test_json_is_one_value_and_nothing_else(
    standing: Commands, words: str, kind: type, args: list[str]
) -> None:
    said = standing(*words.split(), *args, "--json")
    assert isinstance(json.loads(said), kind)
    assert standing(*words.split(), "--json", *args) == said


@pytest.mark.parametrize(
    "words", [w for w, (_, args) in ASKING.items() if args and not w.startswith("acl")]
)
def test_with_json_what_does_not_exist_prints_nothing(standing: Commands, words: str) -> None:
    assert standing(*words.split(), "nobody", "--json", status=1) == ""
    assert standing.err.splitlines()[-1].startswith("Error: ")


@pytest.mark.sqlite
@pytest.mark.parametrize("words", [w for w in ASKING if w != "config show"])
def test_nothing_is_asked_of_a_store_that_is_not_there(bare: Commands, words: str) -> None:
    bare(*words.split(), *ASKING[words][1], status=1)
    assert "authserver init" in bare.err
    assert not bare.data_dir.exists()


def test_the_version_is_printed(bare: Commands) -> None:
    assert bare("--version") == f"authserver, version {__version__}\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["user", "list", "--data-dir", "x"],
            "--data-dir goes before the command, as in `authserver --data-dir … user list`",
        ),
        (["serve", "--config", "x"], "as in `authserver --config … serve`"),
        (["user", "--version"], "as in `authserver --version … user`"),
    ],
)
def test_an_option_that_goes_before_the_command_is_told_to(
    bare: Commands, args: list[str], said: str
) -> None:
    bare(*args, status=2)
    assert said in bare.err


def test_an_option_that_is_none_anywhere_has_no_such_hint(bare: Commands) -> None:
    bare("user", "list", "--nonsense", status=2)
    assert "before the command" not in bare.err


def test_the_help_names_the_default_file(bare: Commands) -> None:
    assert str(DEFAULT_CONFIG_FILE) in " ".join(bare("--help").split())


@pytest.mark.parametrize("group", [[], *([name] for name in inside(cli))], ids=str)
def test_no_sentence_is_cut_off_in_a_list_of_commands(bare: Commands, group: list[str]) -> None:
    _, _, commands = bare(*group, "--help").partition("Commands:")
    assert "..." not in commands


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    """It is told without loading them."""
    said = {name: command.get_short_help_str(limit=200) for name, command in inside(cli).items()}
    assert said == COMMANDS


@pytest.mark.parametrize("args", [("--help",), ("--version",)])
def test_what_needs_no_store_does_not_wait_for_its_libraries(args: tuple[str, ...]) -> None:
    script = (
        "import sys; from authserver.cli import cli; cli(sys.argv[1:], standalone_mode=False);"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *args], check=True, capture_output=True, text=True
    )
    assert not {"sqlalchemy", "flask", "pydantic"} & set(done.stdout.split())


def test_an_unknown_setting_stops_every_command(run: Commands) -> None:
    run.env["AUTHSERVER_TOKEN_TLL"] = "60"
    run("user", "list", status=1)
    assert "AUTHSERVER_TOKEN_TLL" in run.err
    assert "AUTHSERVER_TOKEN_TTL" in run.err


@pytest.mark.sqlite
def test_the_data_directory_is_named_by_flag_too(run: Commands, tmp_path: Path) -> None:
    run.env["AUTHSERVER_DATA_DIR"] = str(tmp_path / "elsewhere")
    run("user", "list", status=1)
    run("--data-dir", run.data_dir, "user", "list")


def test_a_refusal_ends_the_process_with_1_and_is_said_on_standard_error(data_dir: Path) -> None:
    done = Authserver(data_dir).run("user", "show", "nobody", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "Error: there is no user 'nobody'"


@pytest.mark.sqlite
def test_a_command_waits_for_another_writer(run: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, begun = sqlite._begin, threading.Event()

    def announced(connection: Connection) -> None:
        if connection.get_execution_options().get("authserver_write"):
            begun.set()
        begin(connection)

    monkeypatch.setattr(sqlite, "_begin", announced)
    other = sqlite3.connect(run.data_dir / "authserver.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE store_state SET version = version + 1")
    with ThreadPoolExecutor(1) as pool:
        command = pool.submit(run, "group", "add", "dev")
        assert begun.wait(30)
        wait([command], 0.2)  # long enough to fail, if it did not wait
        other.execute("COMMIT")
    other.close()
    command.result()
    assert [group["name"] for group in run.json("group", "list")] == ["dev"]


def test_commands_that_write_at_the_same_time_wait_for_each_other(run: Commands) -> None:
    names = [f"user{number}" for number in range(10)]
    environ = Authserver(run.data_dir).environ
    running = []
    for name in names:
        process = subprocess.Popen(
            [sys.executable, "-m", "authserver", "user", "add", name, "--password-stdin"],
            env=environ,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
    ended = [process.communicate(PASSWORD, timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 10, ended
    assert [user["name"] for user in run.json("user", "list")] == [ADMIN, *names]
    added = [r["target"] for r in run.json("audit", "list") if r["action"] == "user.add"]
    assert sorted(added) == sorted(f"user:{name}" for name in [ADMIN, *names])


@pytest.fixture
def foreign(run: Commands) -> Commands:
    """An installation that belongs to another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory to another user")
    nobody = pwd.getpwnam("nobody")
    for path in (run.data_dir, *run.data_dir.iterdir()):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return run


@pytest.mark.parametrize(
    "args",
    [
        ["user", "add", "alice", "--password-stdin"],
        ["user", "list"],
        ["acl", "allow", "everyone", "a", "pull"],
        ["key", "list"],
        ["db", "upgrade"],
        ["db", "check"],
        ["init"],
        ["serve"],
    ],
)
def test_another_user_than_the_owner_of_the_data_is_refused(
    foreign: Commands, args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "configure", lambda _: None)  # it would outlive the test
    before = sorted(foreign.data_dir.iterdir())
    foreign(*args, stdin=PASSWORD, status=1)
    assert "belongs to nobody" in foreign.err
    assert f"runuser -u nobody -- authserver {args[0]}" in foreign.err
    assert sorted(foreign.data_dir.iterdir()) == before
