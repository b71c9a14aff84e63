"""Find rules that expired, have been disabled for long, or are unused."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from authserver.core.commands import program
from authserver.core.rules import Rule
from authserver.core.times import format_time
from authserver.policy.lint.coverage import in_force
from authserver.policy.lint.findings import Code, Level, LintFinding, cite, idle
from authserver.policy.lint.rule_usage import RuleUpkeep

# A quiet installation may have no record from exactly the first day that was asked for.
_SLACK = 0.1


@dataclass(frozen=True)
class LintAges:
    """The time, the days after which a rule is stale, and the days for which records are kept."""

    at: datetime
    days: int
    record_days: int

    @property
    def since(self) -> datetime:
        return self.at - timedelta(days=self.days)


def expired(rules: Iterable[Rule], upkeep: RuleUpkeep, ages: LintAges) -> Iterator[LintFinding]:
    """Give findings on rules that expired or have been disabled for long."""
    for rule in rules:
        until = rule.conditions.end
        disabled = upkeep.written[rule.id].disabled_at
        if rule.enabled and until is not None and not in_force(rule, ages.at):
            ended = f"{cite(rule)} has no effect any more: it ended {format_time(until)}"
            yield _leftover(Code.EXPIRED, rule, ended)
        elif disabled is not None and disabled <= ages.since:
            off = f"{cite(rule)} has been disabled since {format_time(disabled)}"
            yield _leftover(Code.LONG_DISABLED, rule, off)


def _leftover(code: Code, rule: Rule, text: str) -> LintFinding:
    return LintFinding(code, Level.INFO, (rule.id,), text, f"{program()} acl remove {rule.id}")


def unused(rules: Iterable[Rule], upkeep: RuleUpkeep, ages: LintAges) -> Iterator[LintFinding]:
    """Give findings on rules in force that no token request touched, if the records suffice."""
    begins = upkeep.use.since
    if begins is None or _short_records(upkeep, ages):
        return
    for rule in rules:
        if not _touched(rule, upkeep) and not _younger(rule, upkeep, ages):
            since = f"was touched by no token request since {format_time(begins)}"
            yield idle(Code.UNUSED, rule, since)


def untold(rules: Iterable[Rule], upkeep: RuleUpkeep, ages: LintAges) -> Iterator[str]:
    """Give notes on why :func:`unused` cannot judge all rules, or some."""
    if why := _short_records(upkeep, ages):
        yield f"Which rules have been unused for {ages.days} days cannot be told: {why}."
        return
    idle = [rule for rule in rules if not _touched(rule, upkeep)]
    if young := sum(_younger(rule, upkeep, ages) for rule in idle):
        many = (
            "rules that nothing has touched are"
            if young > 1
            else "rule that nothing has touched is"
        )
        yield f"{young} {many} younger than {ages.days} days."


def _short_records(upkeep: RuleUpkeep, ages: LintAges) -> str | None:
    """Return the reason why the records do not go back far enough; None if they do."""
    begins = upkeep.use.since
    if ages.record_days < ages.days:
        return (
            f"records of token requests are kept for {ages.record_days} days; "
            f"say --unused-days {ages.record_days}, or raise token_record_days in the settings"
        )
    if begins is None:
        return "no record says which rules a token request touched"
    if begins - ages.since > timedelta(days=ages.days * _SLACK):
        return f"the records of which rules were touched begin {format_time(begins)}"
    return None


def _younger(rule: Rule, upkeep: RuleUpkeep, ages: LintAges) -> bool:
    """Whether a rule was written too recently to be called unused."""
    written = upkeep.written[rule.id].since
    return max(written, rule.conditions.begin or written) > ages.since


def _touched(rule: Rule, upkeep: RuleUpkeep) -> bool:
    unsure = upkeep.use.sure_below
    return rule.id in upkeep.use.touched or (unsure is not None and rule.id > unsure)
