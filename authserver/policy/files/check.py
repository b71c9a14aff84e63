"""Check assertions on a policy, for ``policy test``.

A plain name goes through the function that decides token requests. A pattern is compared with the
patterns of rules: ``can`` holds if they grant all of it, ``cannot`` if they grant nothing of it.
If neither is certain, the assertion fails and the verdict says so.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from authserver.core.conditions import Circumstances, samples
from authserver.core.decision import Reason, decide
from authserver.core.names import is_path_component, printable
from authserver.core.pattern_sets import overlap, within
from authserver.core.patterns import ACCOUNT, Pattern
from authserver.core.rules import OTHER_NAME, Asked, Effect, Rule, expand
from authserver.core.scope import Scope
from authserver.core.subjects import ANONYMOUS, Account, Subject, SubjectKind
from authserver.policy.files.assertions import AssertionClaim
from authserver.policy.files.current_state import PolicyState
from authserver.policy.pattern_index import RulePattern, Tree

MAX_REASONS = 5

MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class AssertionVerdict:
    """Whether one assertion holds, and why not."""

    claim: AssertionClaim
    reasons: Sequence[str]

    @property
    def holds(self) -> bool:
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        return {
            "assertion": self.claim.text,
            "line": self.claim.line,
            "holds": self.holds,
            "reasons": list(self.reasons),
        }


def check(
    state: PolicyState, claims: Sequence[AssertionClaim], now: datetime
) -> Iterator[AssertionVerdict]:
    """Give a verdict on each assertion."""
    world = _World(state, now)
    for claim in claims:
        reasons = list(islice(world.against(claim), MAX_REASONS + 1))
        if len(reasons) > MAX_REASONS:
            reasons[MAX_REASONS] = "… and more"
        yield AssertionVerdict(claim, reasons)


class _World:
    def __init__(self, state: PolicyState, now: datetime) -> None:
        self._state, self._now = state, now
        enabled = (each.rule for each in state.rules if each.rule.enabled)
        self._rules = Tree(
            RulePattern(pattern, rule) for rule in enabled for pattern in rule.patterns
        )
        self._asking = state.asking()
        self._locations = {each.rule.id: each.location for each in state.rules}

    def against(self, claim: AssertionClaim) -> Iterator[str]:
        """Give the reasons why an assertion does not hold."""
        if claim.service is not None and claim.service not in self._state.registries:
            yield f"there is no registry {claim.service!r}"
            return
        if (reason := self._absence(claim)) is not None:
            yield reason
            return
        near = {entry.rule.id: entry.rule for entry in self._rules.near(claim.pattern)}
        rules = [rule for _, rule in sorted(near.items()) if rule.type == claim.type]
        # A policy without registries: only rules for every registry count.
        services = [claim.service] if claim.service else sorted(self._state.registries) or [""]
        for account in self._accounts(claim):
            for service in services:
                on = f" on {service}" if len(services) > 1 else ""
                for reason in self._case(rules, claim, account, service):
                    yield f"{account.name if account else ANONYMOUS}{on}: {reason}"

    def _absence(self, claim: AssertionClaim) -> str | None:
        """Return the reason why the assertion is about nobody, None if there is somebody."""
        asserted = claim.subject
        name = claim.account or (asserted.name if asserted else "")
        if asserted is not None and asserted.kind is SubjectKind.GROUP:
            if name not in self._state.groups:
                return f"there is no group {name!r}"
            enabled = self._accounts(claim)
            return "the group has no enabled members" if claim.can and not enabled else None
        if not name:
            return None
        account = self._asking.get(name)
        if account is None or (asserted is not None and account.subject != asserted):
            return f"there is no {asserted.kind if asserted else 'account'} {name!r}"
        disabled = self._state.is_disabled(name)
        return f"{name} is disabled: no token is issued to it" if claim.can and disabled else None

    def _accounts(self, claim: AssertionClaim) -> list[Account | None]:
        """Return the enabled accounts that the assertion is about; None is anonymous."""
        if claim.account is not None:
            return [self._asking[claim.account]] if self._enabled(claim.account) else []
        asserted = claim.subject or Subject(SubjectKind.EVERYONE)
        named = [a for name, a in sorted(self._asking.items()) if asserted.binds(a)]
        enabled: list[Account | None] = [a for a in named if self._enabled(a.name)]
        return [None, *enabled] if asserted.binds(None) else enabled

    def _enabled(self, name: str) -> bool:
        return not self._state.is_disabled(name)

    def _case(
        self, rules: Sequence[Rule], claim: AssertionClaim, account: Account | None, service: str
    ) -> Iterator[str]:
        circumstances = Circumstances(claim.address, claim.at or self._now)
        # These stand for all addresses.
        places = (
            [circumstances]
            if claim.can
            else samples((rule.conditions for rule in rules), circumstances)
        )
        pattern = _own(claim.pattern, account)
        if pattern is None:
            if claim.can:
                yield f"{claim.pattern} covers nothing for it"
            return
        for place in places:
            case = _Case(rules, account, service, claim, pattern, place, self._cite)
            reasons = list(case.against())
            yield from reasons
            if reasons:
                return

    def _cite(self, rule: Rule) -> str:
        # A rule of a file has no id.
        number = rule.id if rule.id > 0 else self._locations[rule.id]
        return f"rule {number} ({rule})"


def _own(pattern: Pattern, account: Account | None) -> Pattern | None:
    """Return a pattern with the account's name for {account}; None if it covers nothing."""
    if ACCOUNT not in pattern.text:
        return pattern
    if account is None or not is_path_component(account.name):
        return None
    return Pattern(pattern.text.replace(ACCOUNT, account.name))


