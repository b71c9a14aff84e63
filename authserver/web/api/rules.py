"""Rules: by administrators, and by delegates within their bounds."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model
from sqlalchemy.orm import Session

from authserver.core.conditions import FIELDS, ConditionField, Conditions, ValueKind
from authserver.core.errors import Forbidden, Refused
from authserver.core.rules import Effect, new_rule
from authserver.core.rules import Rule as Said
from authserver.core.subjects import subject
from authserver.db import accounts, delegations, rule_rows, rules
from authserver.db.delegations import Covered
from authserver.db.lookup import Window
from authserver.db.models import AccountRow, RuleRow
from authserver.db.store import Change
from authserver.web.api.caller import Need
from authserver.web.api.models import Answer, Body, Nothing, Paging, Query, Sought, Time, changes_of
from authserver.web.api.operations import Call, Operations, Reply, references
from authserver.web.api.pagination import Page, page
from authserver.web.api.preconditions import require_same
from authserver.web.api.resources import Shown

OPERATIONS = Operations(
    "rules",
    "Who may do what. Administrators write all rules; a delegate writes within a delegation, and "
    "sees and touches only what he wrote.",
)

Text = Annotated[str, Field(min_length=1)]
Action = Literal["pull", "push", "delete", "*"]


class _TermsBefore(Body):
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


class _RuleBefore(Answer):
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
    """What a rule says. No bounds but the store's: every rule can be told."""

    enabled: bool = True
    comment: str = Field(default="", description="One line: why it is there.")


class Rule(_RuleWithConditions):
    """A rule."""

    enabled: bool
    comment: str
    delegation: int | None
    created_by: str
    created_at: datetime
    edited_by: str | None
    edited_at: datetime | None


class Rules(Page[Rule]):
    """A part of the list of rules."""


class WhichRules(Paging):
    """Which rules."""

    subject: Sought | None = Field(None, description="Only those on this subject.")
    pattern: Sought | None = Field(None, description="Only those with exactly this pattern.")


class RemovedRule(Answer):
    """What the rule said."""

    rule: str


SHOWN = Shown(Rule, rules.get, rule_rows.described)
_Change = changes_of(RuleTerms)


def delegate(call: Call[Any, Any], session: Session) -> AccountRow | None:
    """Return the delegate who calls, None for an administrator.

    Raises:
        Forbidden: the caller is neither.
    """
    row = accounts.require_account(session, call.caller.identity.known.id)
    if row.admin:
        return None
    if not delegations.held_by(session, row):
        raise Forbidden("only an administrator or a delegate may do this")
    return row


def _found(session: Session, author: AccountRow | None, rule_id: int) -> RuleRow:
    """Return a rule that the caller may touch; a delegate is not told which others there are."""
    if author is None:
        return rules.get(session, rule_id)
    try:
        return delegations.own(session, author, rule_id)
    except Refused:
        raise Forbidden(f"there is no rule {rule_id} of yours") from None


def _said(terms: RuleTerms, now: datetime | None) -> Said:
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


def _terms(row: RuleRow) -> RuleTerms:
    said = rule_rows.described(row)
    kept = {name: said[name] for name in RuleTerms.model_fields}
    return RuleTerms.model_validate_json(json.dumps(kept))


def _rewritten(call: Call[Any, Any], terms: RuleTerms, old: RuleTerms) -> Said | None:
    """Return what a rule is to say; None if it says so already."""
    if terms == old:
        return None
    if (terms.effect, terms.type) != (old.effect, old.type):
        raise Refused("effect and resource type stay: write another rule")
    ends = [Conditions.parse(_conditions(each)).end for each in (terms, old)]
    return _said(terms, call.parts.store.clock() if ends[0] != ends[1] else None)


def _allowed(session: Session, author: AccountRow | None, said: Said) -> Said | Covered:
    """Return a rule as the caller may write it. Raises as :func:`delegations.covered`."""
    return said if author is None else delegations.covered(session, author, said)


def _write(change: Change, author: AccountRow | None, new: Said | Covered, comment: str) -> RuleRow:
    match author, new:
        case None, Said():
            return rules.add(change, new, comment)
        case AccountRow(), Covered():
            return delegations.write(change, author, new, comment)
    raise _moved()


