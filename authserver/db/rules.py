"""ACL rules in the store: writing, editing and removing them, and finding duplicates."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session, joinedload, selectinload

from authserver.core import rules
from authserver.core.commands import program
from authserver.core.errors import NotFound, Refused
from authserver.core.names import one_line, repository_name
from authserver.core.rules import Effect, in_order
from authserver.core.subjects import Subject, SubjectKind
from authserver.db import lists, lookup, rule_rows
from authserver.db.lists import Window
from authserver.db.models import AccountRow, GroupRow, RuleRow, RuleSubjectRow
from authserver.db.store import Change

_Identity = tuple[str, int | None, int | None]

_LOADED = (
    selectinload(RuleRow.subjects).options(
        joinedload(RuleSubjectRow.account), joinedload(RuleSubjectRow.group)
    ),
    joinedload(RuleRow.for_registry),
)


def add(
    change: Change,
    rule: rules.Rule,
    comment: str = "",
    *,
    author_id: int | None = None,
    delegation_id: int | None = None,
) -> RuleRow:
    """Add a rule that :func:`authserver.core.rules.new_rule` returned; the store numbers it.

    Raises:
        NotFound: a subject or the registry does not exist.
        Refused: the comment is not one line, or the same rule exists already.
    """
    row = _new(change, rule, comment)
    row.author_id, row.delegation_id = author_id, delegation_id
    refuse_duplicate(change.session, row)
    change.session.add(row)
    change.session.flush()
    _record_new(change, row)
    return row


def add_all(change: Change, written: Sequence[tuple[rules.Rule, str]]) -> None:
    """Add many rules, each with its comment, as :func:`add` does, with fewer queries.

    Raises what :func:`add` raises.
    """
    there = {_comparable(rule): rule for rule in rule_rows.load(change.session)}
    rows = []
    for rule, comment in written:
        if (same := there.get(_comparable(rule))) is not None:
            raise Refused(f"that rule is there already: {same.id} ({same})")
        there[_comparable(rule)] = rule
        rows.append(_new(change, rule, comment))
    change.session.add_all(rows)
    change.session.flush()
    for row in rows:
        _record_new(change, row)


def _new(change: Change, rule: rules.Rule, comment: str) -> RuleRow:
    row = RuleRow(
        created_by=change.actor, created_at=change.at, comment=one_line(comment, "a comment")
    )
    row.disabled_at = None if rule.enabled else change.at
    fill(change.session, row, rule)
    return row


def _record_new(change: Change, row: RuleRow) -> None:
    change.record(f"acl.{row.effect}", f"rule:{row.id}", after=rule_rows.recorded(row))


def _comparable(rule: rules.Rule) -> rules.Rule:
    """Return the rule without what duplicates may differ in: id and being enabled."""
    return replace(rule, id=0, enabled=True)


def edit(
    change: Change,
    rule_id: int,
    rule: rules.Rule,
    comment: str | None = None,
    *,
    author_id: int | None = None,
    delegation_id: int | None = None,
) -> tuple[RuleRow, bool]:
    """Rewrite a rule; return it and whether anything changed.

    The rule belongs to its editor from then on: a delegate loses a rule that an administrator
    changes. It stays enabled or disabled.

    Raises:
        NotFound: there is no such rule, or a subject or the registry does not exist.
        Refused: the comment is not one line, or another rule says the same already.
    """
    row = get(change.session, rule_id)
    before = rule_rows.recorded(row)
    wanted = row.comment if comment is None else one_line(comment, "a comment")
    with change.session.no_autoflush:
        if not _differs(row, rule) and wanted == row.comment:
            return row, False
        row.comment = wanted
        fill(change.session, row, rule)
        refuse_duplicate(change.session, row)
    _edited(change, row, author_id, delegation_id)
    change.record("acl.edit", f"rule:{row.id}", before=before, after=rule_rows.recorded(row))
    return row, True


def edit_all(change: Change, wanted: Sequence[tuple[rules.Rule, str]]) -> None:
    """Rewrite many rules, each with its comment, and enable or disable them.

    This does what :func:`edit` and :func:`set_enabled` do, with fewer queries. Two rules may swap
    what they say.

    Raises what they raise.
    """
    there = {row.id: row for row in listed(change.session)}
    with change.session.no_autoflush:
        for rule, comment in wanted:
            if rule.id not in there:
                raise NotFound(f"there is no rule {rule.id}; see `{program()} acl list`")
            _edit_known(change, there[rule.id], rule, one_line(comment, "a comment"))
    change.session.flush()
    _refuse_same(rule_rows.load(change.session))


def _edit_known(change: Change, row: RuleRow, rule: rules.Rule, comment: str) -> None:
    before = rule_rows.recorded(row)
    if _differs(row, rule) or comment != row.comment:
        row.comment = comment
        fill(change.session, row, rule)
        _edited(change, row, None, None)
        change.record("acl.edit", f"rule:{row.id}", before=before, after=rule_rows.recorded(row))
    _switch(change, row, None, None, enabled=rule.enabled)


def _refuse_same(there: Iterable[rules.Rule]) -> None:
    known: dict[rules.Rule, rules.Rule] = {}
    for rule in there:
        same = known.setdefault(_comparable(rule), rule)
        if same is not rule:
            raise Refused(f"rules {same.id} and {rule.id} would say the same: {rule}")


def set_enabled(
    change: Change,
    rule_id: int,
    *,
    enabled: bool,
    author_id: int | None = None,
    delegation_id: int | None = None,
) -> bool:
    """Enable or disable a rule; False if it was so already. It belongs to its editor then.

    Raises:
        NotFound: there is no rule of that id.
    """
    row = get(change.session, rule_id)
    return _switch(change, row, author_id, delegation_id, enabled=enabled)


def _switch(
    change: Change, row: RuleRow, author_id: int | None, delegation_id: int | None, *, enabled: bool
) -> bool:
    if (row.disabled_at is None) == enabled:
        return False
    before, action = rule_rows.recorded(row), "enable" if enabled else "disable"
    _edited(change, row, author_id, delegation_id)
    row.disabled_at = None if enabled else change.at
    after = rule_rows.recorded(row)
    change.record(f"acl.{action}", f"rule:{row.id}", before=before, after=after)
    return True


def remove(change: Change, rule_id: int) -> str:
    """Remove one rule and return its text.

    Raises:
        NotFound: there is no rule of that id.
    """
    return delete(change, get(change.session, rule_id))


def delete(change: Change, row: RuleRow) -> str:
    """Remove a rule that is loaded already and return its text."""
    text = cite([row])
    change.record("acl.remove", f"rule:{row.id}", before=rule_rows.recorded(row))
    change.session.delete(row)
    change.session.flush()
    return text


def remove_all(change: Change, rule_ids: Sequence[int]) -> None:
    """Remove many rules.

    Raises:
        NotFound: there is no rule of one of these ids.
    """
    there = {row.id: row for row in listed(change.session)}
    for rule_id in rule_ids:
        if rule_id not in there:
            raise NotFound(f"there is no rule {rule_id}; see `{program()} acl list`")
        change.record("acl.remove", f"rule:{rule_id}", before=rule_rows.recorded(there[rule_id]))
        change.session.delete(there[rule_id])
    change.session.flush()


def unname(change: Change, rows: Sequence[RuleRow], gone: ColumnElement[bool]) -> list[str]:
    """Remove the subject for which ``gone`` holds from rules; return, in words, the effects.

    A rule without another subject is removed, and a rule that then duplicates another.
    """
    going = set(change.session.scalars(select(RuleSubjectRow.id).where(gone)))
    return [_without(change, row, going) for row in rows]


def _without(change: Change, row: RuleRow, going: set[int]) -> str:
    kept = [subject for subject in row.subjects if subject.id not in going]
    if not kept:
        return f"{delete(change, row)} was removed"
    same = _like(change.session, row, _identities(kept))
    if same is not None and (same.disabled_at is None or row.disabled_at is not None):
        return f"{delete(change, row)} was removed: rule {same.id} says the same without it"
    # Of the two duplicates the enabled one stays.
    also = "" if same is None else f"; {delete(change, same)} was removed, as it says the same"
    before = rule_rows.recorded(row)
    row.subjects = kept
    change.session.flush()
    change.record("acl.edit", f"rule:{row.id}", before=before, after=rule_rows.recorded(row))
    return f"{cite([row])} names it no more{also}"


def get(session: Session, rule_id: int) -> RuleRow:
    """Return a rule.

    Raises:
        NotFound: no rule has that id.
    """
    row = session.get(RuleRow, rule_id, options=_LOADED)
    if row is None:
        raise NotFound(f"there is no rule {rule_id}; see `{program()} acl list`")
    return row


def same(session: Session, rule: rules.Rule) -> RuleRow | None:
    """Return the stored rule that says the same, if there is one.

    Raises:
        NotFound: a subject or the registry does not exist.
    """
    row = RuleRow()
    fill(session, row, rule)
    return _like(session, row)


def listed(
    session: Session,
    subject: Subject | None = None,
    pattern: str | None = None,
    *,
    covers: str | None = None,
    author_id: int | None = None,
    window: Window = lists.ALL,
) -> Sequence[RuleRow]:
    """Return the rules, by id unless sorted.

    They are filtered by subject, by exactly this pattern, by a repository that they cover for some
    account, and by author.

    Raises:
        Refused: ``covers`` is no repository name.
    """
    if covers is not None:
        repository_name(covers)
    query = select(RuleRow).options(*_LOADED)
    if author_id is not None:
        query = query.where(RuleRow.author_id == author_id)
    if subject is not None:
        query = query.where(RuleRow.subjects.any(_is(subject)))
    if pattern is None and covers is None:
        return session.scalars(lists.RULES.within(query, window)).all()
    rows = session.scalars(lists.RULES.within(query, replace(window, limit=None)))
    return [row for row in rows if rule_rows.is_about(row, pattern, covers)][: window.limit]


def _is(subject: Subject) -> ColumnElement[bool]:
    of_kind = RuleSubjectRow.kind == subject.kind
    if subject.kind is SubjectKind.GROUP:
        return of_kind & RuleSubjectRow.group.has(GroupRow.name == subject.name)
    if subject.name:
        return of_kind & RuleSubjectRow.account.has(AccountRow.name == subject.name)
    return of_kind


def naming(session: Session, condition: ColumnElement[bool]) -> Sequence[RuleRow]:
    """Return the rules for which ``condition``, on a rule or one of its subjects, holds."""
    query = _query().join(RuleRow.subjects).where(condition).distinct()
    return session.scalars(query).unique().all()


def _query() -> Select[RuleRow]:
    return select(RuleRow).options(*_LOADED).order_by(RuleRow.id)


def refuse_denies(rows: Sequence[RuleRow], what: str, *, force: bool) -> None:
    """Check that no deny among ``rows`` would lose a subject.

    Raises:
        Refused: there is a deny and ``force`` is not set; ``what`` begins the message.
    """
    denies = [row for row in rows if row.effect == Effect.DENY]
    if denies and not force:
        raise Refused(f"{what}: {cite(denies)}; remove these rules first, or say --force")


def cite(rows: Sequence[RuleRow]) -> str:
    """Return the ids and texts of rules for a message."""
    return "; ".join(f"{row.id} ({rule_rows.as_rule(row)})" for row in rows)


def fill(session: Session, row: RuleRow, rule: rules.Rule) -> None:
    """Write a rule into its row."""
    registry = None if rule.service is None else lookup.registry(session, rule.service)
    row.registry_id, row.for_registry = registry.id if registry else None, registry
    row.effect, row.resource_type = rule.effect, rule.type
    row.patterns = [str(pattern) for pattern in rule.patterns]
    row.actions = ",".join(in_order(rule.type, rule.actions))
    row.conditions = rule.conditions
    row.subjects = list(_subjects(session, rule.subjects))


def _subjects(session: Session, about: Sequence[Subject]) -> Iterator[RuleSubjectRow]:
    for subject in about:
        is_group = subject.kind is SubjectKind.GROUP
        group = lookup.group(session, subject.name) if is_group else None
        is_account = subject.name and not is_group
        account = lookup.account(session, subject.name, subject.kind) if is_account else None
        yield RuleSubjectRow(
            kind=subject.kind,
            account=account,
            account_id=account and account.id,
            group=group,
            group_id=group and group.id,
        )


def _differs(row: RuleRow, rule: rules.Rule) -> bool:
    old = rule_rows.as_rule(row)
    return any(
        getattr(old, part) != getattr(rule, part)
        for part in ("effect", "subjects", "patterns", "actions", "type", "service", "conditions")
    )


def _edited(change: Change, row: RuleRow, author_id: int | None, delegation_id: int | None) -> None:
    row.edited_by, row.edited_at = change.actor, change.at
    row.author_id, row.delegation_id = author_id, delegation_id


def refuse_duplicate(session: Session, row: RuleRow) -> None:
    """Raise Refused if another rule says the same, enabled or not."""
    if (found := _like(session, row)) is not None:
        hint = (
            "" if found.disabled_at is None else f"; enable it: {program()} acl enable {found.id}"
        )
        raise Refused(f"that rule is there already: {cite([found])}{hint}")


def _like(session: Session, row: RuleRow, about: set[_Identity] | None = None) -> RuleRow | None:
    """Return another rule that says the same about ``about``, enabled or not."""
    about = _identities(row.subjects) if about is None else about
    with session.no_autoflush:
        alike = session.scalars(
            _query().where(
                RuleRow.id != (row.id or 0),
                RuleRow.effect == row.effect,
                RuleRow.registry_id == row.registry_id,
                RuleRow.resource_type == row.resource_type,
                RuleRow.patterns == row.patterns,
                RuleRow.actions == row.actions,
                RuleRow.conditions == row.conditions,
            )
        )
        return next((other for other in alike if _identities(other.subjects) == about), None)


def _identities(about: Sequence[RuleSubjectRow]) -> set[_Identity]:
    return {(subject.kind, subject.account_id, subject.group_id) for subject in about}
