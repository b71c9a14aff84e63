"""`audit restart`: the alarm ends, closed chains are still listed, and open ones raise alarms."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, literal, select, text, update
from structlog.testing import capture_logs

from authserver.audit import closed_chains, former_acceptances, retention
from authserver.audit import restart as audit_restart
from authserver.audit.chain_walk import Fault
from authserver.audit.closed_chains import Restart
from authserver.audit.recorder import Trail
from authserver.cli import new_store
from authserver.core.errors import Refused
from authserver.db.models import (
    AuditChain,
    AuditClosedChain,
    AuditMark,
    AuditRecord,
    AuditState,
    TokenRecord,
)
from authserver.db.store import Store
from tests import stores
from tests.unit.audit.test_attacks import changes_from, head_at
from tests.unit.audit.test_garbage import SQLITE, lift_constraints, tripped_over
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
from tests.world import take_schema_back

__all__ = ["busy", "office"]

WHY = "looked into: a disk"


def restart(office: Office, why: str = WHY) -> list[Fault]:
    """Restart the chains, as the command does; return what was wrong before."""
    faults = office.verify().faults
    process = office.process()
    with process.change("cli:operator") as change:
        audit_restart.restart(change, audit_restart.counts(faults), why)
    Trail.of(process).outbox.write()
    return faults


def restarts(office: Office) -> list[Restart]:
    return office.verify().restarts


def closed_faults(office: Office) -> list[str]:
    return [str(fault) for fault in office.verify().closed_faults]


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
    """Check that all is as ever: no alarm, servers write, and old records go."""
    running = office.process()
    office.ask(running)
    faults = restart(office)
    assert faults
    assert office.faults() == []
    (told,) = restarts(office)
    assert (told.actor, told.reason) == ("cli:operator", WHY)
    assert sum(told.faults.values()) == sum(fault.records for fault in faults)
    processes = [running, office.process()]
    with capture_logs() as logged:
        for _ in range(2):
            for process in processes:
                office.ask(process, 2)
            office.change(processes[0], f"late{office.number}")
            assert office.seal(processes[1]) is None
            assert office.faults() == []
        office.clock.move(timedelta(days=31))
        office.ask(processes[0])
        while retention.prune(processes[0], office.clock() - SINCE, 1000):
            assert office.faults() == []
    assert logged == []
    with office.store.read() as session:
        assert len(session.scalars(select(TokenRecord.id)).all()) == 1
    assert office.faults() == []
    assert restarts(office) == [told]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_after_a_restart_no_damage_is_an_alarm(busy: Office, damage: list[Any]) -> None:
    busy.do(*damage)
    _goes_on(busy)


@pytest.mark.sqlite
@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_chains_that_cannot_be_read_are_closed_too(busy: Office, spoilt: str) -> None:
    lift_constraints(busy)
    busy.do(text(f"UPDATE {spoilt}"))
    _goes_on(busy)


@pytest.mark.parametrize(
    "wipe",
    [
        [AuditState],
        [AuditMark, AuditChain, AuditState],
        [AuditMark, AuditChain, AuditState, AuditRecord, TokenRecord],
    ],
    ids=["the key", "the chains", "everything"],
)
def test_lost_chains_are_begun_anew(busy: Office, wipe: list[Any]) -> None:
    busy.do(*(delete(table) for table in wipe))
    process = busy.process()
    with process.change("cli:operator") as change:
        audit_restart.restart(change, {"the audit chains are gone": 1}, WHY)
    busy.ask(process, 3)
    busy.change(process, "e")
    busy.seal()
    report = busy.verify()
    assert report.faults == report.closed_faults == []
    assert report.verified == {"change": 2, "token": 3}
    assert [(one.reason, one.faults) for one in report.restarts] == [
        (WHY, {"the audit chains are gone": 1})
    ]
    rest = {"change": 0, "token": 0} if AuditRecord in wipe else {"change": 11, "token": 10}
    assert report.unchained == rest
    assert busy.faults(busy.exported()) == []


def test_a_second_restart_after_the_key_was_lost_keeps_records_apart(busy: Office) -> None:
    busy.do(delete(AuditState))
    process = busy.process()
    for _ in range(2):
        with process.change("cli:operator") as change:
            audit_restart.restart(change, {"x": 1}, WHY)
        busy.ask(process, 2)
        busy.seal(process)
    report = busy.verify()
    assert report.faults == report.closed_faults == []
    assert report.closed == {"change": 1, "token": 2}
    assert report.unchained == {"change": 11, "token": 10}


def test_the_faults_of_closed_chains_are_listed(busy: Office) -> None:
    name = chains(busy)[2]
    busy.do(
        change_in(3).values(actor="x"),
        delete(TokenRecord).where(TokenRecord.id.in_([2, 3])),
    )
    faults = restart(busy)
    report = busy.verify()
    assert [str(fault) for fault in report.closed_faults] == [
        "chain changes: record 3 (row 3) is altered",
        f"chain {name}: records 2 to 3 are missing",
    ]
    assert report.closed_faults == faults
    assert report.closed == {"change": 11, "token": 8}
    assert [one.faults for one in report.restarts] == [{"altered": 1, "missing": 2}]


def test_each_restart_is_told_and_has_chains_of_its_own(busy: Office) -> None:
    process = busy.process()
    for number in range(3):
        busy.ask(process, 3)
        busy.seal(process)
        with busy.store.read() as session:
            last = session.scalars(select(TokenRecord.id).order_by(TokenRecord.id.desc())).first()
        busy.do(token_in((last or 0) - 1).values(account="x"))
        restart(busy, f"reason {number}")
    report = busy.verify()
    assert report.faults == []
    assert [one.reason for one in report.restarts] == ["reason 0", "reason 1", "reason 2"]
    assert [one.faults for one in report.restarts] == [{"altered": 1}] * 3
    assert len(report.closed_faults) == 3
    assert report.closed == {"change": 11 + 2, "token": 10 + 9}
    assert report.unchained == {"change": 0, "token": 0}


def test_what_is_altered_in_a_closed_chain_later_is_listed_and_no_alarm(busy: Office) -> None:
    busy.do(token_in(3).values(account="x"))
    (fault,) = restart(busy)
    busy.do(change_in(4).values(actor="y"))
    assert busy.faults() == []
    assert set(closed_faults(busy)) == {
        str(fault),
        "chain changes: record 4 (row 4) is altered",
    }


# What somebody tries who has the store and not the master key.


@pytest.fixture
def restarted(busy: Office) -> Office:
    """Chains that were closed, and new ones with 5 + 1 token requests and 1 + 2 changes."""
    busy.do(token_in(3).values(account="x"))
    restart(busy)
    first, second = busy.process(), busy.process()
    busy.ask(first, 5)
    busy.ask(second)
    for name in ("d", "e"):
        busy.change(first, name)
    assert busy.seal() is None
    assert busy.faults() == []
    return busy


OPEN_CHANGES, OPEN_TOKENS = range(12, 15), range(11, 17)


def forged_restart(**values: Any) -> Any:
    after = {"reason": "", "chain": "changes-0", "last_token": 99, "faults": {}}
    record = {"actor": "cli:root", "action": closed_chains.RESTART, "seq": 1, "mac": "0" * 64}
    record |= {
        "target": "audit records",
        "after": after,
        "at": select(AuditState.at).scalar_subquery(),
    }
    return insert(AuditRecord).values(record | values)


def raised(name: str) -> Any:
    """Have what says where closed chains end say so of all records."""
    return update(AuditClosedChain).values({name: 99})


ATTEMPTS: dict[str, list[Any]] = {
    "nothing": [],
    "the closed chains end later": [raised("last_id")],
    "the restart is another record": [raised("restart_id")],
    "the restart is a record of an open chain": [update(AuditClosedChain).values(restart_id=14)],
    "the restart comes after all": [
        update(AuditRecord).where(AuditRecord.id == 12).values(id=50),
        update(AuditClosedChain).values(restart_id=50, last_id=49),
    ],
    "it closes all token requests": [
        update(AuditRecord)
        .where(AuditRecord.id == 12)
        .values(after={"reason": WHY, "chain": "changes", "last_token": 99, "faults": {}}),
    ],
    "a forged one beside it": [
        forged_restart(id=60),
        update(AuditClosedChain).values(restart_id=60, last_id=59),
    ],
    "a forged one, and its chain": [
        forged_restart(id=60),
        update(AuditChain).where(AuditChain.id == 1).values(name="changes-0"),
        update(AuditClosedChain).values(restart_id=60, last_id=59),
    ],
    "open chains are listed as closed": [
        insert(AuditClosedChain).from_select(
            ["restart_id", "number", "name", "seq", "mac", "last_id"],
            select(
                text("12"),
                AuditChain.id,
                AuditChain.name,
                AuditChain.seq,
                AuditChain.mac,
                text("99"),
            ),
        ),
    ],
    "there was none": [delete(AuditClosedChain)],
    "its record is gone": [delete(AuditRecord).where(AuditRecord.id == 12)],
    "open rows lie among closed ones": [
        update(TokenRecord).where(TokenRecord.id > 10).values(id=-TokenRecord.id),
    ],
    "open changes lie among closed ones": [
        update(AuditRecord).where(AuditRecord.id > 11).values(id=-AuditRecord.id),
    ],
    "from before there were chains": [
        change_in(1).values(action="audit.begin", after={"before": {"change": 99, "token": 99}}),
    ],
}


def open_alterations() -> st.SearchStrategy[list[Any]]:
    """Give what can be done to one record of an open chain."""
    tables: list[tuple[Any, range]] = [(AuditRecord, OPEN_CHANGES), (TokenRecord, OPEN_TOKENS)]
    found: list[list[Any]] = []
    for table, rows in tables:
        text_of = {"actor": "z"} if table is AuditRecord else {"account": "z"}
        place: dict[str, Any] = {"seq": None, "mac": None}
        for row in rows:
            one = table.id.in_([row, -row, 50])
            found.append([update(table).where(one).values(text_of)])
            found.append([update(table).where(one).values(place)])
            found.append([update(table).where(one).values(mac="0" * 64)])
            found.append([delete(table).where(one)])
        columns = [
            c for c in table.__table__.columns if c.name not in ("id", "seq", "mac", "chain_id")
        ]
        stray = select(text("70"), *columns).where(table.id == 2)
        found.append([insert(table).from_select(["id", *(c.name for c in columns)], stray)])
    return st.sampled_from(found)


@SLOW
@given(attempt=st.sampled_from(sorted(ATTEMPTS)), altered=open_alterations(), first=st.booleans())
def test_whatever_is_done_to_a_restart_an_altered_open_record_is_an_alarm(
    restarted: Office, tmp_path: Path, attempt: str, altered: list[Any], first: bool
) -> None:
    """Law: without the master key nobody closes a chain, and pruning hides nothing of it."""
    restarted.store.engine.dispose()
    with copied(restarted, tmp_path / "copy") as office:
        for statements in (ATTEMPTS[attempt], altered) if first else (altered, ATTEMPTS[attempt]):
            office.do(*statements)
        assert office.faults()
        with capture_logs():
            retention.prune(office.process(), office.clock() + SINCE, 0)
        assert office.faults()


def put_in(model: Any, row_id: int, **values: Any) -> Any:
    """Return what copies row 2 of a table to another id, with these values."""
    columns = [c for c in model.__table__.columns if c.name != "id"]
    copy = [literal(values[c.name], c.type) if c.name in values else c for c in columns]
    row = select(literal(row_id), *copy).where(model.id == 2)
    return insert(model).from_select(["id", *(c.name for c in columns)], row)


NO_PLACE = {"seq": None, "mac": None}


@pytest.mark.parametrize("row_id", [2**61 + 1, 2**62 - 3, 2**62])
def test_a_row_that_leaves_no_room_has_to_go_before_a_restart(busy: Office, row_id: int) -> None:
    busy.do(put_in(AuditRecord, row_id, **NO_PLACE))
    with pytest.raises(Refused, match=f"row {row_id} of audit_record .* delete that row"):
        restart(busy)
    busy.do(delete(AuditRecord).where(AuditRecord.id == row_id))
    busy.do(change_in(3).values(actor="x"))
    _goes_on(busy)


def test_closed_records_are_not_too_many_by_a_row_with_a_high_number(busy: Office) -> None:
    busy.do(put_in(TokenRecord, 5_000_000_000, **NO_PLACE, chain_id=None))
    restart(busy)
    with busy.store.read() as session:
        rows = len(session.scalars(select(TokenRecord.id)).all())
        assert retention.kept(session, Trail.of(busy.store).key(session)) <= rows
    assert retention.prune(busy.process(), busy.clock() - SINCE, 2_000_000) == 0


def test_a_chain_put_in_below_the_others_is_an_alarm(restarted: Office) -> None:
    """It could have the name of a closed one, whose records could then stand in as open ones."""
    with restarted.store.read() as session:
        closed = next(row for row in session.scalars(select(AuditClosedChain)) if row.number == 2)
        values = {"name": closed.name, "seq": closed.seq, "mac": closed.mac}
    restarted.do(insert(AuditChain).values(id=0, ended=False, **values))
    assert any("a chain or a mark was put in" in str(fault) for fault in restarted.faults())
    assert restarted.seal() is not None


def test_that_all_closed_changes_are_missing_is_listed(restarted: Office) -> None:
    (told,) = restarts(restarted)
    restarted.do(delete(AuditRecord).where(AuditRecord.id < told.record))
    assert any("missing" in fault for fault in closed_faults(restarted))
    assert restarted.faults() == []


@pytest.mark.parametrize(
    "alteration",
    [
        insert(AuditClosedChain).values(
            restart_id=1, number=1, name="", seq=0, mac="", last_id=10**6
        ),
        update(AuditClosedChain).values(last_id=AuditClosedChain.last_id + 1),
        delete(AuditClosedChain).where(AuditClosedChain.number == 2),
    ],
)
def test_an_altered_list_of_closed_chains_is_listed(restarted: Office, alteration: Any) -> None:
    assert not any("list of the chains" in fault for fault in closed_faults(restarted))
    restarted.do(alteration)
    assert any("list of the chains" in fault for fault in closed_faults(restarted))


def test_a_record_put_in_after_a_restart_is_not_pruned(restarted: Office) -> None:
    """Only before there were chains was a record in none."""
    restarted.do(put_in(TokenRecord, 70, **NO_PLACE, chain_id=None))
    assert restarted.faults()
    with capture_logs():
        retention.prune(restarted.process(), restarted.clock() + SINCE, 0)
    assert restarted.faults()


def test_a_forged_restart_has_no_open_record_pruned(restarted: Office) -> None:
    """The seal over all chains holds, and retention does not look at the changes."""
    with restarted.store.read() as session:
        name = session.get_one(AuditChain, 1).name
    after = {"reason": "", "chain": name, "last_token": 99, "faults": {}}
    restarted.do(
        forged_restart(id=60, after=after),
        update(AuditClosedChain).values(restart_id=60, last_id=59),
        update(TokenRecord).where(TokenRecord.id == 13).values(account="z"),
    )
    assert restarted.seal() is None
    with capture_logs():
        assert retention.prune(restarted.process(), restarted.clock() + SINCE, 0) == 0
    assert restarted.faults()


@pytest.mark.parametrize("attempt", [name for name in ATTEMPTS if name != "nothing"])
def test_nothing_done_to_a_restart_alone_hides_open_records(
    restarted: Office, attempt: str
) -> None:
    verified = restarted.verify().verified
    restarted.do(*ATTEMPTS[attempt])
    report = restarted.verify()
    assert report.faults or report.verified == verified


@SLOW
@given(act=alterations())
def test_alterations_of_closed_chains_are_no_alarm(
    restarted: Office, tmp_path: Path, act: tuple[str, Any]
) -> None:
    restarted.store.engine.dispose()
    with copied(restarted, tmp_path / "copy") as office:
        applied(office, act)
        assert office.faults() == []
        assert office.seal() is None


def test_a_row_far_above_all_others_does_not_close_what_comes(busy: Office) -> None:
    """Otherwise new rows would have lower numbers than the last that was closed."""
    for table in (AuditRecord, TokenRecord):
        busy.do(update(table).where(table.id == 4).values(id=2**40))
    restart(busy)
    process = busy.process()
    busy.ask(process, 2)
    busy.change(process, "d")
    assert busy.seal() is None
    assert busy.faults() == []
    busy.do(update(TokenRecord).where(TokenRecord.id > 2**40).values(account="x"))
    assert busy.faults()


def test_a_row_with_the_last_number_there_is_leaves_no_room_for_a_restart(busy: Office) -> None:
    busy.do(update(TokenRecord).where(TokenRecord.id == 4).values(id=2**63 - 1))
    with pytest.raises(Refused, match="delete that row"):
        restart(busy)


def test_a_server_whose_chain_was_cut_off_says_so_though_there_was_a_restart(
    restarted: Office,
) -> None:
    process = restarted.process()
    restarted.ask(process, 2)
    restarted.do(update(AuditChain).where(AuditChain.id == 4).values(seq=0, record_id=None))
    with capture_logs() as logged:
        restarted.ask(process)
    assert [line["log_level"] for line in logged] == ["error"]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "column", [c.name for c in AuditClosedChain.__table__.columns if c.name != "id"]
)
def test_nothing_trips_over_a_closed_chain_that_cannot_be_read(
    restarted: Office, tmp_path: Path, column: str
) -> None:
    lift_constraints(restarted)
    restarted.store.engine.dispose()
    for number, value in enumerate([*SQLITE, "-1", "4611686018427387904"]):
        with copied(restarted, tmp_path / f"copy{number}") as office:
            office.do(text(f"UPDATE audit_closed_chain SET {column} = {value}"))
            office.faults()
            tripped_over(office)


# The second copy.


def test_a_log_of_before_and_after_is_compared(busy: Office) -> None:
    busy.do(token_in(3).values(account="x"))
    restart(busy)
    process = busy.process()
    busy.ask(process, 3)
    busy.change(process, "d")
    busy.seal()
    assert busy.faults(busy.sink.kept) == []
    assert busy.faults(busy.exported()) == ["the records: log, line 16: it was altered"]
    busy.do(token_in(12).values(account="y"), delete(TokenRecord).where(TokenRecord.id == 13))
    assert len(busy.faults(busy.sink.kept)) == 2


def test_a_log_shows_what_was_cut_off_before_a_restart(busy: Office) -> None:
    """Also where somebody had the master key and restarted the chains himself."""
    busy.change(busy.process(), "d")
    busy.seal()
    before = list(busy.sink.kept)
    busy.do(head_at(11), changes_from(12), update(AuditMark).values(mac="x"))
    restart(busy)
    assert busy.faults() == []
    assert busy.faults(before) == ["chain changes: record 12 is missing: the log has it"]


# Retention.


def test_records_of_closed_chains_are_pruned_first_where_there_are_too_many(
    restarted: Office,
) -> None:
    process = restarted.process()
    assert retention.prune(process, restarted.clock() - SINCE, 8) == 8
    assert retention.prune(process, restarted.clock() - SINCE, 8) == 0
    assert restarted.faults() == []
    assert retention.prune(process, restarted.clock() - SINCE, 4) == 4
    with restarted.store.read() as session:
        assert session.scalars(select(TokenRecord.id).order_by(TokenRecord.id)).all() == [
            *range(13, 17)
        ]
    assert restarted.faults() == []


def test_records_put_in_among_closed_ones_have_no_open_one_pruned(restarted: Office) -> None:
    with restarted.store.read() as session:
        one = session.get_one(TokenRecord, 2)
        forged = {c.name: getattr(one, c.name) for c in TokenRecord.__table__.columns}
    restarted.do(*(insert(TokenRecord).values(forged | {"id": -n}) for n in range(1, 30)))
    while retention.prune(restarted.process(), restarted.clock() - SINCE, 8):
        pass
    with restarted.store.read() as session:
        assert len(session.scalars(select(TokenRecord.id).where(TokenRecord.id > 10)).all()) == 6


def test_missing_closed_records_have_no_open_one_pruned(restarted: Office) -> None:
    restarted.do(delete(TokenRecord).where(TokenRecord.id.between(2, 9)))
    assert retention.prune(restarted.process(), restarted.clock() - SINCE, 8) == 2


@pytest.mark.parametrize("table", [AuditRecord, TokenRecord])
def test_no_record_that_was_put_in_is_from_before_there_were_chains(
    restarted: Office, table: Any
) -> None:
    """Somebody alters the closed record that says how many there were before."""
    columns = [c for c in table.__table__.columns if c.name not in ("id", "seq", "mac", "chain_id")]
    stray = select(text("70"), *columns).where(table.id == 2)
    restarted.do(
        *ATTEMPTS["from before there were chains"],
        insert(table).from_select(["id", *(c.name for c in columns)], stray),
    )
    assert len(restarted.faults()) == 1


@pytest.mark.parametrize("most", [0, 8])
def test_closed_records_are_kept_while_the_seal_is_broken(restarted: Office, most: int) -> None:
    """Where a chain is closed is only to be believed while the seal over all chains holds."""
    restarted.do(update(AuditState).values(mac="x"))
    with capture_logs() as logged:
        assert retention.prune(restarted.process(), restarted.clock() - SINCE, most) == 0
    assert "are kept" in logged[0]["event"]


# How much.


def test_many_kinds_of_faults_are_counted_together() -> None:
    faults = [Fault("", f"the mark of the chain {number} was altered") for number in range(99)]
    counts = audit_restart.counts([Fault("changes", "missing", 3, 7), *faults])
    assert counts["missing"] == 5
    assert counts[audit_restart.OTHERS] == 50
    assert len(counts) == audit_restart.MAX_COUNTS + 1


# Stores whose faults were accepted before.


def accept(office: Office, *faults: Fault, resumed_at: int | None = None) -> Store:
    """Leave a store as versions with `audit accept` did."""
    process = office.process()
    recorded = [
        {"chain": f.chain, "what": f.what, "first": f.first, "last": f.last, "row": f.row}
        for f in faults
    ]
    after = {"reason": WHY, "faults": [one | {"evidence": "0" * 64} for one in recorded]}
    with process.change("cli:operator") as change:
        if resumed_at is not None:
            chain = change.session.get_one(AuditChain, 1)
            head = Trail.of(process).key(change.session).resumed("changes", chain.mac, resumed_at)
            chain.seq, chain.mac = head
        change.record(former_acceptances.ACCEPT, "audit records", after=after)
    return process


def upgraded(office: Office) -> None:
    office.store.engine.dispose()
    take_schema_back(stores.settings(office.data_dir), "0008")
    new_store.upgrade(office.process(), "cli:operator")


def test_an_upgrade_restarts_chains_whose_faults_were_accepted(busy: Office) -> None:
    busy.do(token_in(3).values(account="x"), delete(TokenRecord).where(TokenRecord.id == 7))
    accept(busy, *busy.verify().faults)
    assert busy.faults()
    upgraded(busy)
    assert busy.faults() == []
    (told,) = restarts(busy)
    assert told.reason == f"accepted before this version: {WHY}"
    assert told.faults == {"altered": 1, "missing": 1}
    assert len(closed_faults(busy)) == 2
    new_store.upgrade(busy.process(), "cli:operator")
    assert restarts(busy) == [told]


def test_an_upgrade_takes_an_acceptance_after_missing_changes(busy: Office) -> None:
    busy.do(head_at(9), changes_from(10))
    accept(busy, Fault("changes", "missing", 10, 11), resumed_at=11)
    with busy.process().change("test") as change:
        key = Trail.of(change).key(change.session)
        assert len(former_acceptances.read(change.session, key)) == 1


def test_an_upgrade_leaves_the_alarm_where_more_was_altered_than_accepted(busy: Office) -> None:
    busy.do(token_in(3).values(account="x"))
    accept(busy, *busy.verify().faults)
    busy.do(token_in(7).values(account="y"))
    upgraded(busy)
    assert len(busy.faults()) == 2
    assert restarts(busy) == []


def test_an_upgrade_believes_no_forged_acceptance(busy: Office) -> None:
    busy.do(token_in(3).values(account="x"))
    (fault,) = busy.verify().faults
    recorded = {"chain": fault.chain, "what": fault.what, "first": 3, "last": 3, "row": 3}
    forged = {"at": busy.clock(), "actor": "cli:root", "action": former_acceptances.ACCEPT}
    forged |= {"seq": 12, "mac": "0" * 64, "target": "audit records"}
    busy.do(
        insert(AuditRecord).values(forged | {"after": {"reason": "", "faults": [recorded]}}),
        update(AuditChain).where(AuditChain.id == 1).values(seq=12, mac="0" * 64),
    )
    upgraded(busy)
    assert str(fault) in busy.faults()
    assert restarts(busy) == []


def test_an_upgrade_restarts_no_chains_a_second_time(busy: Office) -> None:
    """Somebody sets the revision back, so that the next start closes what he has altered."""
    busy.do(token_in(3).values(account="x"))
    accept(busy, *busy.verify().faults)
    upgraded(busy)
    process = busy.process()
    busy.ask(process, 3)
    busy.seal(process)
    busy.do(token_in(12).values(account="y"))
    upgraded(busy)
    assert busy.faults()
    assert len(restarts(busy)) <= 1
