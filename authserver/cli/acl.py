"""``authserver acl``: who may do what, and why."""

from typing import Any

import click
from sqlalchemy.orm import Session

from authserver import explaining
from authserver.cli.context import Context, pass_context
from authserver.cli.output import ID, json_option, note, print_json, print_table
from authserver.core import policy
from authserver.core.errors import Refused
from authserver.core.names import is_repository_name, printable
from authserver.core.policy import Effect, Limit
from authserver.db import app_tokens, named, registries, rules, snapshot
from authserver.explaining import Answer


class PatternCommand(click.Command):
    """Says what a stray argument after a pattern usually comes from."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            hint = (
                "The shell may have replaced a pattern by file names: quote it, as in 'team/**', "
                "and write all instead of *."
            )
            raise click.UsageError(f"{error.message}\n{hint}", ctx) from error


@click.group("acl")
def command() -> None:
    """Who may do what on which repositories, and why."""


def _write(effect: Effect) -> click.Command:
    @click.argument("subject")
    @click.argument("pattern")
    @click.argument("actions")
    @click.option("--registry", "service", metavar="SERVICE", help="Only on this registry.")
    @click.option(
        "--type",
        "resource_type",
        type=click.Choice(list(policy.ACTIONS)),
        default="repository",
        show_default=True,
        help="Resource type.",
    )
    @click.option("--comment", default="", help="Why this rule is there.")
    @pass_context
    def write(
        context: Context,
        subject: str,
        pattern: str,
        actions: str,
        service: str | None,
        resource_type: str,
        comment: str,
    ) -> None:
        with context.change() as change:
            row = rules.add(
                change,
                effect,
                policy.subject(subject),
                pattern,
                actions,
                resource_type=resource_type,
                service=service,
                comment=comment,
            )
            written = rules.as_rule(row)
        note(f"Rule {written.id}: {written}.")
        asked = set(actions.replace("all", policy.ALL).split(","))
        if added := policy.in_order(resource_type, written.actions - asked):
            why = (
                "a registry takes an upload only with pull and push together"
                if effect is Effect.ALLOW
                else "a push needs pull as well"
            )
            note(f"{','.join(added)} was added: {why}.")

    what = (
        "Let SUBJECT do ACTIONS on the repositories that PATTERN covers."
        if effect is Effect.ALLOW
        else "Forbid SUBJECT to do ACTIONS, whatever else allows it."
    )
    write.__doc__ = f"""{what}

    SUBJECT is user:NAME, robot:NAME, group:NAME, anonymous, authenticated or everyone.
    PATTERN covers whole names: * within a segment, ** for one or more segments, {{account}} for
    the asking account's name; quote it. ACTIONS are pull, push, delete, or all, with commas.
    The rule holds on every registry unless --registry names one.
    """
    return click.command(str(effect), cls=PatternCommand)(write)


command.add_command(_write(Effect.ALLOW))
command.add_command(_write(Effect.DENY))


@command.command("list")
@click.option("--subject", metavar="S", help="Only rules on this subject.")
@click.option("--pattern", metavar="P", help="Only rules with exactly this pattern.")
@json_option
@pass_context
def list_(context: Context, subject: str | None, pattern: str | None, as_json: bool) -> None:
    """List the rules."""
    wanted = policy.subject(subject) if subject else None
    with context.read() as session:
        found = [rules.described(row) for row in rules.listed(session, wanted, pattern)]
    if as_json:
        print_json(found)
        return
    header = ("ID", "EFFECT", "SUBJECT", "TYPE", "PATTERN", "ACTIONS", "REGISTRY", "COMMENT")
    rows = [
        (
            r["id"],
            r["effect"],
            r["subject"],
            r["type"],
            r["pattern"],
            ",".join(r["actions"]),
            r["registry"] or "every",
            r["comment"],
        )
        for r in found
    ]
    print_table(header, rows, "There are no such rules." if subject or pattern else "No rules.")


@command.command("remove")
@click.argument("rule_id", metavar="ID", type=ID)
@pass_context
def remove(context: Context, rule_id: int) -> None:
    """Remove the rule ID."""
    with context.change() as change:
        said = rules.remove(change, rule_id)
    note(f"Removed rule {said}.")


_registry = click.option(
    "--registry",
    "service",
    metavar="SERVICE",
    help="On this registry; may be left out if there is only one.",
)


def _question(function: Any) -> Any:  # noqa: ANN401 - click decorates what it is given
    for decorate in (
        pass_context,
        json_option,
        _registry,
        click.argument("scopes", metavar="SCOPE...", nargs=-1, required=True),
        click.argument("account"),
    ):
        function = decorate(function)
    return function


_token = click.option(
    "--token",
    "token_id",
    metavar="ID",
    type=ID,
    help="With this app token's ceiling.",
)


@command.command("explain")
@_question
@_token
def explain(
    context: Context,
    account: str,
    scopes: tuple[str, ...],
    service: str | None,
    token_id: int | None,
    as_json: bool,
) -> None:
    """Say what ACCOUNT (or anonymous) would be granted of each SCOPE, and by which rules.

    A SCOPE is type:name:actions, as in repository:team/app:pull,push. The answer comes from the
    function that decides token requests.
    """
    _print_answer(_answer(context, account, scopes, service, token_id), as_json=as_json)


@command.command("check")
@_question
@_token
def check(
    context: Context,
    account: str,
    scopes: tuple[str, ...],
    service: str | None,
    token_id: int | None,
    as_json: bool,
) -> None:
    """Exit with 0 if ACCOUNT (or anonymous) would be granted all of every SCOPE, else with 1."""
    answer = _answer(context, account, scopes, service, token_id)
    _print_answer(answer, as_json=as_json)
    if not answer.complete:
        raise SystemExit(1)


@command.command("who-can")
@click.argument("action", type=click.Choice(["pull", "push", "delete"]))
@click.argument("repository")
@_registry
@json_option
@pass_context
def who_can(
    context: Context, action: str, repository: str, service: str | None, as_json: bool
) -> None:
    """List everybody who may do ACTION on REPOSITORY, and by which rules.

    For push, pull is needed as well; the answer is about ACTION alone.
    """
    if not is_repository_name(repository):
        raise Refused(f"{repository!r} is no repository name that a registry accepts")
    with context.read() as session:
        chosen = _service(session, service)
        state = snapshot.load(session)
    found = list(explaining.who_can(state, chosen, action, repository))
    if as_json:
        print_json([answer.as_json() for answer in found])
        return
    rows = [
        (answer.name, answer.known.account.kind if answer.known else "", reason)
        for answer in found
        for reason in answer.decisions[0].reasons
    ]
    print_table(("WHO", "KIND", "WHY"), rows, f"Nobody may {action} {repository} on {chosen}.")


def _answer(
    context: Context,
    account: str,
    scopes: tuple[str, ...],
    service: str | None,
    token_id: int | None,
) -> Answer:
    with context.read() as session:
        chosen = _service(session, service)
        state = snapshot.load(session)
        if account != policy.ANONYMOUS:
            account = named.account(session, account).name
        ceiling = None if token_id is None else _ceiling(session, account, token_id)
    return explaining.explain(state, chosen, account, scopes, ceiling)


def _ceiling(session: Session, account: str, token_id: int) -> list[Limit] | None:
    token = app_tokens.get(session, token_id)
    if token.account.name != account:
        raise Refused(f"the app token {token_id} is {token.account.name}'s, not {account}'s")
    return None if token.ceiling is None else [app_tokens.ceiling_limit(s) for s in token.ceiling]


def _print_answer(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        print_json(answer.as_json())
        return
    click.echo(f"{answer.name} on the registry {answer.service}")
    if answer.disabled:
        click.echo("  the account is disabled: no token is issued to it")
    for decision in answer.decisions:
        click.echo(printable(str(decision.scope)))
        click.echo(f"  granted: {','.join(decision.granted) or 'nothing'}")
        for reason in decision.reasons:
            click.echo(f"  - {printable(str(reason))}")
    for why in answer.malformed.values():
        click.echo(printable(why))


def _service(session: Session, service: str | None) -> str:
    if service is not None:
        return named.registry(session, service).service
    known = [row.service for row in registries.listed(session)]
    if len(known) != 1:
        raise click.UsageError(
            f"name the registry with --registry: {', '.join(known)}"
            if known
            else "there is no registry yet: authserver registry add SERVICE"
        )
    return known[0]
