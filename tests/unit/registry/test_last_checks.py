"""The last check of a registry: what is kept of it, and until when."""

import pytest

from authserver.core.errors import NotFound
from authserver.db.store import Store
from authserver.registry import entries, last_checks
from tests.unit.registry.reports import report
from tests.world import SERVICE


def test_the_last_one_takes_the_place_of_the_one_before(store: Store) -> None:
    for failing in (("token", "clock"), ("clock",), ()):
        with store.change("test") as change:
            last_checks.keep(change, report(*failing))
        with store.read() as session:
            row = last_checks.of(session, SERVICE)
            described = last_checks.described(row)
        assert described["healthy"] is not bool(failing)
        assert described["failed"] == len(failing)
        assert [finding["check"] for finding in described["findings"]] == [*failing]


def test_hostile_texts_are_bounded_and_escaped(store: Store) -> None:
    with store.change("test") as change:
        last_checks.keep(change, report(*map(str, range(99)), why="\x1b[2J\u202e" * 9999))
    with store.read() as session:
        described = last_checks.described(last_checks.of(session, SERVICE))
    assert described["failed"] == 99
    assert len(described["findings"]) == last_checks.MAX_FINDINGS
    for finding in described["findings"]:
        assert len(finding["why"]) <= last_checks.MAX_TEXT
        assert finding["why"].isprintable()


def test_a_registry_that_is_made_again_was_never_checked(store: Store) -> None:
    with store.change("test") as change:
        last_checks.keep(change, report())
        entries.remove(change, SERVICE, force=True)
    with store.change("test") as change:
        entries.add(change, SERVICE)
    with store.read() as session, pytest.raises(NotFound, match="registry check registry"):
        last_checks.of(session, SERVICE)


def test_a_check_of_a_registry_that_went_meanwhile_is_not_kept(store: Store) -> None:
    with store.change("test") as change:
        entries.remove(change, SERVICE, force=True)
    with pytest.raises(NotFound), store.change("test") as change:
        last_checks.keep(change, report())
