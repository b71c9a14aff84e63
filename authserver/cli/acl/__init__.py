"""``authserver acl``: rules, and the questions that they answer.

`rules` writes them, `undo` takes the latest change back, `explain` answers who may do what and
why, `lint` finds rules without effect, and `delegations` let a group write its own. All decisions
come from `core.decision` and `policy`.
"""

import click

from authserver.cli.acl import delegations, explain, lint, rules, undo


@click.group("acl")
def command() -> None:
    """Who may do what on which repositories, and why."""


for _module in (rules, undo, explain, lint, delegations):
    for _command in _module.commands:
        command.add_command(_command)
