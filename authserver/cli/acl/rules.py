"""Writing rules: allow, deny, list, show, edit, disable, enable, remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from authserver.cli.acl import preview
from authserver.cli.context import Context, now, pass_context
from authserver.cli.output import note
from authserver.cli.params import ACTIONS as ACTION_WORDS
from authserver.cli.params import PATTERN, REGISTRY, RULE, SUBJECT, SUBJECTS, Moment
from authserver.cli.views import Columns, Described, Fields, list_command, show_command
from authserver.core import orders
from authserver.core.commands import shell_command
from authserver.core.conditions import FIELDS, KINDS, Conditions, ValueKind
from authserver.core.errors import Refused
from authserver.core.rules import ACTIONS, ALL, Effect, Rule, in_order, new_rule
from authserver.core.subjects import subject, subjects
from authserver.db import rule_rows, rules
from authserver.policy.files import document
from authserver.policy.lint import checks

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.db.lists import Window

_F = TypeVar("_F", bound=Callable[..., Any])

WHOM = """SUBJECTS are user:NAME, robot:NAME, group:NAME, anonymous, authenticated or everyone.
    PATTERNS cover whole names: * within a segment, ** for one or more segments, {account} for
    the asking account's name; quote them. ACTIONS are pull, push, delete, or all. Of each there
    may be several, with commas between them."""


class PatternCommand(click.Command):
    """Explains a stray argument after a pattern: the shell has usually replaced the pattern."""

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


def _conditions(function: _F) -> _F:
    """Add the options for a rule's conditions and comment."""
    function = click.option("--comment", help="Why this rule is there.")(function)
    for field in reversed(FIELDS.values()):
        takes: dict[str, Any] = (
            {"type": Moment()}
            if field.kind is ValueKind.TIME
            else {"multiple": True, "metavar": field.metavar}
        )
        function = click.option(field.option, field.name, help=field.option_help, **takes)(function)
    return function


def _removals(function: _F) -> _F:
    """Add the options that remove a rule's conditions."""
    for kind in reversed(KINDS):
        option, text = kind.REMOVAL
        function = click.option(option, is_flag=True, help=text)(function)
    return function


def _write(effect: Effect) -> click.Command:
    @click.argument("subject", metavar="SUBJECTS", type=SUBJECTS)
    @click.argument("pattern", metavar="PATTERNS")
    @click.argument("actions", type=ACTION_WORDS)
    @click.option(
        "--registry", "service", metavar="SERVICE", type=REGISTRY, help="Only on this registry."
    )
    @click.option(
        "--type",
        "resource_type",
        type=click.Choice(list(ACTIONS)),
        default="repository",
        show_default=True,
        help="Resource type.",
    )
    @_conditions
    @preview.dry_run_options
    @pass_context
    def write(
        context: Context,
        /,
        subject: str,
        pattern: str,
        actions: str,
        comment: str | None,
        dry_run: bool,
        as_json: bool,
        **more: Any,  # noqa: ANN401 - as new_rule takes it
    ) -> None:
        preview.require_dry_run(dry_run=dry_run, as_json=as_json)
        rule = new_rule(effect, subjects(subject), pattern.split(","), actions, now=now(), **more)
        if dry_run:
            preview.show(context, None, document.RuleEntry(rule, comment or ""), as_json=as_json)
            return
        with context.change() as change:
            stored = rule_rows.as_rule(rules.add(change, rule, comment or ""))
        note(f"Rule {stored.id}: {stored}.")
        _note_added(stored, actions)
        _note_catalog(stored)
        _warn(stored, shell_command("acl", "remove", stored.id))

    what = (
        "Let SUBJECTS do ACTIONS on the repositories that PATTERNS cover."
        if effect is Effect.ALLOW
        else "Forbid SUBJECTS to do ACTIONS, whatever else allows it."
    )
    write.__doc__ = f"""{what}

    {WHOM}
    The rule holds on every registry unless --registry names one.
    """
    brief = (
        "Let subjects do something." if effect is Effect.ALLOW else "Forbid it, whatever allows."
    )
    return click.command(str(effect), cls=PatternCommand, short_help=brief)(write)


def _note_added(rule: Rule, actions: str) -> None:
    """Say which actions a rule was given that nobody typed."""
    request = set(actions.replace("all", ALL).split(","))
    if added := in_order(rule.type, rule.actions - request):
        why = (
            "a registry takes an upload only with pull and push together"
            if rule.effect is Effect.ALLOW
            else "a push needs pull as well"
        )
        note(f"{','.join(added)} was added: {why}.")


