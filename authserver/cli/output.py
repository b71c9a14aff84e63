"""What commands print, how they ask, and the progress bar."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from authserver.core.errors import Refused
from authserver.core.names import is_path_component, printable

if TYPE_CHECKING:
    from authserver.db.losses import Loss

MAX_CELL = 10_000
ARGUMENTS = "authserver.arguments"
"""The key of click's meta under which a command's arguments are."""
MAX_CLIENT = 40

# What JSON leaves as it is: DEL and C1, what turns the direction of writing, surrogates.
_COMMANDING = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_F = TypeVar("_F", bound=Callable[..., Any])

STEPS = 200
"""How often a progress bar is drawn at most: the work must not wait for the terminal."""


def json_option(command: _F) -> _F:
    """Add ``--json`` to a command that lists or shows."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON value and nothing else."
    )(command)


def force_option(what: str) -> Callable[[_F], _F]:
    """Add ``--force`` to a command that refuses when something would be lost or widened."""
    return click.option("--force", is_flag=True, help=what)


def print_json(value: object) -> None:
    click.echo(safe_json(value, indent=2))


def safe_json(value: object, indent: int | None = None) -> str:
    """Return JSON in which what commands a terminal, or is half a surrogate pair, is escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _COMMANDING.sub(lambda match: json.dumps(match[0])[1:-1], text)


def red(text: str) -> str:
    """Return a text in red. Click takes the colour out where it prints to no terminal."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg="red")


def note(text: str) -> None:
    """Say something that is not the command's result: on standard error."""
    click.echo(text, err=True)


def print_csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print CSV (RFC 4180) with a header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    click.echo(text.getvalue(), nl=False)


def when(time: str | datetime) -> str:
    """Return a time as every table and message shows it: in UTC, to the second."""
    at = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def when_if(time: str | None) -> str:
    """Return a time that may be missing, as tables show it."""
    return when(time) if time else "never"


def last_used(used: Mapping[str, str] | None) -> str:
    """Return when, from where and by which client a credential was used."""
    return f"{when(used['at'])} {used['address']} {client(used['client'])}" if used else "never"


def client(user_agent: str | None) -> str:
    """Return what tells clients apart, which is a User-Agent's first product and its version."""
    products = (user_agent or "").split(maxsplit=1)
    return printable(products[0], MAX_CLIENT) if products else "unknown"


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one thing: a line for each field."""
    width = max(map(len, fields))
    for name, value in fields.items():
        text = printable(str(value), MAX_CELL)
        shown = red(text) if name == "state" and text.startswith("disabled") else text
        click.echo(f"{name.ljust(width)}  {shown}".rstrip())


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


def yes_option(command: _F) -> _F:
    """Add ``--yes`` to a command that asks before it does what cannot be undone."""
    return click.option("--yes", "sure", is_flag=True, help="Do not ask.")(command)


def require_sure(question: str, *, sure: bool) -> None:
    """Ask a question that must be answered by yes, unless ``sure``.

    Raises:
        click.UsageError: there is no terminal to ask at.
        click.Abort: it was answered by no.
    """
    if sure:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"there is no terminal to ask: {question} If so: {_again('--yes')}")
    click.confirm(question, abort=True, err=True)


def require_losses(question: str, losses: "Sequence[Loss]", *, sure: bool) -> None:
    """Show what would be lost, and ask as :func:`require_sure` does, unless ``sure``."""
    for loss in () if sure else losses:
        note(f"Goes with it: {loss}")
    require_sure(question, sure=sure)


def _again(option: str) -> str:
    """Return the command that runs now with one more option, quoted for the shell."""
    words = [*click.get_current_context().meta.get(ARGUMENTS, ())]
    words.insert(words.index("--") if "--" in words else len(words), option)
    return shlex.join([_path(absolute=False), *words])


def called(*, absolute: bool = False) -> str:
    """Return how this program is called from where the operator stands, quoted for the shell.

    With ``absolute`` it works from any directory, as a command in a log must.
    """
    return shlex.join([_path(absolute=absolute), *_flags(absolute=absolute)])


def called_by(owner: str, group: int) -> str:
    """Return the command that runs now as one that works as ``owner``, for this user to paste."""
    arguments = click.get_current_context().meta.get(ARGUMENTS, ())
    words = [_path(absolute=True), *arguments]
    if os.geteuid() == 0 and shutil.which("runuser") and not owner.startswith("#"):
        # It keeps the environment and the working directory.
        return shlex.join(["runuser", "-u", owner, "--", *words])
    if os.geteuid() == 0:
        change = ["setpriv", f"--reuid={owner.lstrip('#')}", f"--regid={group}", "--clear-groups"]
        return shlex.join([*change, *words])
    # Names only: a value may hold a password, and processes show their arguments to all users.
    names = ",".join(sorted(name for name in os.environ if name.upper().startswith("AUTHSERVER_")))
    kept = [f"--preserve-env={names}"] if names else []
    return shlex.join(["sudo", *kept, "-u", owner, *words])


def _path(*, absolute: bool) -> str:
    path = Path(sys.argv[0])
    on_path = shutil.which("authserver")
    if path.name != "authserver" or (on_path and Path(on_path).samefile(path)):
        return "authserver"
    near = os.path.relpath(path)
    return str(path.absolute()) if absolute or near.startswith("..") else near


def _flags(*, absolute: bool) -> list[str]:
    """Return the flags before the command that another command needs as well."""
    root = click.get_current_context().find_root()
    return [
        word
        for flag, name in (("--config", "config_file"), ("--data-dir", "data_dir"))
        if (value := root.params.get(name)) is not None
        for word in (flag, str(value.absolute() if absolute else value))
    ]


def yes(value: object) -> str:
    return "yes" if value else "no"


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that takes how many of how many are done; it draws only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def tell(done: int, total: int) -> None:
            bar.length = total
            if done == total or (done - bar.pos) * STEPS >= total:
                bar.update(done - bar.pos)

        yield tell
