"""authserver completion: the script, and the names that it completes."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from authserver.cli import COMMANDS, cli
from tests import stores
from tests.cli.commands import Commands
from tests.programs import Authserver
from tests.world import ADMIN, PASSWORD, SERVICE


@pytest.fixture
def peopled(run: Commands, monkeypatch: pytest.MonkeyPatch) -> Commands:
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    run("robot", "add", "ci")
    run("group", "add", "developers")
    for name, value in stores.environ(run.data_dir).items():
        monkeypatch.setenv(name, value)
    return run


def completed(*args: str, incomplete: str = "") -> list[str]:
    shell = ShellComplete(cli, {}, "authserver", "_AUTHSERVER_COMPLETE")
    return [item.value for item in shell.get_completions(list(args), incomplete)]


@pytest.mark.parametrize(
    ("args", "incomplete", "names"),
    [
        (["user", "show"], "", [ADMIN, "alice"]),
        (["user", "show"], "al", ["alice"]),
        (["user", "show"], "x", []),
        (["user", "passwd"], "", [ADMIN, "alice"]),
        (["user", "disable"], "", [ADMIN, "alice"]),
        (["user", "remove"], "", [ADMIN, "alice"]),
        (["user", "rename"], "", [ADMIN, "alice"]),
        (["user", "rename", "alice"], "", []),
        (["group", "rename"], "", ["developers"]),
        (["user", "invite"], "", [ADMIN, "alice"]),
        (["user", "invite", "--all-in"], "", ["developers"]),
        (["user", "enable", "alice"], "", [ADMIN, "alice"]),
        (["user", "add"], "", []),
        (["robot", "enable"], "", ["ci"]),
        (["robot", "show"], "", ["ci"]),
        (["robot", "add", "new", "--owner"], "", [ADMIN, "alice"]),
        (["token", "create"], "", [ADMIN, "alice", "ci"]),
        (["token", "list"], "c", ["ci"]),
        (["session", "list"], "", [ADMIN, "alice", "ci"]),
        (["session", "revoke", "--account"], "", [ADMIN, "alice", "ci"]),
        (["audit", "list", "--account"], "c", ["ci"]),
        (["group", "show"], "", ["developers"]),
        (["group", "add-member"], "", ["developers"]),
        (["group", "add-member", "developers"], "", [ADMIN, "alice", "ci"]),
        (["registry", "config"], "", [SERVICE]),
        (["registry", "edit"], "", [SERVICE]),
    ],
)
def test_names_are_completed_by_what_the_argument_is(
    peopled: Commands, args: list[str], incomplete: str, names: list[str]
) -> None:
    assert completed(*args, incomplete=incomplete) == names


def test_commands_are_completed() -> None:
    assert completed(incomplete="re") == ["registry", "restore"]
    assert completed() == list(COMMANDS)
    assert "--help" in completed(incomplete="-")


@pytest.mark.parametrize(
    "args",
    [
        ["acl", "allow"],
        ["acl", "deny"],
        ["acl", "list", "--subject"],
        ["acl", "edit", "--subjects"],
    ],
)
def test_subjects_are_completed(peopled: Commands, args: list[str]) -> None:
    assert completed(*args) == [
        "anonymous", "authenticated", "everyone",
        "user:admin", "user:alice", "robot:ci", "group:developers",
    ]  # fmt: skip


@pytest.mark.sqlite
def test_the_flags_before_the_command_are_in_force(
    peopled: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTHSERVER_DATA_DIR", str(tmp_path / "elsewhere"))
    assert completed("user", "show") == []
    assert completed("--data-dir", str(peopled.data_dir), "user", "show") == [ADMIN, "alice"]


def no_store(data_dir: Path) -> None:
    (data_dir / "authserver.db").unlink()


def damaged(data_dir: Path) -> None:
    (data_dir / "authserver.db").write_bytes(b"no database at all")


def open_to_all(data_dir: Path) -> None:
    data_dir.chmod(0o777)


def wrong_settings(data_dir: Path) -> None:
    (data_dir.parent / "authserver.toml").write_text("prot = 1")


def warned_of(data_dir: Path) -> None:
    (data_dir.parent / "authserver.toml").write_text("bcrypt_cost = 4")


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("fault", "names"),
    [
        (no_store, ""),
        (damaged, ""),
        (open_to_all, ""),
        (wrong_settings, ""),
        (warned_of, f"plain,{ADMIN}"),
    ],
)
def test_completing_says_nothing_but_names(data_dir: Path, fault: object, names: str) -> None:
    assert callable(fault)
    fault(data_dir)
    environ = Authserver(data_dir).environ | {
        "_AUTHSERVER_COMPLETE": "bash_complete",
        "COMP_WORDS": "authserver user show ",
        "COMP_CWORD": "3",
    }
    file = data_dir.parent / "authserver.toml"
    if file.exists():
        environ |= {"AUTHSERVER_CONFIG_FILE": str(file)}
    done = subprocess.run(
        [sys.executable, "-m", "authserver"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (names, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_calls_this_program(bare: Commands, shell: str) -> None:
    assert "_AUTHSERVER_COMPLETE" in bare("completion", shell)


def test_the_help_has_commands_that_can_be_pasted(bare: Commands, tmp_path: Path) -> None:
    said = bare("completion", "--help")
    start = said.index("mkdir -p ~/.local")
    script = said[start : said.index("For zsh")]
    environ = Authserver(tmp_path).environ | {"HOME": str(tmp_path)}
    program = f'authserver() {{ {sys.executable} -m authserver "$@"; }}\n'
    subprocess.run(["bash", "-ec", program + script], env=environ, check=True, timeout=60)
    (made,) = tmp_path.rglob("completions/authserver")
    assert "_AUTHSERVER_COMPLETE" in made.read_text()


@pytest.mark.parametrize(
    ("args", "incomplete", "words"),
    [
        (["acl", "allow", "user:alice", "a"], "pu", ["pull", "push"]),
        (["acl", "allow", "user:alice", "a"], "pull,d", ["pull,delete"]),
        (["acl", "allow"], "user:alice,group:", ["user:alice,group:developers"]),
        (["acl", "allow", "everyone", "a", "pull", "--registry"], "", [SERVICE]),
        (["acl", "explain"], "a", ["anonymous", ADMIN, "alice"]),
        (["acl", "effective"], "al", ["alice"]),
        (["acl", "delegate"], "", ["group:developers"]),
        (["acl", "list", "--pattern"], "", ["**", "catalog"]),
        (["user", "edit"], "al", ["alice"]),
        (["user", "list", "--sort"], "c", ["created"]),
        (["registry", "check", SERVICE, "--account"], "al", ["alice"]),
    ],
)
def test_subjects_actions_and_names_are_completed_everywhere(
    peopled: Commands, args: list[str], incomplete: str, words: list[str]
) -> None:
    assert completed(*args, incomplete=incomplete) == words


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        (["acl", "show"], ["1", "2"]),
        (["acl", "edit"], ["1", "2"]),
        (["acl", "remove"], ["1", "2"]),
        (["acl", "disable"], ["1", "2"]),
        (["acl", "undelegate"], ["1"]),
        (["token", "revoke"], ["1"]),
        (["token", "rotate"], ["1"]),
        (["acl", "explain", "ci", "a:pull", "--token"], ["1"]),
        (["session", "revoke"], []),
        (["key", "revoke"], ["1"]),
        (["key", "authority", "retire"], ["1"]),
    ],
)
def test_ids_are_completed_with_what_they_stand_for(
    peopled: Commands, args: list[str], ids: list[str]
) -> None:
    peopled("token", "create", "ci", "--name", "pipeline")
    peopled("acl", "delegate", "group:developers", "a/**", "--registry", SERVICE)
    shell = ShellComplete(cli, {}, "authserver", "_AUTHSERVER_COMPLETE")
    found = shell.get_completions(args, "")
    assert [item.value for item in found] == ids
    assert all(item.help for item in found)


@pytest.mark.parametrize(
    ("args", "kind", "lists"),
    [
        (["acl", "remove"], "a rule", "acl list"),
        (["acl", "edit"], "a rule", "acl list"),
        (["acl", "undelegate"], "a delegation", "acl delegations"),
        (["token", "revoke"], "an app token", "token list"),
        (["session", "revoke"], "a session", "session list"),
        (["key", "revoke"], "a signing key", "key list"),
        (["key", "authority", "retire"], "an authority", "key list"),
    ],
)
@pytest.mark.parametrize("text", ["x", "team/**", "-1", "1.5", "9" * 30])
def test_what_is_no_id_says_what_one_is(
    run: Commands, args: list[str], kind: str, lists: str, text: str
) -> None:
    run(*args, "--", text, status=2)
    assert f"{text!r} is no id. The id of {kind} is the number that it has in" in run.err
    assert f"authserver {lists}`" in run.err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("uesr", "user"), ("regsitry", "registry"), ("tokne", "token"), ("zzzz", None)],
)
def test_a_mistyped_command_is_suggested(run: Commands, typed: str, meant: str | None) -> None:
    run(typed, "list", status=2)
    assert f"No such command '{typed}'." in run.err
    assert (f"Did you mean {meant}" in run.err) == (meant is not None)
