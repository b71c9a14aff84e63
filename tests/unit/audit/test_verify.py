"""Chains of audit records: whatever is done to them afterwards shows, and nothing else does."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, inspect, select, text, update
from structlog.testing import capture_logs

from authserver.audit import export, first_chains, restart, retention
from authserver.audit.chain import RecordKind
from authserver.audit.journal import Journal, insert_events
from authserver.audit.log_reader import Logged
from authserver.audit.log_writer import Outbox
from authserver.audit.recorder import Trail
from authserver.audit.records import ALL
from authserver.audit.token_event import TokenEvent
from authserver.audit.verify import Verification, VerificationReport
from authserver.cli import new_store
from authserver.core.errors import ChainsLost, NotReady
from authserver.db import accounts, groups
from authserver.db.models import (
    AuditChain,
    AuditMark,
    AuditRecord,
    AuditState,
    TokenRecord,
)
from authserver.db.store import Store
from authserver.keys.master_key import make_master_key
from tests import stores
from tests.world import Clock, trail_in

KEY = b"k" * 32
SINCE = timedelta(days=30)


class Lines:
    """A sink that keeps lines in memory."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.broken = False

    def close(self) -> None:
        pass

    def write(self, lines: Sequence[str]) -> None:
        if self.broken:
            raise OSError(28, "No space left on device")
        self.kept += lines


@dataclass
class Office:
    """A store, several processes that write to it, and where their second copies go."""

    data_dir: Path
    store: Store
    clock: Clock
    event: TokenEvent
    sink: Lines
    number: int = 0

    def process(self) -> Store:
        """Return the store as another process has it."""
        trail = trail_in(stores.settings(self.data_dir))
        trail.outbox = Outbox(self.sink)
        return replace(self.store, trail=trail)

    def ask(self, process: Store, times: int = 1) -> None:
        """Have a process record token requests, in one transaction."""
        made = Journal(KEY)
        for _ in range(times):
            self.number += 1
            made.add(replace(self.event, request_id=f"r{self.number}", at=self.clock()))
        made.write(process)
        Trail.of(process).outbox.write()

    def change(self, process: Store, name: str) -> None:
        with process.change("test") as change:
            groups.add(change, name)
        Trail.of(process).outbox.write()

    def seal(self, process: Store | None = None) -> str | None:
        process = process or self.process()
        with process.append() as session:
            trouble = process.trail.checkpoint(session, self.clock())
        Trail.of(process).outbox.write()
        return trouble

    def end(self, process: Store) -> None:
        """Have a process end in good order."""
        self.seal(process)
        with process.append() as session:
            Trail.of(process).end(session)

    def verify(self, lines: Sequence[str] | None = None) -> VerificationReport:
        with self.store.read() as session:
            key = Trail(Trail.of(self.store).master).key(session)
            logged = None
            if lines is not None:
                logged = Logged(key)
                logged.read("log", lines)
            return Verification(session, key, logged, lambda *_: None).run()

    def faults(self, lines: Sequence[str] | None = None) -> list[str]:
        return [str(fault) for fault in self.verify(lines).faults]

    def exported(self) -> list[str]:
        with self.store.read() as session:
            return list(export.lines(session, ALL))

    def do(self, *statements: Any) -> None:
        """Do to the store what somebody does who has got at it."""
        with self.store.append() as session:
            for statement in statements:
                session.execute(statement)


@pytest.fixture
def office(data_dir: Path, store: Store, clock: Clock, one: TokenEvent) -> Office:
    return Office(data_dir, store, clock, one, Lines())


@pytest.fixture
def busy(office: Office) -> Office:
    """Two processes with 6 and 4 token requests, and 8 + 3 changes; all of it is sealed."""
    first, second = office.process(), office.process()
    for _ in range(2):
        office.ask(first, 3)
        office.ask(second, 2)
    for name in ("a", "b", "c"):
        office.change(first, name)
    office.seal()
    return office


