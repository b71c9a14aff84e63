"""Everything that a token request is decided by, read from the store as one consistent state."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, aliased

from authserver.core.password_rules import is_hash
from authserver.core.rule_index import RuleIndex
from authserver.core.rules import Limit
from authserver.core.subjects import Account, AccountKind
from authserver.db import app_tokens, change_log, models, rule_rows
from authserver.db.change_log import Mark
from authserver.db.models import (
    AppTokenRow,
    GroupRow,
    MembershipRow,
    RefreshTokenRow,
    RegistryRow,
    StoreStateRow,
)


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

    ``admin``: it may administer where its account may. ``rotated``: this secret was replaced.
    """

    id: int
    name: str
    account: str
    expires_at: datetime | None
    ceiling: tuple[Limit, ...] | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    admin: bool = False
    rotated: bool = False


@dataclass(frozen=True, slots=True)
class KnownRefreshToken:
    """A refresh token, bound to an account and a registry."""

    id: int
    account: str
    service: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the store. Tokens are found by the digest of their secret.

    ``basis`` is another object where anything differs but logins and keys; ``mark`` is where
    the next one goes on from.
    """

    version: int
    issuer: str
    registries: Mapping[str, KnownRegistry]
    accounts: Mapping[str, KnownAccount]
    app_tokens: Mapping[str, KnownAppToken]
    refresh_tokens: Mapping[str, KnownRefreshToken]
    rules: RuleIndex
    highest_cost: int
    mark: Mark | None = None
    basis: object = field(default_factory=object, repr=False, compare=False)


Ids = set[int] | None
"""The ids of some rows, None for every row."""

_Row = TypeVar("_Row", KnownAccount, KnownAppToken, KnownRefreshToken)
_NONE: frozenset[str] = frozenset()


def version(session: Session) -> int:
    """Return the version of the store; it goes up with each change."""
    return session.scalars(select(StoreStateRow.version)).one()


def load(session: Session) -> Snapshot:
    """Read the whole state."""
    state = session.scalars(select(StoreStateRow)).one()
    known = _accounts(session)
    return Snapshot(
        version=state.version,
        issuer=state.issuer,
        registries=_registries(session),
        accounts=known,
        app_tokens=_app_tokens(session),
        refresh_tokens=_refresh_tokens(session),
        rules=RuleIndex.of(rule_rows.load(session)),
        highest_cost=_highest_cost(known),
        mark=change_log.latest(session),
    )


def follow(session: Session, known: Snapshot) -> Snapshot:
    """Read what was altered since ``known``, or the whole state where that cannot be told."""
    latest, mark = version(session), change_log.latest(session)
    # A store that was put back may have the same version by now.
    if (latest, mark) == (known.version, known.mark):
        return known
    altered = change_log.since(session, known.mark)
    if altered is None or not altered.keys() <= _FOLLOWED:
        return load(session)
    rows = {noun: _ids(ids) for noun, ids in altered.items()}
    new = replace(known, version=latest, mark=mark)
    for noun, following in _FOLLOWING.items():
        if noun in rows:
            new = following(session, new, rows[noun])
    return new if altered.keys() <= _BESIDE else replace(new, basis=object())


def _ids(altered: Collection[int | None]) -> Ids:
    """Return the rows to read again; None is all of them."""
    return None if None in altered else {row for row in altered if row is not None}


def _follow_registries(session: Session, new: Snapshot, _: Ids) -> Snapshot:
    return replace(new, registries=_registries(session))


def _follow_accounts(session: Session, new: Snapshot, ids: Ids) -> Snapshot:
    read = _accounts(session, ids)
    accounts = _merged(new.accounts, read, ids)
    return replace(new, accounts=accounts, highest_cost=_highest_cost(accounts))


def _follow_app_tokens(session: Session, new: Snapshot, ids: Ids) -> Snapshot:
    return replace(new, app_tokens=_merged(new.app_tokens, _app_tokens(session, ids), ids))


def _follow_refresh_tokens(session: Session, new: Snapshot, ids: Ids) -> Snapshot:
    read = _refresh_tokens(session, ids)
    return replace(new, refresh_tokens=_merged(new.refresh_tokens, read, ids))


def _follow_rules(session: Session, new: Snapshot, ids: Ids) -> Snapshot:
    if ids is None:
        return replace(new, rules=RuleIndex.of(rule_rows.load(session)))
    return replace(new, rules=new.rules.replaced(ids, rule_rows.load(session, ids)))


_FOLLOWING: dict[str, Callable[[Session, Snapshot, Ids], Snapshot]] = {
    RegistryRow.__tablename__: _follow_registries,
    models.AccountRow.__tablename__: _follow_accounts,
    AppTokenRow.__tablename__: _follow_app_tokens,
    RefreshTokenRow.__tablename__: _follow_refresh_tokens,
    models.RuleRow.__tablename__: _follow_rules,
}
# What no answer depends on.
_BESIDE = frozenset(
    {
        RefreshTokenRow.__tablename__,
        models.AuthorityRow.__tablename__,
        models.SigningKeyRow.__tablename__,
        models.DelegationRow.__tablename__,
        models.InvitationRow.__tablename__,
    }
)
_FOLLOWED = _BESIDE | _FOLLOWING.keys() | {GroupRow.__tablename__}


def _merged(old: Mapping[str, _Row], read: Mapping[str, _Row], ids: Ids) -> Mapping[str, _Row]:
    """Return ``old`` with the rows of these ids as they were read."""
    if ids is None:
        return read
    kept = {key: row for key, row in old.items() if row.id not in ids}
    kept.update(read)
    return kept


def _highest_cost(known: Mapping[str, KnownAccount]) -> int:
    hashes = {each.password_hash[:7] for each in known.values() if each.password_hash}
    return max((int(start[4:6]) for start in hashes), default=0)


def _registries(session: Session) -> dict[str, KnownRegistry]:
    return {
        row.service: KnownRegistry(row.token_ttl, row.refresh_tokens)
        for row in session.scalars(select(RegistryRow))
    }


def _accounts(session: Session, ids: Ids = None) -> dict[str, KnownAccount]:
    """Read the accounts of these ids and the robots that they own, None is all."""
    owner = aliased(models.AccountRow)
    table = models.AccountRow
    query = select(
        table.id,
        table.name,
        table.kind,
        table.password_hash,
        table.disabled_at,
        table.admin,
        table.outlives_owner,
        owner.disabled_at.label("owner_disabled_at"),
    ).outerjoin(owner, table.owner_id == owner.id)
    if ids is not None:
        query = query.where(or_(table.id.in_(ids), table.owner_id.in_(ids)))
    groups = _groups(session, None if ids is None else set(session.scalars(query)))
    rows = session.execute(query, execution_options=rule_rows.STREAMED)
    return {
        row.name: KnownAccount(
            id=row.id,
            account=Account(row.name, AccountKind(row.kind), groups.get(row.id, _NONE)),
            # One that nothing can be checked against must not be told from none.
            password_hash=row.password_hash if is_hash(row.password_hash or "") else None,
            disabled=row.disabled_at is not None
            or (row.owner_disabled_at is not None and not row.outlives_owner),
            admin=row.admin,
        )
        for row in rows
    }


def _groups(session: Session, ids: Ids) -> dict[int, frozenset[str]]:
    """Return the groups of accounts by their ids; those that are in the same ones share a set."""
    query = select(MembershipRow.account_id, GroupRow.name).join(
        GroupRow, GroupRow.id == MembershipRow.group_id
    )
    if ids is not None:
        query = query.where(MembershipRow.account_id.in_(ids))
    groups: defaultdict[int, set[str]] = defaultdict(set)
    for account_id, group in session.execute(query):
        groups[account_id].add(group)
    shared: dict[frozenset[str], frozenset[str]] = {}
    return {
        each: shared.setdefault(s, s)
        for each, s in zip(groups, map(frozenset, groups.values()), strict=True)
    }


def _app_tokens(session: Session, ids: Ids = None) -> dict[str, KnownAppToken]:
    known = {}
    query = select(AppTokenRow, models.AccountRow.name).join(AppTokenRow.account)
    if ids is not None:
        query = query.where(AppTokenRow.id.in_(ids))
    for row, account in session.execute(query):
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
            known[row.previous_hash] = replace(token, expires_at=row.previous_until, rotated=True)
    return known


def _refresh_tokens(session: Session, ids: Ids = None) -> dict[str, KnownRefreshToken]:
    query = (
        select(
            RefreshTokenRow.id,
            RefreshTokenRow.secret_hash,
            RefreshTokenRow.expires_at,
            models.AccountRow.name,
            RegistryRow.service,
        )
        .join(RefreshTokenRow.account)
        .join(RefreshTokenRow.for_registry)
    )
    if ids is not None:
        query = query.where(RefreshTokenRow.id.in_(ids))
    return {
        row.secret_hash: KnownRefreshToken(row.id, row.name, row.service, row.expires_at)
        for row in session.execute(query)
    }
