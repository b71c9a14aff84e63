"""Changes of rules: who gains and who loses, before one is saved; and undoing the latest."""

from datetime import datetime
from typing import Annotated

from pydantic import Field
from sqlalchemy.orm import Session

from authserver.core.errors import Refused
from authserver.db import rule_history, rule_rows, rules
from authserver.db.models import AccountRow, RuleRow
from authserver.policy.files import preview
from authserver.policy.files.document import RuleEntry
from authserver.web.api.caller import Need
from authserver.web.api.models import MAX_ID, WHOLE, ApiAnswer, ApiBody, ApiQuery
from authserver.web.api.operations import BareCall, Call, Operations, references
from authserver.web.api.policy import PlannedEffect, PlannedStep
from authserver.web.api.rules import (
    RuleTerms,
    RuleWarning,
    allowed,
    delegate,
    own_row,
    rule_edited,
    rule_of,
    terms_of,
)

OPERATIONS = Operations(
    "rule changes", "Who gains and who loses by a change of a rule; undoing the latest change."
)

_Id = Annotated[int, Field(ge=0, le=MAX_ID), WHOLE]


class ChangedRule(ApiBody):
    """One change of a rule. Without an id, ``terms`` are a new rule's."""

    id: _Id | None = None
    terms: RuleTerms | None = Field(None, description="What the rule would say, all of it.")
    enabled: bool | None = Field(None, description="Whether it would be enabled.")
    remove: bool = False


class PreviewedEffect(PlannedEffect):
    """What some accounts gain or lose; ``accounts`` are the first hundred."""

    count: int = Field(description="How many accounts.")


class PreviewedEffects(ApiAnswer):
    """What a change of a rule does to accounts."""

    told: list[PreviewedEffect]
    more: bool = Field(description="Whether that is not all of it.")


class RuleEffects(ApiAnswer):
    """What a change of a rule does, by the plan that a policy document would have."""

    change: PlannedStep | None = Field(description="null: nothing would change.")
    effects: PreviewedEffects
    warnings: list[RuleWarning]


class LatestRuleChange(ApiAnswer):
    """The latest change of rules, and what undoing it does."""

    id: int = Field(description="Undoing takes it.")
    at: datetime
    by: str
    rule: int
    undoes: bool = Field(description="Whether it undid another: undoing it does that again.")
    change: PlannedStep
    undoing: RuleEffects


class Undoing(ApiBody):
    """Which change is undone."""

    change: _Id = Field(description="The id of the change that was shown.")


class UndoneRuleChange(ApiAnswer):
    """The change that was undone."""

    id: int
    rule: int
    undoing: PlannedStep


@OPERATIONS.operation("POST", "/rules/preview", need=Need.SELF_READER)
def preview_rule(call: Call[ChangedRule, ApiQuery]) -> RuleEffects:
    """Show who would gain or lose by a change of a rule; this changes nothing.

    For a delegate only the rules that they wrote are compared, and a group stands for its members.
    """
    with call.read() as session:
        author = delegate(call, session)
        before, after = _versions(call, session, author)
        ready = _Ready(session, author, before, after)
    with references():
        return ready.answer()


def _versions(
    call: Call[ChangedRule, ApiQuery], session: Session, author: AccountRow | None
) -> tuple[RuleEntry | None, RuleEntry | None]:
    """Return the rule before and after a change, as the operations that change it would have it."""
    wanted = call.body
    if sum((wanted.terms is not None, wanted.enabled is not None, wanted.remove)) != 1:
        raise Refused("one change has either terms, or enabled, or remove")
    if wanted.id is None:
        if wanted.terms is None:
            raise Refused("only a rule with an id can be enabled, disabled or removed")
        rule = rule_of(wanted.terms, call.parts.store.clock())
        allowed(session, author, rule)
        return None, RuleEntry(rule, wanted.terms.comment)
    row = own_row(session, author, wanted.id)
    before = _entry(row)
    if wanted.remove:
        return before, None
    old = terms_of(row)
    enabled = old.model_copy(update={"enabled": wanted.enabled})
    terms = enabled if wanted.terms is None else wanted.terms
    if terms == old:
        return before, before
    rule = rule_edited(call, terms, old)
    if wanted.terms is not None:
        allowed(session, author, rule)
    return before, preview.entry_of(rule, row.id, terms.comment)


class _Ready:
    """What a preview compares, read while there is a session."""

    def __init__(
        self,
        session: Session,
        author: AccountRow | None,
        before: RuleEntry | None,
        after: RuleEntry | None,
    ) -> None:
        self._versions = before, after
        self._own: list[RuleEntry] = []
        self._rehearsal: preview.Rehearsal | None = None
        if author is None:
            self._rehearsal = preview.Rehearsal.of(session, before, after)
        else:
            self._own = [_entry(row) for row in rules.listed(session, author_id=author.id)]

    def answer(self) -> RuleEffects:
        if self._rehearsal is not None:
            return RuleEffects.model_validate(self._rehearsal.preview().as_json())
        own = preview.own_preview(self._own, *self._versions)
        return RuleEffects.model_validate(own.as_json())


def _entry(row: RuleRow) -> RuleEntry:
    return RuleEntry(rule_rows.as_rule(row), row.comment, row.delegation_id)


@OPERATIONS.operation("GET", "/rules/undo", need=Need.SELF_READER)
def show_undo(call: BareCall) -> LatestRuleChange:
    """Show the latest change of rules, and who would gain or lose by undoing it.

    A delegate gets the latest of their own changes. 404 if no rule was changed yet, 409 if it
    cannot be undone.
    """
    with call.read() as session:
        author = delegate(call, session)
        done = rule_history.latest(session, author)
        steps = preview.UndoSteps.of(done)
        ready = _Ready(session, author, steps.after, steps.before)
    return LatestRuleChange(
        id=done.id,
        at=done.at,
        by=done.actor,
        rule=done.rule_id,
        undoes=done.undoes,
        change=PlannedStep.model_validate(steps.done.as_json()),
        undoing=ready.answer(),
    )


@OPERATIONS.operation("POST", "/rules/undo", need=Need.SELF)
def undo_rule(call: Call[Undoing, ApiQuery]) -> UndoneRuleChange:
    """Undo the latest change of rules, if it is still the one that was shown.

    An undone undo does the change again. A delegate undoes the latest of their own changes.
    """
    # The latest is looked for in all records: not while writers wait.
    with call.read() as session, references():
        rule_history.require_latest(session, call.body.change, delegate(call, session))
    with call.change() as change, references():
        author = delegate(call, change.session)
        done = rule_history.undo(change, call.body.change, author)
        steps = preview.UndoSteps.of(done)
    back = PlannedStep.model_validate(steps.back.as_json())
    return UndoneRuleChange(id=done.id, rule=done.rule_id, undoing=back)
