"""``authserver key authority``: replacing the authority, one step at a time."""

from functools import partial

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.output import note, require_losses, yes_option
from authserver.cli.params import AUTHORITY, REGISTRY
from authserver.core.commands import program
from authserver.core.names import the_registry
from authserver.db import losses
from authserver.keys import authorities, signing_keys
from authserver.registry import entries


@click.group("authority", short_help="Replace the authority.")
def command() -> None:
    """Replace the authority: rotate, confirm each registry, activate, retire."""


@command.command("rotate")
@pass_context
def rotate(context: Context) -> None:
    """Make the next authority, which waits. The bundle then holds both."""
    with context.change() as change:
        safe = context.safe_of(change.session)
        authority = authorities.add(change, safe, signing_keys.issuer(change.session))
    note(waiting_note(authority.id))


def waiting_note(authority_id: int) -> str:
    """Return what to do with an authority that waits."""
    run = program()
    return (
        f"Authority {authority_id} waits. Nothing is signed under it yet. For each registry:\n"
        f"    give it the new bundle   {run} key bundle > authserver-bundle.pem\n"
        "    restart it\n"
        f"    say so                   {run} key authority confirm SERVICE\n"
        f"Then                         {run} key authority activate"
    )


@command.command("confirm", short_help="Say that registries trust the newest authority.")
@click.argument("services", metavar="SERVICE...", nargs=-1, required=True, type=REGISTRY)
@pass_context
def confirm(context: Context, services: tuple[str, ...]) -> None:
    """Say that registries have the newest authority in their bundle and were restarted."""
    with context.change() as change:
        for service in services:
            row = authorities.confirm(change, service)
            note(f"Authority {row.id} is trusted by {the_registry(service)}.")


@command.command("activate", short_help="Sign under the authority that waits.")
@click.option(
    "--force",
    is_flag=True,
    help="Do it though registries are not known to trust it; those refuse every token.",
)
@pass_context
def activate(context: Context, force: bool) -> None:
    """Sign under the authority that waits, once every registry is known to trust it."""
    with context.change() as change:
        safe = context.safe_of(change.session)
        row = authorities.activate(change, safe, force=force)
    context.store.overwrite_deleted()
    note(
        f"Authority {row.id} certifies from now on. When no token under the one before is in use "
        f"any more: {program()} key authority retire"
    )


@command.command("retire")
@click.argument("authority_id", metavar="[ID]", type=AUTHORITY, required=False)
@click.option(
    "--force", is_flag=True, help="Do it though tokens under it may be in use; those are refused."
)
@yes_option
@pass_context
def retire(context: Context, authority_id: int | None, force: bool, sure: bool) -> None:
    """Take an authority out of the bundle and destroy its private key.

    Without ID it is the one before the active one; with ID it may be one that waits. The command
    says which registries are not known to trust another one, and asks.
    """
    with context.read() as session:
        row = authorities.to_retire(session, authority_id)
        going = losses.of(session, [row])
        longest = entries.longest_token(session, context.settings.token_ttl)
    retired = partial(authorities.retire, authority_id=row.id, longest_token=longest, force=force)
    if not sure:
        context.rehearse(retired)
    question = f"Retire authority {row.id} and destroy its private key?"
    require_losses(question, going, sure=sure)
    with context.change() as change:
        retired(change)
    context.store.overwrite_deleted()
    note(
        f"Authority {row.id} is retired. A registry trusts it until it has the new bundle and was "
        f"restarted: {program()} key bundle"
    )
