"""Delegations: leave for a group's members to write rules within bounds, and what they write."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session, joinedload

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
    """What a delegation reaches to: names within a pattern, and actions on them."""

    pattern: Pattern
    actions: frozenset[str]


def extent(pattern: str, actions: str) -> Extent:
    """Read what a delegation reaches to; before the change, in which others have to wait.

    Raises:
        Refused: the pattern or an action is no good.
    """
    return Extent(
        rule_pattern(_REPOSITORY, pattern), rule_actions(Effect.ALLOW, _REPOSITORY, actions)
    )


@dataclass(frozen=True, slots=True)
class Covered:
    """A rule that a delegation covers; :func:`covered` finds out which."""

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
        if found := _like(change.session, row):
            raise Refused(f"that delegation is there already: {found.id}")
    change.session.add(row)
    change.session.flush()
    change.record("acl.delegate", _target(row), after=described(row))
    return row


def comment(change: Change, delegation_id: int, text: str) -> bool:
    """Say why a delegation is there; False if it said so already.

    Raises:
        NotFound: there is no such delegation.
        Refused: the comment is no good.
    """
    row = get(change.session, delegation_id)
    if row.comment == text:
        return False
    before = described(row)
    row.comment = one_line(text, "a comment")
    change.record("acl.delegation-edit", _target(row), before=before, after=described(row))
    return True


def end(change: Change, delegation_id: int) -> list[str]:
    """End a delegation and disable what was written under it; return those rules.

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
        raise NotFound(f"there is no delegation {delegation_id}; see `authserver acl delegations`")
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


def covered(session: Session, author: AccountRow, said: Rule) -> Covered:
    """Find a delegation of ``author`` under which a rule may be written.

    It takes time to tell: ask before the change, in which others have to wait. What a delegation
    reaches to never changes.

    Raises:
        Refused: no delegation covers it.
    """
    if said.effect is not Effect.ALLOW:
        raise Refused("a delegate may write allows only")
    if strangers := [str(s) for s in said.subjects if s.kind not in NAMED_SUBJECTS]:
        raise Refused(
            f"a delegate may write rules on accounts and groups only, not on {', '.join(strangers)}"
        )
    held = held_by(session, author)
    for row in held:
        if _covers(row, said):
            return Covered(said, row.id)
    bounds = "; ".join(str_delegation(row) for row in held) or "none"
    raise Refused(f"none of your delegations covers this rule; you have: {bounds}")


def write(change: Change, author: AccountRow, new: Covered, comment: str = "") -> models.RuleRow:
    """Add a rule as a delegate.

    Raises:
        Refused: the delegation is not ``author``'s any more.
    """
    _require_held(change.session, author, new)
    return rules.add(
        change, new.rule, comment, author_id=author.id, delegation_id=new.delegation_id
    )


def rewrite(
    change: Change, author: AccountRow, rule_id: int, new: Covered, comment: str | None = None
) -> tuple[models.RuleRow, bool]:
    """Have one's own rule say something else, within a delegation.

    Raises:
        NotFound: there is no such rule.
        Refused: it is not one's own, or the delegation is not ``author``'s any more.
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
    if row.delegation_id not in {held.id for held in held_by(session, author)}:
        raise Refused(f"rule {rule_id} was written under a delegation that is yours no more")
    return row


def switch(change: Change, author: AccountRow, rule_id: int, *, enabled: bool) -> bool:
    """Enable or disable one's own rule; False if it was so already.

    Raises:
        NotFound: there is no such rule.
        Refused: it is not one's own.
    """
    row = own(change.session, author, rule_id)
    return rules.set_enabled(
        change, rule_id, enabled=enabled, author_id=author.id, delegation_id=row.delegation_id
    )


def _require_held(session: Session, author: AccountRow, new: Covered) -> None:
    if new.delegation_id not in {held.id for held in held_by(session, author)}:
        raise Refused("the delegation that covers this rule is yours no more")


def _covers(row: DelegationRow, said: Rule) -> bool:
    bounds, number = [Pattern(row.pattern)], len(said.patterns)
    return (
        said.type == _REPOSITORY
        and said.service == row.for_registry.service
        and expand(said.type, said.actions) <= expand(said.type, row.actions.split(","))
        and all(within(pattern, bounds, share=number) for pattern in said.patterns)
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
