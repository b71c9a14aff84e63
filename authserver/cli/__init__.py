"""The command line."""

import errno
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from authserver import __version__, memory
from authserver.core.errors import AuthserverError

# In the order in which --help lists them.
_MODULES = {
    "init": "init",
    "serve": "serve",
    "registry": "registry",
    "user": "user",
    "robot": "robot",
    "token": "token",
    "session": "session",
    "group": "group",
    "acl": "acl",
    "policy": "policy",
    "key": "key",
    "jwt": "jwt",
    "import": "imports",
    "audit": "audit",
    "db": "db",
    "backup": "backup",
    "restore": "restore",
    "config": "config",
    "health": "health",
    "completion": "completion",
}

_UNWRITABLE = {errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}


class Commands(click.Group):
    """Loads a command when it is called, and turns the domain's errors into exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _MODULES:
            return None
        command: click.Command = import_module(f"authserver.cli.{_MODULES[cmd_name]}").command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for arg in args:
            try:
                arg.encode()
            except UnicodeEncodeError:
                raise click.UsageError(f"the argument {arg!a} is not UTF-8 text", ctx) from None
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except AuthserverError as error:
            raise click.ClickException(str(error)) from error
        except click.NoSuchOption as error:
            if any(error.option_name in option.opts for option in self.params):
                hint = f"{error.option_name} goes before the command, as in `{_before(error)}`"
                raise click.UsageError(hint, error.ctx) from error
            raise


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
    memory.keep_private()
    _keep_closed()
    try:
        cli(prog_name="authserver")
    except OSError as error:
        # Commands name the files that they cannot write; what has no name is what they print to.
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        click.echo(f"Error: standard output cannot be written: {error.strerror}", err=True)
        # What is still buffered would be tried again at exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _keep_closed() -> None:
    """Have a closed standard output fail to be written, and no other file take its number."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
