"""All checks of a policy, and the report that they come to."""

from itertools import chain

from authserver.core.rules import Rule
from authserver.db.snapshot import Snapshot
from authserver.policy.lint import exposure, host_names, shadowed, stale, subjects
from authserver.policy.lint.coverage import RulesInForce
from authserver.policy.lint.findings import Code, Level, LintFinding, LintReport
from authserver.policy.lint.rule_usage import RuleUpkeep
from authserver.policy.lint.stale import LintAges
from authserver.policy.lint.subjects import PresentAccounts


def lint(
    state: Snapshot, upkeep: RuleUpkeep, ages: LintAges, ignored: frozenset[Code] = frozenset()
) -> LintReport:
    """Return the findings on all rules, but for those of ``ignored`` codes.

    ``state`` and ``upkeep`` must be read in one session, ``upkeep`` from ``ages.since`` on.
    """
    accounts = {name: known.account for name, known in state.accounts.items()}
    standing = RulesInForce(state.rules, accounts, ages.at)
    findings = chain(
        exposure.found(standing.rules),
        host_names.found(standing.rules),
        shadowed.found(standing),
        subjects.of_rules(standing.rules, PresentAccounts(state.accounts, upkeep.ownerless)),
        stale.expired(state.rules, upkeep, ages),
        subjects.of_delegations({rule.id: rule for rule in state.rules}, upkeep),
        stale.unused(standing.rules, upkeep, ages),
    )
    kept = (finding for finding in findings if finding.code not in ignored)
    notes = () if Code.UNUSED in ignored else stale.untold(standing.rules, upkeep, ages)
    return LintReport(sorted(kept, key=_gravest_first), tuple(notes))


def errors_of(rule: Rule) -> list[LintFinding]:
    """Return the errors of one rule, which is written now, that do not depend on other rules."""
    if not rule.enabled:
        return []
    findings = chain(exposure.found([rule]), host_names.found([rule]))
    return [finding for finding in findings if finding.level is Level.ERROR]


def _gravest_first(finding: LintFinding) -> tuple[int, tuple[int, ...], str]:
    return -list(Level).index(finding.level), finding.rules, finding.code
