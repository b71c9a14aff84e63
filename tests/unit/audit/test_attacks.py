"""What somebody without the master key tries who has got at the store, knowing how chains work."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, text, update

from authserver.audit import records, retention
from authserver.audit.chain import AuditKey, Head, RecordKind
from authserver.audit.chain_walk import Walk, What
from authserver.audit.records import ALL
from authserver.core.errors import NotReady
from authserver.db.models import AuditChain, AuditMark, AuditRecord, AuditState, TokenRecord
from tests.unit.audit.test_verify import SINCE, Office, busy, chains, office

__all__ = ["busy", "office"]


def head_at(seq: int) -> Any:
    """Have the chain of changes end at one of its records."""
    of_record = select(AuditRecord.mac).where(AuditRecord.seq == seq).scalar_subquery()
    row = select(AuditRecord.id).where(AuditRecord.seq == seq).scalar_subquery()
    ended = update(AuditChain).where(AuditChain.id == 1)
    return ended.values(seq=seq, mac=of_record, record_id=row)


def changes_from(first: int) -> Any:
    return delete(AuditRecord).where(AuditRecord.seq >= first)


# The checkpoint.


@pytest.mark.parametrize("number", [0, 2, 4, 2**62])
def test_the_number_of_chains_is_the_number_of_marks(busy: Office, number: int) -> None:
    busy.do(update(AuditState).values(chains=number))
    assert busy.faults()
    assert busy.seal()


def test_a_mark_that_was_spoilt_hides_no_chain_that_was_emptied(busy: Office) -> None:
    genesis = select(AuditMark.trimmed_mac).where(AuditMark.chain_id == 3).scalar_subquery()
    busy.do(
        update(AuditState).values(chains=0),
        delete(TokenRecord).where(TokenRecord.chain_id == 3),
        update(AuditChain).where(AuditChain.id == 3).values(seq=0, mac=genesis, record_id=None),
        update(AuditMark).where(AuditMark.chain_id == 3).values(sealed_seq=0),
    )
    assert busy.faults()


def test_a_mark_that_was_spoilt_hides_no_cut(busy: Office) -> None:
    busy.do(
        update(AuditState).values(chains=0),
        update(AuditMark).where(AuditMark.chain_id == 1).values(sealed_seq=1),
        head_at(8),
        changes_from(9),
    )
    assert busy.faults()


def test_sealed_records_are_not_replaced_while_the_last_of_them_still_lies_there(
    busy: Office,
) -> None:
    """They are deleted only after the next checkpoint has looked for it."""
    busy.do(head_at(8))
    for name in ("x", "y", "z", "w"):
        busy.change(busy.process(), name)
    busy.seal()
    busy.do(delete(AuditRecord).where(AuditRecord.id.in_([9, 10, 11])))
    assert busy.faults()


def test_sealed_records_are_not_replaced_where_no_row_was_sealed(busy: Office) -> None:
    busy.change(busy.process(), "d")
    busy.do(update(AuditChain).values(record_id=None))
    busy.seal()
    busy.do(head_at(8), changes_from(9))
    for name in ("x", "y", "z", "w", "v"):
        busy.change(busy.process(), name)
    busy.seal()
    assert busy.faults()


# Records that are put in.


@pytest.mark.parametrize("row", [0, -5, -(2**63)])
@pytest.mark.parametrize("table", [AuditRecord, TokenRecord])
def test_no_row_before_the_first_is_from_before_there_were_chains(
    busy: Office, table: Any, row: int
) -> None:
    with busy.store.read() as session:
        first = session.get_one(table, 1)
        forged = {c.name: getattr(first, c.name) for c in table.__table__.columns}
    forged |= {"id": row, "seq": None, "mac": None}
    busy.do(insert(table).values({k: v for k, v in forged.items() if k != "chain_id"}))
    assert [fault.partition(": ")[0] for fault in busy.faults()] == [f"the records (row {row})"]


# Order.


@given(order=st.lists(st.integers(2, 30), max_size=30), last=st.integers(31, 33))
def test_what_never_came_is_missing_in_whatever_order_the_rest_came(
    order: list[int], last: int
) -> None:
    key = AuditKey(b"k" * 32)
    walk = Walk(key, "c", RecordKind.TOKEN, key.genesis("c"), key.genesis("c"))
    for seq in [*order, last]:
        walk.step(Head(seq, "0"), "{}", seq)
    gaps = [range(gap.first or 0, (gap.last or 0) + 1) for gap in walk.gaps]
    missing = {*range(1, last)} - {*order}
    assert {seq for gap in gaps for seq in gap} >= missing - {1}
    assert {seq for gap in gaps for seq in gap} <= missing
    assert all(one[-1] + 1 < other[0] for one, other in pairwise(gaps))
    assert sum(fault.what == What.REPEATED for fault in walk.faults) >= len(order) - len({*order})


# Retention.


def test_a_high_row_number_has_nothing_pruned(busy: Office) -> None:
    """Else it would delete all, and note it in the marks: then no more of it shows."""
    busy.do(update(TokenRecord).where(TokenRecord.id == 10).values(id=2**40))
    assert retention.prune(busy.process(), busy.clock() - SINCE, 10) == 0
    busy.clock.move(timedelta(days=31))
    assert retention.prune(busy.process(), busy.clock() - SINCE, 10) == 10
    assert busy.faults() == []
    assert len(chains(busy)) == 3


# What cannot be read.


@pytest.mark.sqlite
def test_a_value_that_is_nested_too_deep_is_named(busy: Office) -> None:
    busy.do(text("UPDATE audit_record SET after = :deep WHERE id = 2").bindparams(deep="[" * 10**5))
    assert busy.faults()[0] == "the records (row 2): the change record is unreadable"


@pytest.mark.parametrize(
    "line",
    [
        '{"a":' + "[" * 10**5,
        '{"checkpoint": 1e999}',
        '{"checkpoint": NaN}',
        '{"chain": "c", "seq": 1e999, "mac": "x", "kind": "token"}',
        '{"chain": "c", "seq": 1, "mac": "x", "kind": "other"}',
        '{"chain": "c", "seq": [1], "mac": "x", "kind": "token"}',
        "{",
    ],
)
def test_a_line_of_a_log_that_says_nothing_is_named(busy: Office, line: str) -> None:
    assert busy.faults([line]) == ["the records: log, line 1: it was altered"]


def test_a_log_with_half_a_character_is_compared(busy: Office) -> None:
    line = '{"chain": "changes", "seq": 3, "mac": "\\ud800", "kind": "change"}'
    assert busy.faults([line]) == ["chain changes: record 3 (row 3) is not what the log says"]


@pytest.mark.sqlite
@pytest.mark.parametrize("form", ["replace(at, ' ', 'T')", "at || '+00:00'", "at || '000'"])
def test_the_same_time_in_another_form_is_found(busy: Office, form: str) -> None:
    """SQLite compares times as texts: `audit list --until` would leave the record out."""
    busy.do(text(f"UPDATE token_record SET at = {form} WHERE id = 2"))
    assert "the records (row 2): the token record is unreadable" in busy.faults()


@pytest.mark.sqlite
@pytest.mark.parametrize("spoilt", ["audit_record SET after = '{'", "token_record SET at = 'x'"])
def test_a_list_with_what_is_no_record_says_what_to_do(busy: Office, spoilt: str) -> None:
    busy.do(text(f"UPDATE {spoilt} WHERE id = 2"))
    with busy.store.read() as session:
        with pytest.raises(NotReady, match="authserver audit verify"):
            records.latest(session)
        with pytest.raises(NotReady, match="authserver audit verify"):
            records.newer(session, ALL, 0, 0)