def chains(office: Office) -> dict[int, str]:
    with office.store.read() as session:
        return {c.id: c.name for c in session.scalars(select(AuditChain))}


# What was not touched.


def test_what_was_not_touched_verifies(busy: Office) -> None:
    report = busy.verify()
    assert report.faults == []
    assert report.verified == {"change": 11, "token": 10}
    assert (report.chains, report.open) == (3, 0)
    assert busy.faults(busy.sink.kept) == []
    assert busy.faults(busy.exported()) == []


def test_each_process_has_a_chain_of_its_own_and_changes_share_one(busy: Office) -> None:
    with busy.store.read() as session:
        heads = {c.id: c.seq for c in session.scalars(select(AuditChain))}
        records = select(TokenRecord.chain_id, TokenRecord.seq).order_by(TokenRecord.id)
        places = [tuple(row) for row in session.execute(records)]
    assert heads == {1: 11, 2: 6, 3: 4}
    assert places == [
        *((2, 1), (2, 2), (2, 3), (3, 1), (3, 2)),
        *((2, 4), (2, 5), (2, 6), (3, 3), (3, 4)),
    ]


def test_what_comes_after_the_checkpoint_is_counted(busy: Office) -> None:
    process = busy.process()
    busy.ask(process, 2)
    busy.change(process, "d")
    report = busy.verify()
    assert (report.faults, report.open) == ([], 3)
    before = report.checkpoint
    busy.seal()
    assert before is not None
    assert (busy.verify().open, busy.verify().checkpoint) == (0, before + 1)


def test_where_nothing_happened_there_is_no_new_checkpoint(busy: Office) -> None:
    before = busy.verify().checkpoint
    assert busy.seal() is None
    assert busy.verify().checkpoint == before


def test_what_was_rolled_back_is_in_no_chain(busy: Office) -> None:
    process = busy.process()
    busy.ask(process)
    with suppress(RuntimeError), process.change("test") as change:
        groups.add(change, "never")
        raise RuntimeError
    with suppress(RuntimeError), process.append() as session:
        insert_events(process, session, [replace(busy.event, request_id="never")])
        raise RuntimeError
    busy.ask(process)
    busy.change(process, "d")
    busy.seal(process)
    assert busy.faults(busy.sink.kept) == []
    assert "never" not in "".join(busy.sink.kept)


def _row(office: Office) -> dict[str, Any]:
    return {name: getattr(office.event, name) for name in TokenEvent.__slots__}


def test_many_changes_of_one_transaction_are_in_their_order(busy: Office) -> None:
    process = busy.process()
    with process.change("test") as change, change.counting():
        for number in range(300):
            change.record("test.many", f"test:{number}")
    assert busy.seal(process) is None
    assert busy.faults() == []
    with busy.store.read() as session:
        last = session.scalars(select(AuditRecord).order_by(AuditRecord.id.desc())).first()
        chain = session.get_one(AuditChain, 1)
        assert last is not None
        assert (last.target, last.seq, last.id) == ("test:299", chain.seq, chain.record_id)


def test_a_commit_whose_answer_was_lost_is_no_alarm(busy: Office) -> None:
    process = busy.process()
    busy.ask(process)
    before = Trail.of(process)._own
    busy.ask(process)
    Trail.of(process)._own = before  # as it is where the connection broke while committing
    with capture_logs() as logged:
        busy.ask(process)
    assert logged == []
    busy.seal()
    assert busy.faults() == []
    assert len(chains(busy)) == 4


# What somebody does who has got at the store.


def test_names_exactly_which_record_was_altered(busy: Office) -> None:
    name = chains(busy)[2]
    busy.do(update(TokenRecord).where(TokenRecord.id == 3).values(account="mallory"))
    assert busy.faults() == [f"chain {name}: record 3 (row 3) is altered"]