def _note_catalog(rule: Rule) -> None:
    """Say what a pattern that looks like something else really covers."""
    for pattern in map(str, rule.patterns if rule.type == "repository" else ()):
        if pattern == "catalog":
            note("This is about a repository named catalog; for listing say --type registry.")
        first = pattern.partition("/")[0]
        if ":" in first or first == "localhost":
            note(
                f"{pattern} covers only names that the registry itself knows with {first} in them: "
                "a registry's own address is no part of a repository's name."
            )


def _warn(rule: Rule, taken_back: str | None) -> None:
    """Say what lint calls an error in a rule that was just written."""
    for error in checks.errors_of(rule):
        note(f"Warning: {error.text} ({error.code}). To mend it: {error.remedy}")
        if taken_back is not None:
            note(f"To take it back: {taken_back}")


def _taken_back(old: Rule, written: Rule) -> str | None:
    """Return the command that undoes an edit of what lint looks at; None if that is as before."""
    parts = {
        "--subjects": (",".join(map(str, rule.subjects)) for rule in (old, written)),
        "--patterns": (",".join(map(str, rule.patterns)) for rule in (old, written)),
        "--actions": (",".join(in_order(rule.type, rule.actions)) for rule in (old, written)),
    }
    words: list[str] = []
    for option, (before, after) in parts.items():
        words += [option, before] if before != after else []
    if old.service != written.service:
        words += ["--registry", old.service] if old.service else ["--every-registry"]
    return shell_command("acl", "edit", old.id, *words) if words else None


_Listed = tuple[Described, Conditions]


def _note(listed: _Listed) -> str:
    rule, conditions = listed
    parts = ("" if rule["enabled"] else "disabled", str(conditions), rule["comment"])
    return "; ".join(filter(None, parts))


_COLUMNS: Columns[_Listed] = {
    "ID": lambda listed: listed[0]["id"],
    "EFFECT": lambda listed: listed[0]["effect"],
    "SUBJECTS": lambda listed: ",".join(listed[0]["subjects"]),
    "TYPE": lambda listed: listed[0]["type"],
    "PATTERNS": lambda listed: ",".join(listed[0]["patterns"]),
    "ACTIONS": lambda listed: ",".join(listed[0]["actions"]),
    "REGISTRY": lambda listed: listed[0]["registry"] or "every",
    "NOTE": _note,
}


def _empty(about: str | None, pattern: str | None, covers: str | None, **_: object) -> str:
    return "There are no such rules." if about or pattern or covers else "No rules."


@list_command(_COLUMNS, _empty, in_json=lambda listed: listed[0], orders=orders.RULES)
@click.option("--subject", "about", metavar="S", type=SUBJECT, help="Only rules on this subject.")
@click.option("--pattern", metavar="P", type=PATTERN, help="Only rules with exactly this pattern.")
@click.option(
    "--covers",
    metavar="NAME",
    help="Only rules whose patterns cover the repository NAME, for some account.",
)
def list_(
    _: Context,
    session: Session,
    about: str | None,
    pattern: str | None,
    covers: str | None,
    window: Window,
) -> Sequence[_Listed]:
    """List the rules."""
    of = subject(about) if about else None
    rows = rules.listed(session, of, pattern, covers=covers, window=window)
    return [(rule_rows.described(row), rule_rows.as_rule(row).conditions) for row in rows]


@show_command("Show a rule, who wrote it and when.")
@click.argument("rule_id", metavar="ID", type=RULE)
def show(_: Context, session: Session, rule_id: int) -> tuple[Described, Fields]:
    """Show the rule ID: what it says, who wrote it and when."""
    rule = rule_rows.described(rules.get(session, rule_id))
    fields = {
        name.replace("_", " "): ",".join(value) if isinstance(value, list) else value
        for name, value in rule.items()
        if value not in (None, "", [])
    }
    return rule, fields


