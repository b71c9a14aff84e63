"""``authserver audit``: what was changed, and what was asked for."""

from collections.abc import Mapping
from typing import Any

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.names import ACCOUNT
from authserver.cli.output import json_option, print_list, when
from authserver.db import records


@click.group("audit")
def command() -> None:
    """Records of changes and of token requests."""


@command.command("list")
@click.option("--kind", type=click.Choice(records.KINDS), help="Only changes, or only tokens.")
@click.option("--account", metavar="NAME", type=ACCOUNT, help="Only records about this account.")
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
    columns = {"AT": lambda r: when(r["at"]), "WHO": _who, "WHAT": _what, "ON": _on}
    print_list(found, columns, "There are no such records.", as_json=as_json)


def _who(record: Mapping[str, Any]) -> str:
    return str(record["actor"] if record["kind"] == "change" else record["account"] or "anonymous")


def _what(record: Mapping[str, Any]) -> str:
    return str(record["action"] if record["kind"] == "change" else f"token {record['outcome']}")


def _on(record: Mapping[str, Any]) -> str:
    if record["kind"] == "change":
        return str(record["target"])
    granted = f"{record['registry']} {record['granted'] or '-'}"
    return f"{granted} from {record['address']} {record['reason']}".rstrip()