@dataclass(frozen=True, slots=True)
class _Case:
    """One assertion for one account, on one registry, under some circumstances."""

    rules: Sequence[Rule]
    account: Account | None
    service: str
    claim: AssertionClaim
    pattern: Pattern
    place: Circumstances
    cite: Callable[[Rule], str]

    def against(self) -> Iterator[str]:
        if "*" not in self.pattern.text:
            yield from self._by_name()
            return
        for action in self.claim.actions:
            yield from self._can(action) if self.claim.can else self._cannot(action)

    def _by_name(self) -> Iterator[str]:
        scope = Scope(self.claim.type, self.pattern.text, self.claim.actions)
        decision = decide(self.rules, self.account, self.service, scope, None, self.place)
        failed = not decision.complete if self.claim.can else bool(decision.granted)
        if failed:
            granted = ",".join(decision.granted) or "nothing"
            why = "; ".join(map(self._why, decision.reasons))
            yield f"{scope.name}: granted {granted}{self._from()}: {why}"

    def _why(self, reason: Reason) -> str:
        if reason.rule is None:
            return str(reason)
        return f"{','.join(reason.actions)} {reason.cause} by {self.cite(reason.rule)}"

    def _can(self, action: str) -> Iterator[str]:
        speaking = self._applicable(Effect.ALLOW, action)
        allows = [pattern for pattern, _ in speaking if overlap(self.pattern, pattern)]
        if not allows:
            yield f"no rule allows {action} on any of {self.pattern}{self._from()}"
        elif not within(self.pattern, allows):
            yield f"cannot tell that rules allow {action} on all of {self.pattern}{self._from()}"
        for pattern, rule in self._applicable(Effect.DENY, action):
            if overlap(self.pattern, pattern):
                yield f"{action} is denied on some of it by {self.cite(rule)}"

    def _cannot(self, action: str) -> Iterator[str]:
        denies = [pattern for pattern, _ in self._applicable(Effect.DENY, action)]
        if denies and within(self.pattern, denies):
            return
        for pattern, rule in self._applicable(Effect.ALLOW, action):
            if not overlap(self.pattern, pattern) or (denies and within(pattern, denies)):
                continue
            doubt = any(overlap(pattern, d) and overlap(self.pattern, d) for d in denies)
            sure = "cannot tell that denies take away all that" if doubt else f"{action} is allowed"
            by = f"{self.cite(rule)} allows" if doubt else f"by {self.cite(rule)}"
            yield f"{sure} {by}{self._from()}"

    def _applicable(self, effect: Effect, action: str) -> Iterator[tuple[Pattern, Rule]]:
        """Give the patterns of rules that apply to the names that they cover."""
        for rule in self.rules:
            # An allow on anonymous grants to accounts too.
            ways = {self.account, None} if effect is Effect.ALLOW else {self.account}
            for who in ways if rule.effect is effect else ():
                if self._applies(rule, who, action):
                    yield from ((own, rule) for p in rule.patterns if (own := _own(p, who)))

    def _applies(self, rule: Rule, who: Account | None, action: str) -> bool:
        """Whether a rule is about an action on some name."""
        # Any deny takes a granted * away; only an allow of * grants it.
        if rule.effect is Effect.ALLOW and action not in expand(rule.type, rule.actions):
            return False
        asked = Asked(who, self.service, Scope(self.claim.type, "", (action,)), self.place)
        return all(hindrance == OTHER_NAME for hindrance in rule.hindrances(asked))

    def _from(self) -> str:
        return f" from {self.place.address}" if self.place.address else ""


def junit_report(verdicts: Sequence[AssertionVerdict], file: str) -> str:
    """Return the verdicts on the assertions of ``file`` as a test suite."""
    failed = sum(not verdict.holds for verdict in verdicts)
    cases = "".join(_case(verdict, file) for verdict in verdicts)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuite name="policy" tests="{len(verdicts)}" failures="{failed}">\n'
        f"{cases}</testsuite>\n"
    )


def _case(verdict: AssertionVerdict, file: str) -> str:
    claim = verdict.claim
    head = (
        f"  <testcase name={_attribute(claim.text)} classname={_attribute(file)} "
        f'line="{claim.line}"'
    )
    if verdict.holds:
        return f"{head}/>\n"
    reasons = escape("\n".join(printable(reason, MAX_TEXT) for reason in verdict.reasons))
    return f'{head}>\n    <failure message="it does not hold">{reasons}</failure>\n  </testcase>\n'


def _attribute(text: str) -> str:
    return quoteattr(printable(text, MAX_TEXT))
