"""Every command that a message prints can be pasted into a shell, whatever the names are."""

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from authserver.cli import COMMANDS, cli
from authserver.cli.output import ARGUMENTS, called, called_by
from authserver.cli.registry_check import _wrapped
from authserver.core.commands import called_as, shell_command
from tests.cli.commands import Commands
from tests.world import PASSWORD

ROOT = Path(__file__).parents[2]
HOSTILE = ("Docker registry", "ci$build", "a'b", 'a"b', "-x", "--help", "a;b", "a`b", "ä b", "#a")
SERVICES = tuple(name for name in HOSTILE if name.isascii() and not set('"\\') & set(name))
KEPT = "AUTHSERVER_DATABASE_URL,AUTHSERVER_DATA_DIR"
ACCOUNTS = tuple(name for name in HOSTILE if " " not in name)


def pasted(command: str) -> list[str]:
    """Return the words that a shell makes of a command."""
    line = f"authserver() {{ printf '%s\\0' \"$@\"; }}; {command}"
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def parsed(command: str) -> dict[str, object]:
    """Return the parameters that the program reads in a pasted command, which must be one."""
    words = pasted(command)
    found: click.Command = cli
    values: dict[str, object] = {}
    while words:
        assert isinstance(found, click.Group), words
        found = (
            found.get_command(
                click.Context(found, help_option_names=["-h", "--help"]), words.pop(0)
            )
            or cli
        )
        if not isinstance(found, click.Group):
            values, words, _ = found.make_parser(
                click.Context(found, help_option_names=["-h", "--help"])
            ).parse_args(words)
            break
    assert words == []
    return values


def printed(text: str) -> Iterator[str]:
    """Yield the commands in a message: in backticks, or to the end of a line."""
    for line in text.splitlines():
        for command in re.findall(
            r"`(authserver (?:'[^']*'|\"[^\"]*\"|[^`'\"])*)`", line
        ) or re.findall(r"(?<![\w/])authserver .*", line):
            yield command.partition(" > ")[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_one_word_of_the_command(name: str) -> None:
    command = shell_command("token", "create", "--name", name, operand=name)
    values = parsed(command)
    assert values["account"] == name
    assert values["name"] == name


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_printed_about_a_registry(run: Commands, name: str) -> None:
    run("registry", "add", "--", name)
    (command,) = printed(run.err)
    assert parsed(command)["service"] == name
    run("registry", "check", "--", name, status=2)
    (command,) = printed(run.err.split("once and for all: ")[1])
    assert parsed(command) == {"service": name, "url": "URL"}
    run("registry", "config", "--", name)
    (command,) = printed(run.err)
    assert parsed(command)["service"] == name
    run("registry", "edit", "--header-mode", "rfc7638", "--yes", "--", name)
    config, rotate = printed(run.err)
    assert parsed(config)["service"] == name
    assert parsed(rotate)["service"] == name


@pytest.mark.parametrize("name", ACCOUNTS)
def test_what_is_printed_about_an_account(run: Commands, name: str) -> None:
    run("robot", "add", "--", f"{name}bot")
    (command,) = printed(run.err.splitlines()[-1])
    assert parsed(command) == {"account": f"{name}bot", "name": "NAME"}
    run("user", "add", "--password-stdin", "--", name, stdin=PASSWORD)
    run("user", "invite", "--", name, status=1)
    (command,) = printed(run.err)
    assert parsed(command) == {"names": (name,), "reset": True}
    run("token", "create", "--name", "t", "--admin", "--", name)
    run("user", "edit", "--admin", "--", name, status=1)
    revoke, keep = printed(run.err.replace("`; to let", "`\n`; to let"))
    for command, choice in ((revoke, "revoke"), (keep, "keep")):
        assert parsed(command) == {"name": name, "admin": True, "admin_tokens": choice}


@pytest.mark.parametrize("name", ACCOUNTS)
def test_what_init_prints(bare: Commands, name: str) -> None:
    service = name if name in SERVICES else "registry"
    bare("init", f"--admin={name}", f"--registry={service}")
    assert parsed(next(printed(bare.err)))["name"] == name
    assert parsed(next(printed(bare.out)))["service"] == service


def test_commands_go_where_this_one_went(bare: Commands, tmp_path: Path) -> None:
    place = tmp_path / "my data"
    bare("--data-dir", place, "init", "--admin", "a$b")
    bare.env["AUTHSERVER_DATA_DIR"] = str(tmp_path / "elsewhere")
    bare("--data-dir", place, "acl", "show", 99, status=1)
    assert f"`authserver --data-dir '{place}' acl list`" in bare.err


def test_a_command_in_a_log_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["bin/authserver"])
    monkeypatch.setenv("PATH", "")
    with click.Context(cli) as context:
        context.params["data_dir"] = Path("my data")
        assert called() == "bin/authserver --data-dir 'my data'"
        assert called(absolute=True) == f"{tmp_path}/bin/authserver --data-dir '{tmp_path}/my data'"