def test_names_exactly_which_records_are_missing(busy: Office) -> None:
    name = chains(busy)[2]
    busy.do(delete(TokenRecord).where(TokenRecord.id.in_([2, 3])))
    assert busy.faults() == [f"chain {name}: records 2 to 3 are missing"]


def test_names_exactly_what_was_cut_off(busy: Office) -> None:
    name = chains(busy)[3]
    busy.do(delete(TokenRecord).where(TokenRecord.id.in_([9, 10])))
    assert busy.faults() == [f"chain {name}: records 3 to 4 are missing"]


def test_names_exactly_what_was_moved(busy: Office) -> None:
    busy.do(*swapped(AuditRecord, 8, 9))
    assert busy.faults() == ["chain changes: record 8 (row 9) is reordered"]


def test_a_record_from_nowhere_is_found(busy: Office) -> None:
    forged = {**_row(busy), "request_id": "forged"}
    busy.do(insert(TokenRecord).values(forged))
    assert busy.faults() == ["the records (row 11): the token record is in no chain"]


def test_a_record_that_was_repeated_is_found(busy: Office) -> None:
    with busy.store.read() as session:
        row = session.get_one(TokenRecord, 2)
        again = {c.name: getattr(row, c.name) for c in TokenRecord.__table__.columns}
    busy.do(insert(TokenRecord).values(again | {"id": 11}))
    assert busy.faults() == [f"chain {chains(busy)[2]}: record 2 (row 11) is repeated"]


# PostgreSQL takes no value of another type.
@pytest.mark.sqlite
@pytest.mark.parametrize(
    "garbage", ["at = 'yesterday'", "account = x'ff'", "rules = 7", "seq = 'two'", "mac = 5"]
)
def test_a_row_that_cannot_be_read_is_named_and_the_others_are_read(
    busy: Office, garbage: str
) -> None:
    busy.do(text(f"UPDATE token_record SET {garbage} WHERE id = 2"))
    report = busy.verify()
    assert report.faults
    assert report.verified["token"] >= 9
    assert all(fault.row == 2 or fault.first == 2 for fault in report.faults)


def test_a_chain_that_was_removed_is_named(busy: Office) -> None:
    busy.do(
        delete(TokenRecord).where(TokenRecord.chain_id == 3),
        delete(AuditMark).where(AuditMark.chain_id == 3),
        delete(AuditChain).where(AuditChain.id == 3),
    )
    assert busy.faults() == ["the records: chain 3 is missing"]


def test_an_older_checkpoint_does_not_hide_a_cut(busy: Office) -> None:
    """Everything is as it was before; only the log knows that there was more."""
    busy.change(busy.process(), "d")
    with busy.store.read() as session:
        tables = [AuditState, AuditChain, AuditMark]
        old = {
            t: [dict(r) for r in session.execute(select(t.__table__)).mappings()] for t in tables
        }
    busy.change(busy.process(), "e")
    busy.seal()
    busy.do(delete(AuditRecord).where(AuditRecord.id > 12))
    assert busy.faults() == ["chain changes: record 13 is missing"]
    for table, rows in old.items():
        (key,) = inspect(table).primary_key
        busy.do(*(update(table).where(key == row[key.name]).values(row) for row in rows))
    assert busy.faults() == []
    found = busy.faults(busy.sink.kept)
    assert "chain changes: record 13 is missing: the log has it" in found
    assert any(fault.startswith("the records: the store was set back") for fault in found)


def test_what_is_cut_off_after_the_checkpoint_shows_against_the_log(busy: Office) -> None:
    process = busy.process()
    busy.ask(process, 3)
    name = chains(busy)[4]
    with busy.store.read() as session:
        row = session.get_one(TokenRecord, 11)
        first = {"seq": row.seq, "mac": row.mac, "record_id": row.id}
    busy.do(
        delete(TokenRecord).where(TokenRecord.id > 11),
        update(AuditChain).where(AuditChain.id == 4).values(first),
    )
    assert busy.faults() == []
    assert busy.faults(busy.sink.kept) == [
        f"chain {name}: records 2 to 3 are missing: the log has it"
    ]


