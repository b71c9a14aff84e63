"""Find rules and delegations whose subjects cannot make a request."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from authserver.core.commands import program, shell_command
from authserver.core.patterns import ACCOUNT
from authserver.core.rules import Effect, Rule
from authserver.core.subjects import Subject, SubjectKind
from authserver.db.snapshot_rows import KnownAccount
from authserver.policy.lint.coverage import placed
from authserver.policy.lint.findings import Code, Level, LintFinding, cite, idle
from authserver.policy.lint.rule_usage import RuleUpkeep

_WHY = {
    Code.EMPTY_GROUP: "has no member that is enabled",
    Code.DISABLED_ACCOUNT: "is disabled",
    Code.DISABLED_OWNER: "is disabled with its owner",
}


@dataclass(frozen=True)
class PresentAccounts:
    """The accounts that can make requests.

    ``ownerless`` are robots that are disabled only through their disabled owner.
    """

    accounts: Mapping[str, KnownAccount]
    ownerless: frozenset[str]
    _peopled: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        for known in self.accounts.values():
            if not known.disabled:
                self._peopled.update(known.account.groups)

    def absent(self, subject: Subject) -> Code | None:
        """Return the reason why a subject can make no request; None if it can."""
        if subject.kind is SubjectKind.GROUP:
            return None if subject.name in self._peopled else Code.EMPTY_GROUP
        known = self.accounts.get(subject.name)
        if known is None or not known.disabled:
            return None
        return Code.DISABLED_OWNER if subject.name in self.ownerless else Code.DISABLED_ACCOUNT


def of_rules(rules: Iterable[Rule], audience: PresentAccounts) -> Iterator[LintFinding]:
    """Give findings on rules in force with absent subjects."""
    for rule in rules:
        absent = {s: code for s in rule.subjects if (code := audience.absent(s)) is not None}
        if len(absent) == len(rule.subjects):
            yield idle(Code.NOBODY, rule, f"is about nobody now: {_reasons(absent)}")
        else:
            yield from _some(rule, absent)
        yield from _nameless(rule)


def _some(rule: Rule, absent: Mapping[Subject, Code]) -> Iterator[LintFinding]:
    by_code: defaultdict[Code, dict[Subject, Code]] = defaultdict(dict)
    for subject, code in absent.items():
        by_code[code][subject] = code
    for code, subjects in by_code.items():
        kept = ",".join(str(s) for s in rule.subjects if s not in subjects)
        yield LintFinding(
            code=code,
            level=Level.INFO,
            rules=(rule.id,),
            text=f"{cite(rule)} is about some who are not there: {_reasons(subjects)}",
            remedy=None
            if rule.effect is Effect.DENY
            else shell_command("acl", "edit", rule.id, "--subjects", kept),
        )


def _reasons(absent: Mapping[Subject, Code]) -> str:
    return "; ".join(f"{subject} {_WHY[code]}" for subject, code in absent.items())


def _nameless(rule: Rule) -> Iterator[LintFinding]:
    own = [pattern for pattern in rule.patterns if ACCOUNT in pattern.text]
    never = [str(s) for s in rule.subjects if own and placed(own[0], s) is None]
    if never:
        yield LintFinding(
            code=Code.NO_PATH_COMPONENT,
            level=Level.WARNING,
            rules=(rule.id,),
            text=f"{cite(rule)} covers nothing for {', '.join(never)} by "
            f"{','.join(map(str, own))}: {ACCOUNT} stands for a name that can be a part of a "
            "repository's name, and there is none",
        )


def of_delegations(rules: Mapping[int, Rule], upkeep: RuleUpkeep) -> Iterator[LintFinding]:
    """Give findings on delegations to empty groups, and on rules whose author left the group."""
    for delegation in upkeep.delegations:
        if delegation.empty:
            yield LintFinding(
                code=Code.EMPTY_DELEGATION,
                level=Level.WARNING,
                rules=(),
                text=f"delegation {delegation.id} ({delegation.text}) is nobody's: "
                f"group:{delegation.group} has no members",
                remedy=f"{program()} acl undelegate {delegation.id}",
            )
        for rule_id, author in sorted(delegation.strangers.items()):
            yield LintFinding(
                code=Code.DELEGATE_LEFT,
                level=Level.INFO,
                rules=(rule_id,),
                text=f"{cite(rules[rule_id])} was written by {author}, who is in "
                f"group:{delegation.group} no more, under delegation {delegation.id}",
                remedy=f"{program()} acl show {rule_id}",
            )
