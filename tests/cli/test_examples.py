"""The examples of --help: each command has one, each parses, and those that can run do so."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from authserver.cli import cli
from authserver.cli.examples import EXAMPLES
from tests.cli.commands import Commands
from tests.world import PASSWORD

# What takes a server, a file or a program that is not here, or ends only when it is stopped.
UNRUN = {
    "serve", "registry check", "policy plan", "policy apply", "policy test", "key import",
    "jwt inspect", "import htpasswd", "import docker-auth", "audit tail", "audit restart",
    "db copy", "backup", "restore", "health", "init", "audit prune",
}  # fmt: skip
ASKS = {"user add", "user passwd"}
"""Those that ask for a password: here it is on standard input."""
REFUSED = {
    "lockout lift 192.0.2.7": "no lockout at",
    "lockout lift 192.0.2.7 --account alice": "no lockout of alice",
    "session revoke 7": "there is no session 7",
    "key rotate --registry eu.example.com": "has no key of its own",
}
"""Those that name what this installation does not have."""


def leaves(command: click.Command, ctx: click.Context, words: str = "") -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield words
        return
    for name in command.list_commands(ctx):
        below = command.get_command(ctx, name)
        if below is not None and not below.hidden:
            yield from leaves(below, click.Context(below, parent=ctx), f"{words} {name}".strip())


LINES = [(words, line) for words, lines in EXAMPLES.items() for line in lines]


def arguments(line: str) -> list[str]:
    """Return the words of an example, without what the shell does with files."""
    return shlex.split(re.sub(r" [<>] \S+$", "", line))


def test_each_command_has_an_example() -> None:
    assert set(leaves(cli, click.Context(cli, **cli.context_settings))) == set(EXAMPLES)


@pytest.mark.parametrize(("words", "line"), LINES)
def test_an_example_parses(words: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_it_is(_: click.Path, value: Any, *__: object) -> Path:
        return Path(value)

    monkeypatch.setattr(click.Path, "convert", as_it_is)
    assert line.startswith(words)
    command: click.Command = cli
    ctx, rest = click.Context(cli, **cli.context_settings), arguments(line)
    while isinstance(command, click.Group):
        found = command.get_command(ctx, rest[0])
        assert found is not None
        ctx, command, rest = click.Context(found, parent=ctx), found, rest[1:]
    command.make_context(words, rest, parent=ctx.parent)


def test_examples_run_one_after_the_other(run: Commands) -> None:
    for words, line in LINES:
        if words in UNRUN:
            continue
        more = ["--password-stdin"] if words in ASKS else []
        result = run.result(*arguments(line), *more, stdin=f"{PASSWORD}\n")
        if line in REFUSED:
            assert result.exit_code == 1
            assert REFUSED[line] in run.err
        else:
            assert result.exit_code == 0, f"{line}: {result.output}"


def test_help_ends_with_the_examples_as_they_are(run: Commands) -> None:
    told = run("acl", "allow", "--help")
    lines = "".join(f"    authserver {line}\n" for line in EXAMPLES["acl allow"])
    assert told.endswith(f"  Examples:\n{lines}")
    assert run("acl", "allow", "--help").count("Examples:") == 1
    assert "most common passwords" in run("user", "add", "--help")
    assert "  Examples:\n    authserver user add alice\n" in run.out
