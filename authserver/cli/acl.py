"""``authserver acl``: who may do what, and why."""

from typing import Any

import click
from sqlalchemy.orm import Session

from authserver.cli.context import Context, pass_context
from authserver.cli.output import ID, json_option, note, print_json, print_table
from authserver.core import policy, scope
from authserver.core.names import printable
from authserver.core.policy import Decision, Effect, decide
from authserver.core.scope import MalformedScope
from authserver.db import named, registries, rules, snapshot
from authserver.db.snapshot import KnownAccount, Snapshot


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


def _question(function: Any) -> Any:  # noqa: ANN401 - click decorates what it is given
    for decorate in (
        pass_context,
        json_option,
        click.option(
            "--registry",
            "service",
            metavar="SERVICE",
            help="On this registry; may be left out if there is only one.",
        ),
        click.argument("scopes", metavar="SCOPE...", nargs=-1, required=True),
        click.argument("account"),
    ):
        function = decorate(function)
    return function


@command.command("explain")
@_question
def explain(
    context: Context, account: str, scopes: tuple[str, ...], service: str | None, as_json: bool
) -> None:
    """Say what ACCOUNT (or anonymous) would be granted of each SCOPE, and by which rules.

    A SCOPE is type:name:actions, as in repository:team/app:pull,push. The answer comes from the
    function that decides token requests.
    """
    answer = _Answer(context, account, scopes, service)
    if as_json:
        print_json(answer.as_json())
    else:
        answer.print()


@command.command("check")
@_question
def check(
    context: Context, account: str, scopes: tuple[str, ...], service: str | None, as_json: bool
) -> None:
    """Exit with 0 if ACCOUNT (or anonymous) would be granted all of every SCOPE, else with 1."""
    answer = _Answer(context, account, scopes, service)
    if as_json:
        print_json(answer.as_json())
    else:
        answer.print()
    if not answer.complete:
        raise SystemExit(1)


class _Answer:
    """The decisions on some scopes for one account on one registry."""

    def __init__(
        self, context: Context, account: str, scopes: tuple[str, ...], service: str | None
    ) -> None:
        with context.read() as session:
            self.service = _service(session, service)
            state = snapshot.load(session)
            self.account = _account(session, state, account)
        self.name = self.account.account.name if self.account else policy.SubjectKind.ANONYMOUS
        self.disabled = self.account is not None and self.account.disabled
        self.malformed: dict[str, str] = {}
        read = []
        for text in scope.split(scopes):
            try:
                read.append(scope.parse(text))
            except MalformedScope as error:
                self.malformed[text] = str(error)
        who = self.account.account if self.account else None
        self.decisions = [
            decide(state.rules, who, self.service, asked) for asked in scope.merge(read)
        ]

    @property
    def complete(self) -> bool:
        return (
            not self.disabled
            and not self.malformed
            and bool(self.decisions)
            and all(decision.complete for decision in self.decisions)
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "account": str(self.name),
            "registry": self.service,
            "disabled": self.disabled,
            "complete": self.complete,
            "scopes": [
                *(_decision_json(decision) for decision in self.decisions),
                *(
                    {
                        "scope": text,
                        "granted": [],
                        "complete": False,
                        "reasons": [{"cause": "malformed", "text": why}],
                    }
                    for text, why in self.malformed.items()
                ),
            ],
        }

    def print(self) -> None:
        click.echo(f"{self.name} on the registry {self.service}")
        if self.disabled:
            click.echo("  the account is disabled: no token is issued to it")
        for decision in self.decisions:
            click.echo(printable(str(decision.scope)))
            click.echo(f"  granted: {','.join(decision.granted) or 'nothing'}")
            for reason in decision.reasons:
                click.echo(f"  - {printable(str(reason))}")
        for why in self.malformed.values():
            click.echo(printable(why))


def _decision_json(decision: Decision) -> dict[str, Any]:
    return {
        "scope": str(decision.scope),
        "granted": list(decision.granted),
        "complete": decision.complete,
        "reasons": [
            {
                "cause": reason.cause,
                "actions": list(reason.actions),
                "rule": reason.rule.id if reason.rule else None,
                "text": str(reason),
            }
            for reason in decision.reasons
        ],
    }


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


def _account(session: Session, state: Snapshot, name: str) -> KnownAccount | None:
    if name == policy.SubjectKind.ANONYMOUS:
        return None
    return state.accounts[named.account(session, name).name]
