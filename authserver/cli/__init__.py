"""The command line."""

import os
from pathlib import Path
from typing import Any

import click

from authserver import __version__
from authserver.cli import (
    acl,
    audit,
    completion,
    config,
    db,
    group,
    health,
    imports,
    init,
    key,
    registry,
    serve,
    user,
)
from authserver.cli.context import Context
from authserver.core.errors import AuthserverError


class Commands(click.Group):
    """Turns the domain's errors into messages and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except AuthserverError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="authserver")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file (TOML); otherwise AUTHSERVER_CONFIG_FILE.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory; otherwise AUTHSERVER_DATA_DIR, or ./data.",
)
@click.pass_context
def cli(ctx: click.Context, config_file: Path | None, data_dir: Path | None) -> None:
    """The authorization server for Docker and OCI registries.

    Begin with `authserver init`, then `authserver serve`. Exit status: 0 done, 1 refused or not
    found, 2 wrong usage.
    """
    # Worker processes read the environment, so a flag that concerns them too goes there.
    if config_file:
        os.environ["AUTHSERVER_CONFIG_FILE"] = str(config_file)
    if data_dir:
        os.environ["AUTHSERVER_DATA_DIR"] = str(data_dir)
    ctx.obj = Context()


for module in (
    init,
    serve,
    registry,
    user,
    group,
    acl,
    key,
    imports,
    audit,
    db,
    config,
    health,
    completion,
):
    cli.add_command(module.command)


def main() -> None:
    """Run the command line; files are made for their owner only."""
    os.umask(0o077)
    cli(prog_name="authserver")
