"""``authserver policy``: the policy as one file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authserver.cli.context import Context, now, pass_context
from authserver.cli.inputs import STDIN, read_input, write_output
from authserver.cli.output import (
    force_option,
    json_option,
    note,
    print_json,
    progress_bar,
    require_sure,
    yes_option,
)
from authserver.cli.params import Moment
from authserver.core.commands import shell_command
from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.core.subjects import AccountKind
from authserver.policy.files import (
    assertions,
    check,
    current_state,
    document,
    parser,
    schema,
    steps,
    store_copy,
)
from authserver.policy.files import export as policy_export
from authserver.policy.files import plan as policy_plan

if TYPE_CHECKING:
    from authserver.policy.files.check import AssertionVerdict
    from authserver.policy.files.current_state import PolicyState
    from authserver.policy.files.document import Policy
    from authserver.policy.files.effects import StepEffects
    from authserver.policy.files.plan import Plan
    from authserver.policy.files.steps import Step

MAX_LINE = 2000
CHANGES = 3
"""Exit status of a plan that changes something; 1 is an error, 2 a wrong command line."""

_file = click.argument("file", type=click.Path(path_type=Path))
_prune = click.option(
    "--prune",
    is_flag=True,
    help="Remove what the file does not name, in the sections that it has.",
)


_verbose = click.option(
    "--verbose", is_flag=True, help="Show each of many new accounts and members."
)


@click.group("policy")
def command() -> None:
    """Registries, accounts, groups and rules as one YAML file."""


@command.command("export", short_help="Print the present policy as a file.")
@json_option
@pass_context
def export(context: Context, as_json: bool) -> None:
    """Print the present policy as a file, sorted: the same to the byte until something changes.

    The file has no secrets and no rules that delegates wrote.
    """
    with context.read() as session:
        state = current_state.load(session)
    policy = current_state.as_policy(state)
    if as_json:
        print_json(policy_export.plain(policy))
    else:
        click.echo(policy_export.export(policy), nl=False)
    if left_out := sum(each.delegation is not None for each in state.rules):
        note(f"{left_out} rules written under delegations were left out.")


@command.command("plan", short_help="Show what a policy file would change.")
@_file
@_prune
@_verbose
@click.option("--exit-code", is_flag=True, help="Exit with 3 if the file would change anything.")
@json_option
@pass_context
def plan(
    context: Context, file: Path, prune: bool, verbose: bool, exit_code: bool, as_json: bool
) -> None:
    """Show what the policy FILE (- for standard input) would change, and who would gain or lose.

    This changes nothing. Exit status: 0 done, 1 the file is no good, 2 the command line is wrong;
    with --exit-code 3 if the file would change anything.
    """
    planned = _plan(context, _read(file), prune=prune)
    print_json(planned.as_json()) if as_json else _print(planned, verbose=verbose)
    if exit_code and planned.steps:
        raise SystemExit(CHANGES)


@command.command("apply", short_help="Apply a policy file.")
@_file
@_prune
@force_option("Also remove what a deny or the administration rests on.")
@yes_option
@click.option("--expect", metavar="PLAN", help="Only if the plan still has this id.")
@_verbose
@click.option(
    "--users-to",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the names of new users to this file, for `user enable` and `user invite`. Users "
    "that are to stay disabled are left out.",
)
@json_option
@pass_context
def apply(
    context: Context,
    file: Path,
    prune: bool,
    force: bool,
    sure: bool,
    expect: str | None,
    verbose: bool,
    users_to: Path | None,
    as_json: bool,
) -> None:
    """Apply the policy FILE (- for standard input), all of it or nothing.

    The command shows the plan and asks. If the plan has changed meanwhile, it applies nothing. New
    accounts start disabled, without a password or token.
    """
    policy = _read(file)
    planned = _plan(context, policy, prune=prune)
    if not as_json:
        _print(planned, verbose=verbose)
    users, robots = (_to_enable(planned, policy, kind) for kind in AccountKind)
    if planned.steps:
        _require_consent(planned, force=force, sure=sure, expect=expect)
    if users_to is not None:
        write_output(users_to, "".join(f"{name}\n" for name in users))
    if planned.steps:
        with context.change() as change, progress_bar("Applying") as progress:
            policy_plan.apply(
                change,
                policy,
                prune=prune,
                force=force,
                expect=expect or planned.id,
                progress=progress,
            )
        note("Applied: {} added, {} changed, {} removed.".format(*_counts(planned)))
        _note_on_new(users, robots, users_to)
    if as_json:
        print_json(planned.as_json())


@command.command("test", short_help="Check the assertions of a file.")
@_file
@click.option(
    "--policy",
    "policy_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Test this policy file; otherwise FILE itself, or the store if FILE has tests only.",
)
@click.option("--at", type=Moment(), help="Test at this time instead of now: a date, or a time.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML to this file.")
@json_option
@pass_context
def test(
    context: Context,
    file: Path,
    policy_file: Path | None,
    at: datetime | None,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Check the assertions under tests in FILE; exit with 1 if one does not hold.

    An assertion is WHO can|cannot ACTIONS PATTERN [on REGISTRY] [from ADDRESS] [at TIME]. WHO is
    an account's name, a subject as in rules, or anonymous; a group stands for each enabled member.
    A test of a policy file needs no store. Without a registry the assertion must hold on every
    registry; without an address, cannot means from no address.
    """
    tests = _read(file)
    claims = assertions.read_all(tests.tests or (), tests.file)
    if not claims:
        raise Refused(f"{tests.file} has no tests in it")
    policy = _read(policy_file) if policy_file else tests
    verdicts = list(check.check(_tested(context, policy), claims, at or now()))
    if junit is not None:
        write_output(junit, check.junit_report(verdicts, tests.file))
    if as_json:
        print_json([verdict.as_json() for verdict in verdicts])
    else:
        _print_verdicts(verdicts)
    if not all(verdict.holds for verdict in verdicts):
        raise SystemExit(1)


