"""Which rules say all that another says."""

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
    """What a rule says of one of its subjects, by one of its patterns."""

    subject: Subject
    pattern: Pattern


def parts(rule: Rule) -> Iterator[RulePart]:
    """Give the parts of a rule that can cover any name."""
    for subject in rule.subjects:
        for pattern in rule.patterns:
            if (meant := placed(pattern, subject)) is not None:
                # {account} is nobody's name where nobody is named.
                own = subject == EVERYONE and ACCOUNT in meant.text
                yield RulePart(AUTHENTICATED if own else subject, meant)


def placed(pattern: Pattern, subject: Subject) -> Pattern | None:
    """Return what a pattern covers for a subject: with a named account's name in its place.

    None if that is nothing.
    """
    if ACCOUNT not in pattern.text or subject.kind in _MANY:
        return pattern
    if not is_path_component(subject.name):
        return None
    return Pattern(pattern.text.replace(ACCOUNT, subject.name))


def in_force(rule: Rule, at: datetime) -> bool:
    """Whether a rule holds at ``at`` or may hold later."""
    until = rule.conditions.end
    return rule.enabled and (until is None or until > at)


class RulesInForce:
    """The rules in force, and which of them cover which."""

    def __init__(
        self, rules: Iterable[Rule], accounts: Mapping[str, Account], at: datetime
    ) -> None:
        self.rules = [rule for rule in rules if in_force(rule, at)]
        self._accounts = accounts
        # The same few patterns meet again and again.
        self._within = lru_cache(maxsize=100_000)(within)
        self._conditions = {rule.id: rule.conditions.since(at) for rule in self.rules}
        speaking: defaultdict[tuple[Effect, str, Subject], list[Rule]] = defaultdict(list)
        for rule in self.rules:
            for subject in _spoken_of(rule):
                speaking[rule.effect, rule.type, subject].append(rule)
        self._indices = {key: Index(about) for key, about in speaking.items()}

    def near(self, rule: Rule, part: RulePart, effect: Effect) -> list[Rule]:
        """Return the other rules of an effect that may cover a part of ``rule``, by id."""
        found = {
            other.id: other
            for subject in self._wider(part.subject, rule.effect, effect)
            if (index := self._indices.get((effect, rule.type, subject)))
            for other in index.near(part.pattern)
            if other.id != rule.id
        }
        return [other for _, other in sorted(found.items())]

    def covers(self, other: Rule, rule: Rule, part: RulePart) -> bool:
        """Whether ``other`` speaks of all that a part of ``rule`` does; the actions are not asked.

        It is asked of rules of the same type that :meth:`near` gave, or the other way round.
        """
        if other.service not in (None, rule.service):
            return False
        if not self._conditions[rule.id].within(self._conditions[other.id]):
            return False
        by = self._by(other, rule, part)
        if not by:
            return False
        # What is allowed to anonymous holds for accounts as well, but names none of them.
        asking = ANONYMOUS if by == {ANONYMOUS} else part.subject
        meant = (placed(pattern, asking) for pattern in other.patterns)
        return self._within(part.pattern, tuple(p for p in meant if p is not None))

    def memberships(self, other: Rule, rule: Rule) -> set[str]:
        """Return the groups on whose present members it rests that ``other`` covers ``rule``."""
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
        return wider & _spoken_of(other)

    def _wider(self, subject: Subject, effect: Effect, by: Effect) -> set[Subject]:
        """Return the subjects of which a rule speaks of all whom a rule on ``subject`` reaches."""
        anonymously = subject in (ANONYMOUS, EVERYONE)
        wider = {subject, EVERYONE}
        if not anonymously:
            wider.add(AUTHENTICATED)
        if by is Effect.ALLOW:
            wider.add(ANONYMOUS)
        elif subject == ANONYMOUS and effect is Effect.ALLOW:
            # It reaches accounts too, and a deny on anonymous does not.
            wider.remove(ANONYMOUS)
        if subject.kind in NAMED_SUBJECTS and subject.kind is not SubjectKind.GROUP:
            account = self._accounts.get(subject.name)
            groups = account.groups if account else ()
            wider.update(Subject(SubjectKind.GROUP, group) for group in groups)
        return wider


def _spoken_of(rule: Rule) -> set[Subject]:
    both = {ANONYMOUS, AUTHENTICATED} <= set(rule.subjects)
    return {*rule.subjects, *([EVERYONE] if both else [])}
