"""Which rules cover another rule: its subjects, registry, conditions and patterns.

``policy.files.coverage`` answers another question: which *accounts* may do all of something. There
groups are their members and a deny cuts; here rules are compared as they are written, and a group
covers an account only as long as it has the member. Both compare patterns by ``core.pattern_sets``.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from authserver.core.names import is_path_component
from authserver.core.pattern_sets import within
from authserver.core.patterns import ACCOUNT, Pattern
from authserver.core.rules import Effect, Rule
from authserver.core.subjects import NAMED_SUBJECTS, Account, Subject, SubjectKind
from authserver.policy.pattern_index import Index

ANONYMOUS = Subject(SubjectKind.ANONYMOUS)
AUTHENTICATED = Subject(SubjectKind.AUTHENTICATED)
EVERYONE = Subject(SubjectKind.EVERYONE)

_MANY = frozenset({SubjectKind.GROUP, SubjectKind.AUTHENTICATED, SubjectKind.EVERYONE})


@dataclass(frozen=True, slots=True)
class RulePart:
    """One subject and one pattern of a rule."""

    subject: Subject
    pattern: Pattern


def parts(rule: Rule) -> Iterator[RulePart]:
    """Give the parts of a rule that cover a name."""
    for subject in rule.subjects:
        for pattern in rule.patterns:
            if (meant := placed(pattern, subject)) is not None:
                # {account} covers nothing for anonymous requests.
                own = subject == EVERYONE and ACCOUNT in meant.text
                yield RulePart(AUTHENTICATED if own else subject, meant)


def placed(pattern: Pattern, subject: Subject) -> Pattern | None:
    """Return a pattern with an account's name for {account}; None if it covers nothing."""
    if ACCOUNT not in pattern.text or subject.kind in _MANY:
        return pattern
    if not is_path_component(subject.name):
        return None
    return Pattern(pattern.text.replace(ACCOUNT, subject.name))


def in_force(rule: Rule, at: datetime) -> bool:
    """Whether a rule applies at ``at`` or may apply later."""
    until = rule.conditions.end
    return rule.enabled and (until is None or until > at)


class RulesInForce:
    """The rules that are in force, and which of them cover which."""

    def __init__(
        self, rules: Iterable[Rule], accounts: Mapping[str, Account], at: datetime
    ) -> None:
        self.rules = [rule for rule in rules if in_force(rule, at)]
        self._accounts = accounts
        # The same few pairs of patterns come again and again.
        self._within = lru_cache(maxsize=100_000)(within)
        self._conditions = {rule.id: rule.conditions.since(at) for rule in self.rules}
        speaking: defaultdict[tuple[Effect, str, Subject], list[Rule]] = defaultdict(list)
        for rule in self.rules:
            for subject in _subjects_of(rule):
                speaking[rule.effect, rule.type, subject].append(rule)
        self._indices = {key: Index(about) for key, about in speaking.items()}

    def near(self, rule: Rule, part: RulePart, effect: Effect) -> list[Rule]:
        """Return the other rules of an effect that may cover a part of ``rule``, ordered by id."""
        found = {
            other.id: other
            for subject in self._wider(part.subject, rule.effect, effect)
            if (index := self._indices.get((effect, rule.type, subject)))
            for other in index.near(part.pattern)
            if other.id != rule.id
        }
        return [other for _, other in sorted(found.items())]

    def covers(self, other: Rule, rule: Rule, part: RulePart) -> bool:
        """Whether ``other`` covers all of a part of ``rule``, whatever their actions.

        The two have the same resource type.
        """
        if other.service not in (None, rule.service):
            return False
        if not self._conditions[rule.id].within(self._conditions[other.id]):
            return False
        by = self._by(other, rule, part)
        if not by:
            return False
        # An allow on anonymous grants to accounts too, but {account} covers nothing in it.
        asking = ANONYMOUS if by == {ANONYMOUS} else part.subject
        meant = (placed(pattern, asking) for pattern in other.patterns)
        return self._within(part.pattern, tuple(p for p in meant if p is not None))

    def memberships(self, other: Rule, rule: Rule) -> set[str]:
        """Return the groups by whose present members alone ``other`` covers ``rule``."""
        return {
            subject.name
            for part in parts(rule)
            if part.subject.kind is not SubjectKind.GROUP
            for by in [self._by(other, rule, part)]
            if all(subject.kind is SubjectKind.GROUP for subject in by)
            for subject in by
        }

    def _by(self, other: Rule, rule: Rule, part: RulePart) -> set[Subject]:
        wider = self._wider(part.subject, rule.effect, other.effect)
        return wider & _subjects_of(other)

    def _wider(self, subject: Subject, effect: Effect, by: Effect) -> set[Subject]:
        """Return every subject that includes ``subject``, itself among them."""
        anonymously = subject in (ANONYMOUS, EVERYONE)
        wider = {subject, EVERYONE}
        if not anonymously:
            wider.add(AUTHENTICATED)
        if by is Effect.ALLOW:
            wider.add(ANONYMOUS)
        elif subject == ANONYMOUS and effect is Effect.ALLOW:
            # Such an allow grants to accounts too, and a deny on anonymous does not bind them.
            wider.remove(ANONYMOUS)
        if subject.kind in NAMED_SUBJECTS and subject.kind is not SubjectKind.GROUP:
            account = self._accounts.get(subject.name)
            groups = account.groups if account else ()
            wider.update(Subject(SubjectKind.GROUP, group) for group in groups)
        return wider


def _subjects_of(rule: Rule) -> set[Subject]:
    both = {ANONYMOUS, AUTHENTICATED} <= set(rule.subjects)
    return {*rule.subjects, *([EVERYONE] if both else [])}
