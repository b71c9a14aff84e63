"""``authserver audit``: what was changed, and what was asked for."""

import click

from authserver.cli.audit import prune, records, verify


@click.group("audit")
def command() -> None:
    """Records of changes and of token requests."""


for _module in (records, verify, prune):
    for _command in _module.commands:
        command.add_command(_command)