def test_the_doctor_wraps_no_command() -> None:
    command = shell_command("registry", "edit", "--header-mode", "x5c", operand="a " * 60 + "b")
    assert f"`{command}`" in _wrapped(f"→ {'some words ' * 9}`{command}`, or give up")


def test_the_name_of_the_program_ends_with_its_block() -> None:
    with called_as("/opt/authserver"):
        assert shell_command("init") == "/opt/authserver init"
    assert shell_command("init") == "authserver init"


def literals(node: ast.AST) -> Iterator[ast.Constant]:
    """Yield the strings in functions, without docstrings and what decorators say (help texts)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ast.walk(ast.Module(child.body, [])):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part
        else:
            yield from literals(child)


def test_every_command_of_a_message_is_made_by_the_helper() -> None:
    command = re.compile(rf"\bauthserver ({'|'.join(COMMANDS)})\b")
    found = [
        f"{path.relative_to(ROOT)}:{literal.lineno}"
        for path in (ROOT / "authserver").rglob("*.py")
        for tree in [ast.parse(path.read_text())]
        for literal in literals(tree)
        if command.search(str(literal.value))
        and literal.value != "authserver policy"  # the title of the JSON Schema
        and literal not in [*docstrings(tree)]
        and path.name != "chain.py"  # a label of HKDF, which must never change
    ]
    assert found == []


def docstrings(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            yield node.value


@pytest.mark.parametrize(
    ("euid", "runuser", "owner", "expected"),
    [
        (0, True, "git", "runuser -u git -- authserver user add 'a b'"),
        (0, False, "git", "setpriv --reuid=git --regid=7 --clear-groups authserver user add 'a b'"),
        (0, True, "#99", "setpriv --reuid=99 --regid=7 --clear-groups authserver user add 'a b'"),
        (5, True, "git", f"sudo --preserve-env={KEPT} -u git authserver user add 'a b'"),
        (5, True, "#99", f"sudo --preserve-env={KEPT} -u '#99' authserver user add 'a b'"),
    ],
)
def test_another_user_gets_the_line_that_works(
    monkeypatch: pytest.MonkeyPatch, euid: int, runuser: bool, owner: str, expected: str
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/pytest"])
    monkeypatch.setattr("os.geteuid", lambda: euid)
    monkeypatch.setattr("shutil.which", lambda _: "/sbin/runuser" if runuser else None)
    for variable in [name for name in os.environ if name.startswith("AUTHSERVER_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AUTHSERVER_DATA_DIR", "/a b")
    monkeypatch.setenv("AUTHSERVER_DATABASE_URL", "postgresql://u:secret@db/a")
    with click.Context(cli) as context:
        context.meta[ARGUMENTS] = ("user", "add", "a b")
        assert called_by(owner, 7) == expected
        if "sudo" in expected:
            monkeypatch.delenv("AUTHSERVER_DATA_DIR")
            monkeypatch.delenv("AUTHSERVER_DATABASE_URL")
            assert called_by("git", 7) == "sudo -u git authserver user add 'a b'"


@pytest.mark.parametrize("user", ["root", "owner", "other"])
@pytest.mark.parametrize(
    "more", [{}, {"AUTHSERVER_DATABASE_URL": "postgresql://u:secret@db/a\nX=1"}]
)
def test_the_wrapper_of_the_systemd_page(user: str, more: dict[str, str], tmp_path: Path) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    ids = {"root": 0, "owner": 777, "other": 1000}
    scripts = {
        "id": f'[ "$#" = 2 ] && echo 777 || echo {ids[user]}',
        "runuser": "printf '%s|' runuser \"$@\"",
        "sudo": '[ "$AUTHSERVER_DATA_DIR" = /var/lib/authserver ] && printf "%s|" sudo "$@"',
        "python": "printf '%s|' \"$@\"",
    }
    for name, script in scripts.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_ / name).chmod(0o755)
    wrapper = (ROOT / "deploy/systemd/authserver").read_text()
    wrapper = wrapper.replace("/opt/authserver/bin/python", str(bin_ / "python"))
    done = subprocess.run(
        ["/bin/sh", "-c", wrapper, "authserver", "user", "show", "a b$c"],
        env={"PATH": f"{bin_}:/usr/bin:/bin", **more},
        capture_output=True,
        text=True,
        check=True,
    )
    # awk gives the names in no order.
    said = re.sub(
        "(?<=--preserve-env=)[^|]*",
        lambda match: ",".join(sorted(match[0].split(","))),
        done.stdout,
    )
    program = "-I|-m|authserver|user|show|a b$c|"
    kept = ",".join(sorted(["AUTHSERVER_DATA_DIR", *more]))
    how = {
        "root": f"runuser|-u|authserver|--|{bin_}/python|",
        "owner": "",
        "other": f"sudo|--preserve-env={kept}|-u|authserver|{bin_}/python|",
    }
    assert said == how[user] + program
