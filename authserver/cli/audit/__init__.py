"""``authserver audit``: records of changes and of token requests.

`records` lists, follows and exports them, `verify` checks their chains and restarts them, `prune`
deletes the oldest. The work is done in the room `audit`.
"""

import click

from authserver.cli.audit import prune, records, verify


@click.group("audit")
def command() -> None:
    """Records of changes and of token requests."""


for _module in (records, verify, prune):
    for _command in _module.commands:
        command.add_command(_command)
