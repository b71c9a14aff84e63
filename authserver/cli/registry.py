"""``authserver registry``: the protected registries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from authserver.cli import registry_check, registry_config
from authserver.cli.context import Context, pass_context
from authserver.cli.key import waiting_note
from authserver.cli.output import note, require_losses, require_sure, when, yes, yes_option
from authserver.cli.params import REGISTRY, Values
from authserver.cli.views import (
    Columns,
    Described,
    Fields,
    list_command,
    remove_command,
    show_command,
)
from authserver.core import orders
from authserver.core.commands import shell_command
from authserver.core.names import the_registry
from authserver.core.signatures import MODES_HELP, HeaderMode, KeyType
from authserver.db import lookup, losses, models
from authserver.keys import registry_keys
from authserver.keys.compatibility import Trust, Version
from authserver.registry import entries

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.db.lists import Window


CHALLENGE_HELP = (
    "Answer a request without credentials that is not granted all it asks for with 401, so that a "
    "browser asks for a password; otherwise it gets a token for what is granted."
)

_F = TypeVar("_F", bound=Callable[..., Any])


@click.group("registry")
def command() -> None:
    """The registries that accept our tokens."""


command.add_command(registry_check.command)
command.add_command(registry_config.command)


def _installation_options(wrapped: _F) -> _F:
    """Add what says where a registry is and how it verifies tokens."""
    options = (
        click.option(
            "--url",
            metavar="URL",
            help="Where clients reach it; `registry check` asks it there.",
        ),
        click.option(
            "--header-mode",
            type=Values(HeaderMode),
            help=f"How its tokens name their key: {MODES_HELP}",
        ),
        click.option("--key-type", type=Values(KeyType), help="Of a key of its own."),
        click.option(
            "--registry-version",
            "version",
            type=Values(Version),
            help="Its version, so that what it cannot accept is refused here.",
        ),
        click.option(
            "--trust",
            type=Values(Trust),
            help="Which of rootcertbundle and jwks its configuration names.",
        ),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


@command.command("add")
@click.argument("service")
@click.option(
    "--token-ttl",
    metavar="SECONDS",
    type=int,
    help="Life of its tokens; otherwise AUTHSERVER_TOKEN_TTL.",
)
@click.option(
    "--no-refresh-tokens",
    is_flag=True,
    help="Give no refresh tokens: clients keep the password, or an app token, instead.",
)
@click.option("--app-tokens-only", is_flag=True, help="Take app tokens only, no password.")
@click.option("--challenge-anonymous", is_flag=True, help=CHALLENGE_HELP)
@_installation_options
@pass_context
def add(
    context: Context,
    /,
    service: str,
    token_ttl: int | None,
    no_refresh_tokens: bool,
    app_tokens_only: bool,
    challenge_anonymous: bool,
    header_mode: HeaderMode | None,
    key_type: KeyType | None,
    **installation: Any,  # noqa: ANN401 - as _changed takes them
) -> None:
    """Add a registry by its SERVICE string, the audience of its tokens."""
    with context.change() as change:
        row = entries.add(
            change,
            service,
            token_ttl,
            refresh_tokens=not no_refresh_tokens,
            app_tokens_only=app_tokens_only,
            challenge_anonymous=challenge_anonymous,
            installation=_changed(entries.UNKNOWN, **installation),
        )
        safe = context.safe_of(change.session)
        registry_keys.set_up(change, safe, row, header_mode or HeaderMode.X5C, key_type)
    section = shell_command("registry", "config", operand=service)
    note(f"Added {the_registry(service)}; its section: {section}")


@command.command("edit")
@click.argument("service", type=REGISTRY)
@click.option("--token-ttl", metavar="SECONDS", type=int, help="Life of its tokens.")
@click.option(
    "--refresh-tokens/--no-refresh-tokens",
    default=None,
    help="Whether docker login keeps a refresh token; turning it off ends all of them.",
)
@click.option(
    "--app-tokens-only/--passwords",
    "app_tokens_only",
    default=None,
    help="Take app tokens only, or passwords too. App tokens only ends all logins there.",
)
@click.option("--challenge-anonymous/--no-challenge-anonymous", default=None, help=CHALLENGE_HELP)
@_installation_options
@yes_option
@pass_context
def edit(
    context: Context,
    /,
    service: str,
    token_ttl: int | None,
    refresh_tokens: bool | None,
    app_tokens_only: bool | None,
    challenge_anonymous: bool | None,
    header_mode: HeaderMode | None,
    key_type: KeyType | None,
    sure: bool,
    **installation: Any,  # noqa: ANN401 - as _changed takes them
) -> None:
    """Change a registry.

    A key of its own that it has not yet waits until `key rotate --registry` says that it has. Any
    other change of the header mode is in force at once: the registry must be ready for it.
    """
    if header_mode is None and key_type is not None:
        raise click.UsageError("--key-type needs --header-mode")
    terms: dict[str, Any] = {"token_ttl": token_ttl, "refresh_tokens": refresh_tokens}
    terms |= {"app_tokens_only": app_tokens_only, "challenge_anonymous": challenge_anonymous}
    if {header_mode, *terms.values(), *installation.values()} == {None}:
        raise click.UsageError(
            "say what to change: --token-ttl, --refresh-tokens or --no-refresh-tokens, "
            "--app-tokens-only or --passwords, --challenge-anonymous or --no-challenge-anonymous, "
            "--url, --header-mode, --registry-version, --trust"
        )
    if refresh_tokens is False or app_tokens_only:
        _ask_about_logins(context, service, sure=sure)
    _ask(context, service, header_mode, sure=sure)
    with context.change() as change:
        present = entries.Installation.of(lookup.registry(change.session, service))
        row = entries.edit(change, service, **terms, installation=_changed(present, **installation))
        waits = None
        if header_mode is not None:
            safe = context.safe_of(change.session)
            waits = registry_keys.choose(change, safe, row, header_mode, key_type)
        if header_mode is not None or entries.Installation.of(row) != present:
            registry_keys.require_accepted(change.session, row)
    note(f"Changed {the_registry(service)}.")
    if waits is not None:
        note(waiting_note(service, waits.id))


def _changed(
    present: entries.Installation, *, url: str | None, version: Version | None, trust: Trust | None
) -> entries.Installation:
    """Return the installation of a registry after a change; an empty URL removes it."""
    return entries.Installation(
        url=present.url if url is None else url or None,
        version=version or present.version,
        trust=trust or present.trust,
    )


def _ask_about_logins(context: Context, service: str, *, sure: bool) -> None:
    with context.read() as session:
        ending = losses.logins_of(session, [lookup.registry(session, service)])
    if ending:
        require_losses(f"End all logins on {the_registry(service)}?", ending, sure=sure)


def _ask(context: Context, service: str, mode: HeaderMode | None, *, sure: bool) -> None:
    """Have the operator confirm what the registry must be ready for."""
    with context.read() as session:
        row = lookup.registry(session, service)
        if mode is None or registry_keys.active(session, row) is None:
            return
    what = "trust the authority" if mode is HeaderMode.X5C else f"find its key by {mode} ids"
    require_sure(f"Does {the_registry(service)} {what}? It is in force within a second.", sure=sure)


def _header(registry: Described) -> str:
    return f"{registry['header_mode']}{' (waits)' if registry['waiting_key'] else ''}"


def _checked(registry: Described) -> str:
    """Return when the registry was checked last, and how that ended."""
    last = registry["last_check"]
    if last is None:
        return "never"
    how = "healthy" if last["healthy"] else f"{last['failed']} failed"
    return f"{when(last['at'])} {how}"


_COLUMNS: Columns[Described] = {
    "SERVICE": lambda registry: registry["service"],
    "TOKEN TTL": lambda registry: registry["token_ttl"],
    "REFRESH TOKENS": lambda registry: yes(registry["refresh_tokens"]),
    "HEADER": _header,
    "TRUST": lambda registry: registry["trust"],
    "CHECKED": _checked,
    "CREATED": lambda registry: when(registry["created_at"]),
}


@command.add_command
@list_command(_COLUMNS, "There are no registries.", orders=orders.REGISTRIES)
def _list(context: Context, session: Session, window: Window) -> Sequence[Described]:
    """List the registries."""
    return [_described(row, context) for row in entries.listed(session, window)]


@command.add_command
@show_command()
@click.argument("service", type=REGISTRY)
def _show(context: Context, session: Session, service: str) -> tuple[Described, Fields]:
    """Show one registry."""
    registry = _described(lookup.registry(session, service), context)
    fields: dict[str, object] = {
        name.replace("_", " "): "-" if value is None else value for name, value in registry.items()
    }
    del fields["created at"], fields["last check"]
    fields["refresh tokens"] = yes(registry["refresh_tokens"])
    fields["app tokens only"] = yes(registry["app_tokens_only"])
    fields["challenge anonymous"] = yes(registry["challenge_anonymous"])
    fields["checked"] = _checked(registry)
    return registry, fields | {"created": when(registry["created_at"])}


command.add_command(
    remove_command(
        "registry",
        click.Argument(["service"], type=REGISTRY),
        "Remove a registry; no token is issued for it any more.",
        "Remove it even where rules are on it, and those rules with it; and even the only one that "
        "was asked for tokens in the past day.",
        lambda *words: lookup.registry(*words),  # noqa: PLW0108 - loads when it is called
        lambda *words, force: entries.remove(*words, force=force),
    )
)


def _described(row: models.RegistryRow, context: Context) -> dict[str, Any]:
    return entries.described(row) | {
        "token_ttl": row.token_ttl or context.settings.token_ttl,
        "realm": context.settings.realm,
    }
