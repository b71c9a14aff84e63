"""Everything that a token request is decided by, read from the store as one consistent state."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from authserver.core.rules import Limit, Rule
from authserver.core.subjects import Account, AccountKind
from authserver.db import app_tokens, models, rules
from authserver.db.models import AppToken, Group, Membership, RefreshToken, Registry, StoreState
from authserver.passwords import cost_of, is_hash


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account as a credential is checked against it.

    ``disabled`` holds for a robot also where its owner is disabled and it does not outlive it.
    ``admin`` opens the administration and grants nothing on registries.
    """

    id: int
    account: Account
    password_hash: str | None = field(repr=False)
    disabled: bool
    admin: bool = False


@dataclass(frozen=True, slots=True)
class KnownRegistry:
    """A registry entry: the life of its tokens in seconds if it has its own."""

    token_ttl: int | None
    refresh_tokens: bool


@dataclass(frozen=True, slots=True)
class KnownAppToken:
    """An app token, by one of its secrets. ``expires_at`` None means never.

    ``admin``: it may administer where its account may.
    """

    id: int
    name: str
    account: str
    expires_at: datetime | None
    ceiling: tuple[Limit, ...] | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    admin: bool = False


@dataclass(frozen=True, slots=True)
class KnownRefreshToken:
    """A refresh token, bound to an account and a registry."""

    id: int
    account: str
    service: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the store. Tokens are found by the digest of their secret."""

    version: int
    issuer: str
    registries: Mapping[str, KnownRegistry]
    accounts: Mapping[str, KnownAccount]
    app_tokens: Mapping[str, KnownAppToken]
    refresh_tokens: Mapping[str, KnownRefreshToken]
    rules: tuple[Rule, ...]
    highest_cost: int


def version(session: Session) -> int:
    """Return the version of the store; it goes up with each change."""
    return session.scalars(select(StoreState.version)).one()


def load(session: Session) -> Snapshot:
    """Read the whole state."""
    state = session.scalars(select(StoreState)).one()
    known = _accounts(session)
    hashes = [k.password_hash for k in known.values() if k.password_hash]
    return Snapshot(
        version=state.version,
        issuer=state.issuer,
        registries={
            row.service: KnownRegistry(row.token_ttl, row.refresh_tokens)
            for row in session.scalars(select(Registry))
        },
        accounts=known,
        app_tokens=_app_tokens(session),
        refresh_tokens=_refresh_tokens(session),
        rules=rules.load(session),
        highest_cost=max(map(cost_of, hashes), default=0),
    )


def _accounts(session: Session) -> dict[str, KnownAccount]:
    groups: defaultdict[int, set[str]] = defaultdict(set)
    memberships = select(Membership.account_id, Group.name).join(
        Group, Group.id == Membership.group_id
    )
    for account_id, group in session.execute(memberships):
        groups[account_id].add(group)
    owner = aliased(models.Account)
    table = models.Account
    rows = session.execute(
        select(
            table.id,
            table.name,
            table.kind,
            table.password_hash,
            table.disabled_at,
            table.admin,
            table.outlives_owner,
            owner.disabled_at.label("owner_disabled_at"),
        ).outerjoin(owner, table.owner_id == owner.id)
    )
    return {
        row.name: KnownAccount(
            id=row.id,
            account=Account(row.name, AccountKind(row.kind), frozenset(groups[row.id])),
            # One that nothing can be checked against must not be told from none.
            password_hash=row.password_hash if is_hash(row.password_hash or "") else None,
            disabled=row.disabled_at is not None
            or (row.owner_disabled_at is not None and not row.outlives_owner),
            admin=row.admin,
        )
        for row in rows
    }


def _app_tokens(session: Session) -> dict[str, KnownAppToken]:
    known = {}
    for row, account in session.execute(
        select(AppToken, models.Account.name).join(AppToken.account)
    ):
        token = KnownAppToken(
            id=row.id,
            name=row.name,
            account=account,
            expires_at=row.expires_at,
            ceiling=app_tokens.limits(row.ceiling),
            networks=tuple(ip_network(text) for text in row.networks or ()),
            admin=app_tokens.administers(row.ceiling),
        )
        known[row.secret_hash] = token
        if row.previous_hash is not None:
            known[row.previous_hash] = replace(token, expires_at=row.previous_until)
    return known


def _refresh_tokens(session: Session) -> dict[str, KnownRefreshToken]:
    rows = session.execute(
        select(
            RefreshToken.id,
            RefreshToken.secret_hash,
            RefreshToken.expires_at,
            models.Account.name,
            Registry.service,
        )
        .join(RefreshToken.account)
        .join(RefreshToken.for_registry)
    )
    return {
        row.secret_hash: KnownRefreshToken(row.id, row.name, row.service, row.expires_at)
        for row in rows
    }
