"""The latest change of rules, and its undoing: from what the audit records of rules hold."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core.commands import program
from authserver.core.conditions import FIELDS
from authserver.core.errors import NotFound, Refused
from authserver.core.rules import Effect, Rule, new_rule
from authserver.core.subjects import Subject, SubjectKind, subject
from authserver.db import delegations, lookup, rule_rows, rules
from authserver.db.models import AccountRow, AuditRecord, DelegationRow, RuleRow
from authserver.db.store import Change

UNDO = "acl.undo"

ACTIONS = (
    "acl.allow",
    "acl.deny",
    "acl.edit",
    "acl.enable",
    "acl.disable",
    "acl.remove",
    UNDO,
)
"""The actions of records that tell a change of a rule."""

_RENAMES = ("user.rename", "robot.rename", "group.rename")

# One change of one rule writes two records at most: an edit, and whether it is enabled.
_TOO_MANY = 3

State = Mapping[str, Any]
"""A rule as :func:`rule_rows.recorded` returned it."""


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One change of one rule; ``before`` None made it, ``after`` None removed it.

    ``id`` is that of the latest of its audit records.
    """

    id: int
    at: datetime
    actor: str
    rule_id: int
    before: State | None
    after: State | None
    undoes: bool


def latest(session: Session, author: AccountRow | None = None) -> RuleChange:
    """Return the latest change of rules, or the latest of a delegate's.

    Raises:
        NotFound: no record tells of one.
        Refused: it cannot be undone: more than one rule changed, or other things with it; somebody
            else may touch the rule now; a subject or the registry is not what it was.
    """
    record = _latest(session, author)
    records = _together(session, record)
    first, last = records[0], records[-1]
    numbers = {_rule_id(each) for each in records if each.action in ACTIONS}
    strange = len(numbers) != 1 or any(each.action not in ACTIONS for each in records)
    if strange or len(records) == _TOO_MANY:
        raise Refused(
            f"the latest change of rules, by {record.actor}, changed more than one rule, or other "
            "things with it, and cannot be undone as one: apply a policy file of the former state "
            f"(`{program()} policy plan`, `{program()} policy apply`), or restore a backup"
        )
    if first.before is None and first.after is None:
        verb = "disable" if first.action == "acl.enable" else "enable"
        raise Refused(
            "the latest change of rules was recorded by an earlier version, without the rule's "
            f"state: {program()} acl {verb} {_rule_id(first)}"
        )
    done = RuleChange(
        last.id,
        last.at,
        last.actor,
        _rule_id(last),
        first.before,
        last.after,
        undoes=last.action == UNDO,
    )
    _require_as_left(session, done)
    _require_same_names(session, done, author)
    if author is not None:
        _require_own(session, done, author)
    return done


def _latest(session: Session, author: AccountRow | None) -> AuditRecord:
    query = select(AuditRecord).where(AuditRecord.action.in_(ACTIONS))
    if author is not None:
        # A name may have been another account's before.
        query = query.where(
            AuditRecord.actor == f"account:{author.name}", AuditRecord.at >= author.created_at
        )
    record = session.scalars(query.order_by(AuditRecord.id.desc()).limit(1)).first()
    if record is None:
        raise NotFound("there is no change of rules that could be undone")
    return record


def _together(session: Session, record: AuditRecord) -> Sequence[AuditRecord]:
    """Return the records of one transaction, oldest first; of many only some."""
    query = select(AuditRecord).where(
        AuditRecord.at == record.at, AuditRecord.actor == record.actor
    )
    return session.scalars(query.order_by(AuditRecord.id).limit(_TOO_MANY)).all()


def _rule_id(record: AuditRecord) -> int:
    return int(record.target.split()[0].removeprefix("rule:"))


def require_latest(session: Session, expected: int, author: AccountRow | None) -> RuleChange:
    """Return the latest change of rules, which has the id ``expected``.

    Raises:
        NotFound, Refused: as :func:`latest`; another change was made since.
    """
    done = latest(session, author)
    if done.id != expected:
        raise Refused(
            f"the latest change of rules is another one now, {done.id} and not {expected}: "
            "look at it first"
        )
    return done


def undo(change: Change, expected: int, author: AccountRow | None = None) -> RuleChange:
    """Undo the latest change of rules; return the change that was undone.

    ``expected`` is its id, as it was shown. A removed rule comes back under its id: it is the same
    rule, and ids are never given twice. An undone undo does the change again.

    Raises:
        NotFound, Refused: as :func:`latest`; another change was made since; a rule says the same.
    """
    done = require_latest(change.session, expected, author)
    after = _restored(change, done)
    change.record(
        UNDO, f"rule:{done.rule_id} change:{done.id}", before=_plain(done.after), after=after
    )
    return done


