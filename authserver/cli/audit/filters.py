"""The flags that say which audit records are meant."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from authserver.audit.records import KINDS, OUTCOMES, Filter
from authserver.cli.durations import Moment
from authserver.cli.params import ACCOUNT, REGISTRY

_OPTIONS = (
    click.option("--kind", type=click.Choice(KINDS), help="Only changes, or only tokens."),
    click.option("--account", metavar="NAME", type=ACCOUNT, help="About this account."),
    click.option("--action", metavar="ACTION", help="Changes of this kind, like user.add."),
    click.option("--outcome", type=click.Choice(OUTCOMES), help="Token requests that ended so."),
    click.option(
        "--registry", metavar="SERVICE", type=REGISTRY, help="Token requests for this registry."
    ),
    click.option(
        "--repository", metavar="NAME", help="Token requests that asked for this repository."
    ),
    click.option("--address", metavar="IP", help="Token requests from this address."),
    click.option(
        "--since",
        metavar="TIME",
        type=Moment(past=True),
        help="From then on: 2026-11-24, 2026-11-24T18:00Z, or 12h, which is 12 hours ago.",
    ),
    click.option(
        "--until", metavar="TIME", type=Moment(past=True), help="From before then; as --since."
    ),
)


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags; the command takes them as the one argument ``wanted``."""

    @wraps(command)
    def asked(*args: Any, **flags: Any) -> None:  # noqa: ANN401 - click passes what it has
        wanted = Filter(**{name: flags.pop(name) for name in Filter.__slots__})
        command(*args, wanted=wanted, **flags)

    for option in reversed(_OPTIONS):
        asked = option(asked)
    return asked
