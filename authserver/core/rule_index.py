"""An index of rules by their subjects and by the beginnings of their patterns.

The cost of a request grows with the depth of the name and with the account's groups, not with
the number of rules. The index decides nothing: it leaves out rules that cannot apply.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from authserver.core.names import REPOSITORY_NAME_MAX
from authserver.core.rules import Rule
from authserver.core.subjects import ANONYMOUS, Account, SubjectKind

MAX_KEYS = 64
"""Keys of one rule. A rule with more is indexed by its subjects alone."""

_PUBLIC = (ANONYMOUS, "everyone")
_KNOWN = ("authenticated", *_PUBLIC)
_NO_NAMES: Mapping[str, str] = {}


class RuleIndex:
    """All rules, by ascending id. It never changes: a change makes another one."""

    __slots__ = ("_by_id", "_by_key")

    def __init__(self, by_id: Mapping[int, Rule], by_key: Mapping[str, tuple[Rule, ...]]) -> None:
        self._by_id = by_id
        self._by_key = by_key

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> "RuleIndex":
        """Return the index of these rules, which come by ascending id."""
        return cls({}, {}).replaced((), rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RuleIndex) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def candidates(self, account: Account | None, name: str) -> list[Rule]:
        """Return, by ascending id, every rule that may apply to ``name``, and few others."""
        by_key = self._by_key
        rules: dict[int, Rule] = {}
        starts = list(_starts(name))
        for subject in _binding(account):
            for start in starts:
                for rule in by_key.get(f"{subject} {start}", ()):
                    rules[rule.id] = rule
        return [rules[rule_id] for rule_id in sorted(rules)]

    def replaced(self, ids: Collection[int], rules: Iterable[Rule]) -> "RuleIndex":
        """Return an index in which the rules of these ids have gone and ``rules`` are there.

        ``rules`` come by ascending id; one that was there before keeps its place.
        """
        by_id, by_key = dict(self._by_id), dict(self._by_key)
        new = {rule.id: rule for rule in rules}
        old = [by_id[rule_id] for rule_id in {*ids, *new} if rule_id in by_id]
        for key, gone in _grouped(old).items():
            gone_ids = {rule.id for rule in gone}
            kept = tuple(rule for rule in by_key[key] if rule.id not in gone_ids)
            by_key[key] = kept
            if not kept:
                del by_key[key]
        for key, come in _grouped(new.values()).items():
            by_key[key] = (*by_key.get(key, ()), *come)
        by_id.update(new)
        for rule_id in ids:
            if rule_id not in new:
                by_id.pop(rule_id, None)
        return RuleIndex(by_id, by_key)

    def renamed(
        self,
        accounts: Mapping[str, str] = _NO_NAMES,
        groups: Mapping[str, str] = _NO_NAMES,
        services: Mapping[str, str] = _NO_NAMES,
    ) -> "RuleIndex":
        """Return an index with new names, given by the old ones."""
        if not (accounts or groups or services):
            return self
        renamed = (_renamed(rule, accounts, groups, services) for rule in self)
        return self.replaced((), [rule for rule in renamed if rule != self._by_id[rule.id]])


def _renamed(
    rule: Rule, accounts: Mapping[str, str], groups: Mapping[str, str], services: Mapping[str, str]
) -> Rule:
    subjects = [
        replace(s, name=(groups if s.kind is SubjectKind.GROUP else accounts).get(s.name, s.name))
        for s in rule.subjects
    ]
    service = services.get(rule.service or "", rule.service)
    return replace(rule, subjects=tuple(sorted(subjects, key=str)), service=service)


def _grouped(rules: Iterable[Rule]) -> dict[str, list[Rule]]:
    grouped: defaultdict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        for key in _keys(rule):
            grouped[key].append(rule)
    return grouped


def _keys(rule: Rule) -> set[str]:
    starts = {"/".join(pattern.beginning) for pattern in rule.patterns}
    if len(starts) * len(rule.subjects) > MAX_KEYS:
        starts = {""}
    return {f"{subject} {start}" for subject in rule.subjects for start in starts}


def _starts(name: str) -> Iterator[str]:
    """Give each possible beginning of a pattern that covers ``name``, from nothing to all of it.

    Beginnings longer than a repository name are skipped: a hostile name must not cost more.
    """
    yield ""
    at = name.find("/")
    while 0 <= at <= REPOSITORY_NAME_MAX:
        yield name[:at]
        at = name.find("/", at + 1)
    yield name


def _binding(account: Account | None) -> tuple[str, ...]:
    """Return the subjects that include ``account``."""
    if account is None:
        return _PUBLIC
    groups = (f"group:{group}" for group in account.groups)
    return (f"{account.kind}:{account.name}", *groups, *_KNOWN)
