"""The command line: one file a noun, one function a command.

A command reads its flags, opens the installation (`context`), calls the same functions as the admin
API, and prints (`output`, `views`). Results go to standard output and notes to standard error; each
error is one line with the command or setting that mends it. It may call every room, and no room
calls it. Modules are loaded when their command runs: to load all takes over a second.
"""

import difflib
import errno
import gc
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from authserver import __version__
from authserver.cli.examples import EXAMPLES
from authserver.cli.lazy_modules import loaded_late
from authserver.cli.output import ARGUMENTS, called
from authserver.core.commands import called_as
from authserver.core.errors import AuthserverError
from authserver.runtime import process

# In the order of --help. The texts are here and not in the modules, for --help must not load them.
COMMANDS = {
    "init": "Set up: keys, a first registry entry, a first administrator.",
    "serve": "Serve registry tokens until SIGTERM.",
    "overview": "Show what needs attention, the gravest first, each with the command that helps.",
    "registry": "The registries that accept our tokens.",
    "user": "People: accounts with a password.",
    "robot": "Programs: accounts without a password, which show app tokens.",
    "token": "App tokens: secrets that programs use as a password.",
    "session": "Logins that go on without the password: docker, console.",
    "lockout": "Passwords that are not checked for a while, because too many were wrong.",
    "group": "Groups of accounts, for rules that hold for several.",
    "acl": "Who may do what on which repositories, and why.",
    "policy": "Registries, accounts, groups and rules as one YAML file.",
    "key": "The keys that sign registry tokens.",
    "jwt": "Look into registry tokens.",
    "import": "Move in from another way of keeping accounts.",
    "audit": "Records of changes and of token requests.",
    "db": "The store: its schema and its health.",
    "backup": "Write the whole store to one encrypted file.",
    "restore": "Set a new store up from a backup.",
    "config": "The settings.",
    "health": "Ask a running server whether it can issue tokens.",
    "completion": "Print the completion script of a shell.",
}
_MODULES = {"import": "imports"}

# How many more objects start a garbage collection: modules that are loaded are no garbage.
GARBAGE_AFTER = 100_000

_UNWRITABLE = {errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}


class Commands(click.Group):
    """Loads a command when it is called, and turns the domain's errors into exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name)
        with loaded_late():
            command: click.Command = import_module(f"authserver.cli.{module}").command
        _add_examples(command, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, COMMANDS)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        named = [
            CompletionItem(name, help=purpose)
            for name, purpose in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return named + click.Command.shell_complete(self, ctx, incomplete)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for arg in args:
            try:
                arg.encode()
            except UnicodeEncodeError:
                raise click.UsageError(f"the argument {arg!a} is not UTF-8 text", ctx) from None
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            with called_as(called()):
                return super().invoke(ctx)
        except AuthserverError as error:
            raise click.ClickException(str(error)) from error
        except click.NoSuchOption as error:
            if any(error.option_name in option.opts for option in self.params):
                hint = f"{error.option_name} goes before the command, as in `{_before(error)}`"
                raise click.UsageError(hint, error.ctx) from error
            raise


def _add_examples(command: click.Command, words: str) -> None:
    """Have the help of a command, and of those below it, end with its examples."""
    for name, below in getattr(command, "commands", {}).items():
        _add_examples(below, f"{words} {name}")
    lines = "\n".join(f"  authserver {example}" for example in EXAMPLES.get(words, ()))
    if lines and lines not in (command.epilog or ""):
        # The \b keeps click from joining the lines.
        texts = filter(None, (command.epilog, f"\b\nExamples:\n{lines}"))
        command.epilog = "\n\n".join(texts)


def _before(error: click.NoSuchOption) -> str:
    path = error.ctx.command_path if error.ctx else "authserver"
    program, _, command = path.partition(" ")
    return f"{program} {error.option_name} … {command}"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="authserver")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file (TOML); otherwise AUTHSERVER_CONFIG_FILE, "
    "or /etc/authserver/authserver.toml if it is there.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory; otherwise AUTHSERVER_DATA_DIR, or ./data.",
)
def cli(config_file: Path | None, data_dir: Path | None) -> None:
    """The authorization server for Docker and OCI registries.

    Begin with `authserver init`, then `authserver serve`. Exit status: 0 done, 1 refused or not
    found, 2 wrong usage.
    """
    point_at(config_file, data_dir)


def point_at(config_file: Path | None, data_dir: Path | None) -> None:
    """Put flags into the environment, which worker processes read as well."""
    if config_file:
        os.environ["AUTHSERVER_CONFIG_FILE"] = str(config_file)
    if data_dir:
        os.environ["AUTHSERVER_DATA_DIR"] = str(data_dir)


def main() -> None:
    """Run the command line; files are made for their owner only."""
    os.umask(0o077)
    gc.set_threshold(GARBAGE_AFTER)
    process.keep_memory_private()
    _keep_closed()
    try:
        try:
            cli(prog_name="authserver")
        except SystemExit as end:
            _leave(end)
    except OSError as error:
        # Commands name the files that they cannot write; what has no name is what they print to.
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        click.echo(f"Error: standard output cannot be written: {error.strerror}", err=True)
        # What is still buffered would be tried again at exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _leave(end: SystemExit) -> None:
    """End without freeing what was loaded: that takes a seventh of the time of a short command."""
    if "authserver.cli.serve" in sys.modules or not isinstance(end.code, int):
        raise end
    for stream in (sys.stdout, sys.stderr):
        # Without standard error there is no such stream.
        if stream is not None:
            stream.flush()
    os._exit(end.code)


def _keep_closed() -> None:
    """Have a closed standard output fail to be written, and no other file take its number."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
