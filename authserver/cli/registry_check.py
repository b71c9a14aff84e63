"""``authserver registry check``: why a registry does not accept our tokens."""

from __future__ import annotations

import json
import re
import textwrap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.health import readiness
from authserver.cli.output import ask_password, json_option, note, print_json, red
from authserver.cli.params import ACCOUNT, REGISTRY, named_or_only
from authserver.core.commands import shell_command
from authserver.core.errors import Refused
from authserver.core.names import repository_name
from authserver.db import lookup
from authserver.keys import authorities
from authserver.registry import last_checks
from authserver.registry.doctor import (
    auth_section,
    client_walk,
    examination,
    expected,
    findings,
    http,
    serving,
)
from authserver.web import proxies

if TYPE_CHECKING:
    from authserver.runtime.settings import Settings

WIDTH = 100
INDENT = " " * 11

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("check", short_help="Find out why a registry refuses our tokens.")
@click.argument("service", type=REGISTRY, required=False)
@click.option("--url", metavar="URL", help="Where to ask it; otherwise the URL of its entry.")
@click.option("--ca-file", type=_file, help="CA of its TLS certificate, if this machine has none.")
@click.option("--config", type=_file, help="Its config.yml, to be read here.")
@click.option(
    "--env-file",
    "environment",
    type=_file,
    help="Its environment, which overrides that: compose's, or what docker inspect prints.",
)
@click.option("--bundle", type=_file, help="Its rootcertbundle, if it has another path here.")
@click.option("--jwks", type=_file, help="Its jwks file, if it has another path here.")
@click.option("--repository", metavar="R", help="Walk pull, push, delete and catalog on R.")
@click.option("--account", metavar="NAME", type=ACCOUNT, help="Walk as NAME; otherwise anonymous.")
@click.option(
    "--password-stdin", is_flag=True, help="Its password or app token is on standard input."
)
@json_option
@pass_context
def command(
    context: Context,
    /,
    service: str | None,
    url: str | None,
    repository: str | None,
    account: str | None,
    password_stdin: bool,
    as_json: bool,
    ca_file: Path | None,
    **files: Path | None,
) -> None:
    """Find out whether the registry SERVICE accepts our tokens, and if not, why.

    SERVICE may be left out where there is only one.

    The registry is asked as a client asks it, and shown test tokens that grant nothing and live
    for a minute. With --repository its clients' steps are walked with tokens from our token
    endpoint; nothing is left behind. Exit status 0: nothing failed; 1: something did.

    The result is kept for `registry list`, and which authority the registry trusts, unless --url is
    not the URL of its entry.
    """
    if repository is not None:
        repository_name(repository)
    options = examination.Options(
        files=_files(**files),
        account=_account(account, repository, password_stdin=password_stdin),
        repository=repository,
        ca_file=ca_file,
        serving=_serving(context.settings),
        ask_foreign_realm=True,
    )
    with context.read() as session:
        service = named_or_only(session, service)
    url_ = _known_url(context, service)
    report = examination.examine(_ours(context, service), url or _required(url_, service), options)
    print_json(report.as_json()) if as_json else _print(report)
    if url_ in (None, report.url):
        _record(context, report)
    if not report.healthy:
        raise SystemExit(1)


def _files(
    config: Path | None, environment: Path | None, bundle: Path | None, jwks: Path | None
) -> auth_section.Files | None:
    if config is None and environment is None:
        if bundle or jwks:
            raise click.UsageError("--bundle and --jwks go with --config or --env-file")
        return None
    return auth_section.Files(config, environment, bundle, jwks)


def _serving(settings: Settings) -> serving.Serving:
    doubts = tuple(settings.contradictions())
    return serving.Serving(doubts, partial(_proxy_warning, settings), proxies.FEWEST)


def _proxy_warning(settings: Settings) -> str | None:
    """Return what the server on this machine says of the proxies before it, None for nothing."""
    try:
        _, body = readiness(settings)
        warnings = json.loads(body)["warnings"]
        return next((text for text in warnings if text.startswith(proxies.WARNING)), None)
    except (Refused, ValueError, LookupError, TypeError, AttributeError):
        raise http.Unreachable(
            "no server that tells was found on this machine",
            "run this where serve runs, with the same settings",
        ) from None


def _account(
    name: str | None, repository: str | None, *, password_stdin: bool
) -> client_walk.WalkAccount:
    if name is None:
        if password_stdin:
            raise click.UsageError("--password-stdin goes with --account")
        return client_walk.WalkAccount()
    if repository is None:
        raise click.UsageError("--account goes with --repository, which names what to walk")
    return client_walk.WalkAccount(name, ask_password(from_stdin=password_stdin, new=False))


def _known_url(context: Context, service: str) -> str | None:
    with context.read() as session:
        return lookup.registry(session, service).url


def _required(url: str | None, service: str) -> str:
    if url is None:
        raise click.UsageError(
            "say where to ask it with --url, or once and for all: "
            + shell_command("registry", "edit", "--url", "URL", operand=service)
        )
    return url


def _ours(context: Context, service: str) -> expected.Expected:
    with context.read() as session:
        safe = context.safe_of(session)
        return expected.load(session, safe, service, context.settings.realm, context.store.clock)


def _record(context: Context, report: findings.DoctorReport) -> None:
    """Keep the result, and which authority the registry trusts: one may wait for that."""
    with context.read() as session:
        news = authorities.news(session, report.service, report.sighting)
    with context.change() as change:
        last_checks.keep(change, report)
    if news:
        note(f"Noted: {news}.")


def _print(report: findings.DoctorReport) -> None:
    for finding in report.findings:
        _print_finding(finding)
    failures = [finding.check for finding in report.findings if finding.status == "failed"]
    click.echo()
    click.echo(f"{red('failed')}: {', '.join(failures)}" if failures else "Nothing failed.")


def _print_finding(finding: findings.DoctorFinding) -> None:
    status = f"{finding.status:<9}"
    click.echo(f"{red(status) if finding.status == 'failed' else status}  {finding.check}")
    for text in filter(None, (finding.why, finding.cure and f"→ {finding.cure}")):
        click.echo(_wrapped(text))


def _wrapped(text: str) -> str:
    """Wrap at words, but no command: its lines could not be pasted."""
    kept = re.sub(
        "`(?:'[^']*'|\"[^\"]*\"|[^`'\"])*`", lambda match: match[0].replace(" ", "\0"), text
    )
    return textwrap.fill(
        kept,
        WIDTH,
        initial_indent=INDENT,
        subsequent_indent=INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace("\0", " ")
