"""``authserver audit``: what was changed, and what was asked for."""

import click

from authserver.cli.audit import accepting, exporting, records, verify


@click.group("audit")
def command() -> None:
    """Records of changes and of token requests."""


for _module in (records, exporting, verify, accepting):
    for _command in _module.commands:
        command.add_command(_command)
