"""Lockouts on their way to the store."""

from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy.orm import Session

from authserver.auth.lockout import Begun
from authserver.auth.lockout_log import LockoutLog
from authserver.core.errors import NotReady
from authserver.db.lockouts import MAX_LOCKOUTS
from authserver.db.store import Store
from tests.unit.auth.test_lockout import Door


@pytest.fixture
def lockouts() -> LockoutLog:
    """A full queue: k0 is its oldest lockout."""
    log = LockoutLog(Door().lockout)
    for number in range(MAX_LOCKOUTS):
        begin(log, number)
    return log


def begin(log: LockoutLog, number: int) -> None:
    until = log.lockout.monotonic() + 60
    log.lockout.began(Begun(f"k{number}", "192.0.2.1", "", until))


def test_a_lockout_that_begins_during_a_write_stays_pending(
    store: Store, lockouts: LockoutLog
) -> None:
    def time(session: Session) -> datetime:
        begin(lockouts, MAX_LOCKOUTS)
        return store.time(session)

    lockouts.write(replace(store, time=time))
    assert [each.key for each in lockouts._pending] == [f"k{MAX_LOCKOUTS}"]


def test_after_an_error_the_newest_lockouts_stay_pending(
    store: Store, lockouts: LockoutLog
) -> None:
    def time(_: Session) -> datetime:
        begin(lockouts, MAX_LOCKOUTS)
        raise NotReady("gone")

    with pytest.raises(NotReady):
        lockouts.write(replace(store, time=time))
    kept = [f"k{number}" for number in range(1, MAX_LOCKOUTS + 1)]
    assert [each.key for each in lockouts._pending] == kept
