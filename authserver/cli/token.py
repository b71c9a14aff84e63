"""``authserver token``: app tokens."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import json_option, last_used, note, print_json, when
from authserver.cli.params import ACCOUNT, APP_TOKEN, Duration
from authserver.cli.views import Columns, Described, list_command
from authserver.core import docker_config, orders, scope
from authserver.core.errors import Refused
from authserver.core.subjects import AccountKind
from authserver.db import app_tokens

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.db.lists import Window

FORMATS = ("plain", "docker-config", "kubernetes")


@click.group("token")
def command() -> None:
    """App tokens: secrets that programs use as a password."""


@command.command("create")
@click.argument("account", type=ACCOUNT)
@click.option("--name", required=True, metavar="N", help="What it is called, once an account.")
@click.option(
    "--scope",
    "scopes",
    metavar="S",
    multiple=True,
    help="What it may be used for at most, as in 'repository:team/**:pull'; repeatable. "
    "Without it, for all that the account may do.",
)
@click.option(
    "--admin",
    is_flag=True,
    help="Usable for the admin API; without a --scope for nothing else. A robot administers with "
    "it.",
)
@click.option(
    "--auditor",
    is_flag=True,
    help="Usable for reading over the admin API; without a --scope for nothing else. A robot reads "
    "with it all that an administrator reads.",
)
@click.option(
    "--self",
    "own",
    is_flag=True,
    help="Usable for ACCOUNT's own tokens and logins over the admin API, as for a program that "
    "rotates its token, and for rules as a delegate; without a --scope for nothing else. It "
    "administers nothing.",
)
@click.option(
    "--expires",
    type=Duration(never=True),
    default="90d",
    show_default=True,
    metavar="90d|never",
    help="How long it is good.",
)
@click.option(
    "--from",
    "networks",
    metavar="CIDR",
    multiple=True,
    help="The network that it may be used from; repeatable.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="plain",
    show_default=True,
    help="The secret alone, a config.json for docker, or a Secret for Kubernetes.",
)
@click.option(
    "--registry-host",
    metavar="HOST",
    help="How clients name the registry, for docker-config and kubernetes.",
)
@json_option
@pass_context
def create(
    context: Context,
    account: str,
    name: str,
    scopes: tuple[str, ...],
    *,
    admin: bool,
    auditor: bool,
    own: bool,
    expires: timedelta | None,
    networks: tuple[str, ...],
    form: str,
    registry_host: str | None,
    as_json: bool,
) -> None:
    """Make an app token for ACCOUNT and print its secret.

    The secret is shown once. It is used as the password with the account's name. It never grants
    more than the account's own rules do, and no more than its --scope; it administers only with
    --admin, and reads the administration only with --admin or --auditor: a user's where the user
    may, a robot's always. Only with --admin or --self it makes and rotates tokens of ACCOUNT.
    """
    if admin and (auditor or own):
        raise click.UsageError("say --admin alone: it includes --auditor and --self")
    if form != "plain" and not registry_host:
        raise click.UsageError(f"--format {form} needs --registry-host")
    rights = {app_tokens.ADMIN: admin, app_tokens.AUDITOR: auditor, app_tokens.SELF: own}
    ceiling = (*scopes, *(right for right, wanted in rights.items() if wanted))
    request = app_tokens.Wanted(name, expires, ceiling, networks)
    with context.change() as change:
        row, secret = app_tokens.create(change, account, request, secrets.token_bytes)
        # What cannot be printed must not be made: nobody would ever know the secret.
        text = _formatted(form, row.account.name, name, secret, registry_host or "")
    token = app_tokens.described(row, row.created_at)
    _note_added(scopes, token["scopes"] or [])
    if as_json:
        print_json(token | {"token": secret})
    else:
        click.echo(text)
        until = f"until {when(row.expires_at)}" if row.expires_at else "for ever"
        note(f"App token {row.id} of {row.account.name}, good {until}; shown only now.")
        if row.account.kind == AccountKind.ROBOT and (role := app_tokens.role(row.ceiling)):
            note(f"Whatever has it may {role.what} in the name of {row.account.name}.")


def _note_added(before_: Sequence[str], stored: Sequence[str]) -> None:
    # What is stored begins with what was asked for; a right comes after it.
    for before, after in zip(before_, stored, strict=False):
        if "pull" in set(scope.parse(after).actions) - set(scope.parse(before).actions):
            note(
                f"pull was added, {after}: a registry takes an upload only with pull and push "
                "together."
            )


def _expires(token: Described) -> str:
    if token["expired"]:
        return "expired"
    return when(token["expires_at"]) if token["expires_at"] else "never"


_COLUMNS: Columns[Described] = {
    "ID": lambda token: token["id"],
    "ACCOUNT": lambda token: token["account"],
    "NAME": lambda token: token["name"],
    "EXPIRES": _expires,
    "SCOPES": lambda token: (
        "all" if token["scopes"] is None else " ".join(token["scopes"]) or "none"
    ),
    "FROM": lambda token: " ".join(token["networks"] or ["anywhere"]),
    "LAST USED": lambda token: last_used(token["last_used"]),
    "CREATED": lambda token: when(token["created_at"]),
}


@command.add_command
@list_command(_COLUMNS, "There are no such app tokens.", orders=orders.TOKENS)
@click.argument("account", type=ACCOUNT, required=False)
@click.option(
    "--expiring",
    type=Duration(),
    metavar="14d",
    help="Only those that expire within that time, or have expired.",
)
def _list(
    _: Context,
    session: Session,
    account: str | None,
    expiring: timedelta | None,
    window: Window,
) -> Sequence[Described]:
    """List app tokens, those of ACCOUNT if one is named."""
    at = now()
    rows = app_tokens.listed(session, account, at + expiring if expiring else None, window)
    return [app_tokens.described(row, at) for row in rows]


@command.command("revoke")
@click.argument("token_id", metavar="ID", type=APP_TOKEN)
@pass_context
def revoke(context: Context, token_id: int) -> None:
    """Revoke the app token ID."""
    with context.change() as change:
        token = app_tokens.revoke(change, token_id)
    note(f"Revoked the app token {token}.")


@command.command("rotate")
@click.argument("token_id", metavar="ID", type=APP_TOKEN)
@click.option(
    "--grace",
    type=Duration(zero=True),
    default="24h",
    show_default=True,
    help="How long the old secret stays good; 0m ends it at once.",
)
@json_option
@pass_context
def rotate(context: Context, token_id: int, grace: timedelta, as_json: bool) -> None:
    """Give the app token ID a new secret and print it.

    The old one stays good for the --grace period.
    """
    with context.change() as change:
        row, secret = app_tokens.rotate(change, token_id, grace, secrets.token_bytes)
    if as_json:
        print_json(app_tokens.described(row, row.created_at) | {"token": secret})
    else:
        click.echo(secret)
        if row.previous_until:
            note(f"The old secret is good until {when(row.previous_until)}.")


def _formatted(form: str, account: str, name: str, secret: str, host: str) -> str:
    if form == "plain":
        return secret
    config = docker_config.docker_config(host, account, secret)
    if form == "docker-config":
        return config
    label = docker_config.kubernetes_name(f"{account}-{name}")
    if not label:
        raise Refused(f"no name for a Kubernetes Secret can be made of {account} and {name}")
    return docker_config.kubernetes_secret(label, config)
