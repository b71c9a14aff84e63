"""List who may do something, and all that an account may do."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from authserver.core.conditions import Circumstances, samples
from authserver.core.decision import decide
from authserver.core.errors import Refused
from authserver.core.names import is_path_component
from authserver.core.pattern_sets import overlap, within
from authserver.core.patterns import ACCOUNT, Pattern
from authserver.core.rule_index import RuleIndex
from authserver.core.rules import ALL, OTHER_NAME, Asked, Effect, Rule, expand, in_order
from authserver.core.scope import Scope
from authserver.core.second_factor import Demanded, Due
from authserver.core.subjects import ANONYMOUS, Account
from authserver.db.snapshot import Snapshot
from authserver.db.snapshot_rows import KnownAccount
from authserver.policy.explain import (
    AccessAnswer,
    ScopeExplanation,
    due_of,
    known_account,
    takes_app_tokens_only,
)


def who_can(
    state: Snapshot,
    service: str,
    action: str,
    repository: str,
    circumstances: Circumstances,
    demanded: Demanded = Demanded.OPTIONAL,
) -> Iterator[AccessAnswer]:
    """Give an answer for each account that may do ``action`` on ``repository``, anonymous first.

    Disabled accounts get no token and are left out. Without an address, accounts that may only from
    some networks are included; the cited rules name the networks.
    """
    asked = Scope("repository", repository, (action,))
    # Most rules cover other repositories: drop them once, not for each account.
    rules = [rule for rule in state.rules if _may_cover(rule, service, asked)]
    places = samples((rule.conditions for rule in rules), circumstances)
    enabled = (known for _, known in sorted(state.accounts.items()) if not known.disabled)
    for known in (None, *enabled):
        account = known.account if known else None
        for place in places:
            decision = decide(rules, account, service, asked, None, place)
            if decision.complete:
                due = due_of(known, demanded)
                only = takes_app_tokens_only(state, service, known) or due is not Due.NOTHING
                explained = [ScopeExplanation(decision)]
                yield AccessAnswer(service, known, place, explained, {}, (), only, due)
                break


def _may_cover(rule: Rule, service: str, asked: Scope) -> bool:
    return (
        rule.enabled
        and rule.type == asked.type
        and rule.service in (None, service)
        and any(ACCOUNT in p.text or p.matches(asked.name, None) for p in rule.patterns)
    )


def concerning(state: Snapshot, account: str) -> Snapshot:
    """Return ``state`` with the rules that reach an account, and of their subjects only those.

    The account is granted the same by it, and told nothing of others. Rules that are disabled are
    left out.

    Raises:
        NotFound: there is no such account in ``state``.
    """
    known = known_account(state, account)
    who = known.account if known else None
    rules = []
    for rule in state.rules:
        reaching = tuple(s for s in rule.subjects if s.binds(who) or s.binds(None))
        if reaching and rule.enabled:
            rules.append(replace(rule, subjects=reaching))
    return replace(state, rules=RuleIndex.of(rules))


MAX_COMPARED = 20_000
"""Pairs of an allow's and a deny's pattern that one answer for everybody compares: some seconds."""


def require_few(state: Snapshot, services: Sequence[str]) -> None:
    """Check that :func:`effective` answers in bounded time.

    Raises:
        Refused: there are too many rules to compare.
    """
    allows, denies = (
        sum(len(rule.patterns) for rule in state.rules if rule.effect is effect)
        for effect in (Effect.ALLOW, Effect.DENY)
    )
    if allows * denies * len(services) > MAX_COMPARED:
        raise Refused(
            f"{allows:,} allowed patterns and {denies:,} denied ones are too many to compare here: "
            "ask about one repository, or ask an administrator"
        )


@dataclass(frozen=True)
class AccessEntry:
    """What one pattern of one allow grants, and the denies that take away a part."""

    service: str
    type: str
    pattern: Pattern
    actions: tuple[str, ...]
    rule: Rule
    denies: tuple[Rule, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "registry": self.service,
            "type": self.type,
            "pattern": str(self.pattern),
            "actions": list(self.actions),
            "rule": self.rule.id,
            "text": str(self.rule),
            "except": [{"rule": deny.id, "text": str(deny)} for deny in self.denies],
        }


@dataclass(frozen=True)
class EffectiveAccess:
    """All that an account may do on some registries; ``known`` None is anonymous."""

    known: KnownAccount | None
    entries: Sequence[AccessEntry]

    @property
    def name(self) -> str:
        return self.known.account.name if self.known else ANONYMOUS

    @property
    def disabled(self) -> bool:
        return self.known is not None and self.known.disabled

    def as_json(self) -> dict[str, Any]:
        return {
            "account": self.name,
            "disabled": self.disabled,
            "effective": [entry.as_json() for entry in self.entries],
        }


def effective(
    state: Snapshot, services: Sequence[str], account: str, circumstances: Circumstances
) -> EffectiveAccess:
    """Return all that an account of that name, or ``anonymous``, may do on some registries.

    Without an address, rules for some networks only are included.

    Raises:
        NotFound: there is no such account in ``state``.
    """
    known = known_account(state, account)
    who = known.account if known else None
    entries = [
        entry
        for service in services
        for entry in _on(service, state.rules, who, circumstances)
        if entry.actions
    ]
    return EffectiveAccess(known, entries)


def _on(
    service: str, rules: Iterable[Rule], who: Account | None, circumstances: Circumstances
) -> Iterator[AccessEntry]:
    denies = [
        rule
        for rule in rules
        if rule.effect is Effect.DENY and _may(rule, who, service, circumstances)
    ]
    for rule in rules:
        if rule.effect is not Effect.ALLOW:
            continue
        own = _may(rule, who, service, circumstances)
        if own or _may(rule, None, service, circumstances):
            # A rule that grants to anonymous requests covers nothing by {account}.
            named = own and who is not None and is_path_component(who.name)
            for pattern in rule.patterns:
                if named or ACCOUNT not in pattern.text:
                    yield _entry(service, rule, pattern, denies, circumstances)


def _may(rule: Rule, who: Account | None, service: str, circumstances: Circumstances) -> bool:
    """Whether the rule applies to some name."""
    anything = Scope(rule.type, "", (ALL,))
    hindrances = rule.hindrances(Asked(who, service, anything, circumstances))
    return all(hindrance == OTHER_NAME or hindrance.unknown for hindrance in hindrances)


def _entry(
    service: str,
    rule: Rule,
    pattern: Pattern,
    denies: Sequence[Rule],
    circumstances: Circumstances,
) -> AccessEntry:
    left = expand(rule.type, rule.actions)
    some = []
    for deny in denies:
        if deny.type != rule.type or not any(overlap(pattern, other) for other in deny.patterns):
            continue
        sure = circumstances.address is not None or rule.conditions.within(deny.conditions)
        if sure and within(pattern, deny.patterns):
            left -= expand(deny.type, deny.actions) | {ALL}
        else:
            some.append(deny)
    cutting = tuple(deny for deny in some if expand(deny.type, deny.actions) & left)
    return AccessEntry(service, rule.type, pattern, in_order(rule.type, left), rule, cutting)
