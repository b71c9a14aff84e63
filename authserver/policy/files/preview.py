"""Who gains and who loses by one change of a rule, before it is saved or undone.

A preview is the plan of one step: the step is carried out on a copy of the store's policy. The copy
has only the rules that bear on the outcome, so that one rule among 100,000 takes no plan of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core.errors import Refused
from authserver.core.patterns import ANY_SEGMENTS, Pattern
from authserver.core.rules import Effect, Rule
from authserver.core.subjects import NAMED_SUBJECTS, AccountKind, Subject, SubjectKind
from authserver.db.models import AccountRow, GroupRow, MembershipRow, RuleRow, RuleSubjectRow
from authserver.db.rule_history import RuleChange, rule_of
from authserver.db.rule_rows import STREAMED
from authserver.policy.files import coverage, current_state, effects
from authserver.policy.files.current_state import PolicyState
from authserver.policy.files.document import AccountEntry, GroupEntry, RuleEntry
from authserver.policy.files.effects import AccessChange, StepEffects
from authserver.policy.files.execution import carry_out, no_progress
from authserver.policy.files.steps import Step, Verb, added_or_edited
from authserver.policy.files.store_copy import StoreCopy
from authserver.policy.lint import checks
from authserver.policy.lint.findings import LintFinding
from authserver.policy.pattern_index import RulePattern, Tree

MAX_ALLOWS = 5000
"""Allows that a change of a deny is compared with; the effects say if there are more."""

MAX_ACCOUNTS = 100
"""Names of one effect in JSON; its ``count`` is of all."""


@dataclass(frozen=True)
class RulePreview:
    """What a change of a rule does. Without a step it changes nothing."""

    step: Step | None
    effects: StepEffects
    warnings: Sequence[LintFinding]

    def as_json(self) -> dict[str, Any]:
        """Return the preview for ``--json`` and the API, with the first names of each effect."""
        told = self.effects.as_json()["told"]
        for effect in told:
            effect["count"] = len(effect["accounts"])
            del effect["accounts"][MAX_ACCOUNTS:]
        return {
            "change": None if self.step is None else self.step.as_json(),
            "effects": {"told": told, "more": self.effects.more},
            "warnings": [each.as_json() for each in self.warnings],
        }


def entry_of(rule: Rule, rule_id: int, comment: str, delegation: int | None = None) -> RuleEntry:
    """Return a version of the stored rule of that id."""
    return RuleEntry(replace(rule, id=rule_id), comment, delegation)


@dataclass(frozen=True)
class UndoSteps:
    """A change of a rule that was made, as a step, and the step that undoes it."""

    before: RuleEntry | None
    after: RuleEntry | None
    done: Step
    back: Step

    @classmethod
    def of(cls, done: RuleChange) -> "UndoSteps":
        """Return the steps of a change.

        Raises:
            Refused: it changed nothing that the rule says; this version takes no such rule.
        """
        before, after = (
            None if state is None else entry_of(rule_of(state), done.rule_id, state["comment"])
            for state in (done.before, done.after)
        )
        forth, back = step_between(before, after), step_between(after, before)
        if forth is None or back is None:
            raise Refused(f"the latest change of rule {done.rule_id} changed nothing that it says")
        return cls(before, after, forth, back)


def step_between(before: RuleEntry | None, after: RuleEntry | None) -> Step | None:
    """Return the step from one version of a rule to another; None if they are equal."""
    if after is not None:
        return added_or_edited(before, after)
    return None if before is None else Step(Verb.REMOVE, before, None)


@dataclass(frozen=True)
class Rehearsal:
    """A step with the part of the store that it is compared with."""

    step: Step | None
    store: StoreCopy
    whole: bool

    @classmethod
    def of(cls, session: Session, before: RuleEntry | None, after: RuleEntry | None) -> "Rehearsal":
        """Read what bears on the change of one rule from ``before`` to ``after``.

        None is no rule. Comparing takes longer: :meth:`preview` needs no session.
        """
        versions = [each.rule for each in (before, after) if each is not None]
        bearing = _Bearing.of(session, versions)
        ids = bearing.ids | {rule.id for rule in versions if rule.id}
        copy = StoreCopy.of_rules(session, ids)
        return cls(step_between(before, after), copy, bearing.whole)

    def preview(self) -> RulePreview:
        """Carry out the step on the copy, and compare the states before and after.

        Raises:
            NotFound: the rule names a subject or a registry that does not exist.
            Refused: the store would not take the step: another rule says the same.
        """
        if self.step is None:
            return RulePreview(None, StepEffects(), ())
        with self.store.opened() as change:
            before = current_state.load(change.session)
            carry_out(change, [self.step])
            change.session.expire_all()
            after = replace(before, rules=current_state.rules(change.session))
        return _compared(self.step, before, after, whole=self.whole)


def _compared(step: Step, before: PolicyState, after: PolicyState, *, whole: bool) -> RulePreview:
    (told,) = effects.of([step], before, after, no_progress)
    written = step.after
    warnings = checks.errors_of(written.rule) if isinstance(written, RuleEntry) else ()
    return RulePreview(step, replace(told, more=told.more or not whole), warnings)


@dataclass(frozen=True)
class _Bearing:
    """The ids of the rules on which the outcome depends; not ``whole`` if some are left out."""

    ids: set[int]
    whole: bool = True

    @classmethod
    def of(cls, session: Session, versions: Sequence[Rule]) -> "_Bearing":
        near = Tree(RulePattern(pattern, rule) for rule in versions for pattern in rule.patterns)
        about = _about_the_same(session, versions)
        columns = select(RuleRow.id, RuleRow.effect, RuleRow.resource_type, RuleRow.patterns)
        types = {rule.type for rule in versions}
        ids: set[int] = set()
        allows = 0
        for row in session.execute(columns.order_by(RuleRow.id), execution_options=STREAMED):
            if row.resource_type not in types or (about is not None and row.id not in about):
                continue
            # A loss that is told stays one, whatever else is allowed: all denies are compared.
            counted = row.effect == Effect.ALLOW and versions[0].effect is Effect.DENY
            if counted and allows > MAX_ALLOWS:
                continue
            if any(_bears(near, Pattern(text), row.effect) for text in row.patterns):
                allows += counted
                if not counted or allows <= MAX_ALLOWS:
                    ids.add(row.id)
        return cls(ids, whole=allows <= MAX_ALLOWS)


def _bears(near: "Tree[RulePattern]", pattern: Pattern, effect: str) -> bool:
    """Whether a stored pattern covers a new allow's pattern, or overlaps with a deny."""
    for each in near.near(pattern):
        if each.rule.effect is Effect.ALLOW and effect == Effect.ALLOW:
            if coverage.within(each.pattern, pattern):
                return True
        elif each.pattern.text == ANY_SEGMENTS or coverage.overlap(each.pattern, pattern):
            return True
    return False


