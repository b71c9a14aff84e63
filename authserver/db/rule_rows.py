"""Stored rules, as :class:`core.rules.Rule` and as ``--json`` and audit records have them."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core import rules
from authserver.core.patterns import ACCOUNT, Pattern
from authserver.core.rules import Effect
from authserver.core.subjects import Subject, SubjectKind
from authserver.db.models import (
    AccountRow,
    AppTokenRow,
    GroupRow,
    RegistryRow,
    RuleRow,
    RuleSubjectRow,
)

# No more rows than these are in memory beside the rules that are made of them.
STREAMED = {"yield_per": 1000}

# The columns of a rule that decisions depend on.
_SAYING = (
    RuleRow.id,
    RuleRow.effect,
    RuleRow.resource_type,
    RuleRow.patterns,
    RuleRow.actions,
    RuleRow.conditions,
    RuleRow.disabled_at,
)


def any_by_name(session: Session) -> bool:
    """Whether a rule or an app token covers repositories by the account's name."""
    patterns = session.scalars(select(RuleRow.patterns))
    ceilings = session.scalars(select(AppTokenRow.ceiling))
    return any(ACCOUNT in text for texts in (*patterns, *ceilings) for text in texts or ())


def subjects_of(row: RuleRow) -> tuple[Subject, ...]:
    return tuple(sorted(map(_subject, row.subjects), key=str))


def _subject(row: RuleSubjectRow) -> Subject:
    about = row.account or row.group
    return Subject(SubjectKind(row.kind), about.name if about else "")


def as_rule(row: RuleRow) -> rules.Rule:
    """Return the rule of a row."""
    service = row.for_registry.service if row.for_registry else None
    return _rule(row, subjects_of(row), service)


def load(session: Session, ids: Collection[int] | None = None) -> tuple[rules.Rule, ...]:
    """Return the rules by id, without an ORM object for each row.

    ``ids`` None means all of them.
    """
    about: defaultdict[int, list[Subject]] = defaultdict(list)
    subjects = (
        select(RuleSubjectRow.rule_id, RuleSubjectRow.kind, AccountRow.name, GroupRow.name)
        .outerjoin(AccountRow, RuleSubjectRow.account_id == AccountRow.id)
        .outerjoin(GroupRow, RuleSubjectRow.group_id == GroupRow.id)
    )
    query = (
        select(*_SAYING, RegistryRow.service).outerjoin(RuleRow.for_registry).order_by(RuleRow.id)
    )
    if ids is not None:
        subjects, query = (
            subjects.where(RuleSubjectRow.rule_id.in_(ids)),
            query.where(RuleRow.id.in_(ids)),
        )
    for rule_id, kind, account, group in session.execute(subjects, execution_options=STREAMED):
        about[rule_id].append(_named(kind, account or group or ""))
    with session.execute(query, execution_options=STREAMED) as rows:
        return tuple(_rule(row, tuple(sorted(about[row.id], key=str)), row.service) for row in rows)


# Thousands of rules share a few subjects and sets of actions.
_named = lru_cache(maxsize=4096)(lambda kind, name: Subject(SubjectKind(kind), name))
_actions = lru_cache(maxsize=64)(lambda text: frozenset(text.split(",")))


def _rule(row: Any, subjects: tuple[Subject, ...], service: str | None) -> rules.Rule:  # noqa: ANN401 - an object or its columns
    return rules.Rule(
        id=row.id,
        effect=Effect(row.effect),
        subjects=subjects,
        patterns=tuple(map(Pattern, row.patterns)),
        actions=_actions(row.actions),
        type=intern(row.resource_type),
        service=service and intern(service),
        conditions=row.conditions,
        enabled=row.disabled_at is None,
    )


def described(row: RuleRow) -> dict[str, Any]:
    """Return the rule for ``--json``."""
    return {
        "id": row.id,
        "effect": row.effect,
        "subjects": list(map(str, subjects_of(row))),
        "type": row.resource_type,
        "patterns": row.patterns,
        "actions": row.actions.split(","),
        "registry": row.for_registry.service if row.for_registry else None,
        **row.conditions.as_json(),
        "enabled": row.disabled_at is None,
        "comment": row.comment,
        "delegation": row.delegation_id,
        "created_by": row.created_by,
        "created_at": row.created_at.isoformat(),
        "edited_by": row.edited_by,
        "edited_at": _iso(row.edited_at),
    }


def recorded(row: RuleRow) -> dict[str, Any]:
    """Return the rule for audit records: with the id of the delegate who wrote it, if one did."""
    return described(row) | ({} if row.author_id is None else {"author": row.author_id})


def is_about(row: RuleRow, pattern: str | None, name: str | None) -> bool:
    """Whether a rule has exactly this pattern and covers this repository; None: whatever."""
    if pattern is not None and pattern not in row.patterns:
        return False
    if name is None:
        return True
    of_repositories = row.resource_type == "repository"
    return of_repositories and any(Pattern(text).may_match(name) for text in row.patterns)


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
