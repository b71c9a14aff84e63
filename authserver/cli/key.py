"""``authserver key``: the authority, the signing keys, the master key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authserver.cli import key_authority, key_import
from authserver.cli.context import Context, pass_context
from authserver.cli.data_dir import alone
from authserver.cli.output import note, require_sure, when, yes, yes_option
from authserver.cli.params import REGISTRY, SIGNING_KEY
from authserver.cli.views import Columns, list_command
from authserver.core.commands import program, shell_command
from authserver.core.errors import Refused
from authserver.core.names import the_registry
from authserver.db import lookup
from authserver.keys import master_key as master_keys
from authserver.keys import registry_keys, signing_keys
from authserver.registry import published_keys

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.keys.master_key import MasterKey
    from authserver.keys.signing_keys import Listed
    from authserver.registry.published_keys import PublishedKeys


@click.command("rewrap")
@pass_context
def rewrap(context: Context) -> None:
    """Encrypt the private keys with another master key.

    The new one is made beside the old one's file, as FILE.new; one that is there is used. It takes
    the old one's place when the store is done: a crash leaves a pair of files of which one fits.
    Serving processes change over by themselves.
    """
    path = context.settings.master_key_path
    with alone(context):
        with context.read() as session:
            present = context.safe_of(session).master
        _finish(path, present)
        following = _next(path)
        with context.change() as change:
            count = signing_keys.rewrap(change, context.safe_of(change.session), following)
        context.store.overwrite_deleted()
        master_keys.take_over(path)
    note(
        f"Encrypted {count} private keys with master key {following.id}, which is in {path}. Keep "
        f"a copy where the old one is kept. Backups made before need the old one ({present.id})."
    )


def _finish(path: Path, present: MasterKey) -> None:
    """Finish what an earlier call did not: the store may be with the next master key already."""
    if (
        master_keys.beside(path).exists()
        and master_keys.read_master_key(master_keys.beside(path)).id == present.id
    ):
        master_keys.take_over(path)


def _next(path: Path) -> MasterKey:
    following = master_keys.beside(path)
    return (
        master_keys.read_master_key(following)
        if following.exists()
        else master_keys.make_master_key(following)
    )


@click.group("key")
def command() -> None:
    """The keys that sign registry tokens."""


command.add_command(key_authority.command)


command.add_command(key_import.command)


command.add_command(rewrap)


_COLUMNS: Columns[Listed] = {
    "ROLE": lambda key: key.role,
    "ID": lambda key: key.id,
    "STATE": lambda key: key.state,
    "ENDS": lambda key: when(key.not_after),
    "SIGNS": lambda key: yes(key.signs),
    "TYPE": lambda key: key.key_type,
    "REGISTRY": lambda key: key.registry or "-",
    "HEADER": lambda key: key.header_mode or "-",
    "KEY ID": lambda key: key.key_id,
}


def _in_json(key: Listed) -> dict[str, object]:
    times = {name: getattr(key, name).isoformat() for name in ("not_before", "not_after")}
    return asdict(key) | times


@command.add_command
@list_command(_COLUMNS, "There are no keys.", in_json=_in_json)
def _list(_: Context, session: Session) -> Sequence[Listed]:
    """List the authorities and the signing keys, retired ones too."""
    return signing_keys.listed(session)


@command.command("rotate", short_help="Make a new signing key and retire the one before.")
@click.option(
    "--registry",
    "service",
    metavar="SERVICE",
    type=REGISTRY,
    help="Rotate this registry's own key, in two steps: the first makes the new key, the second "
    "has it sign once the registry knows it.",
)
@yes_option
@pass_context
def rotate(context: Context, service: str | None, sure: bool) -> None:
    """Make a new signing key and destroy the private half of the one before.

    Without --registry no registry needs a change: the new key's certificate is in the tokens,
    and registries trust the authority. This also happens by itself every 30 days.
    """
    if service is None:
        _rotate_leaf(context)
    else:
        _rotate_own(context, service, sure=sure)
    context.store.overwrite_deleted()


def _rotate_leaf(context: Context) -> None:
    with context.read() as session:
        before = signing_keys.require_signing(session)
    with context.change() as change:
        key = signing_keys.succeed(change, context.safe_of(change.session), before.id)
    note(f"Signing key {key.id} signs from now on; the private half of {before.id} is destroyed.")


def _rotate_own(context: Context, service: str, *, sure: bool) -> None:
    with context.read() as session:
        registry = lookup.registry(session, service)
        next_key = registry_keys.waiting(session, registry)
        present = registry_keys.active(session, registry)
    if next_key is None and present is None:
        raise Refused(
            f"{the_registry(service)} has no key of its own: `{program()} key rotate` rotates the "
            "one that signs for it"
        )
    if next_key is None:
        with context.change() as change:
            registry = lookup.registry(change.session, service)
            key = registry_keys.succeed(change, context.safe_of(change.session), registry)
        note(waiting_note(service, key.id))
        return
    require_sure(
        f"Does {the_registry(service)} have key {next_key.id} in its {registry.trust}, and was it "
        "restarted?",
        sure=sure,
    )
    with context.change() as change:
        key = registry_keys.activate(change, lookup.registry(change.session, service), next_key.id)
    note(f"Signing key {key.id} signs for {service} from now on.")


def waiting_note(service: str, key_id: int) -> str:
    """Return what to do with a registry's own key that waits."""
    section = shell_command("registry", "config", "--output-dir", "DIR", operand=service)
    rotate_own = shell_command("key", "rotate", "--registry", service)
    return (
        f"Signing key {key_id} waits. Give it to the registry, which then knows both keys:\n"
        f"    {section}\n"
        f"restart the registry, and have the key sign: {rotate_own}"
    )