@click.command("edit", cls=PatternCommand, short_help="Change what a rule says.")
@click.argument("rule_id", metavar="ID", type=RULE)
@click.option("--subjects", "about", metavar="S,…", type=SUBJECTS, help="The subjects.")
@click.option("--patterns", metavar="P,…", type=PATTERN, help="What it covers.")
@click.option("--actions", metavar="A,…", type=ACTION_WORDS, help="pull, push, delete, or all.")
@click.option(
    "--registry", "service", metavar="SERVICE", type=REGISTRY, help="Only on this registry."
)
@click.option("--every-registry", is_flag=True, help="On every registry.")
@_removals
@_conditions
@preview.dry_run_options
@pass_context
def edit(
    context: Context,
    /,
    rule_id: int,
    comment: str | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - see _rewritten
) -> None:
    """Change what the rule ID says; each option replaces that part of it.

    Effect and resource type stay: for those, write another rule.
    """
    preview.require_dry_run(dry_run=dry_run, as_json=as_json)
    stored = _stored(context, rule_id)
    old = stored.rule
    rule = _rewritten(old, now(), **given)
    if dry_run:
        said = stored.comment if comment is None else comment
        rule = replace(rule, id=rule_id, enabled=old.enabled)
        preview.show(context, stored, document.RuleEntry(rule, said), as_json=as_json)
        return
    with context.change() as change:
        if rule_rows.as_rule(rules.get(change.session, rule_id)) != old:
            raise Refused(f"rule {rule_id} was changed meanwhile: run this again")
        row, changed = rules.edit(change, rule_id, rule, comment)
        written = rule_rows.as_rule(row)
    note(f"Rule {written.id}: {written}." if changed else "The rule is unchanged.")
    if given["actions"]:
        _note_added(written, given["actions"])
    if changed:
        _warn(written, _taken_back(old, written))


def _rewritten(
    old: Rule,
    at: datetime,
    *,
    about: str | None,
    patterns: str | None,
    actions: str | None,
    service: str | None,
    every_registry: bool,
    **conditions: Any,  # noqa: ANN401 - the options of _conditions and _removals
) -> Rule:
    """Return a rule as it is after an edit."""
    values = _edited(old.conditions, conditions)
    ends_anew = Conditions.parse(values).end != old.conditions.end
    return new_rule(
        old.effect,
        subjects(about) if about else old.subjects,
        patterns.split(",") if patterns else map(str, old.patterns),
        actions or ",".join(old.actions),
        resource_type=old.type,
        service=service or (None if every_registry else old.service),
        now=at if ends_anew else None,
        **values,
    )


def _edited(old: Conditions, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of conditions after an edit: what no option names stays."""
    removed = {
        field.name
        for kind in KINDS
        if options[kind.REMOVAL[0].removeprefix("--").replace("-", "_")]
        for field in kind.FIELDS
    }
    kept = {name: value for name, value in old.values().items() if name not in removed}
    return kept | {name: options[name] for name in FIELDS if options[name]}


def _stored(context: Context, rule_id: int) -> document.RuleEntry:
    with context.read() as session:
        row = rules.get(session, rule_id)
        return document.RuleEntry(rule_rows.as_rule(row), row.comment)


def _switch(word: str, *, enabled: bool) -> click.Command:
    @click.command(word, help=f"{word.capitalize()} the rule ID.")
    @click.argument("rule_id", metavar="ID", type=RULE)
    @preview.dry_run_options
    @pass_context
    def switch(context: Context, rule_id: int, dry_run: bool, as_json: bool) -> None:
        preview.require_dry_run(dry_run=dry_run, as_json=as_json)
        if dry_run:
            stored = _stored(context, rule_id)
            switched = replace(stored, rule=replace(stored.rule, enabled=enabled))
            preview.show(context, stored, switched, as_json=as_json)
            return
        with context.change() as change:
            changed = rules.set_enabled(change, rule_id, enabled=enabled)
            rule = rule_rows.as_rule(rules.get(change.session, rule_id))
        note(f"Rule {rule_id}: {rule}." if changed else f"Rule {rule_id} was {word}d already.")
        if changed:
            _warn(rule, shell_command("acl", "disable", rule_id))

    return switch


@click.command("remove")
@click.argument("rule_id", metavar="ID", type=RULE)
@preview.dry_run_options
@pass_context
def remove(context: Context, rule_id: int, dry_run: bool, as_json: bool) -> None:
    """Remove the rule ID."""
    preview.require_dry_run(dry_run=dry_run, as_json=as_json)
    if dry_run:
        preview.show(context, _stored(context, rule_id), None, as_json=as_json)
        return
    with context.change() as change:
        rule = rules.remove(change, rule_id)
    note(f"Removed rule {rule}.")


commands = (
    _write(Effect.ALLOW),
    _write(Effect.DENY),
    list_,
    show,
    edit,
    _switch("disable", enabled=False),
    _switch("enable", enabled=True),
    remove,
)