def _restored(change: Change, done: RuleChange) -> dict[str, Any] | None:
    session, state = change.session, done.before
    row = session.get(RuleRow, done.rule_id)
    if state is None:
        session.delete(row)
        session.flush()
        return None
    if row is None:
        created = datetime.fromisoformat(state["created_at"])
        row = RuleRow(id=done.rule_id, created_by=state["created_by"], created_at=created)
        row.disabled_at = None
    with session.no_autoflush:
        rules.fill(session, row, rule_of(state))
        row.comment = state["comment"]
        row.edited_by, row.edited_at = state["edited_by"], _time(state["edited_at"])
        row.author_id, row.delegation_id = _author(session, state), state["delegation"]
        row.disabled_at = None if state["enabled"] else row.disabled_at or change.at
        rules.refuse_duplicate(session, row)
    session.add(row)
    session.flush()
    return rule_rows.recorded(row)


def rule_of(state: State) -> Rule:
    """Return the rule of a record; its id is 0.

    Raises:
        Refused: this version takes no such rule.
    """
    try:
        return new_rule(
            Effect(state["effect"]),
            map(subject, state["subjects"]),
            state["patterns"],
            ",".join(state["actions"]),
            resource_type=state["type"],
            service=state["registry"],
            enabled=state["enabled"],
            **{name: _value(name, state) for name in FIELDS if state.get(name)},
        )
    except (KeyError, ValueError):
        raise Refused("the record of the change was written by another version") from None


def _value(name: str, state: State) -> Any:  # noqa: ANN401 - as new_rule takes it
    value = state[name]
    return value if isinstance(value, list) else datetime.fromisoformat(value)


def _require_as_left(session: Session, done: RuleChange) -> None:
    row = session.get(RuleRow, done.rule_id)
    there = None if row is None else json.loads(json.dumps(rule_rows.recorded(row)))
    if there is None or done.after is None:
        changed = there is not done.after
    else:
        changed = any(there.get(name) != value for name, value in done.after.items())
    if changed:
        raise Refused(f"rule {done.rule_id} is not as the latest change of it left it")


def _require_same_names(session: Session, done: RuleChange, author: AccountRow | None) -> None:
    """Check that names in the former state still mean what they meant: none was given anew."""
    names = set() if author is None else {f"{author.kind}:{author.name}"}
    if done.before is not None:
        delegation = done.before["delegation"]
        if delegation is not None and session.get(DelegationRow, delegation) is None:
            raise Refused(f"rule {done.rule_id} was written under a delegation that has ended")
        names.update(done.before["subjects"])
        for what, created in _named(session, done.before):
            if created > done.at:
                raise Refused(f"{what} is another one than rule {done.rule_id} named")
    renames = select(AuditRecord).where(AuditRecord.id > done.id, AuditRecord.action.in_(_RENAMES))
    for record in session.scalars(renames):
        new = f"{record.action.partition('.')[0]}:{(record.after or {}).get('name')}"
        if new in names:
            raise Refused(f"{new} was renamed since: it may be another one than was meant")


def _named(session: Session, state: State) -> Iterator[tuple[str, datetime]]:
    """Give what a rule names, each with the time at which it was made."""
    try:
        if state["registry"] is not None:
            registry = lookup.registry(session, state["registry"])
            yield f"registry {registry.service}", registry.created_at
        for each in map(subject, state["subjects"]):
            if each.name:
                yield str(each), _created_at(session, each)
    except NotFound as error:
        raise Refused(str(error)) from None


def _created_at(session: Session, named: Subject) -> datetime:
    if named.kind is SubjectKind.GROUP:
        return lookup.group(session, named.name).created_at
    return lookup.account(session, named.name, named.kind).created_at


def _require_own(session: Session, done: RuleChange, author: AccountRow) -> None:
    """Check that a delegate wrote the rule, before and after, and may still touch it."""
    if done.after is not None:
        delegations.own(session, author, done.rule_id)
    if done.before is not None:
        held = {each.id for each in delegations.held_by(session, author)}
        if done.before.get("author") != author.id or done.before["delegation"] not in held:
            raise Refused(f"rule {done.rule_id} was not yours, or its delegation is yours no more")


def _author(session: Session, state: State) -> int | None:
    author = session.get(AccountRow, state.get("author", 0))
    return None if author is None else author.id


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _plain(state: State | None) -> dict[str, Any] | None:
    return None if state is None else dict(state)
