"""``authserver jwt``: looking into registry tokens."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import json_option, note, print_json
from authserver.cli.pasted_token import token_in
from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.keys import signing_keys
from authserver.keys.compatibility import Version
from authserver.registry import entries, published_keys
from authserver.registry.distribution import key_lookup, parsing, verify
from authserver.registry.distribution import trust as trusts

if TYPE_CHECKING:
    from authserver.registry.distribution.parsing import ParsedToken
    from authserver.registry.distribution.verify import TokenVerdict

MAX_FILE = 1024 * 1024
MAX_VALUE = 500

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("jwt")
def command() -> None:
    """Look into registry tokens."""


@command.command("inspect", short_help="Say which registries accept a token.")
@click.option("--bundle", type=_file, help="The registry's rootcertbundle; otherwise ours.")
@click.option("--jwks", type=_file, help="The registry's jwks file.")
@click.option("--issuer", help="The registry's issuer; otherwise ours.")
@click.option("--service", help="The registry's service; otherwise any of our registry entries.")
@json_option
@pass_context
def inspect(
    context: Context,
    bundle: Path | None,
    jwks: Path | None,
    issuer: str | None,
    service: str | None,
    as_json: bool,
) -> None:
    """Say what a registry token on standard input holds, and which registries accept it.

    The token may stand alone, in quotes, in a header line, in the token endpoint's JSON answer, in
    lines that a terminal broke, or in a transcript of curl. It is verified as Distribution 2.8, 3.0
    and 3.1 would. Exit status 1 if none of them accepts it.
    """
    token = parsing.read(_from_stdin())
    trust = _trust(context, bundle, jwks, issuer, service)
    verdicts = [verify.judge(token, trust, version, now()) for version in Version]
    if as_json:
        print_json(_as_json(token, trust, verdicts))
    else:
        _print(token, verdicts)
    for missing, option in ((trust.issuer, "--issuer"), (trust.services, "--service")):
        if missing is None:
            note(f"Not compared, since there is no store here: {option}")
    if not any(verdict.accepted for verdict in verdicts):
        raise SystemExit(1)


def _from_stdin() -> str:
    if sys.stdin.isatty():
        raise click.UsageError("the token comes on standard input, from a pipe or a file")
    raw = sys.stdin.buffer.read(parsing.MAX_BYTES + 1)
    if len(raw) > parsing.MAX_BYTES:
        raise Refused(f"more than {parsing.MAX_BYTES} bytes on standard input: that is no token")
    try:
        return token_in(raw.decode())
    except UnicodeDecodeError:
        raise Refused("what is on standard input is not text") from None


def _trust(
    context: Context,
    bundle: Path | None,
    jwks: Path | None,
    issuer: str | None,
    service: str | None,
) -> trusts.RegistryTrust:
    """Return what the files say, and from our own store, if there is one, what they leave open."""
    named = bundle is not None or jwks is not None
    trust = _ours(context, needed=not named)
    certificates = trusts.read_bundle(_read(bundle), str(bundle)) if bundle else ()
    listed = trusts.read_jwks(_read(jwks), str(jwks)) if jwks else ()
    return trusts.RegistryTrust(
        bundle=certificates if named else trust.bundle,
        jwks=listed if named else trust.jwks,
        issuer=issuer if issuer is not None else trust.issuer,
        services=frozenset({service}) if service is not None else trust.services,
    )


def _ours(context: Context, *, needed: bool) -> trusts.RegistryTrust:
    path = context.store.file
    if path is not None and not path.exists():
        if needed:
            raise Refused(
                f"there is no store at {path} to verify the token against: name the registry's "
                "--bundle or --jwks, or the store with AUTHSERVER_DATA_DIR or --data-dir"
            )
        return trusts.RegistryTrust()
    with context.read() as session:
        keys = published_keys.trusted(session, context.store.time(session))
        return trusts.RegistryTrust(
            bundle=trusts.read_bundle(keys.bundle.encode(), "our own bundle"),
            jwks=trusts.read_jwks(keys.jwks.encode(), "our own JWKS"),
            issuer=signing_keys.issuer(session),
            services=frozenset(row.service for row in entries.listed(session)),
        )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None


def _as_json(
    token: ParsedToken, trust: trusts.RegistryTrust, verdicts: list[TokenVerdict]
) -> dict[str, Any]:
    return {
        "header": token.header,
        "claims": token.claims,
        "compared": {
            "issuer": trust.issuer,
            "services": None if trust.services is None else sorted(trust.services),
        },
        "verdicts": [verdict.as_json() for verdict in verdicts],
    }


def _print(token: ParsedToken, verdicts: list[TokenVerdict]) -> None:
    for title, fields in (("header", token.header), ("claims", token.claims)):
        click.echo(title)
        for name, value in fields.items():
            for line in _lines(name, value):
                click.echo(f"  {line}")
    for verdict in verdicts:
        says = "accepts it" if verdict.accepted else "refuses it"
        click.echo(f"Distribution {verdict.version} {says}")
        for reason in verdict.reasons:
            click.echo(f"  - {reason}")


def _lines(name: str, value: object) -> Iterator[str]:
    if name == "access" and isinstance(value, list):
        yield "access" if value else "access nothing"
        yield from (f"  {_entry(entry)}" for entry in value)
    elif name == "x5c" and isinstance(value, list):
        yield from map(_certificate, value)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        yield printable(f"{name} {text}{_moment(name, value)}", MAX_VALUE)


def _entry(entry: object) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("actions"), list):
        return printable(json.dumps(entry), MAX_VALUE)
    actions = ",".join(map(str, entry["actions"]))
    return printable(f"{entry.get('type')}:{entry.get('name')}:{actions}", MAX_VALUE)


def _certificate(entry: object) -> str:
    try:
        leaf = key_lookup.certificate(str(entry))
    except ValueError:
        return "x5c no certificate"
    return printable(
        f"x5c {leaf.subject.rfc4514_string()}, issued by {leaf.issuer.rfc4514_string()}, "
        f"ends {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
        MAX_VALUE,
    )


def _moment(name: str, value: object) -> str:
    if name not in ("exp", "nbf", "iat") or type(value) is not int:
        return ""
    try:
        return f" ({datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC)"
    except (OverflowError, ValueError, OSError):
        return ""
