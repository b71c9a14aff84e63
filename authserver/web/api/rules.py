"""Rules, which administrators write, and delegates within their delegations."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model
from sqlalchemy.orm import Session

from authserver.core.conditions import FIELDS, ConditionField, Conditions, ValueKind
from authserver.core.errors import Forbidden, Refused
from authserver.core.rules import Effect, Rule, new_rule
from authserver.core.subjects import subject
from authserver.db import delegations, lists, rule_rows, rules, second_checks
from authserver.db.delegations import Covered
from authserver.db.lists import Window
from authserver.db.models import AccountRow, RuleRow
from authserver.db.store import Change
from authserver.policy.lint import checks
from authserver.web.api.caller import Need
from authserver.web.api.models import (
    ApiAnswer,
    ApiBody,
    ApiQuery,
    Nothing,
    Paging,
    Sought,
    Text,
    Time,
    changes_of,
)
from authserver.web.api.operations import BareCall, Call, Operations, Tagged, references
from authserver.web.api.pagination import Page, search, table_page
from authserver.web.api.preconditions import changed
from authserver.web.api.resources import View

OPERATIONS = Operations(
    "rules",
    "Who may do what. Administrators write all rules. Delegates write within their delegations, "
    "and see and change only the rules that they wrote.",
)

Action = Literal["pull", "push", "delete", "*", "all"]
"""As on the command line: ``all`` is ``*``."""


class _TermsBefore(ApiBody):
    effect: Literal["allow", "deny"] = Field(description="Stays as it is once written.")
    subjects: list[Text] = Field(
        min_length=1,
        description="user:NAME, robot:NAME, group:NAME, anonymous, authenticated, everyone.",
    )
    type: Literal["repository", "registry"] = Field(
        default="repository", description="Stays as it is once written."
    )
    patterns: list[Text] = Field(min_length=1, description="As team/**.")
    actions: list[Action] = Field(min_length=1)
    registry: str | None = Field(default=None, description="null: on every registry.")


class _RuleBefore(ApiAnswer):
    id: int
    effect: str
    subjects: list[str]
    type: str
    patterns: list[str]
    actions: list[str]
    registry: str | None


def _requested(field: ConditionField) -> tuple[Any, Any]:
    """Return the type and default of a condition's field in a request."""
    if field.kind is ValueKind.TIME:
        return Time | None, Field(default=None, description=field.description)
    return list[Text], Field(default=[], description=field.description)


def _answered(field: ConditionField) -> tuple[Any, Any]:
    """Return the type of a condition's field in an answer, which always has it."""
    return (datetime | None if field.kind is ValueKind.TIME else list[str]), ...


# A base class, so that the fields of conditions stand where they always stood.
if TYPE_CHECKING:
    _TermsWithConditions = _TermsBefore
    _RuleWithConditions = _RuleBefore
else:
    _TermsWithConditions, _RuleWithConditions = (
        create_model(
            base.__name__,
            __base__=base,
            **{name: type_of(field) for name, field in FIELDS.items()},
        )
        for base, type_of in ((_TermsBefore, _requested), (_RuleBefore, _answered))
    )


class RuleTerms(_TermsWithConditions):
    """A rule. The store alone has bounds: an answer can show every rule that it holds."""

    enabled: bool = True
    comment: str = Field(default="", description="One line: why it is there.")


class RuleWarning(ApiAnswer):
    """What is wrong with a rule, and the command that mends it."""

    code: str
    text: str
    remedy: str | None


class ApiRule(_RuleWithConditions):
    """A rule."""

    enabled: bool
    comment: str
    delegation: int | None
    created_by: str
    created_at: datetime
    edited_by: str | None
    edited_at: datetime | None
    warnings: list[RuleWarning] = Field(
        default=[], description="What lint calls an error in this rule alone."
    )


class Rules(Page[ApiRule]):
    """A page of the list of rules."""


class WhichRules(Paging):
    """Which rules."""

    subject: Sought | None = Field(None, description="Only those on this subject.")
    pattern: Sought | None = Field(None, description="Only those with exactly this pattern.")
    covers: Sought | None = Field(
        None, description="Only those that cover the repository of this name, for some account."
    )


class RemovedRule(ApiAnswer):
    """The rule that was removed, as text."""

    rule: str


def _described(row: RuleRow) -> dict[str, Any]:
    errors = [error.as_json() for error in checks.errors_of(rule_rows.as_rule(row))]
    return rule_rows.described(row) | {"warnings": errors}


VIEW = View(ApiRule, rules.get, _described, frozenset({"warnings"}))


def delegate(call: Call[Any, Any], session: Session) -> AccountRow | None:
    """Return the delegate who calls; None for an administrator, and for an auditor who reads.

    Raises:
        Forbidden: the caller is neither.
    """
    row = second_checks.require_account(session, call.caller.identity.known.id, call.caller.name)
    if call.caller.role_now(row.role) >= call.operation.need.of_token:
        return None
    if not delegations.held_by(session, row):
        raise call.caller.forbidden("an administrator or a delegate", row.role)
    return row


def own_row(session: Session, author: AccountRow | None, rule_id: int) -> RuleRow:
    """Return a rule that the caller may touch. A delegate does not learn which others exist."""
    if author is None:
        return rules.get(session, rule_id)
    try:
        return delegations.own(session, author, rule_id)
    except Refused:
        raise Forbidden(f"there is no rule {rule_id} of yours") from None


def rule_of(terms: RuleTerms, now: datetime | None) -> Rule:
    return new_rule(
        Effect(terms.effect),
        [subject(text) for text in terms.subjects],
        terms.patterns,
        ",".join(terms.actions),
        resource_type=terms.type,
        service=terms.registry,
        now=now,
        enabled=terms.enabled,
        **_conditions(terms),
    )


