"""``authserver registry``: the protected registries."""

import json
import os
from pathlib import Path
from tempfile import mkstemp
from typing import Any
from urllib.parse import urlsplit

import click

from authserver.cli import check
from authserver.cli.context import Context, now, pass_context
from authserver.cli.names import REGISTRY
from authserver.cli.output import (
    force_option,
    json_option,
    note,
    print_fields,
    print_json,
    print_list,
    program,
    removed_rules,
    when,
    yes,
)
from authserver.cli.public_url import doubts, is_address
from authserver.core.errors import Refused
from authserver.db import keys, named, registries
from authserver.db.models import Registry

BUNDLE_FILE = "authserver-bundle.pem"
DEFAULT_BUNDLE_PATH = f"/etc/docker/registry/{BUNDLE_FILE}"


@click.group("registry")
def command() -> None:
    """The registries that accept our tokens."""


command.add_command(check.command)


@command.command("add")
@click.argument("service")
@click.option(
    "--token-ttl",
    metavar="SECONDS",
    type=int,
    help="Life of its tokens; otherwise AUTHSERVER_TOKEN_TTL.",
)
@click.option(
    "--no-refresh-tokens",
    is_flag=True,
    help="Give no refresh tokens: clients keep the password, or an app token, instead.",
)
@pass_context
def add(context: Context, service: str, token_ttl: int | None, no_refresh_tokens: bool) -> None:
    """Add a registry by its SERVICE string, the audience of its tokens."""
    with context.change() as change:
        registries.add(change, service, token_ttl, refresh_tokens=not no_refresh_tokens)
    note(f"Added the registry {service}; its section: {program()} registry config {service}")


@command.command("edit")
@click.argument("service", type=REGISTRY)
@click.option("--token-ttl", metavar="SECONDS", type=int, help="Life of its tokens.")
@click.option(
    "--refresh-tokens/--no-refresh-tokens",
    default=None,
    help="Whether docker login keeps a refresh token; turning it off ends all of them.",
)
@pass_context
def edit(
    context: Context, service: str, token_ttl: int | None, refresh_tokens: bool | None
) -> None:
    """Change a registry."""
    if token_ttl is None and refresh_tokens is None:
        raise click.UsageError(
            "say what to change: --token-ttl, --refresh-tokens or --no-refresh-tokens"
        )
    with context.change() as change:
        registries.edit(change, service, token_ttl=token_ttl, refresh_tokens=refresh_tokens)
    note(f"Changed the registry {service}.")


@command.command("list")
@json_option
@pass_context
def list_(context: Context, as_json: bool) -> None:
    """List the registries."""
    with context.read() as session:
        found = [_described(row, context) for row in registries.listed(session)]
    columns = {
        "SERVICE": lambda r: r["service"],
        "TOKEN TTL": lambda r: r["token_ttl"],
        "REFRESH TOKENS": lambda r: yes(r["refresh_tokens"]),
        "CREATED": lambda r: when(r["created_at"]),
    }
    print_list(found, columns, "There are no registries.", as_json=as_json)


@command.command("show")
@click.argument("service", type=REGISTRY)
@json_option
@pass_context
def show(context: Context, service: str, as_json: bool) -> None:
    """Show one registry."""
    with context.read() as session:
        found = _described(named.registry(session, service), context)
    if as_json:
        print_json(found)
    else:
        shown = {name.replace("_", " "): value for name, value in found.items()}
        del shown["created at"]
        print_fields(
            shown
            | {"refresh tokens": yes(found["refresh_tokens"]), "created": when(found["created_at"])}
        )


@command.command("remove")
@click.argument("service", type=REGISTRY)
@force_option("Remove it even where rules are on it, and those rules with it.")
@pass_context
def remove(context: Context, service: str, force: bool) -> None:
    """Remove a registry; no token is issued for it any more."""
    with context.change() as change:
        removed = registries.remove(change, service, force=force)
    removed_rules(removed)
    note(f"Removed the registry {service}.")


@command.command("config")
@click.argument("service", type=REGISTRY)
@click.option(
    "--registry-version",
    type=click.Choice(["2", "3"]),
    default="2",
    show_default=True,
    help="Version of Distribution; the section for 2 works with 3 too.",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the certificate bundle into this directory and name it in the section.",
)
@click.option(
    "--bundle-path", metavar="PATH", help="Path of the bundle as the registry will see it."
)
@pass_context
def config(
    context: Context,
    service: str,
    registry_version: str,
    output_dir: Path | None,
    bundle_path: str | None,
) -> None:
    """Print the `auth:` section for the registry's config.yml."""
    with context.read() as session:
        named.registry(session, service)
        issuer = keys.issuer(session)
        bundle = keys.bundle(session, now())
    if output_dir is not None:
        written = _write(output_dir, bundle)
        note(f"Wrote the certificate bundle to {written}.")
        bundle_path = bundle_path or str(written)
    elif bundle_path is None:
        bundle_path = DEFAULT_BUNDLE_PATH
    if output_dir is None:
        note(f"Write the certificate bundle there: {program()} key bundle > {bundle_path}")
    for warning in _doubts(context.settings.public_url):
        note(f"Warning: {warning}")
    note("Put the section into the registry's config.yml and restart the registry.")
    options: dict[str, object] = {
        "realm": context.settings.realm,
        "service": service,
        "issuer": issuer,
        "rootcertbundle": bundle_path,
    }
    if registry_version == "3":
        options["signingalgorithms"] = ["ES256"]
    click.echo(_section(options))


def _section(options: dict[str, object]) -> str:
    # A JSON value is a YAML value, and a quoted one is never taken for a number or a boolean.
    lines = [f"    {name}: {json.dumps(value)}" for name, value in options.items()]
    return "\n".join(["auth:", "  token:", *lines])


def _write(directory: Path, bundle: str) -> Path:
    path = directory.absolute() / BUNDLE_FILE
    try:
        # Certificates are public, and the registry runs as another user.
        for missing in [d for d in (path.parent, *path.parent.parents) if not d.exists()][::-1]:
            missing.mkdir()
            missing.chmod(0o755)
        # A new name that nobody can foresee: another user of the directory plants no link.
        descriptor, partial = mkstemp(dir=path.parent, prefix=f".{BUNDLE_FILE}.")
        with os.fdopen(descriptor, "w") as file:
            file.write(bundle)
            os.fchmod(descriptor, 0o644)
        Path(partial).replace(path)
    except OSError as error:
        raise Refused(f"the bundle cannot be written to {path}: {error.strerror}") from None
    return path


def _doubts(public_url: str) -> list[str]:
    found = doubts("the realm", public_url)
    if is_address(urlsplit(public_url).hostname):
        found.insert(
            0, "the realm is an address: crane and oras refuse private addresses; use a DNS name"
        )
    return found


def _described(row: Registry, context: Context) -> dict[str, Any]:
    return registries.described(row) | {
        "token_ttl": row.token_ttl or context.settings.token_ttl,
        "realm": context.settings.realm,
    }