def _tested(context: Context, policy: Policy) -> PolicyState:
    if policy.says_something:
        return policy_plan.applied(policy)
    with context.read() as session:
        return current_state.load(session)


def _print_verdicts(verdicts: Sequence[AssertionVerdict]) -> None:
    for verdict in verdicts:
        mark = "ok    " if verdict.holds else "FAILED"
        _line(f"{mark}  {verdict.claim.text}")
        for reason in verdict.reasons:
            _line(f"    {reason}")
    failed = sum(not verdict.holds for verdict in verdicts)
    note(f"{len(verdicts)} assertions, {failed} failed.")


@command.command("schema")
def schema_() -> None:
    """Print the JSON Schema of policy files, for editors."""
    print_json(schema.schema())


def _read(file: Path) -> Policy:
    return parser.read(read_input(file), "standard input" if file == STDIN else str(file))


def _plan(context: Context, policy: Policy, *, prune: bool) -> Plan:
    policy_plan.require_something(policy)
    with context.read() as session:
        store = store_copy.StoreCopy.of(session)
    with progress_bar("Planning") as progress:
        return policy_plan.plan(store, policy, prune=prune, progress=progress)


def _require_consent(planned: Plan, *, force: bool, sure: bool, expect: str | None) -> None:
    policy_plan.require_expected(planned, expect)
    policy_plan.require_safe(planned, force=force)
    require_sure("Apply this?", sure=sure)


def _to_enable(planned: Plan, policy: Policy, kind: AccountKind) -> list[str]:
    """Return the new accounts of a kind that the file does not want disabled."""
    entries = policy.accounts or {}
    new = policy_plan.new_accounts(planned.steps, kind)
    return [name for name in new if not entries[name].disabled]


def _note_on_new(users: Sequence[str], robots: Sequence[str], users_to: Path | None) -> None:
    """Print the commands that enable new accounts and invite new users."""
    if users:
        these = ("--file", users_to) if users_to is not None else _named(users)
        note("To enable and invite the new users:")
        note(f"  {shell_command('user', 'enable', *these)}")
        note(f"  {shell_command('user', 'invite', *these, '--csv')} > invitations.csv")
    if robots:
        note("To enable the new robots, when they have app tokens:")
        note(f"  {shell_command('robot', 'enable', *_named(robots))}")


def _named(names: Sequence[str]) -> tuple[object, ...]:
    """Return arguments that name a few accounts; of many, that they are in a file."""
    if len(names) <= policy_plan.TOLD and not any(name.startswith("-") for name in names):
        return tuple(names)
    note("Write their names into a file NAMES, one a line (for users --users-to does that).")
    return ("--file", "NAMES")


def _print(planned: Plan, *, verbose: bool) -> None:
    for kind, group in groupby(zip(planned.steps, planned.effects, strict=True), _alike):
        told = list(group)
        shown = told if verbose or kind is None else told[: policy_plan.TOLD]
        for step, effects in shown:
            _print_step(step, effects)
        if rest := len(told) - len(shown):
            _line(f"… and {rest:,} more like these; --verbose shows all")
    _print_rest(planned)


def _alike(told: tuple[Step, StepEffects]) -> str | None:
    """Return what many successive steps may have in common that need not be shown each."""
    step, effects = told
    if step.verb is not steps.Verb.ADD or effects.changes or effects.more:
        return None
    match step.entry:
        case document.AccountEntry(kind=kind):
            return str(kind)
        case steps.MembershipEntry():
            return "member"
    return None


def _print_step(step: Step, effects: StepEffects) -> None:
    _line(step)
    for change in effects.changes:
        _line(f"    {change}")
    if effects.more:
        _line("    … and perhaps more: too much to tell")


def _print_rest(planned: Plan) -> None:
    if planned.prunable:
        click.echo("Not in the file and left alone; --prune would remove:")
        for step in planned.prunable:
            _line(f"  {step}")
    for text in planned.notes:
        note(printable(text, MAX_LINE))
    for text in planned.goes:
        note(text)
    for text in planned.unsafe:
        note(f"Only with --force: {printable(text, MAX_LINE)}")
    if planned.steps:
        added, changed, removed = _counts(planned)
        click.echo(f"Plan {planned.id}: {added} to add, {changed} to change, {removed} to remove.")
    else:
        click.echo("Nothing to change.")


def _line(text: Any) -> None:  # noqa: ANN401 - anything with a text
    click.echo(printable(str(text), MAX_LINE))


def _counts(planned: Plan) -> tuple[int, int, int]:
    """Return the numbers of things that are added, changed and removed."""
    verbs = [step.verb for step in planned.steps]
    added, removed = verbs.count(steps.Verb.ADD), verbs.count(steps.Verb.REMOVE)
    return added, len(verbs) - added - removed, removed