def _conditions(terms: RuleTerms) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in FIELDS}


def terms_of(row: RuleRow) -> RuleTerms:
    state = rule_rows.described(row)
    kept = {name: state[name] for name in RuleTerms.model_fields}
    return RuleTerms.model_validate_json(json.dumps(kept))


def rule_edited(call: Call[Any, Any], terms: RuleTerms, old: RuleTerms) -> Rule:
    """Return the rule that ``terms`` make of the rule with the terms ``old``."""
    if (terms.effect, terms.type) != (old.effect, old.type):
        raise Refused("effect and resource type stay: write another rule")
    # Only a new end must lie in the future: an expired rule may be given another comment.
    ends = [Conditions.parse(_conditions(each)).end for each in (terms, old)]
    return rule_of(terms, call.parts.store.clock() if ends[0] != ends[1] else None)


def allowed(session: Session, author: AccountRow | None, rule: Rule) -> Rule | Covered:
    """Return a rule as the caller may write it. Raises as :func:`delegations.covered`."""
    return rule if author is None else delegations.covered(session, author, rule)


def _write(change: Change, author: AccountRow | None, new: Rule | Covered, comment: str) -> RuleRow:
    match author, new:
        case None, Rule():
            return rules.add(change, new, comment)
        case AccountRow(), Covered():
            return delegations.write(change, author, new, comment)
    raise _promoted()


def _rewrite(
    change: Change, author: AccountRow | None, row: RuleRow, new: Rule | Covered, terms: RuleTerms
) -> None:
    match author, new:
        case None, Rule():
            rules.edit(change, row.id, new, terms.comment)
            rules.set_enabled(change, row.id, enabled=terms.enabled)
        case AccountRow(), Covered():
            delegations.rewrite(change, author, row.id, new, terms.comment)
            delegations.switch(change, author, row.id, enabled=terms.enabled)
        case _:
            raise _promoted()


def _promoted() -> Refused:
    """Return the refusal of a caller who became or ceased to be an administrator meanwhile."""
    return Refused("what you may do was changed meanwhile: send it again")


def _edit(call: Call[RuleTerms, ApiQuery], *, whole: bool) -> Tagged[ApiRule]:
    """Change a rule. Parsing and comparing patterns is slow, so it comes before the change."""
    number = call.path["id"]
    with call.read() as session:
        author = delegate(call, session)
        row = own_row(session, author, number)
        seen, old = VIEW.tag_of(row), terms_of(row)
        call.preconditions.require(seen)
        kept = {} if whole else old.model_dump()
        terms = RuleTerms.model_validate(kept | call.body.model_dump(exclude_unset=not whole))
        new = None if terms == old else allowed(session, author, rule_edited(call, terms, old))
    with call.change() as change:
        author = delegate(call, change.session)
        row = own_row(change.session, author, number)
        if seen != VIEW.tag_of(row):
            raise changed()
        if new is not None:
            with references():
                _rewrite(change, author, row, new, terms)
        return VIEW.changed(change, row)


@OPERATIONS.operation("GET", "/rules", need=Need.SELF_READER, query=search(lists.RULES, WhichRules))
def list_rules(call: Call[Nothing, WhichRules]) -> Rules:
    """List the rules; a delegate gets only those that they wrote."""
    wanted = None if call.query.subject is None else subject(call.query.subject)

    def rows(session: Session, window: Window) -> Sequence[RuleRow]:
        author = delegate(call, session)
        author_id = None if author is None else author.id
        return rules.listed(
            session,
            wanted,
            call.query.pattern,
            covers=call.query.covers,
            author_id=author_id,
            window=window,
        )

    return table_page(call, Rules, rows, _described, lists.RULES)


@OPERATIONS.operation("POST", "/rules", status=201, need=Need.SELF)
def add_rule(call: Call[RuleTerms, ApiQuery]) -> Tagged[ApiRule]:
    """Write a rule; a delegate within one of their delegations."""
    with call.read() as session:
        author = delegate(call, session)
        new = allowed(session, author, rule_of(call.body, call.parts.store.clock()))
    with call.change() as change:
        author = delegate(call, change.session)
        with references():
            row = _write(change, author, new, call.body.comment)
        return VIEW.tagged(row, f"{call.here}/{row.id}")


@OPERATIONS.operation("GET", "/rules/{id}", need=Need.SELF_READER)
def show_rule(call: BareCall) -> Tagged[ApiRule]:
    """Show a rule."""
    with call.read() as session:
        return VIEW.tagged(own_row(session, delegate(call, session), call.path["id"]))


@OPERATIONS.operation("PUT", "/rules/{id}", need=Need.SELF)
def replace_rule(call: Call[RuleTerms, ApiQuery]) -> Tagged[ApiRule]:
    """Replace what a rule says."""
    return _edit(call, whole=True)


@OPERATIONS.operation("PATCH", "/rules/{id}", body=changes_of(RuleTerms), need=Need.SELF)
def change_rule(call: Call[RuleTerms, ApiQuery]) -> Tagged[ApiRule]:
    """Change a part of what a rule says; a field that is left out stays as it is."""
    return _edit(call, whole=False)


@OPERATIONS.operation("DELETE", "/rules/{id}", need=Need.SELF)
def remove_rule(call: BareCall) -> RemovedRule:
    """Remove a rule."""
    with call.change() as change:
        row = own_row(change.session, delegate(call, change.session), call.path["id"])
        call.preconditions.require(VIEW.tag_of(row))
        return RemovedRule(rule=rules.delete(change, row))
