"""Everything that a token request is decided by, read from the store as one consistent state."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core.policy import Account, AccountKind, Rule
from authserver.db import models, rules
from authserver.passwords import cost_of


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account as a credential is checked against it."""

    id: int
    account: Account
    password_hash: str | None = field(repr=False)
    disabled: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the store. ``registries`` maps each service to its own token life, if any."""

    version: int
    issuer: str
    registries: Mapping[str, int | None]
    accounts: Mapping[str, KnownAccount]
    rules: tuple[Rule, ...]
    highest_cost: int


def version(session: Session) -> int:
    """Return the version of the store; it goes up with each change."""
    return session.scalars(select(models.StoreState.version)).one()


def load(session: Session) -> Snapshot:
    """Read the whole state."""
    state = session.scalars(select(models.StoreState)).one()
    known = _accounts(session)
    registries = session.scalars(select(models.Registry))
    return Snapshot(
        version=state.version,
        issuer=state.issuer,
        registries={row.service: row.token_ttl for row in registries},
        accounts=known,
        rules=tuple(rules.as_rule(row) for row in rules.listed(session)),
        highest_cost=max(
            (cost_of(k.password_hash) for k in known.values() if k.password_hash), default=0
        ),
    )


def _accounts(session: Session) -> dict[str, KnownAccount]:
    groups: defaultdict[int, set[str]] = defaultdict(set)
    memberships = select(models.Membership.account_id, models.Group.name).join(
        models.Group, models.Group.id == models.Membership.group_id
    )
    for account_id, group in session.execute(memberships):
        groups[account_id].add(group)
    table = models.Account
    rows = session.execute(
        select(table.id, table.name, table.kind, table.password_hash, table.disabled_at)
    )
    return {
        row.name: KnownAccount(
            id=row.id,
            account=Account(row.name, AccountKind(row.kind), frozenset(groups[row.id])),
            password_hash=row.password_hash,
            disabled=row.disabled_at is not None,
        )
        for row in rows
    }
