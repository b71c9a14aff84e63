"""``authserver import docker-auth``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authserver.cli.context import Context, pass_context
from authserver.cli.inputs import read_input
from authserver.cli.output import (
    MAX_CELL,
    json_option,
    note,
    note_on_name,
    print_json,
    progress_bar,
)
from authserver.cli.params import REGISTRY
from authserver.cli.tables import print_table, wide_option
from authserver.core.commands import program
from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.core.subjects import AccountKind
from authserver.db import accounts, lookup, rules
from authserver.importers.docker_auth import compare, config, coverage, matchers, translate
from authserver.importers.docker_auth import users as docker_auth_users
from authserver.keys import signing_keys
from authserver.registry import entries

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.db.store import Change
    from authserver.importers.docker_auth.compare import AgreedTranslation
    from authserver.importers.docker_auth.config import AclEntry, Config
    from authserver.importers.docker_auth.coverage import ImportProblem
    from authserver.importers.docker_auth.translate import ClaimVerdict, Draft, Translation
    from authserver.importers.docker_auth.users import SkippedItem, UserImport


@dataclass(frozen=True)
class _Plan:
    """All that an import would do, and what it would leave out."""

    config: Config
    users: UserImport
    agreed: AgreedTranslation
    left: list[SkippedItem]
    notes: list[str]

    @property
    def translation(self) -> Translation:
        return self.agreed.translation

    @property
    def complete(self) -> bool:
        states = {v.state for entry in self.config.entries for v in _said(self.translation, entry)}
        return not self.left and states <= {translate.ClaimState.TAKEN, translate.ClaimState.IDLE}


@click.command("docker-auth", short_help="Take over a docker_auth configuration.")
@click.argument("file", metavar="CONFIG.yml", type=click.Path(path_type=Path))
@click.option(
    "--registry",
    "service",
    metavar="SERVICE",
    type=REGISTRY,
    help="Where entries without a service hold; otherwise on every registry.",
)
@click.option("--partial", is_flag=True, help="Take what can be taken, though not all can.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")
@json_option
@wide_option
@pass_context
def from_docker_auth(
    context: Context,
    file: Path,
    service: str | None,
    partial: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take over users and ACL of a docker_auth CONFIG.yml (- for standard input).

    The ordered entries become allow and deny rules. Before anything is written, docker_auth's
    decisions and those by the new rules are compared on requests made from the file's own words;
    never is more allowed than docker_auth allowed. What cannot be taken is named with its line, the
    reason and what to do instead; then nothing is written and the exit status is 1, unless
    --partial is said. Accounts and rules that are there already are left alone.
    """
    content = read_input(file)
    with context.read() as session:
        plan = _plan(session, config.read(content, str(file)), service)
    rules_written = None
    if not dry_run and (partial or plan.complete):
        with context.change() as change:
            rules_written = _write(change, plan)
    if as_json:
        print_json(_described(plan, rules_written))
    else:
        _print(plan)
        note(_end(plan, rules_written, dry_run=dry_run))
    if not (partial or plan.complete):
        raise click.exceptions.Exit(1)


def _plan(session: Session, config: Config, service: str | None) -> _Plan:
    if service is not None:
        lookup.registry(session, service)
        if not matchers.is_literal(service):
            raise Refused(f"the registry {service!r} cannot be told from a pattern of docker_auth")
        config = config.only_on(service)
    present = {row.name: AccountKind(row.kind) for row in accounts.listed(session)}
    imported = docker_auth_users.users(config, present)
    services = frozenset(row.service for row in entries.listed(session))
    context_ = coverage.import_context(config, imported.added_to(present), services)
    with progress_bar("Comparing") as progress:
        compared = compare.agreed(config, context_, progress)
    return _Plan(
        config,
        imported,
        compared,
        [*imported.skipped, *docker_auth_users.skipped_sections(config)],
        list(docker_auth_users.section_notes(config, signing_keys.issuer(session))),
    )


def _write(change: Change, plan: _Plan) -> int:
    """Write users and rules, but for rules that are there; return how many rules were written."""
    written = 0
    for user in plan.users.new:
        accounts.add_user(change, user.name, user.hash, source="docker_auth")
    for draft in plan.translation.drafts:
        same = rules.same(change.session, draft.rule)
        if same is None:
            rules.add(change, draft.rule, _comment(draft))
            written += 1
        elif same.disabled_at is not None:
            raise Refused(
                f"rule {rules.cite([same])} is there already: {program()} acl enable {same.id}, "
                "or remove it"
            )
    return written