def test_a_process_notices_when_its_own_end_was_cut_off(busy: Office) -> None:
    process = busy.process()
    busy.ask(process, 2)
    busy.do(
        delete(TokenRecord).where(TokenRecord.id > 10),
        update(AuditChain).where(AuditChain.id == 4).values(seq=0, record_id=None),
    )
    with capture_logs() as logged:
        busy.ask(process)
    assert [line["log_level"] for line in logged] == ["error"]
    assert len(chains(busy)) == 5


def test_a_cut_is_not_sealed_by_the_next_checkpoint(busy: Office) -> None:
    """A chain that was cut off and went on from there must not be taken for a whole one."""
    with busy.store.read() as session:
        row = session.get_one(AuditRecord, 8)
        eighth = {"seq": row.seq, "mac": row.mac, "record_id": row.id}
    busy.do(
        delete(AuditRecord).where(AuditRecord.id > 8),
        update(AuditChain).where(AuditChain.id == 1).values(eighth),
    )
    for name in ("x", "y", "z"):
        busy.change(busy.process(), name)
    assert busy.seal() == "the chain changes does not go on from record 11"
    assert busy.faults() == [
        "chain changes: record 11 is replaced since it was sealed",
    ]


def test_a_record_of_another_history_does_not_fit_in(busy: Office, tmp_path: Path) -> None:
    """Somebody has a copy of the store, which went on differently, and mixes the two."""
    busy.store.engine.dispose()
    with copied(busy, tmp_path / "copy") as other:
        other.change(other.process(), "there")
        with other.store.read() as session:
            row = session.get_one(AuditRecord, 12)
            there = {c.name: getattr(row, c.name) for c in AuditRecord.__table__.columns}
    for name in ("here", "more"):
        busy.change(busy.process(), name)
    busy.seal()
    assert busy.faults() == []
    busy.do(update(AuditRecord).where(AuditRecord.id == 12).values(there))
    assert busy.faults() == ["chain changes: record 13 (row 13) is altered"]


def test_a_checkpoint_that_was_altered_is_not_made_good(busy: Office) -> None:
    busy.do(update(AuditState).values(number=AuditState.number + 1))
    busy.change(busy.process(), "d")
    assert "was altered" in str(busy.seal())
    assert "was altered" in busy.faults()[0]


# Every single alteration.

TABLES: dict[str, Any] = {"audit_record": AuditRecord, "token_record": TokenRecord}
# Rows of different chains have no order among them but that of their times.
ROWS_OF_CHAINS: dict[str, list[Sequence[int]]] = {
    "audit_record": [range(1, 11)],
    "token_record": [(1, 2, 3, 6, 7, 8), (4, 5, 9, 10)],
}


def swapped(table: Any, one: int, other: int) -> Iterator[Any]:
    """Have two rows change places."""
    for old, new in ((one, -1), (other, one), (-1, other)):
        yield update(table).where(table.id == old).values(id=new)


def alterations() -> st.SearchStrategy[tuple[str, Any]]:
    table = st.sampled_from(sorted(TABLES))
    row = st.integers(1, 10)
    columns = {
        name: [c.name for c in model.__table__.columns if c.name != "id"]
        for name, model in TABLES.items()
    }
    altered = table.flatmap(
        lambda t: st.tuples(
            st.just("alter"), st.tuples(st.just(t), row, st.sampled_from(columns[t]))
        )
    )
    removed = st.tuples(st.just("remove"), st.tuples(table, row))
    pairs = [
        (name, pair)
        for name, chained in ROWS_OF_CHAINS.items()
        for rows in chained
        for pair in combinations(rows, 2)
    ]
    moved = st.tuples(st.just("swap"), st.sampled_from(pairs))
    return st.one_of(altered, removed, moved)


