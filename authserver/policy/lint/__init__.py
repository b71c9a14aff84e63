"""Lint: find rules without effect, rules that grant more than is often meant, and leftovers.

``acl lint`` and the API's lint call :func:`lint` with a snapshot and with what ``rule_usage`` reads
from the store. Each other module finds some kinds of findings: ``exposure`` too wide allows,
``shadowed`` rules that others cover, ``subjects`` rules about absent accounts, ``stale`` expired
and unused rules. Nothing here changes a rule: a finding quotes the command that does.
"""

from itertools import chain

from authserver.db.snapshot import Snapshot
from authserver.policy.lint import exposure, shadowed, stale, subjects
from authserver.policy.lint.coverage import RulesInForce
from authserver.policy.lint.findings import Code, Level, LintFinding, LintReport
from authserver.policy.lint.rule_usage import RuleUpkeep
from authserver.policy.lint.stale import MAX_DAYS, LintAges
from authserver.policy.lint.subjects import PresentAccounts

__all__ = ["MAX_DAYS", "Code", "Level", "LintAges", "LintFinding", "LintReport", "lint"]


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
        shadowed.found(standing),
        subjects.of_rules(standing.rules, PresentAccounts(state.accounts, upkeep.ownerless)),
        stale.expired(state.rules, upkeep, ages),
        subjects.of_delegations({rule.id: rule for rule in state.rules}, upkeep),
        stale.unused(standing.rules, upkeep, ages),
    )
    kept = (finding for finding in findings if finding.code not in ignored)
    notes = () if Code.UNUSED in ignored else stale.untold(standing.rules, upkeep, ages)
    return LintReport(sorted(kept, key=_gravest_first), tuple(notes))


def _gravest_first(finding: LintFinding) -> tuple[int, tuple[int, ...], str]:
    return -list(Level).index(finding.level), finding.rules, finding.code
