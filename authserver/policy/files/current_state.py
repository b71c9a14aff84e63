"""Read the present policy from the store, as values that a policy file is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core import subjects
from authserver.core.subjects import AccountKind, SubjectKind
from authserver.db import accounts, delegations, groups, models, rule_rows
from authserver.policy.files.document import (
    AccountEntry,
    DelegationEntry,
    GroupEntry,
    Policy,
    RegistryEntry,
    RuleEntry,
)
from authserver.registry import entries


@dataclass(frozen=True, slots=True)
class PolicyState:
    """All that a policy can name. ``rules`` include those that delegates wrote.

    ``log_in`` are the names of users with a password.
    """

    registries: Mapping[str, RegistryEntry] = field(default_factory=dict)
    accounts: Mapping[str, AccountEntry] = field(default_factory=dict)
    groups: Mapping[str, GroupEntry] = field(default_factory=dict)
    rules: Sequence[RuleEntry] = ()
    delegations: Sequence[DelegationEntry] = ()
    log_in: frozenset[str] = frozenset()

    def is_disabled(self, name: str) -> bool:
        """Whether an account gets no token: it is disabled, or it is a robot whose owner is."""
        account = self.accounts[name]
        owner = None if account.owner is None else self.accounts.get(account.owner)
        with_owner = owner is not None and owner.disabled and not account.outlives_owner
        return bool(account.disabled or with_owner)

    def asking(self) -> dict[str, subjects.Account]:
        """Return the accounts by name, as ``decide()`` takes them."""
        member_of: dict[str, set[str]] = {name: set() for name in self.accounts}
        for group in self.groups.values():
            for member in group.members:
                member_of[member.name].add(group.name)
        return {
            name: subjects.Account(name, account.kind, frozenset(member_of[name]))
            for name, account in self.accounts.items()
        }

    def administrators(self) -> set[str]:
        """Return the administrators that can log in."""
        return {
            name
            for name, account in self.accounts.items()
            if account.admin and not account.disabled and name in self.log_in
        }


def load(session: Session) -> PolicyState:
    """Read the present policy."""
    return PolicyState(
        registries={row.service: _registry(row) for row in entries.listed(session)},
        accounts={row.name: _account(row) for row in accounts.listed(session)},
        groups={row.name: _group(row) for row in groups.listed(session)},
        rules=rules(session),
        delegations=[_delegation(row) for row in delegations.listed(session)],
        log_in=frozenset(
            session.scalars(
                select(models.AccountRow.name).where(models.AccountRow.password_hash.is_not(None))
            )
        ),
    )


def _registry(row: models.RegistryRow) -> RegistryEntry:
    return RegistryEntry(
        row.service,
        row.token_ttl,
        row.refresh_tokens,
        row.app_tokens_only,
        row.challenge_anonymous,
    )


def _account(row: models.AccountRow) -> AccountEntry:
    return AccountEntry(
        row.name,
        AccountKind(row.kind),
        disabled=row.disabled_at is not None,
        admin=row.admin,
        auditor=row.auditor,
        app_tokens_only=row.app_tokens_only,
        owner=row.owner.name if row.owner else None,
        description=row.description,
        outlives_owner=row.outlives_owner,
    )


def _group(row: models.GroupRow) -> GroupEntry:
    members = (subjects.Subject(SubjectKind(m.kind), m.name) for m in row.members)
    return GroupEntry(row.name, frozenset(members))


def rules(session: Session) -> list[RuleEntry]:
    """Read the present rules."""
    columns = select(models.RuleRow.id, models.RuleRow.comment, models.RuleRow.delegation_id)
    beside = {row.id: (row.comment, row.delegation_id) for row in session.execute(columns)}
    return [RuleEntry(rule, *beside[rule.id]) for rule in rule_rows.load(session)]


def _delegation(row: models.DelegationRow) -> DelegationEntry:
    return DelegationEntry(
        row.group.name,
        row.for_registry.service,
        row.pattern,
        frozenset(row.actions.split(",")),
        row.comment,
        id=row.id,
    )


def as_policy(state: PolicyState) -> Policy:
    """Return the policy file of a state: all but the rules that delegates wrote."""
    return Policy(
        registries=state.registries,
        accounts=state.accounts,
        groups=state.groups,
        rules=[each for each in state.rules if each.delegation is None],
        delegations=state.delegations,
    )


def state_of(policy: Policy) -> PolicyState:
    """Return the state that consists of one file, its accounts enabled unless they are disabled.

    Rules and delegations have negative ids, which no store has.
    """
    return PolicyState(
        policy.registries or {},
        {
            name: replace(account, disabled=bool(account.disabled))
            for name, account in (policy.accounts or {}).items()
        },
        policy.groups or {},
        [
            replace(each, rule=replace(each.rule, id=-number))
            for number, each in enumerate(policy.rules or (), 1)
        ],
        [replace(each, id=-number) for number, each in enumerate(policy.delegations or (), 1)],
    )