def applied(office: Office, act: tuple[str, Any]) -> None:
    match act:
        case "alter", (table, row, column):
            office.do(_alteration(office, TABLES[table], row, column))
        case "remove", (table, row):
            office.do(delete(TABLES[table]).where(TABLES[table].id == row))
        case "swap", (table, (one, other)):
            office.do(*swapped(TABLES[table], one, other))


def _alteration(office: Office, table: Any, row: int, column: str) -> Any:
    with office.store.read() as session:
        value = getattr(session.get_one(table, row), column)
    match value:
        case None:
            new: Any = {"x": 1} if column in ("before", "after") else 1
        case int():
            new = value + 1
        case dict():
            new = {**value, "more": 1}
        case str():
            new = value[:-1] + ("1" if value[-1:] == "0" else "0")
        case _:
            new = value + timedelta(microseconds=1)
    return update(table).where(table.id == row).values({column: new})


@contextmanager
def copied(office: Office, to: Path) -> Iterator[Office]:
    """Give the same office in another place, so that each example begins anew."""
    store = stores.opened(stores.copied(office.data_dir, to), office.clock)
    try:
        yield replace(office, data_dir=to, store=store)
    finally:
        store.engine.dispose()
        stores.drop_below(to)
        shutil.rmtree(to)


SLOW = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@SLOW
@given(act=alterations())
def test_any_single_alteration_is_found(busy: Office, tmp_path: Path, act: tuple[str, Any]) -> None:
    busy.store.engine.dispose()
    with copied(busy, tmp_path / "copy") as office:
        assert office.faults() == []
        applied(office, act)
        assert office.faults()


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("change"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("killed"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("ended"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("seal"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.integers(1, 20)),
        st.tuples(st.just("prune"), st.integers(0, 2), st.just(0)),
    ),
    max_size=25,
)


@SLOW
@given(acts=ACTS)
def test_nothing_that_we_do_ourselves_is_an_alarm(
    office: Office, tmp_path: Path, acts: list[tuple[str, int, int]]
) -> None:
    office.store.engine.dispose()
    office.clock, office.sink = Clock(office.clock.at), Lines()
    with copied(office, tmp_path / "copy") as own:
        processes = [own.process() for _ in range(3)]
        for count, (what, who, number) in enumerate(acts):
            match what:
                case "ask":
                    own.ask(processes[who], number)
                case "change":
                    own.change(processes[who], f"g{count}")
                case "killed":
                    processes[who] = own.process()
                case "ended":
                    own.end(processes[who])
                case "seal":
                    assert own.seal(processes[who]) is None
                case "wait":
                    own.clock.move(timedelta(days=number))
                case "prune":
                    retention.prune(processes[who], own.clock() - SINCE, 12)
        assert own.faults() == []
        assert own.faults(own.sink.kept) == []
        assert own.faults(own.exported()) == []


# A process that ends.


def test_a_process_goes_on_with_the_chain_of_one_that_ended(busy: Office) -> None:
    before = chains(busy)
    first = busy.process()
    busy.ask(first)
    busy.end(first)
    second, third = busy.process(), busy.process()
    busy.ask(second)
    busy.ask(third)
    assert len(chains(busy)) == len(before) + 2
    assert busy.faults(busy.sink.kept) == []


def test_the_chain_of_a_process_that_was_killed_is_left_alone(busy: Office) -> None:
    before = len(chains(busy))
    busy.seal()
    busy.ask(busy.process())
    assert len(chains(busy)) == before + 1


@pytest.mark.parametrize("sealed", [True, False])
def test_what_was_cut_off_from_a_chain_that_ended_is_not_gone_on_from(
    busy: Office, sealed: bool
) -> None:
    process = busy.process()
    busy.ask(process, 3)
    if sealed:
        busy.seal(process)
    with process.append() as session:
        Trail.of(process).end(session)
    with busy.store.read() as session:
        last = session.scalars(
            select(TokenRecord).order_by(TokenRecord.id.desc()).offset(1)
        ).first()
        assert last is not None
    end = {"seq": last.seq, "mac": last.mac, "record_id": last.id}
    busy.do(
        delete(TokenRecord).where(TokenRecord.id > last.id),
        update(AuditChain).where(AuditChain.id == last.chain_id).values(end),
    )
    before = len(chains(busy))
    busy.ask(busy.process())
    assert len(chains(busy)) == before + 1


# Retention.


def test_what_we_prune_leaves_an_end_that_verifies(busy: Office) -> None:
    process = busy.process()
    busy.clock.move(timedelta(days=31))
    busy.ask(process, 2)
    with capture_logs() as logged:
        assert retention.prune(process, busy.clock() - SINCE, 1000) == 10
    assert logged == []
    assert busy.faults(busy.sink.kept) == []
    busy.do(delete(TokenRecord).where(TokenRecord.id == 11))
    assert busy.faults() == [f"chain {chains(busy)[4]}: record 1 is missing"]


def test_pruning_goes_on_over_several_transactions(
    busy: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 3)
    process = busy.process()
    assert [retention.prune(process, busy.clock() - SINCE, 2) for _ in range(4)] == [3, 3, 2, 0]
    assert busy.faults() == []


def test_a_clock_that_was_wrong_for_a_while_holds_nothing_up(busy: Office) -> None:
    process = busy.process()
    busy.clock.move(timedelta(days=3650))
    busy.ask(process)
    busy.clock.move(timedelta(days=-3650 + 31))
    busy.ask(process)
    assert retention.prune(process, busy.clock() - SINCE, 1000) == 11
    assert busy.faults() == []


@pytest.mark.parametrize(
    "act",
    [
        update(TokenRecord).where(TokenRecord.id <= 5).values(at=Clock().at - timedelta(days=99)),
        delete(TokenRecord).where(TokenRecord.id == 2),
        pytest.param(
            text("UPDATE token_record SET at = 'x' WHERE id = 2"), marks=pytest.mark.sqlite
        ),
        update(AuditState).values(mac="0"),
        update(AuditMark).values(trimmed_seq=2),
    ],
)
def test_pruning_hides_nothing(busy: Office, act: Any) -> None:
    busy.do(act)
    busy.clock.move(timedelta(days=31))
    before = busy.faults()
    with busy.store.read() as session:
        number = session.scalar(select(func.count()).select_from(TokenRecord))
    with capture_logs() as logged:
        assert retention.prune(busy.process(), busy.clock() - SINCE, 1000) == 0
    assert "are kept, for they were altered" in logged[0]["event"]
    with busy.store.read() as session:
        assert session.scalar(select(func.count()).select_from(TokenRecord)) == number
    assert busy.faults() == before != []


# The key.


def test_a_dump_without_the_master_key_lets_nobody_forge(busy: Office, tmp_path: Path) -> None:
    trail = Trail(lambda _: make_master_key(tmp_path / "other.key"))
    thief = replace(busy.store, trail=trail)
    with pytest.raises(NotReady, match="does not open"), thief.change("test") as change:
        accounts.add_user(change, "mallory", None)
    trail = Trail()
    with pytest.raises(NotReady, match="without the master key"), busy.store.read() as session:
        trail.key(session)


def test_another_master_key_leaves_all_as_it_is(busy: Office, tmp_path: Path) -> None:
    new = make_master_key(tmp_path / "new.key")
    process = busy.process()
    with process.change("test") as change:
        change.trail.rewrap(change.session, new.seal)
        change.record("store.rewrap", "store")
    after = replace(busy, store=replace(busy.store, trail=Trail(lambda _: new)))
    after.change(after.store, "d")
    assert after.faults() == []
    with pytest.raises(NotReady, match="does not open"):
        busy.verify()


def test_records_from_before_the_chains_are_counted_and_newer_ones_must_be_in_one(
    busy: Office,
) -> None:
    forget(busy)
    process = busy.process()
    with process.change("test") as change:
        first_chains.begin_trail(change)
    busy.ask(process, 2)
    busy.seal()
    report = busy.verify()
    assert report.faults == []
    assert report.unchained == {"change": 11, "token": 10}
    assert report.verified == {"change": 1, "token": 2}
    assert busy.faults(busy.exported()) == []
    busy.do(insert(AuditRecord).values(at=busy.clock(), actor="x", action="y", target="z"))
    assert busy.faults() == ["the records (row 13): the change record is in no chain"]


def forget(office: Office) -> None:
    """Leave the store as an upgrade finds it."""
    nothing = {"seq": None, "mac": None}
    office.do(
        update(AuditRecord).values(nothing),
        update(TokenRecord).values(nothing | {"chain_id": None}),
        *(delete(table) for table in (AuditMark, AuditChain, AuditState)),
    )


def test_chains_whose_key_is_gone_are_not_begun_anew(busy: Office) -> None:
    busy.do(delete(AuditState))
    process = busy.process()
    with pytest.raises(NotReady, match="is gone"), process.change("test") as change:
        first_chains.begin_trail(change)
    with pytest.raises(ChainsLost, match="audit restart"):
        busy.change(busy.process(), "d")


WIPED = (AuditMark, AuditChain, AuditState, AuditRecord, TokenRecord)


def test_a_wiped_trail_is_not_begun_anew_by_an_upgrade(busy: Office) -> None:
    busy.do(*(delete(table) for table in WIPED))
    process = busy.process()
    new_store.upgrade(process, "test")
    with pytest.raises(ChainsLost, match="are gone"):
        busy.verify()
    with pytest.raises(ChainsLost):
        busy.change(process, "d")


def test_a_trail_that_was_wiped_under_a_server_is_begun_anew_by_a_restart(busy: Office) -> None:
    serving = busy.process()
    busy.ask(serving)
    busy.do(*(delete(table) for table in WIPED))
    # It knows the key still, and leaves a chain and records behind.
    busy.ask(serving, 2)
    with pytest.raises(ChainsLost):
        busy.change(busy.process(), "d")
    process = busy.process()
    with process.change("test") as change:
        restart.restart(change, {"the chains are gone": 1}, "it was Mallory")
    busy.ask(process, 3)
    busy.change(process, "e")
    busy.seal()
    report = busy.verify()
    assert (report.faults, report.unchained) == ([], {"change": 0, "token": 2})
    assert report.verified == {"change": 2, "token": 3}
    assert [one.reason for one in report.restarts] == ["it was Mallory"]


# The second copy.


def test_a_log_that_was_altered_is_named(busy: Office) -> None:
    lines = [line.replace('"r2"', '"r0"') for line in busy.sink.kept]
    assert busy.faults(lines) == ["the records: log, line 2: it was altered"]


def test_a_log_with_gaps_repetitions_and_a_prefix_is_no_alarm(busy: Office) -> None:
    lines = busy.sink.kept
    assert busy.faults(lines[3:5] + lines[7:] + lines[7:] + ["", "cut off {"[:8]]) == []
    assert busy.faults([f"<86>1 2026-11-24T12:00:00Z host authserver - {x}" for x in lines]) == []


def test_what_the_sink_does_not_take_waits(office: Office) -> None:
    process = office.process()
    office.sink.broken = True
    office.ask(process, 2)
    outbox = Trail.of(process).outbox
    troubles = [outbox.trouble]
    office.sink.broken = False
    office.ask(process)
    assert [*troubles, outbox.trouble] == ["No space left on device", None]
    assert [RecordKind.TOKEN in line for line in office.sink.kept] == [True] * 3
    assert office.faults(office.sink.kept) == []


def test_too_much_that_waits_is_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authserver.audit.log_writer.MAX_WAITING", 2)
    sink = Lines()
    outbox = Outbox(sink)
    outbox.add(["a", "b", "c"])
    outbox.write()
    assert (sink.kept, outbox.lost) == (["b", "c"], 1)
