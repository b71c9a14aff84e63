"""Lint: what in the rules is without effect, wider than is often meant, or left over."""

from itertools import chain

from authserver.db.snapshot import Snapshot
from authserver.db.upkeep import Upkeep
from authserver.linting import ageing, audience, delegating, exposure, shadows
from authserver.linting.ageing import MAX_DAYS, Ages
from authserver.linting.audience import Audience
from authserver.linting.covering import Standing
from authserver.linting.findings import Code, Finding, Level, Report

__all__ = ["MAX_DAYS", "Ages", "Code", "Finding", "Level", "Report", "lint"]


def lint(
    state: Snapshot, upkeep: Upkeep, ages: Ages, ignored: frozenset[Code] = frozenset()
) -> Report:
    """Look at every rule; the findings of which kinds are ``ignored`` are left out.

    ``state`` and ``upkeep`` are of one moment, ``upkeep`` from ``ages.since`` on.
    """
    accounts = {name: known.account for name, known in state.accounts.items()}
    standing = Standing(state.rules, accounts, ages.at)
    findings = chain(
        exposure.found(standing.rules),
        shadows.found(standing),
        audience.found(standing.rules, Audience(state.accounts, upkeep.ownerless)),
        ageing.expired(state.rules, upkeep, ages),
        delegating.found({rule.id: rule for rule in state.rules}, upkeep),
        ageing.unused(standing.rules, upkeep, ages),
    )
    kept = (finding for finding in findings if finding.code not in ignored)
    notes = () if Code.UNUSED in ignored else ageing.untold(standing.rules, upkeep, ages)
    return Report(sorted(kept, key=_gravest_first), tuple(notes))


def _gravest_first(finding: Finding) -> tuple[int, tuple[int, ...], str]:
    return -list(Level).index(finding.level), finding.rules, finding.code
