"""``authserver acl``: who may do what, and why."""

import click

from authserver.cli.acl import delegations, explain, lint, rules


@click.group("acl")
def command() -> None:
    """Who may do what on which repositories, and why."""


for _module in (rules, explain, lint, delegations):
    for _command in _module.commands:
        command.add_command(_command)
