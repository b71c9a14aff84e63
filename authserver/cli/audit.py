"""``authserver audit``: what was changed, and what was asked for."""

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import json_option, print_json, print_table
from authserver.db import records


@click.group("audit")
def command() -> None:
    """Records of changes and of token requests."""


@command.command("list")
@click.option("--kind", type=click.Choice(records.KINDS), help="Only changes, or only tokens.")
@click.option("--account", metavar="NAME", help="Only records about this account.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="How many, the latest.",
)
@json_option
@pass_context
def list_(
    context: Context, kind: str | None, account: str | None, limit: int, as_json: bool
) -> None:
    """List the latest records, the newest last."""
    with context.read() as session:
        found = records.listed(session, kind, account, limit)
    if as_json:
        print_json(found)
        return
    rows = [
        (r["at"], r["actor"], r["action"], r["target"])
        if r["kind"] == "change"
        else (
            r["at"],
            r["account"] or "anonymous",
            f"token {r['outcome']}",
            f"{r['registry']} {r['granted'] or '-'} from {r['address']} {r['reason']}".rstrip(),
        )
        for r in found
    ]
    print_table(("AT", "WHO", "WHAT", "ON"), rows, "There are no such records.")