def _about_the_same(session: Session, versions: Sequence[Rule]) -> set[int] | None:
    """Return the ids of the rules that bind an account which a rule binds; None is every rule."""
    subjects = {subject for rule in versions for subject in rule.subjects}
    if any(subject.kind not in NAMED_SUBJECTS for subject in subjects):
        return None
    named = {subject.name for subject in subjects if subject.kind is not SubjectKind.GROUP}
    of_groups = {subject.name for subject in subjects if subject.kind is SubjectKind.GROUP}
    by_name = {name: id_ for id_, name in session.execute(select(AccountRow.id, AccountRow.name))}
    groups = {name: id_ for id_, name in session.execute(select(GroupRow.id, GroupRow.name))}
    memberships = [
        (row.account_id, row.group_id)
        for row in session.execute(select(MembershipRow.account_id, MembershipRow.group_id))
    ]
    wanted = {groups[name] for name in of_groups & groups.keys()}
    accounts = {by_name[name] for name in named & by_name.keys()}
    accounts |= {account for account, group in memberships if group in wanted}
    wanted |= {group for account, group in memberships if account in accounts}
    columns = select(
        RuleSubjectRow.rule_id,
        RuleSubjectRow.kind,
        RuleSubjectRow.account_id,
        RuleSubjectRow.group_id,
    )
    return {
        row.rule_id
        for row in session.execute(columns, execution_options=STREAMED)
        if row.kind not in NAMED_SUBJECTS or row.account_id in accounts or row.group_id in wanted
    }


def own_preview(
    own: Sequence[RuleEntry], before: RuleEntry | None, after: RuleEntry | None
) -> RulePreview:
    """Return the preview for a delegate, who sees only the rules that they wrote.

    Only these rules are compared, and a group stands for its members. Nothing is read from the
    store: an answer tells nothing of others' rules, of members, or of which accounts there are.
    """
    step = step_between(before, after)
    if step is None:
        return RulePreview(None, StepEffects(), ())
    others = [each for each in own if before is None or each.rule.id != before.rule.id]
    versions = ([*others, each] if each else others for each in (before, after))
    seen = [each.rule for each in (*others, *filter(None, (before, after)))]
    stand_ins = _StandIns.of([subject for rule in seen for subject in rule.subjects])
    old, new = (replace(stand_ins.state, rules=rules) for rules in versions)
    preview = _compared(step, old, new, whole=True)
    changes = [stand_ins.named(change) for change in preview.effects.changes]
    return replace(preview, effects=replace(preview.effects, changes=sorted(changes, key=str)))


@dataclass(frozen=True)
class _StandIns:
    """A state in which each group has one member, who stands for all of them."""

    state: PolicyState
    groups: dict[str, str]

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> "_StandIns":
        people = [each for each in subjects if each.kind is not SubjectKind.GROUP]
        accounts = {
            each.name: AccountEntry(each.name, AccountKind(each.kind.value), disabled=False)
            for each in people
        }
        free = (name for name in map(str, count()) if name not in accounts)
        names = sorted({each.name for each in subjects if each.kind is SubjectKind.GROUP})
        groups = dict(zip(names, islice(free, len(names)), strict=True))
        members = {
            stand_in: AccountEntry(stand_in, AccountKind.USER, disabled=False)
            for stand_in in groups.values()
        }
        return cls(
            PolicyState(
                accounts=accounts | members,
                groups={
                    name: GroupEntry(name, frozenset({members[groups[name]].subject}))
                    for name in names
                },
            ),
            {stand_in: f"group:{name}" for name, stand_in in groups.items()},
        )

    def named(self, change: AccessChange) -> AccessChange:
        """Name the groups instead of those who stand for them."""
        names = (self.groups.get(name, name) for name in change.names)
        return replace(change, names=tuple(sorted(names, key=str.casefold)))
