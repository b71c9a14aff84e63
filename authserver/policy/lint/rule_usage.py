"""Read what the store knows of rules besides their content: age, authors, use."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session, aliased

from authserver.audit.records import MAX_RULES
from authserver.db import delegations
from authserver.db.models import AccountRow, DelegationRow, MembershipRow, RuleRow, TokenRecord


@dataclass(frozen=True, slots=True)
class RuleDates:
    """When a rule was last written, and when it was disabled."""

    since: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DelegationStanding:
    """A delegation in words, whether its group is empty, and rules whose authors left the group.

    ``strangers`` maps the id of such a rule to its author.
    """

    id: int
    group: str
    text: str
    empty: bool
    strangers: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class RuleUse:
    """Which rules token requests touched, by the audit records.

    ``since`` is the time of the first record, None without records. A record names only its first
    rules: from the id ``sure_below`` on, a rule may have been touched without being named.
    """

    since: datetime | None
    touched: frozenset[int]
    sure_below: int | None = None


@dataclass(frozen=True, slots=True)
class RuleUpkeep:
    """All of this. ``ownerless`` are robots that are disabled only through their disabled owner."""

    written: Mapping[int, RuleDates]
    delegations: Sequence[DelegationStanding]
    ownerless: frozenset[str]
    use: RuleUse


def load(session: Session, since: datetime) -> RuleUpkeep:
    """Read the upkeep of all rules, with the records of token requests from ``since`` on."""
    columns = (RuleRow.id, RuleRow.created_at, RuleRow.edited_at, RuleRow.disabled_at)
    return RuleUpkeep(
        written={
            row.id: RuleDates(row.edited_at or row.created_at, row.disabled_at)
            for row in session.execute(select(*columns))
        },
        delegations=list(_delegated(session)),
        ownerless=frozenset(_ownerless(session)),
        use=_use(session, since),
    )


def _delegated(session: Session) -> Iterator[DelegationStanding]:
    peopled = set(session.scalars(select(MembershipRow.group_id).distinct()))
    strangers = _strangers(session)
    for row in delegations.listed(session):
        yield DelegationStanding(
            id=row.id,
            group=row.group.name,
            text=delegations.str_delegation(row),
            empty=row.group_id not in peopled,
            strangers=strangers[row.id],
        )


def _strangers(session: Session) -> defaultdict[int, dict[int, str]]:
    """Return, by delegation and rule, the authors who are not in the delegation's group."""
    member = exists().where(
        MembershipRow.group_id == DelegationRow.group_id, MembershipRow.account_id == AccountRow.id
    )
    query = (
        select(DelegationRow.id, RuleRow.id, AccountRow.name)
        .join(RuleRow, RuleRow.delegation_id == DelegationRow.id)
        .join(AccountRow, RuleRow.author_id == AccountRow.id)
        .where(~member)
    )
    found: defaultdict[int, dict[int, str]] = defaultdict(dict)
    for delegation_id, rule_id, name in session.execute(query):
        found[delegation_id][rule_id] = name
    return found


def _ownerless(session: Session) -> Iterator[str]:
    owner = aliased(AccountRow)
    query = select(AccountRow.name).join(owner, AccountRow.owner_id == owner.id)
    yield from session.scalars(
        query.where(
            AccountRow.disabled_at.is_(None),
            owner.disabled_at.is_not(None),
            AccountRow.outlives_owner.is_(False),
        )
    )


def _use(session: Session, since: datetime) -> RuleUse:
    # Records without rules may come from a version that did not store rules.
    first = select(TokenRecord.at).where(TokenRecord.at >= since, TokenRecord.rules != "")
    begins = session.scalars(first.order_by(TokenRecord.at).limit(1)).first()
    distinct = select(TokenRecord.rules).where(TokenRecord.at >= since).distinct()
    touched: set[int] = set()
    sure_below: int | None = None
    for text in session.scalars(distinct):
        # Ignore words that are not ids: `audit verify` reports altered records.
        cited = [int(word) for word in str(text).split() if word.isdecimal()]
        touched.update(cited)
        if len(cited) >= MAX_RULES:
            sure_below = min(cited[-1], sure_below or cited[-1])
    return RuleUse(begins, frozenset(touched), sure_below)
