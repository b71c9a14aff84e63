"""What commands print, and how they ask."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from authserver.core.errors import Refused
from authserver.core.names import is_path_component, printable

MAX_CELL = 10_000
ID = click.IntRange(0, 2**63 - 1)

_F = TypeVar("_F", bound=Callable[..., Any])


def json_option(command: _F) -> _F:
    """Add ``--json`` to a command that lists or shows."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON value and nothing else."
    )(command)


def force_option(command: _F) -> _F:
    """Add ``--force`` to a command that refuses when something would be lost or widened."""
    return click.option(
        "--force", is_flag=True, help="Do it even where rules that name it go with it."
    )(command)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Say something that is not the command's result: on standard error."""
    click.echo(text, err=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print aligned columns, or on standard error that there is nothing."""
    body = [[printable(str(cell), MAX_CELL) for cell in row] for row in rows]
    if not body:
        note(empty)
        return
    widths = [max(len(line[i]) for line in [list(header), *body]) for i in range(len(header))]
    for line in [list(header), *body]:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


def print_fields(fields: dict[str, object]) -> None:
    """Print one thing: a line for each field."""
    width = max(map(len, fields))
    for name, value in fields.items():
        click.echo(f"{name.ljust(width)}  {printable(str(value), MAX_CELL)}".rstrip())


def note_on_name(name: str) -> None:
    """Say so if ``{account}`` can never stand for this account."""
    if not is_path_component(name):
        note(
            f"{name} cannot be a part of a repository name, so {{account}} in a rule's pattern "
            "matches nothing for it."
        )


def removed_rules(rules: Sequence[str]) -> None:
    for rule in rules:
        note(f"rule {rule}")


def ask_password(*, from_stdin: bool, prompt: str = "Password", new: bool = True) -> str:
    """Return a password from standard input's first line, or ask for it, for a new one twice.

    Raises:
        Refused: the line is missing or not UTF-8.
        click.UsageError: there is no terminal to ask at.
    """
    if from_stdin:
        try:
            line = sys.stdin.buffer.readline().decode()
        except UnicodeDecodeError:
            raise Refused("the password on standard input is not UTF-8 text") from None
        return line.rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the password: --password-stdin")
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=new, err=True))


def program() -> str:
    """Return how this program is called from where the operator stands."""
    called = Path(sys.argv[0])
    on_path = shutil.which("authserver")
    if called.name != "authserver" or (on_path and Path(on_path).samefile(called)):
        return "authserver"
    near = os.path.relpath(called)
    return str(called.absolute()) if near.startswith("..") else near


def yes(value: object) -> str:
    return "yes" if value else "no"
