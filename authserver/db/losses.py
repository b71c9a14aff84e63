"""What goes with a thing that is removed, for the command line, the API and plans of policies."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session, joinedload

from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.db import rule_rows
from authserver.db.models import (
    AccountRow,
    AppTokenRow,
    AuthorityRow,
    ConsoleSessionRow,
    DelegationRow,
    GroupRow,
    InvitationRow,
    MembershipRow,
    RefreshTokenRow,
    RegistryRow,
    RuleRow,
    RuleSubjectRow,
    SecondFactorRow,
    SigningKeyRow,
    TokenRecord,
)

FIRST = 5
MAX_TEXT = 200
IN_USE = timedelta(days=1)

LATEST = 20_000
"""At most so many token records are read to find the registries in use."""

CREDENTIALS = ("app token", "login", "invitation", "second factor")

_AT_ONCE = 500

Removable = AccountRow | GroupRow | RegistryRow | AuthorityRow


@dataclass(frozen=True, slots=True)
class Loss:
    """Things of one kind that go: the kind, how many, and the first few of them."""

    what: str
    count: int
    first: tuple[str, ...]

    @property
    def number(self) -> str:
        """Return how many of what."""
        return f"{self.count:,} {self.what}{'' if self.count == 1 else 's'}"

    def __str__(self) -> str:
        more = self.count - len(self.first)
        rest = [f"… and {more:,} more"] if more else []
        return f"{self.number}: {'; '.join([*self.first, *rest])}"


def of(session: Session, rows: Sequence[Removable]) -> list[Loss]:
    """Return what goes with things of one kind when they are removed."""
    return _together(_of, session, rows)


def logins_of(session: Session, rows: Sequence[AccountRow] | Sequence[RegistryRow]) -> list[Loss]:
    """Return the docker logins of some accounts, or on some registries."""
    return _together(_logins_of, session, rows)


def console_logins_of(session: Session, rows: Sequence[AccountRow]) -> list[Loss]:
    """Return the console sessions of some accounts."""
    return _together(_console_logins_of, session, rows)


def invitations_of(session: Session, rows: Sequence[AccountRow]) -> list[Loss]:
    """Return the invitations of some accounts."""
    return _together(_invitations_of, session, rows)


def _together(
    find: Callable[[Session, Sequence[Removable]], Iterator[Loss]],
    session: Session,
    rows: Sequence[Removable],
) -> list[Loss]:
    losses: dict[str, Loss] = {}
    remaining = iter(rows)
    while batch := list(islice(remaining, _AT_ONCE)):
        for loss in find(session, batch):
            so_far = losses.get(loss.what, Loss(loss.what, 0, ()))
            first = (*so_far.first, *loss.first)[:FIRST]
            losses[loss.what] = Loss(loss.what, so_far.count + loss.count, first)
    return list(losses.values())


def _of(session: Session, rows: Sequence[Removable]) -> Iterator[Loss]:
    ids = [row.id for row in rows]
    match rows[0]:
        case AccountRow():
            yield from _rules(session, RuleRow.subjects.any(RuleSubjectRow.account_id.in_(ids)))
            yield from _app_tokens(session, AppTokenRow.account_id.in_(ids))
            yield from _logins(session, RefreshTokenRow.account_id.in_(ids))
            yield from _invitations_of(session, rows)
            factors = select(SecondFactorRow).where(SecondFactorRow.account_id.in_(ids))
            yield from _loss(session, "second factor", factors, lambda row: row.name)
        case GroupRow():
            yield from _rules(session, RuleRow.subjects.any(RuleSubjectRow.group_id.in_(ids)))
            yield from _delegations(session, DelegationRow.group_id.in_(ids))
            members = select(AccountRow).join(MembershipRow).where(MembershipRow.group_id.in_(ids))
            yield from _loss(session, "member", members, lambda row: f"{row.kind}:{row.name}")
        case RegistryRow():
            yield from _rules(session, RuleRow.registry_id.in_(ids))
            yield from _delegations(session, DelegationRow.registry_id.in_(ids))
            yield from _logins(session, RefreshTokenRow.registry_id.in_(ids))
            own = select(SigningKeyRow).where(
                SigningKeyRow.registry_id.in_(ids), SigningKeyRow.retired_at.is_(None)
            )
            yield from _loss(session, "signing key", own, lambda row: str(row.id))
        case AuthorityRow():
            trusting = select(RegistryRow).where(RegistryRow.confirmed_authority_id.in_(ids))
            yield from _loss(session, "confirmation", trusting, lambda row: row.service)


def _invitations_of(session: Session, rows: Sequence[Removable]) -> Iterator[Loss]:
    invited = (
        select(AccountRow).join(InvitationRow).where(AccountRow.id.in_([row.id for row in rows]))
    )
    return _loss(session, "invitation", invited, lambda row: row.name)


def _console_logins_of(session: Session, rows: Sequence[Removable]) -> Iterator[Loss]:
    query = (
        select(ConsoleSessionRow)
        .options(joinedload(ConsoleSessionRow.account))
        .where(ConsoleSessionRow.account_id.in_([row.id for row in rows]))
    )
    return _loss(
        session,
        "console session",
        query,
        lambda row: f"{row.id} ({row.account.name} from {row.created_address})",
    )


def _logins_of(session: Session, rows: Sequence[Removable]) -> Iterator[Loss]:
    account = isinstance(rows[0], AccountRow)
    whose = RefreshTokenRow.account_id if account else RefreshTokenRow.registry_id
    return _logins(session, whose.in_([row.id for row in rows]))


def _app_tokens(session: Session, condition: ColumnElement[bool]) -> Iterator[Loss]:
    """Give the app tokens for which a condition holds, if there are any."""
    query = select(AppTokenRow).options(joinedload(AppTokenRow.account)).where(condition)
    return _loss(
        session, "app token", query, lambda row: f"{row.id} ({row.name} of {row.account.name})"
    )


def _logins(session: Session, condition: ColumnElement[bool]) -> Iterator[Loss]:
    """Give the docker logins for which a condition holds, if there are any."""
    loaded = (joinedload(RefreshTokenRow.account), joinedload(RefreshTokenRow.for_registry))
    query = select(RefreshTokenRow).options(*loaded).where(condition)
    return _loss(
        session,
        "login",
        query,
        lambda row: f"{row.id} ({row.account.name} on {row.for_registry.service})",
    )


def _rules(session: Session, condition: ColumnElement[bool]) -> Iterator[Loss]:
    query = select(RuleRow).where(condition)
    return _loss(session, "rule", query, lambda row: f"{row.id} ({rule_rows.as_rule(row)})")


def _delegations(session: Session, condition: ColumnElement[bool]) -> Iterator[Loss]:
    query = select(DelegationRow).where(condition)
    return _loss(
        session,
        "delegation",
        query,
        lambda row: f"{row.id} ({row.pattern} on {row.for_registry.service} to {row.group.name})",
    )


def _loss(
    session: Session, what: str, query: Select[Any], text: Callable[[Any], str]
) -> Iterator[Loss]:
    (table,) = query.columns_clause_froms
    if count := session.scalar(select(func.count()).select_from(query.subquery())):
        rows = session.scalars(query.order_by(table.c.id).limit(FIRST))
        yield Loss(what, count, tuple(printable(text(row), MAX_TEXT) for row in rows))


def counts(losses: Iterable[Loss]) -> dict[str, int]:
    """Return the numbers, for an audit record."""
    return {f"{loss.what.replace(' ', '_')}s": loss.count for loss in losses}


def in_use(session: Session, now: datetime) -> frozenset[str]:
    """Return the registries that were asked for tokens in the past day.

    Of very many requests only the last LATEST count.
    """
    latest = (
        select(TokenRecord.service)
        .where(TokenRecord.at > now - IN_USE)
        .order_by(TokenRecord.at.desc())
        .limit(LATEST)
        .subquery()
    )
    used = select(RegistryRow.service).where(RegistryRow.service.in_(select(latest)))
    return frozenset(session.scalars(used))


def require_not_last(session: Session, row: RegistryRow, now: datetime) -> None:
    """Check that a registry is not the only one that is in use.

    Raises:
        Refused: it is.
    """
    if in_use(session, now) == {row.service}:
        raise Refused(f"{last_in_use(row.service)}; say --force")


def last_in_use(service: str) -> str:
    """Return why a registry is removed with force only."""
    return f"{service} is the only registry that was asked for tokens in the past day"
