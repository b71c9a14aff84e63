"""The rows of a snapshot: what ``db.snapshot`` reads, all of it or by ids."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from authserver.core.password_rules import is_hash
from authserver.core.rules import Limit
from authserver.core.subjects import Account, AccountKind, Role
from authserver.db import app_tokens as app_token_rows
from authserver.db import rule_rows
from authserver.db.models import (
    AccountRow,
    AppTokenRow,
    GroupRow,
    MembershipRow,
    RefreshTokenRow,
    RegistryRow,
)

Ids = set[int] | None
"""The ids of some rows, None for every row."""

_NO_GROUPS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account as a credential is checked against it.

    A robot is ``disabled`` also while its owner is, unless it outlives it. ``admin`` opens the
    administration, ``auditor`` opens it for reading, and neither grants anything on registries.
    With ``app_tokens_only`` no registry token is issued for a password. With ``second_factor`` a
    password alone is good for nothing.
    """

    id: int
    account: Account
    password_hash: str | None = field(repr=False)
    disabled: bool
    admin: bool = False
    auditor: bool = False
    app_tokens_only: bool = False
    second_factor: bool = False

    @property
    def role(self) -> Role:
        return Role.of(admin=self.admin, auditor=self.auditor)


@dataclass(frozen=True, slots=True)
class KnownRegistry:
    """A registry entry. Its tokens live for ``token_ttl`` seconds, None: as long as others'.

    With ``app_tokens_only`` no token is issued for a password.
    With ``challenge_anonymous`` a client without credentials that is not granted all gets a 401.
    """

    id: int
    token_ttl: int | None
    refresh_tokens: bool
    app_tokens_only: bool = False
    challenge_anonymous: bool = False


@dataclass(frozen=True, slots=True)
class KnownAppToken:
    """An app token, by one of its secrets. ``expires_at`` None means never.

    ``role`` is what it opens of the administration, where its account may do that, and ``own``
    whether it opens its account's own. ``rotated``: this secret was replaced.
    """

    id: int
    name: str
    account_id: int
    expires_at: datetime | None
    ceiling: tuple[Limit, ...] | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    role: Role = Role.NOBODY
    own: bool = False
    rotated: bool = False


@dataclass(frozen=True, slots=True)
class KnownRefreshToken:
    """A refresh token, bound to an account and a registry."""

    id: int
    account_id: int
    registry_id: int
    expires_at: datetime


def _within(column: InstrumentedAttribute[Any], ids: Ids) -> ColumnElement[bool]:
    """Return the condition for the rows of these ids."""
    return true() if ids is None else column.in_(ids)


def registries(session: Session, ids: Ids = None) -> dict[str, KnownRegistry]:
    return {
        row.service: KnownRegistry(
            row.id,
            row.token_ttl,
            row.refresh_tokens,
            row.app_tokens_only,
            row.challenge_anonymous,
        )
        for row in session.scalars(select(RegistryRow).where(_within(RegistryRow.id, ids)))
    }


def group_names(session: Session, ids: Ids = None) -> dict[int, str]:
    query = select(GroupRow.id, GroupRow.name).where(_within(GroupRow.id, ids))
    return {row.id: row.name for row in session.execute(query)}


def accounts(session: Session, ids: Ids = None) -> dict[str, KnownAccount]:
    """Read the accounts of these ids and the robots that they own, None is all."""
    owner, table = aliased(AccountRow), AccountRow
    query = (
        select(
            table.id,
            table.name,
            table.kind,
            table.password_hash,
            table.disabled_at,
            table.admin,
            table.auditor,
            table.app_tokens_only,
            table.second_factor,
            table.outlives_owner,
            owner.disabled_at.label("owner_disabled_at"),
        )
        .outerjoin(owner, table.owner_id == owner.id)
        .where(or_(_within(table.id, ids), _within(table.owner_id, ids)))
    )
    groups = _groups(session, None if ids is None else set(session.scalars(query)))
    return {
        row.name: KnownAccount(
            id=row.id,
            account=Account(row.name, AccountKind(row.kind), groups.get(row.id, _NO_GROUPS)),
            # A hash that nothing can be checked against is treated as none: the work is the same.
            password_hash=row.password_hash if is_hash(row.password_hash or "") else None,
            disabled=row.disabled_at is not None
            or (row.owner_disabled_at is not None and not row.outlives_owner),
            admin=row.admin,
            auditor=row.auditor,
            app_tokens_only=row.app_tokens_only,
            second_factor=row.second_factor,
        )
        for row in session.execute(query, execution_options=rule_rows.STREAMED)
    }


def _groups(session: Session, ids: Ids) -> dict[int, frozenset[str]]:
    """Return the groups of accounts by their ids. Accounts in the same groups share one set."""
    membership = MembershipRow
    query = (
        select(membership.account_id, GroupRow.name)
        .join(GroupRow, GroupRow.id == membership.group_id)
        .where(_within(membership.account_id, ids))
    )
    groups: defaultdict[int, set[str]] = defaultdict(set)
    for account_id, group in session.execute(query):
        groups[account_id].add(group)
    shared: dict[frozenset[str], frozenset[str]] = {}
    return {
        each: shared.setdefault(s, s)
        for each, s in zip(groups, map(frozenset, groups.values()), strict=True)
    }


def app_tokens(session: Session, ids: Ids = None) -> dict[str, KnownAppToken]:
    known = {}
    for row in session.scalars(select(AppTokenRow).where(_within(AppTokenRow.id, ids))):
        token = KnownAppToken(
            id=row.id,
            name=row.name,
            account_id=row.account_id,
            expires_at=row.expires_at,
            ceiling=app_token_rows.limits(row.ceiling),
            networks=tuple(ip_network(text) for text in row.networks or ()),
            role=app_token_rows.role(row.ceiling),
            own=app_token_rows.opens_own(row.ceiling),
        )
        known[row.secret_hash] = token
        if row.previous_hash is not None:
            known[row.previous_hash] = replace(token, expires_at=row.previous_until, rotated=True)
    return known


def refresh_tokens(session: Session, ids: Ids = None) -> dict[str, KnownRefreshToken]:
    table = RefreshTokenRow
    columns = (table.secret_hash, table.id, table.account_id, table.registry_id, table.expires_at)
    return {
        row[0]: KnownRefreshToken(*row[1:])
        for row in session.execute(select(*columns).where(_within(table.id, ids)))
    }
