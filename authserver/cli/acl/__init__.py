"""``authserver acl``: who may do what, and why."""

import click

from authserver.cli.acl import delegations, linting, questions, writing


@click.group("acl")
def command() -> None:
    """Who may do what on which repositories, and why."""


for _module in (writing, questions, linting, delegations):
    for _command in _module.commands:
        command.add_command(_command)
