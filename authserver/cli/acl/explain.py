"""Questions about the rules: explain, check, who-can, effective."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import json_option, note, print_json, red
from authserver.cli.params import (
    ACCOUNT_OR_ANONYMOUS,
    APP_TOKEN,
    REGISTRY,
    Moment,
    named_or_only,
)
from authserver.cli.tables import print_table, wide_option
from authserver.core.addresses import Address, parse_address
from authserver.core.conditions import Circumstances
from authserver.core.names import printable, repository_name, the_registry
from authserver.core.scope import MalformedScope, split
from authserver.core.second_factor import Due
from authserver.core.subjects import ANONYMOUS, AccountKind
from authserver.db import lookup, snapshot
from authserver.policy import access
from authserver.policy import explain as policy_explain
from authserver.registry import entries

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.policy.explain import AccessAnswer


class SourceAddress(click.ParamType[Address]):
    """An IP address."""

    name = "ip"

    def convert(
        self, value: str | Address, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        address = parse_address(value) if isinstance(value, str) else value
        return address or self.fail(f"{value!r} is no IP address", param, ctx)


_registry = click.option(
    "--registry",
    "service",
    metavar="SERVICE",
    type=REGISTRY,
    help="On this registry; may be left out if there is only one.",
)
_address = click.option(
    "--from", "address", type=SourceAddress(), help="As a request from this address."
)
_moment = click.option(
    "--at", "at", type=Moment(), help="At this time instead of now: a date, a time, or 30d."
)


def _question(function: Any) -> Any:  # noqa: ANN401 - click decorates what it is given
    for decorate in (
        pass_context,
        json_option,
        click.option(
            "--token",
            "token_id",
            metavar="ID",
            type=APP_TOKEN,
            help="With this app token's bounds.",
        ),
        _moment,
        _address,
        _registry,
        click.argument("scopes", metavar="SCOPE...", nargs=-1, required=True),
        click.argument("account", type=ACCOUNT_OR_ANONYMOUS),
    ):
        function = decorate(function)
    return function


@click.command("explain", short_help="Say what would be granted, and why.")
@_question
def explain(context: Context, as_json: bool, **asked: Any) -> None:  # noqa: ANN401 - as _answer takes it
    """Say what ACCOUNT (or anonymous) would be granted of each SCOPE, and why.

    A SCOPE is team/app:pull,push, or in full repository:team/app:pull,push as clients send it;
    catalog:list stands for registry:catalog:*. A malformed SCOPE exits with 2. The answer comes
    from the function that decides token requests. Where no rule allows an action, the rules that
    came close are named. A disabled account is granted nothing. Without --from a rule for some
    networks only does not hold, unless it denies.
    """
    _print_answer(_answer(context, **asked), as_json=as_json)


@click.command("check", short_help="Exit with 0 if all would be granted.")
@_question
def check(context: Context, as_json: bool, **asked: Any) -> None:  # noqa: ANN401 - as _answer takes it
    """Exit with 0 if ACCOUNT (or anonymous) would be granted all of every SCOPE, else with 1.

    A SCOPE is team/app:pull,push, or in full repository:team/app:pull,push. A malformed SCOPE
    exits with 2.
    """
    answer = _answer(context, **asked)
    _print_answer(answer, as_json=as_json)
    if not answer.complete:
        raise SystemExit(1)


@click.command("who-can", short_help="List everybody who may do something.")
@click.argument("action", type=click.Choice(["pull", "push", "delete"]))
@click.argument("repository")
@_registry
@_address
@_moment
@json_option
@wide_option
@pass_context
def who_can(
    context: Context,
    action: str,
    repository: str,
    service: str | None,
    address: Address | None,
    at: datetime | None,
    as_json: bool,
) -> None:
    """List everybody who may do ACTION on REPOSITORY, and by which rules.

    For push, pull is needed as well; the answer is about ACTION alone. Without --from those who
    may from some networks only are listed too, with the rule that says from which.
    """
    repository_name(repository)
    with context.read() as session:
        services = named_or_only(session, service, "--registry")
        state = snapshot.load(session)
    when = Circumstances(address, at or now())
    demanded = context.settings.second_factor
    answers = list(access.who_can(state, services, action, repository, when, demanded))
    if as_json:
        print_json([answer.as_json() for answer in answers])
        return
    rows = [
        (answer.name, answer.known.account.kind if answer.known else "", reason)
        for answer in answers
        for reason in answer.explained[0].decision.reasons
    ]
    print_table(("WHO", "KIND", "WHY"), rows, f"Nobody may {action} {repository} on {services}.")


@click.command("effective", short_help="List all that an account may do.")
@click.argument("account", type=ACCOUNT_OR_ANONYMOUS)
@click.option(
    "--registry", "service", metavar="SERVICE", type=REGISTRY, help="On this registry only."
)
@_address
@_moment
@json_option
@wide_option
@pass_context
def effective(
    context: Context,
    account: str,
    service: str | None,
    address: Address | None,
    at: datetime | None,
    as_json: bool,
) -> None:
    """List all that ACCOUNT (or anonymous) may do: pattern, actions, and the rule that says so.

    EXCEPT names the denies that take away some of it; what a deny takes away whole is not
    listed. An app token may do less: see token list.
    """
    with context.read() as session:
        registries = [row.service for row in entries.listed(session)]
        services = registries if service is None else [lookup.registry(session, service).service]
        name = _account(session, account)
        state = snapshot.load(session)
    answer = access.effective(state, services, name, Circumstances(address, at or now()))
    if as_json:
        print_json(answer.as_json())
        return
    if answer.disabled:
        note(f"{name} is disabled and may do nothing. Once it is enabled, it may do this:")
    rows = [
        (
            entry.service,
            f"{entry.type} {entry.pattern}" if entry.type != "repository" else entry.pattern,
            ",".join(entry.actions),
            "; ".join(f"{deny.id} ({deny})" for deny in entry.denies),
            f"{entry.rule.id} ({entry.rule})",
        )
        for entry in answer.entries
    ]
    header = ("REGISTRY", "PATTERN", "ACTIONS", "EXCEPT", "BY RULE")
    print_table(header, rows, f"{name} may do nothing.")


def _answer(
    context: Context,
    account: str,
    scopes: tuple[str, ...],
    service: str | None,
    address: Address | None,
    at: datetime | None,
    token_id: int | None,
) -> AccessAnswer:
    _require_scopes(scopes)
    when = Circumstances(address, at or now())
    with context.read() as session:
        registry = named_or_only(session, service, "--registry")
        state = snapshot.load(session)
        name = _account(session, account)
        ceiling, barred = (
            (None, [])
            if token_id is None
            else policy_explain.token_bounds(session, name, token_id, when)
        )
    return policy_explain.explain(
        state, registry, name, scopes, when, ceiling, barred, context.settings.second_factor
    )


def _require_scopes(texts: Sequence[str]) -> None:
    """Check that each text holds scopes, and nothing else."""
    try:
        for text in texts:
            for part in split([text]) or [text]:
                policy_explain.parse_scope(part)
    except MalformedScope as error:
        raise click.UsageError(printable(str(error))) from None


def _account(session: Session, text: str) -> str:
    """Return the name of an account that was written as itself or as a rule's subject."""
    if text == ANONYMOUS:
        return text
    kind, colon, name = text.partition(":")
    if colon and kind in ("user", "robot"):
        return lookup.account(session, name, kind).name
    return lookup.account(session, text).name


_TO_SET_UP = " before a second factor is set up, as AUTHSERVER_SECOND_FACTOR says"


def _print_answer(answer: AccessAnswer, *, as_json: bool) -> None:
    if as_json:
        print_json(answer.as_json())
        return
    where = f" from {answer.circumstances.address}" if answer.circumstances.address else ""
    click.echo(f"{answer.name} on {the_registry(answer.service)}{where}")
    if answer.app_tokens_only and answer.known and answer.known.account.kind == AccountKind.USER:
        why = {Due.PROOF: ", as a second factor is set up", Due.ENROLMENT: _TO_SET_UP}
        click.echo(
            f"  with an app token only: the password gets no tokens{why.get(answer.due, '')}"
        )
    for each in answer.explained:
        click.echo(printable(str(each.decision.scope)))
        click.echo(f"  granted: {','.join(each.granted) or red('nothing')}")
        for sentence in each.sentences:
            click.echo(f"  - {printable(sentence)}")


commands = (explain, check, who_can, effective)
