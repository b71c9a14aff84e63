"""Delegations: permissions for a group's members to write allows within a pattern."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session, joinedload

from authserver.core.commands import program
from authserver.core.errors import NotFound, Refused
from authserver.core.names import one_line
from authserver.core.pattern_sets import within
from authserver.core.patterns import Pattern
from authserver.core.rules import Effect, Rule, expand, in_order, rule_actions, rule_pattern
from authserver.core.subjects import NAMED_SUBJECTS
from authserver.db import lookup, models, rules
from authserver.db.models import AccountRow, DelegationRow
from authserver.db.store import Change

_REPOSITORY = "repository"


@dataclass(frozen=True, slots=True)
class Extent:
    """The extent of a delegation: a pattern, and actions on the names within it."""

    pattern: Pattern
    actions: frozenset[str]


def extent(pattern: str, actions: str) -> Extent:
    """Parse the extent of a delegation, before the change: all other writers wait for a change.

    Raises:
        Refused: the pattern or an action is refused.
    """
    return Extent(
        rule_pattern(_REPOSITORY, pattern), rule_actions(Effect.ALLOW, _REPOSITORY, actions)
    )


@dataclass(frozen=True, slots=True)
class Covered:
    """A rule and a delegation that covers it, as :func:`covered` returns them."""

    rule: Rule
    delegation_id: int


def add(change: Change, group: str, service: str, to: Extent, comment: str = "") -> DelegationRow:
    """Let the members of a group write allows on one registry, ``to`` some extent.

    Raises:
        NotFound: there is no such group or registry.
        Refused: the group has that delegation already.
    """
    row = DelegationRow(
        group=lookup.group(change.session, group),
        for_registry=lookup.registry(change.session, service),
        pattern=str(to.pattern),
        actions=",".join(in_order(_REPOSITORY, to.actions)),
        comment=one_line(comment, "a comment"),
        created_by=change.actor,
        created_at=change.at,
    )
    with change.session.no_autoflush:
        if same := _like(change.session, row):
            raise Refused(f"that delegation is there already: {same.id}")
    change.session.add(row)
    change.session.flush()
    change.record("acl.delegate", _target(row), after=described(row))
    return row


def comment(change: Change, delegation_id: int, text: str) -> bool:
    """Change the comment of a delegation; False if it is the same.

    Raises:
        NotFound: there is no such delegation.
        Refused: the comment is not one line.
    """
    row = get(change.session, delegation_id)
    if row.comment == text:
        return False
    before = described(row)
    row.comment = one_line(text, "a comment")
    change.record("acl.delegation-edit", _target(row), before=before, after=described(row))
    return True


def end(change: Change, delegation_id: int) -> list[str]:
    """End a delegation and disable the rules written under it; return, in words, the effects.

    Raises:
        NotFound: there is no such delegation.
    """
    return _end(change, get(change.session, delegation_id))


def end_all(change: Change, condition: ColumnElement[bool]) -> list[str]:
    """End the delegations for which ``condition`` holds; return the rules that were disabled."""
    return [text for row in listed(change.session, condition) for text in _end(change, row)]


def _end(change: Change, row: DelegationRow) -> list[str]:
    under = rules.naming(change.session, models.RuleRow.delegation_id == row.id)
    disabled = [f"{rules.cite([rule])} was disabled" for rule in under if rule.disabled_at is None]
    for rule in under:
        rules.set_enabled(change, rule.id, enabled=False)
    orphans = update(models.RuleRow).where(models.RuleRow.delegation_id == row.id)
    change.session.execute(orphans.values(delegation_id=None, author_id=None))
    change.record("acl.undelegate", _target(row), before=described(row))
    change.session.delete(row)
    change.session.flush()
    return disabled


def get(session: Session, delegation_id: int) -> DelegationRow:
    """Return a delegation.

    Raises:
        NotFound: no delegation has that id.
    """
    row = session.get(DelegationRow, delegation_id)
    if row is None:
        raise NotFound(f"there is no delegation {delegation_id}; see `{program()} acl delegations`")
    return row


def listed(
    session: Session, condition: ColumnElement[bool] | None = None
) -> Sequence[DelegationRow]:
    """Return the delegations, or those for which ``condition`` holds, by id."""
    query = (
        select(DelegationRow)
        .options(joinedload(DelegationRow.group), joinedload(DelegationRow.for_registry))
        .order_by(DelegationRow.id)
    )
    return session.scalars(query if condition is None else query.where(condition)).all()


def held_by(session: Session, account: AccountRow) -> Sequence[DelegationRow]:
    """Return the delegations that an account has by its groups."""
    return listed(session, DelegationRow.group_id.in_([group.id for group in account.groups]))


def covered(session: Session, author: AccountRow, rule: Rule) -> Covered:
    """Find a delegation of ``author`` under which a rule may be written.

    Comparing patterns takes time: call it before the change, for which all other writers wait.
    The extent of a delegation never changes.

    Raises:
        Refused: no delegation of ``author`` covers the rule.
    """
    if rule.effect is not Effect.ALLOW:
        raise Refused("a delegate may write allows only")
    if strangers := [str(s) for s in rule.subjects if s.kind not in NAMED_SUBJECTS]:
        raise Refused(
            f"a delegate may write rules on accounts and groups only, not on {', '.join(strangers)}"
        )
    rows = held_by(session, author)
    for row in rows:
        if _covers(row, rule):
            return Covered(rule, row.id)
    bounds = "; ".join(str_delegation(row) for row in rows) or "none"
    raise Refused(f"none of your delegations covers this rule; you have: {bounds}")


def write(change: Change, author: AccountRow, new: Covered, comment: str = "") -> models.RuleRow:
    """Add a rule as a delegate.

    Raises:
        Refused: ``author`` lost the delegation.
    """
    _require_held(change.session, author, new)
    return rules.add(
        change, new.rule, comment, author_id=author.id, delegation_id=new.delegation_id
    )


def rewrite(
    change: Change, author: AccountRow, rule_id: int, new: Covered, comment: str | None = None
) -> tuple[models.RuleRow, bool]:
    """Rewrite a rule of a delegate, within a delegation.

    Raises:
        NotFound: there is no such rule.
        Refused: somebody else wrote the rule, or ``author`` lost the delegation.
    """
    own(change.session, author, rule_id)
    _require_held(change.session, author, new)
    return rules.edit(
        change, rule_id, new.rule, comment, author_id=author.id, delegation_id=new.delegation_id
    )


def own(session: Session, author: AccountRow, rule_id: int) -> models.RuleRow:
    """Return a rule that a delegate wrote and may still touch.

    Raises:
        NotFound: there is no such rule.
        Refused: somebody else wrote or changed it, or its delegation is not the author's any more.
    """
    row = rules.get(session, rule_id)
    if row.author_id != author.id:
        raise Refused(f"rule {rule_id} is not yours: a delegate may touch only what they wrote")
    if row.delegation_id not in {each.id for each in held_by(session, author)}:
        raise Refused(f"rule {rule_id} was written under a delegation that is yours no more")
    return row


def switch(change: Change, author: AccountRow, rule_id: int, *, enabled: bool) -> bool:
    """Enable or disable a rule of a delegate; False if it was so already.

    Raises:
        NotFound: there is no such rule.
        Refused: as :func:`own`.
    """
    row = own(change.session, author, rule_id)
    return rules.set_enabled(
        change, rule_id, enabled=enabled, author_id=author.id, delegation_id=row.delegation_id
    )


def _require_held(session: Session, author: AccountRow, new: Covered) -> None:
    if new.delegation_id not in {each.id for each in held_by(session, author)}:
        raise Refused("the delegation that covers this rule is yours no more")


def _covers(row: DelegationRow, rule: Rule) -> bool:
    bounds, number = [Pattern(row.pattern)], len(rule.patterns)
    return (
        rule.type == _REPOSITORY
        and rule.service == row.for_registry.service
        and expand(rule.type, rule.actions) <= expand(rule.type, row.actions.split(","))
        and all(within(pattern, bounds, share=number) for pattern in rule.patterns)
    )


def str_delegation(row: DelegationRow) -> str:
    return f"{row.actions} within {row.pattern} on {row.for_registry.service}"


def described(row: DelegationRow) -> dict[str, Any]:
    """Return the delegation for ``--json`` and for audit records."""
    return {
        "id": row.id,
        "group": row.group.name,
        "registry": row.for_registry.service,
        "pattern": row.pattern,
        "actions": row.actions.split(","),
        "comment": row.comment,
        "created_by": row.created_by,
        "created_at": row.created_at.isoformat(),
    }


def _target(row: DelegationRow) -> str:
    return f"group:{row.group.name} delegation:{row.id}"


def _like(session: Session, row: DelegationRow) -> DelegationRow | None:
    return next(
        iter(
            listed(
                session,
                (DelegationRow.group_id == row.group.id)
                & (DelegationRow.registry_id == row.for_registry.id)
                & (DelegationRow.pattern == row.pattern)
                & (DelegationRow.actions == row.actions),
            )
        ),
        None,
    )
