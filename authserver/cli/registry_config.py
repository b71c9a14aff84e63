"""``authserver registry config``: the section for the registry's own configuration."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from tempfile import mkstemp
from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import json_option, note, print_json
from authserver.cli.params import REGISTRY
from authserver.core.errors import Refused
from authserver.db import lookup
from authserver.registry import config_section

if TYPE_CHECKING:
    from authserver.registry.config_section import TrustedFile


@click.command("config")
@click.argument("service", type=REGISTRY)
@click.option(
    "--registry-version",
    "version",
    type=click.Choice(["2", "3"]),
    help="Version of Distribution; otherwise the entry's. The section for 2 works with 3 too.",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the bundle and the JWKS that it needs into this directory and name them.",
)
@click.option(
    "--bundle-path", metavar="PATH", help="Path of the bundle as the registry will see it."
)
@click.option("--jwks-path", metavar="PATH", help="Path of the JWKS as the registry will see it.")
@json_option
@pass_context
def command(
    context: Context,
    /,
    service: str,
    version: str | None,
    output_dir: Path | None,
    bundle_path: str | None,
    jwks_path: str | None,
    as_json: bool,
) -> None:
    """Print the `auth:` section for the registry's config.yml.

    With --json also the files that it names.
    """
    paths = {"rootcertbundle": bundle_path, "jwks": jwks_path}
    directory = config_section.DIRECTORY if output_dir is None else str(output_dir.absolute())
    with context.read() as session:
        section = config_section.of(
            session,
            lookup.registry(session, service),
            context.settings,
            context.store,
            version,
            directory,
            paths,
        )
    for file in section.files:
        if output_dir is not None:
            note(f"Wrote the {file.kind} to {_write(output_dir / file.name, file)}.")
        else:
            note(f"Write the {file.kind} there: {file.command} > {quote(file.path)}")
    for doubt in section.doubts:
        note(f"Warning: {doubt}")
    note("Put the section into the registry's config.yml and restart the registry.")
    if as_json:
        print_json(section.as_json())
    else:
        click.echo(section.text)


def _write(path: Path, file: TrustedFile) -> Path:
    path = path.absolute()
    try:
        # What is in it is public, and the registry runs as another user.
        for missing in [d for d in (path.parent, *path.parent.parents) if not d.exists()][::-1]:
            missing.mkdir()
            missing.chmod(0o755)
        # A new name that nobody can foresee: another user of the directory plants no link.
        descriptor, partial = mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w") as written:
            written.write(file.content)
            os.fchmod(descriptor, 0o644)
        Path(partial).replace(path)
    except OSError as error:
        raise Refused(f"the {file.kind} cannot be written to {path}: {error.strerror}") from None
    return path
