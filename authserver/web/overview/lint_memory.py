"""Lint's findings for a page that is looked at often."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy.orm import Session

from authserver.db.snapshot import Snapshot
from authserver.policy.lint import checks, rule_usage
from authserver.policy.lint.findings import LintReport
from authserver.policy.lint.stale import LintAges

GOOD_FOR = 600.0
"""Seconds for which findings are good though no rule, account or registry changed: rules expire."""

SHARE = 30
"""Findings that took a second are good for so many, whatever changed."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    basis: object
    report: LintReport
    at: float
    seconds: float


@dataclass(eq=False)
class LintMemory:
    """Remembers the last findings. ``monotonic`` is a clock in seconds that never goes back."""

    monotonic: Callable[[], float]
    _last: _Remembered | None = None
    _looking: Lock = field(default_factory=Lock, repr=False)

    def report(self, session: Session, state: Snapshot, ages: LintAges) -> LintReport:
        """Return the findings on ``state``, which was read in ``session``, or recent ones."""
        # Others that ask meanwhile wait, and get the same.
        with self._looking:
            now = self.monotonic()
            last = self._last
            if last is not None and self._is_good(last, state, now):
                return last.report
            report = checks.lint(state, rule_usage.load(session, ages.since), ages)
            done = self.monotonic()
            self._last = _Remembered(state.basis, report, done, done - now)
            return report

    def _is_good(self, last: _Remembered, state: Snapshot, now: float) -> bool:
        age = now - last.at
        return age < SHARE * last.seconds or (last.basis is state.basis and age < GOOD_FOR)
