"""``authserver key``: the authority and the signing keys."""

from dataclasses import asdict

import click

from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import json_option, print_json, print_table, yes
from authserver.db import keys


@click.group("key")
def command() -> None:
    """The keys that sign registry tokens."""


@command.command("list")
@json_option
@pass_context
def list_(context: Context, as_json: bool) -> None:
    """List the authority and the signing keys."""
    with context.read() as session:
        found = keys.listed(session)
    if as_json:
        times = ("not_before", "not_after")
        print_json(
            [asdict(k) | {name: getattr(k, name).isoformat() for name in times} for k in found]
        )
        return
    rows = [(k.role, k.id, f"{k.not_after:%Y-%m-%d %H:%M}", yes(k.signs), k.key_id) for k in found]
    print_table(("ROLE", "ID", "ENDS (UTC)", "SIGNS", "KEY ID"), rows, "There are no keys.")


@command.command("bundle")
@pass_context
def bundle(context: Context) -> None:
    """Print the certificates for the registry's rootcertbundle (PEM)."""
    with context.read() as session:
        click.echo(keys.bundle(session, now()), nl=False)
