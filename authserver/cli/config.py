"""``authserver config``: the settings in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import pydantic

from authserver.cli.context import Context, pass_context
from authserver.cli.output import json_option, print_fields, print_json
from authserver.runtime import settings

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


@click.group("config")
def command() -> None:
    """The settings."""


@command.command("show")
@json_option
@pass_context
def show(context: Context, as_json: bool) -> None:
    """Show the settings in force, without secrets.

    The first line names the settings file that was read.
    """
    settings_ = context.settings
    values = {"config_file": _shown(context.loaded.file)}
    values |= {name: _shown(getattr(settings_, name)) for name in type(settings_).model_fields}
    values["database_url"] = _without_secrets(settings_.store_url)
    values["master_key_file"] = _shown(settings_.master_key_path)
    values["spool_dir"] = _shown(settings_.spool_path)
    if as_json:
        print_json(values)
    else:
        print_fields({name: "" if value is None else value for name, value in values.items()})


@command.command("sample")
def sample() -> None:
    """Print a settings file (TOML) with all defaults.

    Every setting is in it, commented out at its default.
    """
    click.echo(settings.sample(), nl=False)


def _without_secrets(url: URL) -> str:
    # A driver may take a password among the options as well.
    hidden = url.set(query=dict.fromkeys(url.query, "***"))
    return hidden.render_as_string(hide_password=True)


def _shown(value: object) -> object:
    match value:
        case pydantic.SecretStr():
            return "(set)"
        case None | int():
            return value
        case Path():
            return str(value.absolute())
        case tuple():
            return ", ".join(map(str, value))
    return str(value)
