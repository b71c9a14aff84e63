"""Accepting faults of audit records: the alarm ends, what was accepted stays, and no more is."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from sqlalchemy import delete, insert, select, text, update
from structlog.testing import capture_logs

from authserver.audit import accept as audit_accept
from authserver.audit import accepted_faults, retention
from authserver.audit.recorder import Trail
from authserver.audit.verify import Report, Verification
from authserver.core.errors import Refused
from authserver.db.models import AuditChain, AuditMark, AuditRecord, AuditState, TokenRecord
from tests import stores
from tests.unit.audit.test_attacks import changes_from, head_at
from tests.unit.audit.test_garbage import lift_constraints
from tests.unit.audit.test_verify import (
    SINCE,
    SLOW,
    Office,
    alterations,
    applied,
    busy,
    chains,
    copied,
    office,
    swapped,
)

__all__ = ["busy", "office"]

WHY = "looked into: a disk"


def verified(office: Office) -> tuple[Verification, Report]:
    with office.store.read() as session:
        made = Verification(session, Trail.of(office.process()).key(session), None, lambda *_: None)
        return made, made.run()


def accept(office: Office) -> list[str]:
    """Accept what is wrong now, as the command does; return it."""
    found, report = verified(office)
    process = office.process()
    with process.change("cli:operator") as change:
        audit_accept.accept(change, found, report.faults, WHY)
    Trail.of(process).outbox.write()
    return [str(fault) for fault in report.faults]


def accepted(office: Office) -> list[str]:
    return [str(fault) for one in verified(office)[1].accepted for fault in one.faults]


def change_in(row: int) -> Any:
    return update(AuditRecord).where(AuditRecord.id == row)


def token_in(row: int) -> Any:
    return update(TokenRecord).where(TokenRecord.id == row)


DAMAGE: dict[str, list[Any]] = {
    "a change is altered": [change_in(3).values(actor="x")],
    "the last change is altered": [change_in(11).values(actor="x")],
    "its HMAC": [change_in(11).values(mac="0" * 64)],
    "its number": [change_in(11).values(seq=99)],
    "a token record is altered": [token_in(3).values(account="x")],
    "the last of its chain": [token_in(10).values(mac="0" * 64)],
    "its number there": [token_in(10).values(seq=99)],
    "the first is missing": [delete(TokenRecord).where(TokenRecord.id == 1)],
    "some are missing": [delete(TokenRecord).where(TokenRecord.id.in_([2, 3]))],
    "the end of a chain": [delete(TokenRecord).where(TokenRecord.id >= 9)],
    "all of a chain": [delete(TokenRecord).where(TokenRecord.chain_id == 3)],
    "all": [delete(TokenRecord)],
    "a change is missing": [delete(AuditRecord).where(AuditRecord.id == 5)],
    "the last changes": [changes_from(10)],
    "the last changes, and their end": [head_at(8), changes_from(9)],
    "moved": [*swapped(AuditRecord, 8, 9), *swapped(TokenRecord, 2, 6)],
    "in no chain": [token_in(4).values(chain_id=None)],
    "in a chain that is none": [token_in(4).values(chain_id=9)],
    "the end of all chains": [update(AuditChain).values(seq=AuditChain.seq + 1)],
    "the end of all chains, by far": [update(AuditChain).values(seq=2**61)],
    "a name": [update(AuditChain).where(AuditChain.id == 3).values(name="x")],
    "the marks": [update(AuditMark).values(mac="x")],
    "what is sealed": [update(AuditMark).values(sealed_seq=2)],
    "the checkpoint": [update(AuditState).values(mac="x")],
    "its number, and the chains'": [update(AuditState).values(number=0, chains=1)],
    "a chain is missing": [
        delete(AuditMark).where(AuditMark.chain_id == 3),
        delete(AuditChain).where(AuditChain.id == 3),
    ],
    "the chain of changes": [
        delete(AuditMark).where(AuditMark.chain_id == 1),
        delete(AuditChain).where(AuditChain.id == 1),
    ],
}
SPOILT = {
    "a record": "token_record SET account = x'ff' WHERE id = 2",
    "the time of a record": "token_record SET at = NULL WHERE id = 2",
    "a change": "audit_record SET target = CAST(x'ff' AS TEXT) WHERE id = 4",
    "where the changes end": "audit_chain SET seq = 'x' WHERE id = 1",
    "where a chain ends": "audit_chain SET mac = x'00' WHERE id = 2",
    "a name": "audit_chain SET name = x'00' WHERE id = 2",
    "the marks": "audit_mark SET sealed_seq = 'x'",
    "the checkpoint": "audit_state SET at = 'x', number = x'00'",
}


def _goes_on(office: Office) -> None:
    """Check that all is as ever: what was accepted stays, servers write, and old records go."""
    said = accept(office)
    assert said
    assert office.faults() == []
    assert accepted(office) == said
    processes = [office.process() for _ in range(2)]
    for _ in range(2):
        for process in processes:
            office.ask(process, 2)
        office.change(processes[0], f"late{office.number}")
        assert office.seal(processes[1]) is None
        assert office.faults() == []
    office.clock.move(timedelta(days=31))
    office.ask(processes[0])
    with capture_logs() as logged:
        while retention.prune(processes[0], office.clock() - SINCE, 1000):
            assert office.faults() == []
    assert logged == []
    with office.store.read() as session:
        assert len(session.scalars(select(TokenRecord.id)).all()) == 1
    assert office.faults() == []
    assert accepted(office) == said


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_whatever_is_accepted_is_no_alarm_any_more_and_goes_on_being_told(
    busy: Office, damage: list[Any]
) -> None:
    busy.do(*damage)
    _goes_on(busy)


@pytest.mark.sqlite
@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_what_cannot_be_read_is_accepted_too(busy: Office, spoilt: str) -> None:
    lift_constraints(busy)
    busy.do(text(f"UPDATE {spoilt}"))
    _goes_on(busy)


@SLOW
@given(first=alterations(), second=alterations())
def test_what_is_altered_after_it_is_found(
    busy: Office, tmp_path: Path, first: tuple[str, Any], second: tuple[str, Any]
) -> None:
    busy.store.engine.dispose()
    with copied(busy, tmp_path / "copy") as office:
        applied(office, first)
        accept(office)
        assert office.faults() == []
        before = _said(office)
        try:
            applied(office, second)
        except Exception:  # noqa: BLE001 - it takes a row that the first has removed
            return
        if _said(office) != before:
            assert office.faults()


def _said(office: Office) -> list[Any]:
    """Return what the records say, in their order, whatever their rows are called."""
    found = stores.contents(office.store)
    return [[row[1:] for row in found[name]] for name in ("audit_record", "token_record")]


# Only what was shown.


def test_the_same_record_altered_once_more_is_a_fault(busy: Office) -> None:
    busy.do(change_in(3).values(actor="x"))
    accept(busy)
    busy.do(change_in(3).values(actor="y"))
    altered = "chain changes: record 3 (row 3) is altered"
    assert busy.faults() == [altered, f"chain changes: no longer what was accepted: {altered}"]
    busy.do(change_in(3).values(actor="x"))
    assert busy.faults() == []


def test_more_that_is_missing_is_a_fault(busy: Office) -> None:
    name = chains(busy)[2]
    busy.do(delete(TokenRecord).where(TokenRecord.id.in_([2, 3])))
    accept(busy)
    busy.do(delete(TokenRecord).where(TokenRecord.id == 6))
    assert busy.faults() == [
        f"chain {name}: records 2 to 4 are missing",
        f"chain {name}: no longer what was accepted: chain {name}: records 2 to 3 are missing",
    ]


def test_the_record_after_a_gap_is_covered(busy: Office) -> None:
    """Nothing else is left that vouches for it."""
    busy.do(delete(TokenRecord).where(TokenRecord.id.in_([2, 3])))
    accept(busy)
    busy.do(token_in(6).values(account="mallory"))
    assert busy.faults()


@pytest.mark.parametrize("row", [1, 2, 4])
@pytest.mark.parametrize("chain", [None, 3, 9])
def test_an_accepted_record_that_is_taken_away_is_missed(
    busy: Office, row: int, chain: int | None
) -> None:
    """Also the oldest, as if it had been pruned."""
    busy.do(token_in(row).values(chain_id=chain, account="x"))
    accept(busy)
    busy.do(delete(TokenRecord).where(TokenRecord.id == row))
    faults = busy.faults()
    assert "no longer what was accepted: " in str(faults)
    assert accept(busy) == faults
    assert busy.faults() == []


@pytest.mark.parametrize(
    "act",
    [
        lambda row: delete(AuditRecord).where(AuditRecord.id == row),
        lambda row: change_in(row).values(actor="cli:somebody else"),
        lambda row: change_in(row).values(after={"reason": "", "faults": []}),
        lambda row: change_in(row).values(id=1000),
    ],
)
def test_an_acceptance_that_is_taken_away_or_altered_accepts_nothing(
    busy: Office, act: Any
) -> None:
    busy.do(token_in(3).values(account="x"))
    (said,) = accept(busy)
    (one,) = verified(busy)[1].accepted
    busy.change(busy.process(), "after")
    busy.do(act(one.record))
    assert len(busy.faults()) > 1
    assert said in busy.faults() or "reordered" in str(busy.faults())


def test_nobody_makes_an_acceptance_without_the_key(busy: Office) -> None:
    busy.do(token_in(3).values(account="x"))
    (fault,) = verified(busy)[1].faults
    faults = [accepted_faults.told(fault)]
    forged = {"at": busy.clock(), "actor": "cli:root", "action": accepted_faults.ACCEPT, "seq": 12}
    forged |= {"target": "audit records", "after": {"reason": "", "faults": faults}}
    busy.do(insert(AuditRecord).values(forged | {"mac": "0" * 64}))
    busy.do(update(AuditChain).where(AuditChain.id == 1).values(seq=12, mac="0" * 64))
    assert str(fault) in busy.faults()
    assert accepted(busy) == []


def test_what_changes_while_it_is_looked_at_is_not_accepted(busy: Office) -> None:
    busy.do(token_in(3).values(account="x"))
    found, report = verified(busy)
    busy.change(busy.process(), "meanwhile")
    with pytest.raises(Refused, match="meanwhile"), busy.process().change("test") as change:
        audit_accept.accept(change, found, report.faults, WHY)
    assert accepted(busy) == []


def test_servers_may_write_meanwhile(busy: Office) -> None:
    process = busy.process()
    busy.ask(process, 2)
    busy.do(token_in(3).values(account="x"), token_in(11).values(account="y"))
    found, report = verified(busy)
    busy.ask(process)
    with busy.process().change("test") as change:
        audit_accept.accept(change, found, report.faults, WHY)
    busy.ask(process)
    assert busy.seal() is None
    assert busy.faults(busy.sink.kept) != []
    assert busy.faults() == []
    assert len(chains(busy)) == 4


def test_the_second_copy_still_shows_what_differs(busy: Office) -> None:
    names, other = chains(busy), busy.process()
    busy.change(other, "d")
    busy.do(
        token_in(3).values(account="mallory"),
        delete(TokenRecord).where(TokenRecord.id.in_([4, 10])),
        changes_from(12),
    )
    accept(busy)
    busy.change(other, "e")
    assert busy.seal() is None
    assert busy.faults() == []
    lacks = "is missing: the log has it"
    assert set(busy.faults(busy.sink.kept)) == {
        f"chain {names[2]}: record 3 (row 3) is not what the log says",
        f"chain {names[3]}: record 1 {lacks}",
        f"chain {names[3]}: record 4 {lacks}",
        f"chain changes: record 12 {lacks}",
    }


def test_what_was_cut_off_and_gone_on_from_shows_against_the_log(busy: Office) -> None:
    """Of two records of one number the log says so of both."""
    busy.change(busy.process(), "d")
    busy.do(head_at(11), changes_from(12))
    busy.change(busy.process(), "e")
    busy.change(busy.process(), "f")
    assert busy.faults() == []
    assert busy.faults(busy.sink.kept) == [
        "chain changes: record 12 (row 13) is not what the log says"
    ]


# How much.


def test_many_faults_are_in_several_changes(busy: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_accept, "IN_ONE", 4)
    busy.do(update(TokenRecord).values(client="x"))
    said = accept(busy)
    assert len(said) == 10
    assert busy.faults() == []
    assert [len(one.faults) for one in verified(busy)[1].accepted] == [4, 4, 2]
    with busy.store.read() as session:
        query = select(AuditRecord.after).where(AuditRecord.action == accepted_faults.ACCEPT)
        told = session.scalars(query.order_by(AuditRecord.id)).all()
    assert [one["part"] for one in told if one] == ["1 of 3", "2 of 3", "3 of 3"]


def test_too_many_are_refused(busy: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_accept, "MAX_FAULTS", 9)
    busy.do(update(TokenRecord).values(client="x"))
    with pytest.raises(Refused, match="10 faults are too many"):
        accept(busy)


def test_a_line_of_the_second_copy_has_a_size_that_syslog_takes(busy: Office) -> None:
    faults = [*busy_faults(busy)] * audit_accept.IN_ONE
    assert len(json.dumps([accepted_faults.told(fault) for fault in faults])) < 40_000


def busy_faults(office: Office) -> list[Any]:
    office.do(token_in(3).values(account="x"))
    return verified(office)[1].faults


def test_chains_that_nobody_has_begun_are_not_made_good(busy: Office) -> None:
    busy.do(insert(AuditChain).values(id=2**40, name="x", seq=0, mac="x", ended=False))
    with pytest.raises(Refused, match="restore a backup"):
        accept(busy)


def test_records_that_were_moved_far_are_pruned_too(
    busy: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    busy.do(*swapped(TokenRecord, 2, 8))
    accept(busy)
    process = busy.process()
    while retention.prune(process, busy.clock() + SINCE, 1000):
        assert busy.faults() == []
    with busy.store.read() as session:
        assert session.scalars(select(TokenRecord.id)).all() == []


def test_what_was_not_accepted_is_kept(busy: Office) -> None:
    busy.do(token_in(3).values(account="x"))
    accept(busy)
    busy.do(token_in(7).values(account="y"))
    before = busy.faults()
    with capture_logs() as logged:
        assert retention.prune(busy.process(), busy.clock() + SINCE, 1000) == 0
    assert "are kept" in logged[0]["event"]
    assert busy.faults() == before != []
