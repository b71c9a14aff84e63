"""Lint's findings that are remembered: how long they are good."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from authserver.db import snapshot
from authserver.db.snapshot import Snapshot
from authserver.db.store import Store
from authserver.policy.lint import checks
from authserver.policy.lint.findings import LintReport
from authserver.policy.lint.stale import LintAges
from authserver.web.overview.lint_memory import GOOD_FOR, SHARE, LintMemory
from tests.unit.clocks import Seconds

AGES = LintAges(datetime(2026, 1, 1, tzinfo=UTC), 90, 90)
TOOK = 4.0

Asked = Callable[..., int]


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def asked(store: Store, clock: Seconds, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What asks for findings, after a change or not, and returns how often lint has run."""
    runs, memory = [], LintMemory(clock)

    def lint(*_: object) -> LintReport:
        runs.append(1)
        clock.at += TOOK
        return LintReport([], ())

    monkeypatch.setattr(checks, "lint", lint)
    with store.read() as session:
        state = snapshot.load(session)

    def ask(*, changed: bool = False) -> int:
        nonlocal state
        if changed:
            state = _changed(state)
        with store.read() as session:
            memory.report(session, state, AGES)
        return len(runs)

    return ask


def _changed(state: Snapshot) -> Snapshot:
    return replace(state, basis=object())


def test_lint_runs_once_while_nothing_changes(asked: Asked, clock: Seconds) -> None:
    assert asked() == 1
    clock.at += GOOD_FOR - 1
    assert asked() == 1
    clock.at += 2
    assert asked() == 2


def test_it_takes_a_small_share_of_the_time_however_often_rules_change(
    asked: Asked, clock: Seconds
) -> None:
    assert asked() == 1
    clock.at += SHARE * TOOK - 1
    assert asked(changed=True) == 1
    clock.at += 2
    assert asked() == 2, "findings of other rules are no longer good"