def _rewrite(
    change: Change, author: AccountRow | None, row: RuleRow, new: Said | Covered, terms: RuleTerms
) -> None:
    with references():
        match author, new:
            case None, Said():
                rules.edit(change, row.id, new, terms.comment)
                rules.set_enabled(change, row.id, enabled=terms.enabled)
            case AccountRow(), Covered():
                delegations.rewrite(change, author, row.id, new, terms.comment)
                delegations.switch(change, author, row.id, enabled=terms.enabled)
            case _:
                raise _moved()
    change.session.flush()
    change.session.expire_all()


def _moved() -> Refused:
    return Refused("what you may do was changed meanwhile: send it again")


@OPERATIONS.operation("GET", "/rules", answer=Rules, query=WhichRules, need=Need.SELF)
def list_rules(call: Call[Nothing, WhichRules]) -> Reply:
    """List the rules; to a delegate, those that he wrote."""
    about = None if call.query.subject is None else subject(call.query.subject)

    def listed(session: Session, window: Window) -> Sequence[RuleRow]:
        author = delegate(call, session)
        mine = None if author is None else author.id
        return rules.listed(session, about, call.query.pattern, author_id=mine, window=window)

    return page(call, Rules, listed, rule_rows.described, lambda row: row.id, int)


@OPERATIONS.operation(
    "POST",
    "/rules",
    answer=Rule,
    body=RuleTerms,
    need=Need.SELF,
    statuses=(201,),
    tagged=True,
)
def add_rule(call: Call[RuleTerms, Query]) -> Reply:
    """Write a rule; a delegate within one of his delegations."""
    with call.read() as session:
        author = delegate(call, session)
        said = _said(call.body, call.parts.store.clock())
        new = _allowed(session, author, said)
    with call.change() as change:
        author = delegate(call, change.session)
        with references():
            row = _write(change, author, new, call.body.comment)
        reply = SHOWN.reply(row, 201)
        return Reply(reply.answer, 201, reply.tag, f"{call.here}/{row.id}")


@OPERATIONS.operation("GET", "/rules/{id}", answer=Rule, need=Need.SELF, tagged=True)
def show_rule(call: Call[Nothing, Query]) -> Reply:
    """Show a rule."""
    with call.read() as session:
        return SHOWN.reply(_found(session, delegate(call, session), call.path["id"]))


def _changed(call: Call[RuleTerms, Query], *, whole: bool) -> Reply:
    """Change a rule. What takes time to read and to compare comes before others have to wait."""
    number = call.path["id"]
    with call.read() as session:
        author = delegate(call, session)
        row = _found(session, author, number)
        seen, old = SHOWN.state_tag(row), _terms(row)
        call.conditions.require(seen)
        kept = {} if whole else old.model_dump()
        terms = RuleTerms.model_validate(kept | call.body.model_dump(exclude_unset=not whole))
        said = _rewritten(call, terms, old)
        new = None if said is None else _allowed(session, author, said)
    with call.change() as change:
        author = delegate(call, change.session)
        row = _found(change.session, author, number)
        require_same(seen, SHOWN.state_tag(row))
        if new is not None:
            _rewrite(change, author, row, new, terms)
        return SHOWN.reply(row)


@OPERATIONS.operation(
    "PUT",
    "/rules/{id}",
    answer=Rule,
    body=RuleTerms,
    need=Need.SELF,
    conditional=True,
    tagged=True,
)
def replace_rule(call: Call[RuleTerms, Query]) -> Reply:
    """Have a rule say something else."""
    return _changed(call, whole=True)


@OPERATIONS.operation(
    "PATCH",
    "/rules/{id}",
    answer=Rule,
    body=_Change,
    need=Need.SELF,
    conditional=True,
    tagged=True,
)
def change_rule(call: Call[RuleTerms, Query]) -> Reply:
    """Change a part of what a rule says; a field that is left out stays as it is."""
    return _changed(call, whole=False)


@OPERATIONS.operation("DELETE", "/rules/{id}", answer=RemovedRule, need=Need.SELF, conditional=True)
def remove_rule(call: Call[Nothing, Query]) -> Reply:
    """Remove a rule."""
    with call.change() as change:
        row = _found(change.session, delegate(call, change.session), call.path["id"])
        call.conditions.require(SHOWN.state_tag(row))
        return Reply(RemovedRule(rule=rules.delete(change, row)))
