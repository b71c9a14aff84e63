"""The snapshot: everything that a token request is decided by, as one consistent state.

``auth.state`` reads it and then follows the change log. A name stands in one place, by its id,
so that a rename is one row to read.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core.rule_index import RuleIndex
from authserver.db import change_log, rule_rows
from authserver.db import snapshot_rows as rows
from authserver.db.change_log import ChangeMark
from authserver.db.models import (
    AccountRow,
    AppTokenRow,
    AuthorityRow,
    ConsoleSessionRow,
    DelegationRow,
    GroupRow,
    InvitationRow,
    LockoutRow,
    RecoveryCodeRow,
    RefreshTokenRow,
    RegistryCheckRow,
    RegistryRow,
    RuleRow,
    SecondFactorRow,
    SigningKeyRow,
    StoreStateRow,
)
from authserver.db.snapshot_rows import (
    Ids,
    KnownAccount,
    KnownAppToken,
    KnownRefreshToken,
    KnownRegistry,
)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of accounts, groups and registries, by their ids."""

    accounts: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    registries: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the store. Tokens are found by the digest of their secret.

    Tokens have the ids of their account and registry; rules and accounts have the names of now.
    ``basis`` is another object where anything differs but logins and keys, and ``key_basis``
    where keys or registries differ. ``mark`` is where the next snapshot goes on from.
    """

    version: int
    issuer: str
    registries: Mapping[str, KnownRegistry]
    accounts: Mapping[str, KnownAccount]
    app_tokens: Mapping[str, KnownAppToken]
    refresh_tokens: Mapping[str, KnownRefreshToken]
    rules: RuleIndex
    highest_cost: int
    names: Names = field(default_factory=Names, repr=False)
    mark: ChangeMark | None = None
    basis: object = field(default_factory=object, repr=False, compare=False)
    key_basis: object = field(default_factory=object, repr=False, compare=False)

    def owner(self, token: KnownAppToken | KnownRefreshToken) -> KnownAccount:
        """Return the account of a token."""
        return self.accounts[self.names.accounts[token.account_id]]

    def service(self, token: KnownRefreshToken) -> str:
        """Return the registry that a refresh token is bound to."""
        return self.names.registries[token.registry_id]


_Row = TypeVar("_Row", KnownAccount, KnownRegistry, KnownAppToken, KnownRefreshToken)


def version(session: Session) -> int:
    """Return the version of the store; each change increases it."""
    return session.scalars(select(StoreStateRow.version)).one()


def load(session: Session) -> Snapshot:
    """Read the whole state."""
    state = session.scalars(select(StoreStateRow)).one()
    accounts, registries = rows.accounts(session), rows.registries(session)
    return Snapshot(
        version=state.version,
        issuer=state.issuer,
        registries=registries,
        accounts=accounts,
        app_tokens=rows.app_tokens(session),
        refresh_tokens=rows.refresh_tokens(session),
        rules=RuleIndex.of(rule_rows.load(session)),
        highest_cost=_highest_cost(accounts),
        names=Names(_by_id(accounts), rows.group_names(session), _by_id(registries)),
        mark=change_log.latest(session),
    )


def follow(session: Session, known: Snapshot) -> Snapshot:
    """Read what changed since ``known``, or the whole state where the change log cannot tell."""
    latest, mark = version(session), change_log.latest(session)
    # A store that was put back may have the same version by now.
    if (latest, mark) == (known.version, known.mark):
        return known
    changes = change_log.since(session, known.mark)
    if changes is None or not changes.keys() <= _FOLLOWED:
        return load(session)
    new = replace(known, version=latest, mark=mark)
    for table, following in _FOLLOWING.items():
        if table in changes:
            new = following(session, new, _ids(changes[table]))
    if not changes.keys() <= _WITHOUT_EFFECT:
        new = replace(new, basis=object())
    return new if changes.keys().isdisjoint(_OF_KEYS) else replace(new, key_basis=object())


def _ids(altered: Collection[int | None]) -> Ids:
    """Return the rows to read again; None is all of them."""
    return None if None in altered else {row for row in altered if row is not None}


def _follow_registries(session: Session, new: Snapshot, ids: Ids) -> Snapshot:
    read = rows.registries(session, ids)
    registries = _merged(new.registries, read, ids)
    return replace(
        new,
        registries=registries,
        names=replace(new.names, registries=_by_id(registries)),
        rules=new.rules.renamed(services=_renamed(new.names.registries, _by_id(read))),
    )


def _follow_groups(session: Session, new: Snapshot, ids: Ids) -> Snapshot:
    read, names = rows.group_names(session, ids), new.names.groups
    kept = {} if ids is None else {each: name for each, name in names.items() if each not in ids}
    new, renamed = replace(new, names=replace(new.names, groups=kept | read)), _renamed(names, read)
    if not renamed:
        return new
    sets = {known.account.groups for known in new.accounts.values()}
    later = {groups: frozenset(renamed.get(name, name) for name in groups) for groups in sets}
    accounts = {
        name: replace(known, account=replace(known.account, groups=later[known.account.groups]))
        for name, known in new.accounts.items()
    }
    return replace(new, accounts=accounts, rules=new.rules.renamed(groups=renamed))


def _follow_accounts(session: Session, new: Snapshot, ids: Ids) -> Snapshot:
    read = rows.accounts(session, ids)
    accounts = _merged(new.accounts, read, ids)
    return replace(
        new,
        accounts=accounts,
        highest_cost=_highest_cost(accounts),
        names=replace(new.names, accounts=_by_id(accounts)),
        rules=new.rules.renamed(accounts=_renamed(new.names.accounts, _by_id(read))),
    )


def _follow_app_tokens(session: Session, new: Snapshot, ids: Ids) -> Snapshot:
    return replace(new, app_tokens=_merged(new.app_tokens, rows.app_tokens(session, ids), ids))


def _follow_refresh_tokens(session: Session, new: Snapshot, ids: Ids) -> Snapshot:
    read = rows.refresh_tokens(session, ids)
    return replace(new, refresh_tokens=_merged(new.refresh_tokens, read, ids))


def _follow_rules(session: Session, new: Snapshot, ids: Ids) -> Snapshot:
    rules = rule_rows.load(session, ids)
    return replace(
        new, rules=RuleIndex.of(rules) if ids is None else new.rules.replaced(ids, rules)
    )


# Names come first. A rule or an account that is read after them has the names of now already, and
# another thing may have its former name.
_FOLLOWING: dict[str, Callable[[Session, Snapshot, Ids], Snapshot]] = {
    RegistryRow.__tablename__: _follow_registries,
    GroupRow.__tablename__: _follow_groups,
    AccountRow.__tablename__: _follow_accounts,
    AppTokenRow.__tablename__: _follow_app_tokens,
    RefreshTokenRow.__tablename__: _follow_refresh_tokens,
    RuleRow.__tablename__: _follow_rules,
}
_KEYS = {AuthorityRow.__tablename__, SigningKeyRow.__tablename__}
_OF_KEYS = _KEYS | {RegistryRow.__tablename__}
# No answer depends on these.
_WITHOUT_EFFECT = _KEYS | {
    RefreshTokenRow.__tablename__,
    ConsoleSessionRow.__tablename__,
    DelegationRow.__tablename__,
    InvitationRow.__tablename__,
    LockoutRow.__tablename__,
    RecoveryCodeRow.__tablename__,
    SecondFactorRow.__tablename__,
    RegistryCheckRow.__tablename__,
}
_FOLLOWED = _WITHOUT_EFFECT | _FOLLOWING.keys()


def _merged(old: Mapping[str, _Row], read: Mapping[str, _Row], ids: Ids) -> Mapping[str, _Row]:
    """Return ``old`` with the rows of these ids as they were read."""
    if ids is None:
        return read
    merged = {key: row for key, row in old.items() if row.id not in ids}
    merged.update(read)
    return merged


def _by_id(known: Mapping[str, KnownAccount] | Mapping[str, KnownRegistry]) -> dict[int, str]:
    return {each.id: name for name, each in known.items()}


def _renamed(old: Mapping[int, str], new: Mapping[int, str]) -> dict[str, str]:
    """Return the new name of each thing that has another one now, by the old name."""
    return {old[each]: name for each, name in new.items() if old.get(each, name) != name}


def _highest_cost(accounts: Mapping[str, KnownAccount]) -> int:
    hashes = {each.password_hash[:7] for each in accounts.values() if each.password_hash}
    return max((int(start[4:6]) for start in hashes), default=0)
