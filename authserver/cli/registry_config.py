"""``authserver registry config``: the section for the registry's own configuration."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from tempfile import mkstemp
from urllib.parse import urlsplit

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import note
from authserver.cli.params import REGISTRY
from authserver.core.commands import shell_command
from authserver.core.errors import Refused
from authserver.db import lookup
from authserver.keys import registry_keys, signing_keys
from authserver.keys.compatibility import Trust, usual_version
from authserver.registry import published_keys
from authserver.runtime import settings

DIRECTORY = "/etc/docker/registry"


@dataclass(frozen=True)
class _TrustFile:
    """A file that the registry reads its trust from."""

    option: str
    kind: str
    name: str
    command: str
    content: str


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
@pass_context
def command(
    context: Context,
    service: str,
    version: str | None,
    output_dir: Path | None,
    bundle_path: str | None,
    jwks_path: str | None,
) -> None:
    """Print the `auth:` section for the registry's config.yml."""
    with context.read() as session:
        registry = lookup.registry(session, service)
        at = context.store.time(session)
        issuer = signing_keys.issuer(session)
        files = _files(Trust(registry.trust), published_keys.for_registry(session, registry, at))
        algorithms = published_keys.algorithms(session, registry, at)
        mode = registry_keys.header_mode(session, registry)
        usual = registry.version.partition(".")[0] if registry.version else usual_version(mode)
    paths = {"rootcertbundle": bundle_path, "jwks": jwks_path}
    options: dict[str, object] = {
        "realm": context.settings.realm,
        "service": service,
        "issuer": issuer,
        **{file.option: _place(file, output_dir, paths[file.option], service) for file in files},
    }
    if (version or usual) == "3":
        options["signingalgorithms"] = algorithms
    for warning in _doubts(context.settings.public_url):
        note(f"Warning: {warning}")
    note("Put the section into the registry's config.yml and restart the registry.")
    click.echo(_section(options))


def _files(trust: Trust, keys: published_keys.PublishedKeys) -> list[_TrustFile]:
    bundle = _TrustFile(
        "rootcertbundle", "certificate bundle", "authserver-bundle.pem", "bundle", keys.bundle
    )
    jwks = _TrustFile("jwks", "JWKS", "authserver-jwks.json", "jwks", keys.jwks)
    return {Trust.BUNDLE: [bundle], Trust.JWKS: [jwks], Trust.BOTH: [bundle, jwks]}[trust]


def _place(file: _TrustFile, directory: Path | None, path: str | None, service: str) -> str:
    """Write a file, or say how to; return its path as the registry will see it."""
    if directory is not None:
        written = str(_write(directory / file.name, file))
        note(f"Wrote the {file.kind} to {written}.")
        return path or written
    path = path or f"{DIRECTORY}/{file.name}"
    write = f"{shell_command('key', file.command, operand=service)} > {quote(path)}"
    note(f"Write the {file.kind} there: {write}")
    return path


def _section(options: dict[str, object]) -> str:
    # A JSON value is a YAML value, and a quoted one is never taken for a number or a boolean.
    lines = [f"    {name}: {json.dumps(value)}" for name, value in options.items()]
    return "\n".join(["auth:", "  token:", *lines])


def _write(path: Path, file: _TrustFile) -> Path:
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


def _doubts(public_url: str) -> list[str]:
    texts = settings.public_url.doubts("the realm", public_url)
    if settings.public_url.is_address(urlsplit(public_url).hostname):
        texts.insert(
            0, "the realm is an address: crane and oras refuse private addresses; use a DNS name"
        )
    return texts