def _comment(draft: Draft) -> str:
    comment = f": {draft.entry.comment}" if draft.entry.comment else ""
    return printable(f"docker_auth line {draft.entry.line}{comment}")


def _said(translation: Translation, entry: AclEntry) -> list[ClaimVerdict]:
    """Return what became of an entry, without what it does not give on the catalog."""
    found = translation.of(entry)
    return [v for v in found if v.claim.actions or v.claim.region.type == "repository"] or found


def _result(verdicts: list[ClaimVerdict]) -> str:
    states = {verdict.state: verdict.claim.region.type for verdict in verdicts}
    if len(states) > 1:
        return ", ".join(f"{kind}: {state}" for state, kind in states.items())
    return str(next(iter(states), translate.ClaimState.IDLE))


def _shown(entry: AclEntry) -> str:
    conditions = {k: v for k, v in asdict(entry.match).items() if v not in (None, ())}
    what = " ".join(f"{key}={_text(value)}" for key, value in conditions.items())
    return f"{what or 'everything'}: {','.join(entry.actions) or 'nothing'}"


def _line(text: str) -> str:
    """Return what may hold the file's own words, made safe for one line."""
    return printable(text, MAX_CELL)


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value) or "(anonymous)"


def _problems(plan: _Plan) -> Iterator[tuple[int, str, ImportProblem]]:
    """Yield what is not taken, or has no effect: line, what it is, why."""
    for left in plan.left:
        yield left.line, f"{left.name or '(anonymous)'}: {translate.ClaimState.LEFT}", left.problem
    for entry in plan.config.entries:
        warnings = dict.fromkeys(
            (verdict.state, problem)
            for verdict in _said(plan.translation, entry)
            for problem in verdict.problems
        )
        for state, problem in warnings:
            yield entry.line, str(state), problem


def _print(plan: _Plan) -> None:
    rows = [
        (entry.line, _shown(entry), _result(_said(plan.translation, entry)))
        for entry in plan.config.entries
    ]
    print_table(("LINE", "ENTRY", "RESULT"), rows, "The file has no acl.")
    written = [(draft.entry.line, str(draft.rule)) for draft in plan.translation.drafts]
    if written:
        click.echo()
        print_table(("LINE", "RULE"), written, "")
    for line, what, problem in _problems(plan):
        note(f"line {line}: {what}: {_line(problem.reason)}\n    instead: {_line(problem.remedy)}")
    for name in plan.users.existing:
        note(f"{name}: there already, left alone")
    for user in plan.users.new:
        note_on_name(user.name)
    for text in plan.notes:
        note(f"note: {_line(text)}")
    click.echo(
        f"\nusers: {len(plan.users.new)}, rules: {len(plan.translation.drafts)}, "
        f"deciding as docker_auth does in {plan.agreed.cases} cases"
    )


def _end(plan: _Plan, written: int | None, *, dry_run: bool) -> str:
    if written is not None:
        rest = len(plan.translation.drafts) - written
        already = f"; {rest} rules were there already" if rest else ""
        return f"Imported {len(plan.users.new)} users and {written} rules{already}."
    if dry_run:
        return "Dry run: nothing was changed."
    return (
        "Not all can be taken, and nothing was changed. Mend the file, or say --partial to take "
        "the rest."
    )


def _described(plan: _Plan, written: int | None) -> dict[str, Any]:
    return {
        "written": written is not None,
        "complete": plan.complete,
        "cases": plan.agreed.cases,
        "users": {
            "new": [user.name for user in plan.users.new],
            "existing": plan.users.existing,
        },
        "entries": [
            {
                "line": entry.line,
                "match": {k: v for k, v in asdict(entry.match).items() if v not in (None, ())},
                "actions": entry.actions,
                "results": [_verdict(v) for v in _said(plan.translation, entry)],
                "rules": [str(d.rule) for d in plan.translation.drafts if d.entry is entry],
            }
            for entry in plan.config.entries
        ],
        "not_taken": [
            {"line": left.line, "name": left.name, **asdict(left.problem)} for left in plan.left
        ],
        "notes": plan.notes,
    }


def _verdict(verdict: ClaimVerdict) -> dict[str, Any]:
    return {
        "type": verdict.claim.region.type,
        "state": verdict.state,
        "problems": [asdict(problem) for problem in verdict.problems],
    }
