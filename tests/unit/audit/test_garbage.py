"""Values in the audit tables that cannot be read: they are named, and the rest goes on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, text
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from authserver.audit import checkpoints, export, records, retention
from authserver.audit.recorder import Trail
from authserver.audit.records import ALL
from authserver.cli.audit.records import Following
from authserver.core.errors import NotReady
from authserver.db.backup import dump
from authserver.db.models import (
    AuditChain,
    AuditClosedChain,
    AuditMark,
    AuditRecord,
    AuditState,
    TokenRecord,
)
from authserver.policy.lint import rule_usage
from tests.unit.audit.test_verify import SINCE, Office, busy, copied, office

__all__ = ["busy", "office"]

# A row of each table.
ROWS: dict[Any, int] = {AuditRecord: 11, TokenRecord: 2, AuditState: 1, AuditChain: 2, AuditMark: 2}
COLUMNS = [
    (model, column.name)
    for model in ROWS
    for column in model.__table__.columns
    if not column.primary_key
]
# A false "ended" has nobody go on with a chain, and a row that was lost is no more than looked up.
HARMLESS = [("ended", None), ("record_id", "NULL")]
SQLITE = ["NULL", "x'ff'", "CAST(x'ff' AS TEXT)"]
POSTGRESQL = {
    "at": ["'infinity'", "'-infinity'", "'0044-03-15 BC'"],
    "after": ["'5'", "'[1]'", "'{\"a\": 1e999}'", "'\"x\"'"],
    "seq": ["-1", "9223372036854775807"],
    "sealed_seq": ["-1", "9223372036854775807"],
    "chains": ["9223372036854775807"],
    "mac": ["''", "'é'"],
    "rules": ["'none'"],
}


def spoil(office: Office, model: Any, column: str, value: str) -> bool:
    """Put a value in; return whether it is another than was there."""
    table: Table = model.__table__
    (key,) = table.primary_key
    other = f"{column} IS NOT {value}" if office.store.file else "true"
    where = f"{key.name} = {ROWS[model]} AND {other}"
    with office.store.append() as session:
        done: Any = session.execute(
            text(f"UPDATE {table.name} SET {column} = {value} WHERE {where}")
        )
        return bool(done.rowcount)


def lift_constraints(office: Office) -> None:
    """Have SQLite's tables take NULL everywhere, as whoever can write to the file can."""
    with office.store.engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA writable_schema = ON")
        lifted = "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE name = ?"
        for model in (*ROWS, AuditClosedChain):
            driver.execute(lifted, (model.__tablename__,))
    office.store.engine.dispose()


def ways(office: Office) -> Iterator[Callable[[], object]]:
    """Give all that reads audit records, or goes on from them."""
    process = office.process()

    def read(work: Callable[[Session], object]) -> Callable[[], object]:
        def reading() -> object:
            with office.store.read() as session:
                return work(session)

        return reading

    yield read(records.listed)
    yield read(lambda session: Following.now(session, ALL).look(session))
    yield read(lambda session: list(export.lines(session, ALL)))
    yield read(lambda session: rule_usage.load(session, office.clock() - SINCE))
    yield read(lambda session: list(_dumped(session, office)))
    yield lambda: office.seal(process)
    yield lambda: retention.prune(process, office.clock() + SINCE, 1000)
    yield lambda: office.ask(process)
    yield lambda: office.ask(process)
    yield lambda: office.change(office.process(), "late")
    yield lambda: office.seal(process)


def _dumped(session: Session, office: Office) -> Iterator[Any]:
    told = dump.header(session.connection(), office.clock(), "test", frozenset())
    return dump.dump(session.connection(), told)


def tripped_over(office: Office) -> list[str]:
    """Try all ways; return what was said by those that cannot be gone."""
    said = []
    with capture_logs():
        for way in ways(office):
            try:
                way()
            except NotReady as error:
                said.append(str(error))
    return said


def is_found(office: Office) -> bool:
    try:
        return bool(office.faults())
    except NotReady as error:
        return "of the audit chains" in str(error) or "does not open" in str(error)


@pytest.mark.parametrize(("model", "column"), COLUMNS)
def test_nothing_trips_over_what_a_table_takes(
    busy: Office, tmp_path: Path, model: Any, column: str
) -> None:
    values = POSTGRESQL.get(column, [])
    if busy.store.file is not None:
        lift_constraints(busy)
        values = [*SQLITE, "'2026-13-45 00:00:00.000000'"] if column == "at" else SQLITE
    busy.store.engine.dispose()
    for number, value in enumerate(values):
        with copied(busy, tmp_path / f"copy{number}") as office:
            if not spoil(office, model, column, value):
                continue
            found = (column, None) in HARMLESS or (column, value) in HARMLESS or is_found(office)
            assert found, value
            tripped_over(office)


@pytest.mark.sqlite
@pytest.mark.parametrize("model", [AuditRecord, TokenRecord])
@pytest.mark.parametrize("column", ["at", "seq", "mac"])
def test_who_lists_records_is_told_in_which_row_of_which_table(
    busy: Office, model: Any, column: str
) -> None:
    assert spoil(busy, model, column, "x'ff'")
    row = f"row {ROWS[model]} of {model.__tablename__}"
    said = f"{row} holds a value that cannot be read: run `authserver audit verify`"
    assert said in tripped_over(busy)
    unread: list[str] = []
    with busy.store.read() as session:
        lines = list(export.lines(session, ALL, unread))
    assert (unread, lines.count("")) == ([row], 1)
    assert any(f"(row {ROWS[model]})" in fault for fault in busy.faults())


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("model", "column", "said"),
    [
        (AuditState, "at", "the checkpoint, row 1 of audit_state, cannot be read"),
        (AuditChain, "seq", "row 2 of audit_chain cannot be read"),
        (AuditMark, "trimmed_seq", "row 2 of audit_mark cannot be read"),
    ],
)
def test_a_seal_that_cannot_be_read_is_named_and_not_made_good(
    busy: Office, model: Any, column: str, said: str
) -> None:
    assert spoil(busy, model, column, "x'ff'")
    assert busy.seal() == said
    assert f"the records: {said}" in busy.faults()
    with busy.store.read() as session:
        key = Trail.of(busy.store).key(session)
        found = list(checkpoints.troubles(session, key, checkpoints.state_of(session)))
    assert found == [said]


def test_a_number_that_was_put_in_does_not_end_the_numbering_of_chains(busy: Office) -> None:
    highest = f"({2**63 - 1}, 'x', 0, 'x', NULL, false)"
    busy.do(text(f"INSERT INTO audit_chain VALUES {highest}"))
    busy.ask(busy.process())
    with busy.store.read() as session:
        assert set(checkpoints.chains(session)) == {1, 2, 3, 4}


@pytest.mark.sqlite
def test_a_new_chain_has_no_number_of_a_mark_that_was_left(busy: Office) -> None:
    with busy.store.engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA foreign_keys = OFF")
        driver.execute("DELETE FROM audit_chain WHERE id = 3")
    busy.store.engine.dispose()
    busy.ask(busy.process())
    with busy.store.read() as session:
        assert set(checkpoints.chains(session)) == {1, 2, 4}
