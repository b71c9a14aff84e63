"""ACL rules in the store."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, joinedload

from authserver.core import policy
from authserver.core.errors import NotFound, Refused
from authserver.core.patterns import Pattern
from authserver.core.policy import Effect, Subject, SubjectKind
from authserver.db import named
from authserver.db.models import Rule
from authserver.db.store import Change

_LOADED = (joinedload(Rule.account), joinedload(Rule.group), joinedload(Rule.for_registry))


def add(
    change: Change,
    effect: Effect,
    subject: Subject,
    pattern: str,
    actions: str,
    *,
    resource_type: str = "repository",
    service: str | None = None,
    comment: str = "",
) -> Rule:
    """Add a rule; ``service`` None means every registry.

    Raises:
        NotFound: the subject or the registry does not exist.
        Refused: the pattern, an action or the comment is no good, or the same rule is there
            already.
    """
    if not comment.isprintable():
        raise Refused("a comment is one line of printable text")
    row = _made(change.session, effect, subject, pattern, actions, resource_type, service)
    if found := _like(change.session, row):
        raise Refused(f"that rule is there already: {found.id} ({as_rule(found)})")
    row.comment, row.created_by, row.created_at = comment, change.actor, change.at
    change.session.add(row)
    change.session.flush()
    change.record(f"acl.{effect}", f"rule:{row.id}", after=described(row))
    return row


def same(
    session: Session, effect: Effect, subject: Subject, pattern: str, actions: str
) -> Rule | None:
    """Return the rule on repositories of every registry that says this already, if there is one.

    Raises what :func:`add` raises.
    """
    return _like(session, _made(session, effect, subject, pattern, actions, "repository", None))


def _made(
    session: Session,
    effect: Effect,
    subject: Subject,
    pattern: str,
    actions: str,
    resource_type: str,
    service: str | None,
) -> Rule:
    row = Rule(
        effect=effect,
        subject_kind=subject.kind,
        resource_type=resource_type,
        pattern=str(policy.rule_pattern(resource_type, pattern)),
        actions=_stored(resource_type, policy.rule_actions(effect, resource_type, actions)),
    )
    if subject.kind is SubjectKind.GROUP:
        row.group_id = named.group(session, subject.name).id
    elif subject.name:
        row.account_id = named.account(session, subject.name, subject.kind).id
    if service is not None:
        row.registry_id = named.registry(session, service).id
    return row


def _like(session: Session, row: Rule) -> Rule | None:
    return session.scalars(
        select(Rule).where(
            Rule.effect == row.effect,
            Rule.subject_kind == row.subject_kind,
            Rule.account_id == row.account_id,
            Rule.group_id == row.group_id,
            Rule.registry_id == row.registry_id,
            Rule.resource_type == row.resource_type,
            Rule.pattern == row.pattern,
            Rule.actions == row.actions,
        )
    ).first()


def remove(change: Change, rule_id: int) -> str:
    """Remove one rule and return what it said.

    Raises:
        NotFound: there is no rule of that id.
    """
    row = change.session.get(Rule, rule_id, options=_LOADED)
    if row is None:
        raise NotFound(f"there is no rule {rule_id}; see `authserver acl list`")
    return delete(change, row)


def delete(change: Change, row: Rule) -> str:
    """Remove a rule that was loaded already and return what it said."""
    said = f"{row.id} ({as_rule(row)})"
    change.record("acl.remove", f"rule:{row.id}", before=described(row))
    change.session.delete(row)
    change.session.flush()
    return said


def listed(
    session: Session, subject: Subject | None = None, pattern: str | None = None
) -> list[Rule]:
    """Return the rules, of one subject or with one pattern if asked, by id."""
    rows = session.scalars(select(Rule).options(*_LOADED).order_by(Rule.id))
    return [
        row for row in rows if subject in (None, subject_of(row)) and pattern in (None, row.pattern)
    ]


def naming(session: Session, condition: ColumnElement[bool]) -> Sequence[Rule]:
    """Return the rules for which ``condition`` holds."""
    return session.scalars(select(Rule).options(*_LOADED).where(condition).order_by(Rule.id)).all()


def refuse_denies(rows: Sequence[Rule], what: str, *, force: bool) -> None:
    """Check that nothing is taken away that a deny among ``rows`` rests on.

    Raises:
        Refused: there is one, and ``force`` is not set; ``what`` begins the message.
    """
    denies = [row for row in rows if row.effect == Effect.DENY]
    if denies and not force:
        raise Refused(f"{what}: {cite(denies)}; remove these rules first, or say --force")


def cite(rows: Sequence[Rule]) -> str:
    """Return the rules for a message."""
    return "; ".join(f"{row.id} ({as_rule(row)})" for row in rows)


def subject_of(row: Rule) -> Subject:
    named = row.account or row.group
    return Subject(SubjectKind(row.subject_kind), named.name if named else "")


def as_rule(row: Rule) -> policy.Rule:
    """Return the row as the policy knows it."""
    return policy.Rule(
        id=row.id,
        effect=Effect(row.effect),
        subject=subject_of(row),
        pattern=Pattern(row.pattern),
        actions=frozenset(row.actions.split(",")),
        type=row.resource_type,
        service=row.for_registry.service if row.for_registry else None,
    )


def described(row: Rule) -> dict[str, Any]:
    """Return the rule for ``--json`` and for audit records."""
    return {
        "id": row.id,
        "effect": row.effect,
        "subject": str(subject_of(row)),
        "type": row.resource_type,
        "pattern": row.pattern,
        "actions": row.actions.split(","),
        "registry": row.for_registry.service if row.for_registry else None,
        "comment": row.comment,
        "created_by": row.created_by,
        "created_at": row.created_at.isoformat(),
    }


def _stored(resource_type: str, actions: frozenset[str]) -> str:
    return ",".join(policy.in_order(resource_type, actions))