@command.command("revoke")
@click.argument("key_id", metavar="ID", type=SIGNING_KEY)
@yes_option
@pass_context
def revoke(context: Context, key_id: int, sure: bool) -> None:
    """Stop using signing key ID, for an emergency.

    Registries check no revocation. This signs no more with the key, destroys its private half and
    takes it out of the JWKS and the bundle. A thief of a key under the authority can go on making
    tokens that registries accept until the key's certificate ends, unless the authority is replaced
    and taken out of the registries' bundles.
    """
    require_sure(f"Revoke signing key {key_id}?", sure=sure)
    with context.change() as change:
        row = signing_keys.revoke(change, context.safe_of(change.session), key_id)
        certified = row.authority_id is not None
    context.store.overwrite_deleted()
    note(f"Signing key {key_id} is revoked: nothing is signed with it any more.")
    run = program()
    if certified:
        note(
            "Registries check no revocation: what was signed with it, also by a thief, is accepted "
            f"until {when(row.not_after)}, unless the authority is replaced:\n"
            f"    {run} key authority rotate"
        )
    else:
        note(
            "Its registry goes on accepting it until it has the new bundle or JWKS and was "
            f"restarted: {run} registry config SERVICE"
        )


@command.command("bundle")
@click.argument("service", required=False, type=REGISTRY)
@pass_context
def bundle(context: Context, service: str | None) -> None:
    """Print the certificates for the registry's rootcertbundle (PEM).

    SERVICE is needed for a registry with a key of its own.
    """
    click.echo(_published(context, service).bundle, nl=False)


@command.command("jwks")
@click.argument("service", required=False, type=REGISTRY)
@pass_context
def jwks(context: Context, service: str | None) -> None:
    """Print the signing keys as a JWKS, each under both of its ids.

    With SERVICE only those that sign for that registry.
    """
    click.echo(_published(context, service).jwks, nl=False)


def _published(context: Context, service: str | None) -> PublishedKeys:
    with context.read() as session:
        now = context.store.time(session)
        if service is None:
            return published_keys.everything(session, now)
        return published_keys.for_registry(session, lookup.registry(session, service), now)
